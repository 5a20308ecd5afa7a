//! Sockets that grow old are asked to reconnect. Nothing else would move them: a gateway that was added, or came back, gets
//! new sockets only, and people's sockets live for days.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use rand::RngExt as _;
use tokio::time::{Instant, MissedTickBehavior};

use super::{Gateway, conn::Conn, pace::Pace};
use crate::metrics::SentAway;

/// How often old sockets are looked for; those that are found are asked one after the other until the next time.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The part of the age by which sockets differ, up and down: who came together must not go together.
const JITTER: f64 = 0.2;

/// How old a socket becomes, for a `unit` drawn evenly from 0 to 1.
fn lifetime(age: Duration, unit: f64) -> Duration {
    age.mul_f64(1.0 - JITTER + 2.0 * JITTER * unit.clamp(0.0, 1.0))
}

impl Gateway {
    /// Draws how old a socket becomes that was just welcomed.
    pub(super) fn draw_lifetime(&self, conn: &Conn) {
        if let Some(age) = self.options.max_connection_age {
            conn.live_for(lifetime(age, rand::rng().random_range(0.0..=1.0)));
        }
    }

    /// Sends sockets away that are old enough, over and over, until the gateway drains.
    pub(super) fn spawn_ageing(self: &Arc<Self>) {
        if self.options.max_connection_age.is_some() {
            tokio::spawn(age_loop(Arc::downgrade(self)));
        }
    }

    async fn send_old_away(&self) {
        let old: Vec<Arc<Conn>> = {
            let users = self.users.lock();
            users.values().flatten().filter(|conn| conn.is_old() && !conn.is_leaving()).cloned().collect()
        };
        let mut pace = Pace::new(Instant::now(), LOOK_EVERY, old.len());
        for conn in old {
            tokio::time::sleep_until(pace.next()).await;
            // Then all are sent away, at the pace of the drain.
            if self.has_begun_to_drain() {
                return;
            }
            self.send_one_away(&conn, SentAway::Age);
            pace.had(Instant::now());
        }
    }
}

async fn age_loop(gateway: Weak<Gateway>) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(gateway) = gateway.upgrade() else { return };
        if gateway.has_begun_to_drain() {
            return;
        }
        gateway.send_old_away().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_differ_by_a_fifth_up_and_down() {
        let age = Duration::from_secs(1_000);
        for (unit, seconds) in [(0.0, 800), (0.5, 1_000), (1.0, 1_200), (7.0, 1_200)] {
            assert_eq!(lifetime(age, unit).as_secs_f64().round(), f64::from(seconds), "{unit}");
        }
    }
}
