//! Leaving without being noticed: nobody new, the others are asked to go one after the other, what they sent is
//! finished. axum's graceful shutdown knows nothing of upgraded sockets.
//!
//! A drain happens once in the life of a process, whoever asks for it: a signal, which ends the process behind it, or the
//! operator, which wants the sockets gone first and ends the process when they are.

use std::{sync::Arc, time::Duration};

use rand::{RngExt as _, seq::SliceRandom as _};
use tokio::time::Instant;

use super::{Gateway, conn::Conn, pace::Pace};
use crate::metrics::SentAway;

/// Clients come back within this long after they were asked to go. Short, since they miss their chat meanwhile: that
/// they do not come back at once is the work of the even window in which they are asked. Together, no second sees more
/// than 1.1 times the mean.
const COME_BACK_MS: u64 = 100;
/// How long after the window the last sockets may take to finish.
const FINISH_TIMEOUT: Duration = Duration::from_secs(10);
/// How often it is checked whether all have gone.
const CHECK_EVERY: Duration = Duration::from_millis(20);

/// How far a gateway is with its drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nobody has asked for one.
    Serving,
    /// Everything is as before until then: balancers must hear of it before anybody is refused.
    Announced { until: Instant },
    /// Upgrades are refused, sockets are sent away.
    Leaving,
    /// There is nothing left to do.
    Over {
        /// No socket had to be cut off.
        all_went: bool,
    },
}

impl Stage {
    /// What it becomes when a drain is asked for that begins to send away at `at`; `None`: it goes on as it is. Who asks
    /// again can bring the beginning forward, and never puts it off or starts anything over.
    fn asked(self, at: Instant) -> Option<Self> {
        match self {
            Self::Serving => Some(Self::Announced { until: at }),
            Self::Announced { until } if at < until => Some(Self::Announced { until: at }),
            Self::Announced { .. } | Self::Leaving | Self::Over { .. } => None,
        }
    }
}

impl Gateway {
    /// Begins to drain, unless it does already: from now on metrics say so and no channel is owned; after `after`,
    /// upgrades are refused and sockets are sent away, spread over the drain window. Returns at once.
    pub fn begin_drain(self: &Arc<Self>, after: Duration) {
        let at = Instant::now() + after;
        let mut first = false;
        self.stage.send_if_modified(|stage| {
            let Some(next) = stage.asked(at) else { return false };
            first = *stage == Stage::Serving;
            *stage = next;
            true
        });
        if first {
            tracing::info!(connections = self.connections(), after = after.as_secs_f64(), "drain begins");
            self.metrics.draining.set(1);
            self.cluster.stop_owning();
            tokio::spawn(Arc::clone(self).carry_out());
        }
    }

    /// Sends every socket away, spread over the drain window, or joins a drain that is under way. Returns when all have gone, or a bounded time after the window. True when all have gone.
    pub async fn drain(self: &Arc<Self>) -> bool {
        self.begin_drain(Duration::ZERO);
        let mut stage = self.stage.subscribe();
        let over = stage.wait_for(|stage| matches!(stage, Stage::Over { .. })).await;
        over.is_ok_and(|stage| *stage == Stage::Over { all_went: true })
    }

    async fn carry_out(self: Arc<Self>) {
        let mut stage = self.stage.subscribe();
        loop {
            let Stage::Announced { until } = *stage.borrow_and_update() else { break };
            if tokio::time::timeout_at(until, stage.changed()).await.is_err() {
                break;
            }
        }
        self.stage.send_replace(Stage::Leaving);
        // Also ends sockets that have not said hello.
        self.draining.cancel();
        let all_went = self.send_away().await;
        self.stage.send_replace(Stage::Over { all_went });
        tracing::info!(all_went, "drain is over");
    }

    async fn send_away(&self) -> bool {
        let mut conns: Vec<Arc<Conn>> = self.users.lock().values().flatten().cloned().collect();
        // In random order, so that no user's or channel's sockets go in one piece.
        conns.shuffle(&mut rand::rng());
        let mut pace = Pace::new(Instant::now(), self.options.drain_window, conns.len());
        for conn in conns {
            tokio::time::sleep_until(pace.next()).await;
            self.send_one_away(&conn, SentAway::Drain);
            pace.had(Instant::now());
        }
        let deadline = Instant::now() + FINISH_TIMEOUT;
        while self.connections() > 0 || self.metrics.strangers.get() > 0 {
            // Sockets that were about to say hello when it began.
            let late: Vec<Arc<Conn>> =
                self.users.lock().values().flatten().filter(|conn| !conn.is_leaving()).cloned().collect();
            for conn in late {
                self.send_one_away(&conn, SentAway::Drain);
            }
            if Instant::now() >= deadline {
                tracing::warn!(open = self.connections(), "sockets did not go in time");
                return false;
            }
            tokio::time::sleep(CHECK_EVERY).await;
        }
        true
    }

    /// Asks one socket to reconnect, unless it was asked before.
    pub(super) fn send_one_away(&self, conn: &Conn, why: SentAway) {
        if !conn.is_leaving() {
            conn.leave(rand::rng().random_range(0..=COME_BACK_MS));
            self.metrics.sent_away.inc(why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_is_begun_once_and_can_be_brought_forward_only() {
        let now = Instant::now();
        let at = |seconds| now + Duration::from_secs(seconds);
        let announced = |seconds| Stage::Announced { until: at(seconds) };
        for (stage, asked, expected) in [
            (Stage::Serving, 5, Some(announced(5))),
            (Stage::Serving, 0, Some(announced(0))),
            (announced(5), 5, None),
            (announced(5), 9, None),
            (announced(5), 0, Some(announced(0))),
            (Stage::Leaving, 0, None),
            (Stage::Over { all_went: true }, 0, None),
            (Stage::Over { all_went: false }, 0, None),
        ] {
            assert_eq!(stage.asked(at(asked)), expected, "{stage:?} asked for in {asked} s");
        }
    }
}
