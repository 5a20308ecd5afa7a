//! Several processes' worth of chat in one: one store, one bus, real connections between them.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chat_cluster::metrics::ClusterMetrics;
use chat_cluster::{
    Node,
    hop::{Hop, HopOptions, Live},
    owner::owner_of,
    tls::CertificateFiles,
};
use chat_domain::{
    bus::{Bus, BusMessage, Position, PublishError, Subscription, local::LocalBus},
    chat::{Actor, Chat, ChatError, Command, Owners, PendingCommit},
    store::{LogStore as _, Store},
};
use chat_protocol::{
    ChannelId, ChannelKind, ClientId, ErrorCode, EventBody, Seq,
    rest::{Committed, CreateChannel, Role},
};
use chat_sqlite::SqliteStore;
use parking_lot::RwLock;

use crate::harness::{
    people::stored,
    wait::{DEADLINE, until, until_within},
};

/// For owners that answer. Longer than any test, so that none depends on how fast the machine is.
const TIMEOUT: Duration = DEADLINE.saturating_mul(2);
/// For owners that are made not to answer.
pub(crate) const SHORT_TIMEOUT: Duration = Duration::from_millis(400);

pub(crate) struct World {
    pub(crate) store: Arc<SqliteStore>,
    pub(crate) bus: Arc<LocalBus>,
    /// The processes that are thought to live.
    pub(crate) live: Arc<RwLock<Arc<[Node]>>>,
    pub(crate) ada: Actor,
    pub(crate) dir: tempfile::TempDir,
    /// How long an owner is waited for.
    pub(crate) timeout: Duration,
}

pub(crate) struct Process {
    pub(crate) name: String,
    pub(crate) chat: Arc<Chat>,
    pub(crate) hop: Hop,
    pub(crate) owners: Arc<dyn Owners>,
    pub(crate) metrics: Arc<ClusterMetrics>,
    /// Events that this process committed and published.
    pub(crate) published: Arc<AtomicUsize>,
}

