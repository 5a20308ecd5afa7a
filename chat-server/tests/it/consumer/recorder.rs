//! Consumers that tests look at.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use chat_domain::store::StoredEvent;
use chat_follow::{
    Consumer, ConsumerError,
    count::{Count, Counts},
};
use chat_protocol::{ChannelId, Seq};
use parking_lot::Mutex;

/// Counts that outlive followers, as a database would.
#[derive(Clone, Default)]
pub(crate) struct MemoryCounts(Arc<Mutex<HashMap<ChannelId, Count>>>);

impl MemoryCounts {
    pub(crate) fn of(&self, channel: ChannelId) -> Count {
        self.0.lock().get(&channel).copied().unwrap_or_default()
    }
}

/// What a channel's count is when each event up to there was counted once.
pub(crate) const fn exact(head: Seq) -> Count {
    Count { position: head, events: head }
}

#[async_trait]
impl Counts for MemoryCounts {
    async fn get(&self, channel: ChannelId) -> Result<Count, ConsumerError> {
        Ok(self.of(channel))
    }

    async fn put(&self, channel: ChannelId, from: Count, to: Count) -> Result<bool, ConsumerError> {
        let mut counts = self.0.lock();
        let count = counts.entry(channel).or_default();
        let same = *count == from;
        if same {
            *count = to;
        }
        Ok(same)
    }
}

/// Remembers all that it was given, and refuses channels as a test says.
pub(crate) struct Recorder {
    name: &'static str,
    had: Mutex<HashMap<ChannelId, Vec<Seq>>>,
    refused: Mutex<HashSet<ChannelId>>,
    refusals: AtomicUsize,
}

impl Recorder {
    pub(crate) fn new(name: &'static str) -> Arc<Self> {
        Arc::new(Self {
            name,
            had: Mutex::default(),
            refused: Mutex::default(),
            refusals: AtomicUsize::new(0),
        })
    }

    pub(crate) fn had(&self, channel: ChannelId) -> Vec<Seq> {
        self.had.lock().get(&channel).cloned().unwrap_or_default()
    }

    /// Whether it had each event up to there at least once.
    pub(crate) fn had_all(&self, channel: ChannelId, head: Seq) -> bool {
        let had: HashSet<Seq> = self.had(channel).into_iter().collect();
        (1..=head).all(|seq| had.contains(&seq))
    }

    pub(crate) fn refuse(&self, channel: ChannelId) {
        self.refused.lock().insert(channel);
    }

    pub(crate) fn accept(&self, channel: ChannelId) {
        self.refused.lock().remove(&channel);
    }

    pub(crate) fn refusals(&self) -> usize {
        self.refusals.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Consumer for Recorder {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn handle(&self, channel: ChannelId, events: &[StoredEvent]) -> Result<(), ConsumerError> {
        if self.refused.lock().contains(&channel) {
            self.refusals.fetch_add(1, Ordering::Relaxed);
            return Err("refused by the test".into());
        }
        let mut had = self.had.lock();
        let had = had.entry(channel).or_default();
        for event in events {
            let next = had.iter().max().map_or(event.seq, |last| last + 1);
            assert!(event.seq <= next, "{} comes before {next} of {channel}", event.seq);
            assert_eq!(event.channel, channel);
            had.push(event.seq);
        }
        assert!(events.windows(2).all(|pair| pair[0].seq + 1 == pair[1].seq), "events are consecutive");
        Ok(())
    }
}
