//! Who owns what, and the connections to them.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use chat_domain::chat::{Owners, Remote};
use chat_protocol::ChannelId;
use parking_lot::RwLock;
use tokio_util::sync::CancellationToken;

use super::{
    LiveOwners,
    peer::{ConnectError, Connected, Owner, Peer},
};
use crate::{metrics::ClusterMetrics, owner::owner_of, tls::Identity};

/// How long a connection, with all its handshakes, may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How often a connection is asked for that leads to somebody who owns nothing any more.
const WANTED_EVERY: Duration = Duration::from_secs(5);

/// What a process needs to ask others.
pub(super) struct Asking {
    pub name: Arc<str>,
    pub live: LiveOwners,
    pub identity: Option<Arc<Identity>>,
    pub timeout: Duration,
    pub metrics: Arc<ClusterMetrics>,
    pub stop: CancellationToken,
}

/// The other owners, by address.
pub(super) struct Peers {
    asking: Asking,
    peers: RwLock<HashMap<Arc<str>, Arc<Peer>>>,
}

/// All that a chat knows of them.
struct Known(Arc<Peers>);

impl Owners for Known {
    fn remote(&self, channel: ChannelId) -> Option<Arc<dyn Remote>> {
        let peers = &self.0;
        let live = (peers.asking.live)();
        let owner = owner_of(channel, &live.nodes).filter(|owner| owner.name != peers.asking.name)?;
        let known = peers.peers.read().get(&owner.address).cloned();
        let peer = known.unwrap_or_else(|| peers.meet(&owner.address));
        // A send never waits for a connection to be made: that is what its keeper is for.
        let generation = live.generation;
        peer.usable(Instant::now()).then(|| Arc::new(Owner { peer, generation }) as Arc<dyn Remote>)
    }
}

impl Peers {
    pub(super) fn owners(asking: Asking) -> Arc<dyn Owners> {
        Arc::new(Known(Arc::new(Self { asking, peers: RwLock::default() })))
    }

    fn meet(self: &Arc<Self>, address: &Arc<str>) -> Arc<Peer> {
        let mut peers = self.peers.write();
        if let Some(peer) = peers.get(address) {
            return Arc::clone(peer);
        }
        let peer = Arc::new(Peer::new(self.asking.timeout, Arc::clone(&self.asking.metrics)));
        peers.insert(Arc::clone(address), Arc::clone(&peer));
        let stop = self.asking.stop.clone();
        let keeping = Arc::clone(self).keep(Arc::clone(address), Arc::clone(&peer));
        tokio::spawn(async move { stop.run_until_cancelled(keeping).await });
        peer
    }

    fn wanted(&self, address: &str) -> bool {
        (self.asking.live)()
            .nodes
            .iter()
            .any(|node| *node.address == *address && node.name != self.asking.name)
    }

    /// Keeps one connection to a peer for as long as it may own channels.
    async fn keep(self: Arc<Self>, address: Arc<str>, peer: Arc<Peer>) {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.connect(&address).await {
                Ok(connected) => {
                    tracing::info!(%address, "connected to an owner of channels");
                    pause = FIRST_PAUSE;
                    let ended = peer.connected(connected);
                    tokio::pin!(ended);
                    while tokio::time::timeout(WANTED_EVERY, &mut ended).await.is_err()
                        && self.wanted(&address)
                    {}
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(%address, error, "owner of channels cannot be reached; its sends are written directly");
                }
            }
            {
                let mut peers = self.peers.write();
                if !self.wanted(&address) {
                    peers.remove(&address);
                    return;
                }
            }
            tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..=1.0))).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn connect(&self, address: &str) -> Result<Connected, ConnectError> {
        let connecting = Connected::connect(address, self.asking.identity.as_deref());
        tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.unwrap_or(Err(ConnectError::Timeout))
    }
}

/// Whether a peer may be spoken to in plain text.
pub(super) fn may_be_plain(peer: SocketAddr) -> bool {
    peer.ip().is_loopback()
}
