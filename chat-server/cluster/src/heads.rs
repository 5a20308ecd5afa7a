//! Tails that are missing. A log's last event has no successor whose arrival would show the gap; digests repeat how far
//! logs go, and whoever is not there after a moment reads the store. Pure.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use chat_protocol::{ChannelId, Seq};

/// Channels that are looked at, at once.
const CLAIMS: usize = 20_000;

/// Heads that others claim and that were not seen when they claimed them.
#[derive(Debug, Default)]
pub struct Claims {
    claims: HashMap<ChannelId, (Seq, Instant)>,
}

impl Claims {
    /// A log goes that far, it is said, and we are not there. The first claim stands until it is due: a log that is
    /// written to all the time is always a little behind, and still gets there.
    pub fn note(&mut self, channel: ChannelId, head: Seq, now: Instant) {
        if self.claims.len() < CLAIMS || self.claims.contains_key(&channel) {
            self.claims.entry(channel).or_insert((head, now));
        }
    }

    /// Drops all claims.
    pub fn forget(&mut self) {
        self.claims.clear();
    }

    /// Claims that are older than `grace`, once: the bus had its time to bring the events.
    pub fn due(&mut self, now: Instant, grace: Duration) -> Vec<(ChannelId, Seq)> {
        let due = self.claims.extract_if(|_, (_, since)| now.duration_since(*since) >= grace);
        due.map(|(channel, (head, _))| (channel, head)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_claim_is_due_after_the_grace_time_and_once() {
        let (mut claims, channel, start) = (Claims::default(), ChannelId::new(), Instant::now());
        let grace = Duration::from_millis(500);
        claims.note(channel, 7, start);
        claims.note(channel, 9, start + grace / 2);
        assert!(claims.due(start + grace / 2, grace).is_empty());
        assert_eq!(claims.due(start + grace, grace), [(channel, 7)]);
        assert!(claims.due(start + grace * 9, grace).is_empty());
    }
}
