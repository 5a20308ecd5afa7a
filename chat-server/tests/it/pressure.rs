//! What a gateway says about itself before it is too much for it: who was refused and why, who waits, and how much memory
//! there is.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use chat_protocol::{ClientFrame, ServerFrame};
use tokio_tungstenite::tungstenite::Message;

use crate::harness::moody_store::{Mood, MoodyStore};
use crate::harness::{
    TestServer,
    cluster::TestCluster,
    wait::{until, until_so},
    ws::TestSocket,
};

/// The refusals with a reason.
async fn refused(server: &TestServer, reason: &str) -> f64 {
    server.metric(&format!("folkmoot_gateway_refusals_total{{reason=\"{reason}\"}}")).await
}

#[tokio::test]
async fn refusals_are_counted_by_reason() {
    let server = TestServer::with(|config| {
        config.gateway.max_sockets = 2;
        config.gateway.max_sockets_per_user = 2;
        config.gateway.drain_window = Duration::from_millis(200);
    })
    .await;
    let text = server.http.get(format!("{}/metrics", server.admin_url)).send().await.expect("answers");
    let text = text.text().await.expect("is text");
    for reason in ["capacity", "draining", "rate_limited", "overloaded", "unauthenticated", "hello_timeout"] {
        let line = format!("folkmoot_gateway_refusals_total{{reason=\"{reason}\"}} 0\n");
        assert!(text.contains(&line), "growth can be seen only from 0: {line}{text}");
    }
    assert_eq!(server.metric("folkmoot_gateway_capacity").await, 2.0);
    assert!(server.metric("folkmoot_process_resident_memory_bytes").await > 1e6);

    let ada = server.register("ada").await;
    let mut stranger = TestSocket::upgrade(&server.base_url, None, None).await.expect("upgrades");
    stranger.hello("nonsense").await;
    stranger.closed().await;
    drop(stranger);
    assert_eq!(refused(&server, "unauthenticated").await, 1.0);
    let mut rude = TestSocket::upgrade(&server.base_url, None, None).await.expect("upgrades");
    rude.send(&ClientFrame::Ping { id: None }).await;
    rude.closed().await;
    drop(rude);
    assert!(TestSocket::upgrade(&server.base_url, Some("https://evil.example"), None).await.is_err());
    assert_eq!(refused(&server, "malformed").await, 2.0);
    let mut restless = TestSocket::upgrade(&server.base_url, None, None).await.expect("upgrades");
    for _ in 0..20 {
        restless.send_raw(Message::Ping(Bytes::new())).await;
    }
    restless.closed().await;
    drop(restless);
    assert_eq!(refused(&server, "rate_limited").await, 1.0);
    until_so("nobody is left", async || server.metric("folkmoot_gateway_strangers").await == 0.0).await;
    let _mine = [
        TestSocket::connect(&server.base_url, &ada.access_token).await,
        TestSocket::connect(&server.base_url, &ada.access_token).await,
    ];
    assert!(TestSocket::upgrade(&server.base_url, None, None).await.is_err());
    assert_eq!(refused(&server, "capacity").await, 1.0);

    let draining = server.begin_drain();
    until_so("upgrades are refused", async || {
        let _ = TestSocket::upgrade(&server.base_url, None, None).await;
        refused(&server, "draining").await > 0.0
    })
    .await;
    draining.await.expect("ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn hellos_that_wait_for_their_turn_are_seen() {
    const USERS: usize = 70;
    const AT_ONCE: usize = 64;
    let mut moody = None;
    let cluster = TestCluster::on(|store| {
        let store = MoodyStore::new(store);
        moody = Some(Arc::clone(&store));
        store
    });
    let moody = moody.expect("is made");
    let gateway = cluster.gateway("a").await;
    let mut people = Vec::new();
    for n in 0..USERS {
        people.push(cluster.user(&format!("user{n}")).await);
    }
    moody.be(Mood::Hangs);
    let mut sockets = Vec::new();
    for person in &people {
        let token = gateway.verifier.issue(person, Duration::from_secs(600)).expect("a token");
        let mut socket = TestSocket::upgrade(&gateway.base_url, None, None).await.expect("upgrades");
        socket.hello(&token).await;
        sockets.push(socket);
    }
    let metrics = &gateway.metrics;
    until("all wait", || metrics.hellos_waiting.get() == i64::try_from(USERS).expect("is small")).await;
    until("some for their turn", || metrics.hellos_throttled.get() == (USERS - AT_ONCE) as u64).await;
    assert_eq!(metrics.welcomes.get(), 0);
    moody.be(Mood::Well);
    for socket in &mut sockets {
        socket.until(|frame| matches!(frame, ServerFrame::Welcome { .. }).then_some(())).await;
    }
    until("nobody waits any more", || metrics.hellos_waiting.get() == 0).await;
    assert_eq!(metrics.welcomes.get(), USERS as u64);
}
