//! What a gateway does when the store under it was restored from a backup: positions mean other events now, so channels
//! are forgotten, and all sockets come anew.

use std::sync::Arc;

use chat_cluster::process::Listener as _;
use chat_protocol::Generation;
use rand::RngExt as _;

use super::{Gateway, conn::Conn};
use crate::metrics::SentAway;

/// Clients come back within this long: all of them at once would be a crowd, and none of them has anything to lose by
/// waiting.
const COME_BACK_MS: u64 = 3_000;

impl Gateway {
    /// Another generation of the store begins.
    pub(super) fn begin(&self, generation: Option<Generation>) {
        self.feed.begins(generation);
        let conns: Vec<Arc<Conn>> = self.users.lock().values().flatten().cloned().collect();
        tracing::warn!(connections = conns.len(), "the store was restored: all sockets are sent away");
        for conn in conns {
            if !conn.is_leaving() {
                conn.leave(rand::rng().random_range(0..=COME_BACK_MS));
                self.metrics.sent_away.inc(SentAway::Restored);
            }
        }
    }
}
