//! Leaving without being noticed: nobody new, the others are told to go one after the other, what they sent is
//! finished. axum's graceful shutdown knows nothing of upgraded sockets.

use std::{sync::Arc, time::Duration};

use rand::{RngExt as _, seq::SliceRandom as _};

use super::{Gateway, conn::Conn};

/// Clients come back within this long after they were told to go, spread evenly.
const COME_BACK_MS: u64 = 1_000;
/// How long after the window the last sockets may take to finish.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is checked whether all have gone.
const CHECK_EVERY: Duration = Duration::from_millis(20);

impl Gateway {
    /// Refuses upgrades from now on, and sockets that have not said hello; the others are not told yet.
    pub fn stop_accepting(&self) {
        self.draining.cancel();
        self.metrics.draining.set(1);
        self.cluster.stop_owning();
    }

    /// Sends every socket away, spread over the drain window. Returns when all have gone, or a bounded time
    /// after the window. True when all have gone.
    pub async fn drain(self: &Arc<Self>) -> bool {
        let all_went = self.send_away().await;
        // Others need not wait for its silence.
        self.publish(self.cluster.leave()).await;
        self.chat.bus().flush().await;
        all_went
    }

    async fn send_away(self: &Arc<Self>) -> bool {
        self.stop_accepting();
        let mut conns: Vec<Arc<Conn>> = self.users.lock().values().flatten().cloned().collect();
        // In random order, so that no user's or channel's sockets go in one piece.
        conns.shuffle(&mut rand::rng());
        let began = tokio::time::Instant::now();
        let total = u32::try_from(conns.len()).unwrap_or(u32::MAX).max(1);
        for (turn, conn) in (0u32..).zip(conns) {
            tokio::time::sleep_until(began + self.options.drain_window / total * turn).await;
            conn.leave(rand::rng().random_range(0..=COME_BACK_MS));
        }
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.connections() > 0 {
            // Sockets that were about to say hello when it began.
            let late: Vec<Arc<Conn>> =
                self.users.lock().values().flatten().filter(|c| !c.is_leaving()).cloned().collect();
            for conn in late {
                conn.leave(rand::rng().random_range(0..=COME_BACK_MS));
            }
            if tokio::time::Instant::now() >= deadline {
                tracing::warn!(open = self.connections(), "sockets were cut off at shutdown");
                return false;
            }
            tokio::time::sleep(CHECK_EVERY).await;
        }
        true
    }
}
