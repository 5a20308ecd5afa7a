//! How far the logs go that this process wrote to lately: what it sends to others, so that a lost tail is noticed.

use std::{
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use chat_protocol::{ChannelId, Seq};
use lru::LruCache;
use parking_lot::Mutex;

/// Logs that are remembered.
const LOGS: NonZeroUsize = NonZeroUsize::new(4_096).expect("not zero");

/// The last positions written, of the logs written to last.
pub(super) struct RecentHeads {
    logs: Mutex<LruCache<ChannelId, (Seq, Instant)>>,
}

impl RecentHeads {
    pub(super) fn new() -> Self {
        Self { logs: Mutex::new(LruCache::new(LOGS)) }
    }

    /// A log was written up to there.
    pub(super) fn note(&self, channel: ChannelId, head: Seq) {
        let now = Instant::now();
        let mut logs = self.logs.lock();
        let head = logs.get(&channel).map_or(head, |(known, _)| head.max(*known));
        logs.put(channel, (head, now));
    }

    /// Forgets all of them.
    pub(super) fn forget(&self) {
        self.logs.lock().clear();
    }

    /// Up to `limit` logs written to `within` the last while, the newest first.
    pub(super) fn newest(&self, limit: usize, within: Duration) -> Vec<(ChannelId, Seq)> {
        let now = Instant::now();
        let logs = self.logs.lock();
        let lately = logs.iter().take_while(|(_, (_, at))| now.duration_since(*at) <= within);
        lately.take(limit).map(|(channel, (head, _))| (*channel, *head)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_logs_are_reported_each_with_its_last_position() {
        let heads = RecentHeads::new();
        let (a, b) = (ChannelId::new(), ChannelId::new());
        heads.note(a, 1);
        heads.note(b, 5);
        heads.note(a, 3);
        // Reported late: positions do not go back.
        heads.note(a, 2);
        let minute = Duration::from_secs(60);
        assert_eq!(heads.newest(10, minute), [(a, 3), (b, 5)]);
        assert_eq!(heads.newest(1, minute), [(a, 3)]);
        assert!(heads.newest(10, Duration::ZERO).len() < 2);
    }
}
