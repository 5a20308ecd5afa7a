//! What the bus loses the gateway reads from the store, before its clients notice.

use std::{sync::Arc, time::Duration};

use chat_auth::{Auth, AuthOptions};
use chat_cluster::metrics::ClusterMetrics;
use chat_cluster::{
    Cluster, ClusterOptions,
    process::{Listener, Process},
};
use chat_domain::{
    bus::{Bus, local::LocalBus},
    chat::Chat,
    store::Store,
};
use chat_gateway::metrics::GatewayMetrics;
use chat_gateway::{Gateway, GatewayOptions};
use chat_http::connection::Admission;
use chat_protocol::{
    ChannelKind, EventBody,
    rest::{CreateChannel, Role},
};
use chat_server::http_server;
use chat_sqlite::SqliteStore;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::harness::{people::stored, ws::TestSocket};

const MESSAGES: usize = 500;

#[tokio::test(flavor = "multi_thread")]
async fn every_event_arrives_in_order_over_a_bus_that_loses_most_of_them() {
    let dir = tempfile::tempdir().expect("a directory");
    let store = SqliteStore::open(&dir.path().join("folkmoot.db")).expect("a store");
    let actor = stored(&store, "ada", Role::Owner).await;
    let store: Arc<dyn Store> = Arc::new(store);
    // Keeps a single message: whoever does not read between two of them misses the first.
    let bus: Arc<dyn Bus> = Arc::new(LocalBus::with_capacity(1));
    let chat = Chat::new(Arc::clone(&store), Arc::clone(&bus));
    let auth = Auth::new(Arc::clone(&chat), Arc::clone(&store), AuthOptions::default()).await.expect("keys");
    let verifier = auth.verifier();
    let metrics = Arc::new(GatewayMetrics::default());
    let options = GatewayOptions {
        commands_per_second: 100_000,
        command_burst: 100_000,
        max_in_flight: MESSAGES,
        ..GatewayOptions::default()
    };
    let cluster = Cluster::new(ClusterOptions::default());
    let gateway = Gateway::new(
        Arc::clone(&chat),
        verifier.clone(),
        Arc::clone(&cluster),
        options,
        Arc::clone(&metrics),
    );
    gateway.spawn();
    let listener: Arc<dyn Listener> = Arc::<Gateway>::clone(&gateway);
    let _process =
        Process::spawn(Arc::clone(&chat), cluster, Arc::new(ClusterMetrics::default()), vec![listener]);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let base_url = format!("http://{}", listener.local_addr().expect("an address"));
    let stop = CancellationToken::new();
    let server =
        tokio::spawn(http_server::serve(listener, gateway.router(), Admission::default(), stop.clone()));

    let channel = CreateChannel {
        kind: ChannelKind::Private,
        name: "lossy".into(),
        topic: String::new(),
        members: Vec::new(),
    };
    let channel = chat.create_channel(&actor, channel).await.expect("is made").id;
    let token = verifier.issue(&actor, Duration::from_secs(60)).expect("a token");
    let mut reader = TestSocket::connect(&base_url, &token).await;
    let mut writer = TestSocket::connect(&base_url, &token).await;
    let head = reader.head(channel);
    for n in 0..MESSAGES {
        writer.say(channel, &format!("{n}")).await;
    }
    // Live, without a single `sync`, the last one included.
    for n in 0..MESSAGES {
        let event = reader.event().await;
        assert_eq!(event.seq, head + 1 + n as u64);
        assert!(matches!(event.body, EventBody::Message { text, .. } if text == n.to_string()));
    }
    assert!(metrics.gap_repairs.get() > 0, "the bus has lost nothing: this test proves nothing");
    stop.cancel();
    drop((reader, writer));
    server.await.expect("stops");
}
