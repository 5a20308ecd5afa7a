//! What is remembered of each `ChatCluster` from one reconcile to the next. Nothing depends on it: another operator
//! begins without.

use std::{collections::HashMap, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::apply;
use crate::{
    datastore::{self, PulsarAction},
    live::Key,
    scaling,
};

/// What is remembered of one `ChatCluster`.
#[derive(Debug, Default)]
pub(super) struct ClusterMemory {
    /// Uid of the `ChatCluster`: another one of the same name begins with an empty memory.
    uid: String,
    /// Start of the reconcile that is running.
    running_since: Option<Instant>,
    /// Consecutive reconciles that failed.
    pub failures: u32,
    /// What is known of its engines.
    pub engines: EngineMemory,
    /// What this process applied.
    pub applied: apply::Memory,
    /// What its gateways reported.
    pub gateways: scaling::memory::Memory,
    /// When they were asked last.
    pub gateways_asked_at: Option<Instant>,
    /// When the status was written last.
    pub status_written_at: Option<Instant>,
    /// Whether the namespace in Pulsar was deleted.
    pub is_pulsar_deleted: bool,
}

/// What is known of the engines of a `ChatCluster`, and what this process does about them.
#[derive(Debug, Default)]
pub(super) struct EngineMemory {
    /// What they answered last.
    pub known: datastore::Known,
    /// Whether they are being asked or put right, which goes on when no reconcile waits for it any more.
    pub is_busy: bool,
    /// What was put right in Pulsar and is not yet an event.
    pub repaired: Vec<PulsarAction>,
}

/// The memory of all `ChatCluster`s.
#[derive(Debug, Default)]
pub(super) struct Memories(Mutex<HashMap<Key, ClusterMemory>>);

impl Memories {
    /// A reconcile begins.
    pub(super) fn begin(&self, key: &Key, now: Instant) {
        self.0.lock().entry(key.clone()).or_default().running_since = Some(now);
    }

    /// A reconcile has ended.
    pub(super) fn end(&self, key: &Key) {
        self.with(key, |memory| memory.running_since = None);
    }

    /// Whether a reconcile has been running for longer than this.
    pub(super) fn is_running_longer_than(&self, longest: Duration) -> bool {
        let running = |memory: &ClusterMemory| memory.running_since.is_some_and(|at| at.elapsed() > longest);
        self.0.lock().values().any(running)
    }

    /// From now on it is the memory of the `ChatCluster` with this uid.
    pub(super) fn belongs_to(&self, key: &Key, uid: &str) {
        let mut memories = self.0.lock();
        let memory = memories.entry(key.clone()).or_default();
        if memory.uid != uid {
            let running_since = memory.running_since;
            *memory = ClusterMemory { uid: uid.to_owned(), running_since, ..ClusterMemory::default() };
        }
    }

    /// Reads or changes a memory; `None` when nothing is remembered.
    pub(super) fn with<R>(&self, key: &Key, change: impl FnOnce(&mut ClusterMemory) -> R) -> Option<R> {
        self.0.lock().get_mut(key).map(change)
    }

    /// The same, if it still is the memory of the `ChatCluster` with this uid.
    pub(super) fn with_uid<R>(
        &self,
        key: &Key,
        uid: &str,
        change: impl FnOnce(&mut ClusterMemory) -> R,
    ) -> Option<R> {
        self.0.lock().get_mut(key).filter(|memory| memory.uid == uid).map(change)
    }

    /// Forgets a `ChatCluster` that is gone.
    pub(super) fn forget(&self, key: &Key) {
        self.0.lock().remove(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn another_chat_of_the_same_name_begins_without_memory_but_its_reconcile_goes_on() {
        let (memories, key) = (Memories::default(), Key::new("team", "chat"));
        let failures = |memories: &Memories| memories.with(&key, |memory| memory.failures);
        assert_eq!(failures(&memories), None);
        memories.begin(&key, Instant::now());
        memories.belongs_to(&key, "a");
        memories.with(&key, |memory| memory.failures = 3);
        memories.belongs_to(&key, "a");
        assert_eq!(failures(&memories), Some(3));
        memories.belongs_to(&key, "b");
        assert_eq!(failures(&memories), Some(0));
        assert_eq!(memories.with_uid(&key, "a", |_| ()), None, "what was begun for the one before");
        assert_eq!(memories.with_uid(&key, "b", |_| ()), Some(()));

        let second = Duration::from_secs(1);
        tokio::time::advance(second * 2).await;
        assert!(memories.is_running_longer_than(second) && !memories.is_running_longer_than(second * 3));
        memories.end(&key);
        assert!(!memories.is_running_longer_than(second));
        memories.forget(&key);
        assert_eq!(failures(&memories), None);
    }
}
