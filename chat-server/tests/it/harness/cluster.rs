//! Several gateways over one store and one bus, each on a runtime of its own, so that one can be killed.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chat_auth::{Auth, AuthOptions, TokenVerifier};
use chat_cluster::metrics::ClusterMetrics;
use chat_cluster::{Cluster, ClusterOptions, process::Process};
use chat_domain::{
    bus::{Bus, BusMessage, Position, PublishError, Signal, Subscription, local::LocalBus},
    chat::{Actor, Chat},
    store::Store,
};
use chat_gateway::metrics::GatewayMetrics;
use chat_gateway::{Gateway, GatewayOptions};
use chat_http::connection::Admission;
use chat_protocol::{
    ChannelId, ChannelKind,
    rest::{CreateChannel, Role},
};
use chat_server::http_server;
use chat_sqlite::SqliteStore;
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_util::sync::CancellationToken;

use super::{
    people::stored,
    ws::{DEADLINE, TestSocket},
};

/// A bus that can be made to lose things.
pub struct TestBus {
    inner: LocalBus,
    pub lose_events: AtomicBool,
    pub lose_digests: AtomicBool,
}

#[async_trait]
impl Bus for TestBus {
    async fn publish(&self, message: BusMessage) -> Result<(), PublishError> {
        let lost = match &message {
            BusMessage::Event(_) => self.lose_events.load(Ordering::Acquire),
            BusMessage::Signal(Signal::Digest(_)) => self.lose_digests.load(Ordering::Acquire),
            BusMessage::Signal(_) => false,
        };
        if lost { Ok(()) } else { self.inner.publish(message).await }
    }

    fn subscribe(&self) -> Box<dyn Subscription> {
        self.inner.subscribe()
    }

    fn subscribe_from(&self, position: &Position) -> Box<dyn Subscription> {
        self.inner.subscribe_from(position)
    }
}

/// What the gateways share.
pub struct TestCluster {
    pub store: Arc<dyn Store>,
    pub bus: Arc<TestBus>,
    _dir: tempfile::TempDir,
}

/// One process of the cluster.
pub struct TestGateway {
    pub base_url: String,
    pub chat: Arc<Chat>,
    pub gateway: Arc<Gateway>,
    pub process: Arc<Process>,
    pub metrics: Arc<GatewayMetrics>,
    pub verifier: TokenVerifier,
    runtime: Option<Runtime>,
}

impl TestCluster {
    pub fn new() -> Self {
        Self::on(|store| Arc::new(store))
    }

    /// On a store that is put before the embedded one.
    pub fn on(before: impl FnOnce(SqliteStore) -> Arc<dyn Store>) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let store = before(SqliteStore::open(&dir.path().join("folkmoot.db")).expect("a store"));
        let bus = TestBus {
            inner: LocalBus::new(),
            lose_events: AtomicBool::new(false),
            lose_digests: AtomicBool::new(false),
        };
        Self { store, bus: Arc::new(bus), _dir: dir }
    }

    /// A process with all roles.
    pub async fn gateway(&self, name: &str) -> TestGateway {
        self.process(GatewayOptions {
            name: name.to_owned(),
            drain_window: Duration::from_millis(200),
            recent_of_all: true,
            ..GatewayOptions::default()
        })
        .await
    }

    /// Gateways on this store. Another process's own store on the same data goes to [`Self::process_on`].
    pub fn with_store(store: Arc<dyn Store>) -> Self {
        Self { store, ..Self::new() }
    }

    pub async fn process(&self, options: GatewayOptions) -> TestGateway {
        self.process_on(Arc::clone(&self.store), options).await
    }

    pub async fn process_on(&self, store: Arc<dyn Store>, options: GatewayOptions) -> TestGateway {
        let bus = Arc::clone(&self.bus) as Arc<dyn Bus>;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let started = runtime.spawn(async move {
            let chat = Chat::new(Arc::clone(&store), bus);
            let auth = Auth::new(Arc::clone(&chat), store, AuthOptions::default()).await.expect("keys");
            let verifier = auth.verifier();
            let metrics = Arc::new(GatewayMetrics::default());
            let name = options.name.clone();
            let cluster = Cluster::new(ClusterOptions { name, ..ClusterOptions::default() });
            let gateway =
                Gateway::new(Arc::clone(&chat), verifier.clone(), cluster, options, Arc::clone(&metrics));
            gateway.spawn();
            let process = Process::spawn(
                Arc::clone(&chat),
                Arc::clone(gateway.cluster()),
                Arc::new(ClusterMetrics::default()),
                vec![Arc::<Gateway>::clone(&gateway)],
            );
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
            let base_url = format!("http://{}", listener.local_addr().expect("an address"));
            let (admission, never) = (Admission::default(), CancellationToken::new());
            tokio::spawn(http_server::serve(listener, gateway.router(), admission, never));
            TestGateway { base_url, chat, gateway, process, metrics, verifier, runtime: None }
        });
        let mut started = started.await.expect("starts");
        started.runtime = Some(runtime);
        started
    }

    pub async fn user(&self, handle: &str) -> Actor {
        stored(&*self.store, handle, Role::Member).await
    }
}

impl TestGateway {
    /// Waits until it knows another process.
    pub async fn knows(&self, other: &Self) {
        let name = other.gateway.cluster().name();
        let known = async {
            while !self.gateway.cluster().others().contains(name) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, known).await.expect("in time");
    }

    pub async fn connect(&self, actor: &Actor) -> TestSocket {
        let token = self.verifier.issue(actor, Duration::from_secs(600)).expect("a token");
        TestSocket::connect(&self.base_url, &token).await
    }

    pub async fn channel(&self, owner: &Actor, members: &[&Actor], name: &str) -> ChannelId {
        let channel = CreateChannel {
            kind: ChannelKind::Private,
            name: name.into(),
            topic: String::new(),
            members: members.iter().map(|actor| actor.user).collect(),
        };
        self.chat.create_channel(owner, channel).await.expect("is made").id
    }

    /// All its tasks end wherever they are, and say nothing of it.
    pub fn kill(mut self) {
        self.runtime.take().expect("runs").shutdown_background();
    }

    /// Sends its sockets away and stops.
    pub async fn drain(mut self) {
        let runtime = self.runtime.take().expect("runs");
        let (gateway, process) = (Arc::clone(&self.gateway), Arc::clone(&self.process));
        let drained = runtime.spawn(async move {
            let all_went = gateway.drain().await;
            process.leave().await;
            all_went
        });
        assert!(drained.await.expect("drains"));
        runtime.shutdown_background();
    }
}

impl Drop for TestGateway {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A runtime must not wait inside of another one.
            runtime.shutdown_background();
        }
    }
}