impl World {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(&dir.path().join("folkmoot.db")).unwrap());
        let ada = stored(&*store, "ada", Role::Owner).await;
        let (bus, live) = (Arc::new(LocalBus::new()), Arc::new(RwLock::new(Arc::from([]))));
        Self { store, bus, live, ada, dir, timeout: TIMEOUT }
    }

    pub(crate) fn chat(&self) -> (Arc<Chat>, Arc<AtomicUsize>) {
        let published = Arc::new(AtomicUsize::new(0));
        let bus = CountingBus { bus: Arc::clone(&self.bus), published: Arc::clone(&published) };
        (Chat::new(Arc::clone(&self.store) as Arc<dyn Store>, Arc::new(bus)), published)
    }

    /// A process that takes appends. Others know of it once it is in `live`.
    pub(crate) async fn process(&self, name: &str, certificates: Option<CertificateFiles>) -> Process {
        let (chat, published) = self.chat();
        let metrics = Arc::new(ClusterMetrics::default());
        let listen = Some(([127, 0, 0, 1], 0).into());
        let options = HopOptions { listen, advertise: String::new(), certificates, timeout: self.timeout };
        let hop = Hop::open(options, Arc::clone(&metrics)).await.unwrap();
        let (live, of) = (Arc::clone(&self.live), Arc::clone(&chat));
        let live = move || Live { nodes: Arc::clone(&live.read()), generation: of.generation() };
        let owners = hop.owners(name.into(), Arc::new(live));
        chat.set_owners(Arc::clone(&owners));
        hop.serve(Arc::clone(&chat));
        Process { name: name.into(), chat, hop, owners, metrics, published }
    }

    pub(crate) fn set_live(&self, nodes: &[Node]) {
        *self.live.write() = nodes.into();
    }

    pub(crate) async fn channel(&self, process: &Process) -> ChannelId {
        let request = CreateChannel {
            kind: ChannelKind::Public,
            name: ChannelId::new().to_string(),
            topic: String::new(),
            members: Vec::new(),
        };
        process.chat.create_channel(&self.ada, request).await.unwrap().id
    }

    /// A channel that one of the live processes owns, and the other would have to reach over a connection that stands.
    /// Whether the channel itself was made over that connection is open: it may have stood by then.
    pub(crate) async fn channel_owned_by(&self, owner: &str, from: &Process) -> ChannelId {
        loop {
            let channel = self.channel(from).await;
            let live = Arc::clone(&self.live.read());
            if &*owner_of(channel, &live).unwrap().name == owner {
                until("the owner is reached", || from.owners.remote(channel).is_some()).await;
                return channel;
            }
        }
    }

    pub(crate) async fn submit(
        &self,
        chat: &Chat,
        channel: ChannelId,
        id: ClientId,
    ) -> Result<PendingCommit, ChatError> {
        self.submit_as(&self.ada, chat, channel, id).await
    }

    pub(crate) async fn submit_as(
        &self,
        actor: &Actor,
        chat: &Chat,
        channel: ChannelId,
        id: ClientId,
    ) -> Result<PendingCommit, ChatError> {
        let command = Command::Send { text: id.to_string(), files: Vec::new(), seen: None };
        chat.submit(actor, channel, id, command).await
    }

    /// A member of a channel.
    pub(crate) async fn member(&self, handle: &str, chat: &Chat, channel: ChannelId) -> Actor {
        let actor = stored(&*self.store, handle, Role::Member).await;
        chat.join(&actor, channel).await.unwrap();
        actor
    }

    /// Sends as a client does: the same again when too much waits.
    pub(crate) async fn send(&self, process: &Process, channel: ChannelId) -> Committed {
        let id = ClientId::new();
        until_within(DEADLINE, "a send is taken", async || {
            let sent = match self.submit(&process.chat, channel, id).await {
                Ok(pending) => pending.committed().await,
                Err(full) => Err(full),
            };
            match sent {
                Err(error) if error.code == ErrorCode::Overloaded => None,
                sent => Some(sent.unwrap()),
            }
        })
        .await
    }

    /// The client ids of a channel's messages, in order of position; checks that the log is dense.
    pub(crate) async fn messages(&self, channel: ChannelId) -> Vec<(ClientId, Seq)> {
        let log = self.store.events(channel, 0, 100_000).await.unwrap();
        assert!(log.iter().map(|event| event.seq).eq(1..=log.len() as Seq), "dense");
        log.iter()
            .filter(|event| matches!(serde_json::from_str(&event.body).unwrap(), EventBody::Message { .. }))
            .map(|event| (event.id.unwrap(), event.seq))
            .collect()
    }
}

impl Process {
    pub(crate) fn address(&self) -> SocketAddr {
        self.hop.address().unwrap().parse().unwrap()
    }

    pub(crate) fn node(&self) -> Node {
        self.node_at(self.address())
    }

    pub(crate) fn node_at(&self, address: SocketAddr) -> Node {
        Node { name: self.name.as_str().into(), address: address.to_string().into() }
    }

    pub(crate) fn published(&self) -> usize {
        self.published.load(Ordering::Relaxed)
    }

    /// What `does` results in when this process waited for the owner throughout. An owner that stands still for a moment
    /// is done without, as it should be; what is claimed of the others is tried again then.
    pub(crate) async fn undisturbed<T>(&self, mut does: impl AsyncFnMut() -> T) -> T {
        until_within(DEADLINE, "the owner answers throughout", async || {
            let fell_back = self.metrics.hop_fell_back.get();
            let result = does().await;
            (self.metrics.hop_fell_back.get() == fell_back).then_some(result)
        })
        .await
    }
}

struct CountingBus {
    bus: Arc<LocalBus>,
    published: Arc<AtomicUsize>,
}

#[async_trait]
impl Bus for CountingBus {
    async fn publish(&self, message: BusMessage) -> Result<(), PublishError> {
        if let BusMessage::Event(_) = message {
            self.published.fetch_add(1, Ordering::Relaxed);
        }
        self.bus.publish(message).await
    }

    fn subscribe(&self) -> Box<dyn Subscription> {
        self.bus.subscribe()
    }

    fn subscribe_from(&self, position: &Position) -> Box<dyn Subscription> {
        self.bus.subscribe_from(position)
    }
}
