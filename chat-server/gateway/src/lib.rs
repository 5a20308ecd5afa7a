//! Role `gateway`: WebSocket sessions, fan-out, presence, drain.
//!
//! A socket's life: `upgrade` → `session` (hello, commands, acks; `welcome` answers the hello). What comes the other way: the bus → `feed` → `hub` →
//! each socket's `outbox`, written by whoever has something for it. `decode`, `presence`, `roster`, `answer` and `pace` are pure.
//!
//! The gateway never waits on a slow socket and never hashes a password.

mod age;
mod answer;
mod conn;
mod decode;
mod drain;
mod feed;
mod frames;
mod generation;
mod guests;
mod hub;
pub mod metrics;
mod options;
mod outbox;
mod pace;
mod places;
mod presence;
mod reader;
mod reads;
mod recent;
mod roster;
mod session;
mod sockets;
mod tasks;
mod upgrade;
mod welcome;
mod wire;

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use axum::{Router, routing};
use chat_auth::TokenVerifier;
use chat_cluster::Cluster;
use chat_domain::chat::Chat;
use chat_http::connection::Seat;
use chat_protocol::{ChannelId, CloseCode, Seq, UserId};
use governor::Quota;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;

pub use decode::decode;
pub use feed::Feed;
pub use frames::{Frames, Input};
pub use options::GatewayOptions;

use crate::metrics::GatewayMetrics;
use conn::Conn;
use drain::Stage;
use hub::Hub;
use presence::Presence;
use reads::Reads;

/// All sockets of this process.
pub struct Gateway {
    cluster: Arc<Cluster>,
    options: GatewayOptions,
    quota: Quota,
    chat: Arc<Chat>,
    verifier: TokenVerifier,
    metrics: Arc<GatewayMetrics>,
    feed: Arc<Feed>,
    presence: Mutex<Presence>,
    /// Somebody came to a channel or left one whom a guest watches.
    guests_moved: watch::Sender<()>,
    /// Sockets that said hello, by user.
    users: Mutex<HashMap<UserId, Vec<Arc<Conn>>>>,
    reads: Reads,
    places: Arc<Semaphore>,
    next_id: AtomicU64,
    started: Instant,
    /// How far it is with its drain.
    stage: watch::Sender<Stage>,
    /// Cancelled when upgrades begin to be refused, since it drains.
    draining: CancellationToken,
}

impl Gateway {
    /// A gateway without sockets. [`Gateway::spawn`] starts its work; the process must have it among its listeners before
    /// the first socket comes.
    #[must_use]
    pub fn new(
        chat: Arc<Chat>,
        verifier: TokenVerifier,
        cluster: Arc<Cluster>,
        options: GatewayOptions,
        metrics: Arc<GatewayMetrics>,
    ) -> Arc<Self> {
        let per_second = NonZeroU32::new(options.commands_per_second).unwrap_or(NonZeroU32::MIN);
        let burst = NonZeroU32::new(options.command_burst).unwrap_or(NonZeroU32::MIN);
        let feed = Feed::new(&chat, &metrics, &options);
        metrics.capacity.set(i64::try_from(options.max_sockets).unwrap_or(i64::MAX));
        Arc::new(Self {
            cluster,
            quota: Quota::per_second(per_second).allow_burst(burst),
            chat,
            verifier,
            reads: Reads::new(metrics.hellos_throttled.clone()),
            metrics,
            feed,
            presence: Mutex::default(),
            guests_moved: watch::Sender::new(()),
            users: Mutex::default(),
            places: Arc::new(Semaphore::new(options.max_sockets)),
            next_id: AtomicU64::new(1),
            started: Instant::now(),
            stage: watch::Sender::new(Stage::Serving),
            draining: CancellationToken::new(),
            options,
        })
    }

    /// The routes: `GET /v1/ws`.
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new().route("/v1/ws", routing::get(upgrade::upgrade)).with_state(Arc::clone(self))
    }

    /// This process among the others.
    #[must_use]
    pub const fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// The last position of a log that this process has seen, of those whose recent events it keeps.
    #[must_use]
    pub fn recent_head(&self, channel: ChannelId) -> Option<Seq> {
        self.hub().head(channel)
    }

    fn hub(&self) -> &Arc<Hub> {
        &self.feed.hub
    }

    /// Sockets that are open now and have said hello.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.options.max_sockets - self.places.available_permits()
    }

    /// Whether upgrades are refused.
    fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Whether a drain was asked for; upgrades may still be taken.
    fn has_begun_to_drain(&self) -> bool {
        *self.stage.borrow() != Stage::Serving
    }

    fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether there is no room for one more socket.
    fn is_full(&self) -> bool {
        self.places.available_permits() == 0
    }

    /// Room for one more socket, given back when dropped.
    fn place(&self) -> Option<Place> {
        let permit = Arc::clone(&self.places).try_acquire_owned().ok()?;
        self.metrics.connections.inc();
        Some(Place { _permit: permit, seat: None, metrics: Arc::clone(&self.metrics) })
    }

    /// Counts a socket as one of its user's. When there are more than one may have, the one that was silent longest has to go:
    /// it is most likely to be dead.
    fn register(&self, conn: &Arc<Conn>, user: UserId) {
        let mut users = self.users.lock();
        let conns = users.entry(user).or_default();
        let first = conns.is_empty();
        while conns.len() >= self.options.max_sockets_per_user {
            let silent =
                (0..conns.len()).max_by_key(|at| (conns[*at].silent_seconds(), std::cmp::Reverse(*at)));
            let Some(silent) = silent else { break };
            conns.remove(silent).close(CloseCode::TooManySockets);
            self.metrics.pushed_out.inc();
        }
        conns.push(Arc::clone(conn));
        if first {
            // Under the lock of `users`, so that arrivals and departures of one user are in order.
            self.presence.lock().arrived(user);
        }
    }

    /// Forgets a socket.
    fn leave(&self, conn: &Conn) {
        self.hub().unsubscribe_all(conn);
        self.presence.lock().unwatch(conn.id);
        let Some(user) = conn.actor().map(|actor| actor.user) else { return };
        let mut users = self.users.lock();
        let Some(conns) = users.get_mut(&user) else { return };
        let before = conns.len();
        conns.retain(|other| other.id != conn.id);
        let last = before == 1 && conns.is_empty();
        if conns.is_empty() {
            users.remove(&user);
        }
        if last {
            // Under the lock of `users`, see above.
            self.presence.lock().left(user, Instant::now());
        }
    }

    /// The sockets of one user.
    fn conns_of(&self, user: UserId) -> Vec<Arc<Conn>> {
        self.users.lock().get(&user).cloned().unwrap_or_default()
    }
}

/// One socket's place among [`GatewayOptions::max_sockets`].
struct Place {
    _permit: OwnedSemaphorePermit,
    /// And its part of what may be open.
    seat: Option<Seat>,
    metrics: Arc<GatewayMetrics>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.metrics.connections.dec();
    }
}
