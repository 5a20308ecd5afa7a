//! Which `ChatCluster` is looked at next. A key is worked on by one at a time; what is touched meanwhile comes again afterwards.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// Changes that come together are looked at together.
const TOGETHER: Duration = Duration::from_millis(100);

/// Keys and when they are due.
#[derive(Debug)]
pub struct Queue<K> {
    state: Mutex<State<K>>,
    changed: Notify,
}

#[derive(Debug)]
struct State<K> {
    due: HashMap<K, Instant>,
    running: HashSet<K>,
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self {
            state: Mutex::new(State { due: HashMap::new(), running: HashSet::new() }),
            changed: Notify::new(),
        }
    }
}

impl<K: Clone + Eq + Hash> Queue<K> {
    /// Something about this key changed: it is due in a moment.
    pub fn touch(&self, key: K) {
        self.at(key, Instant::now() + TOGETHER);
    }

    /// The key is due after this long, unless it is sooner already.
    pub fn after(&self, key: K, pause: Duration) {
        self.at(key, Instant::now() + pause);
    }

    /// Forgets when a key was due.
    pub fn forget(&self, key: &K) {
        self.state.lock().due.remove(key);
    }

    fn at(&self, key: K, when: Instant) {
        let mut state = self.state.lock();
        let due = state.due.entry(key).or_insert(when);
        *due = (*due).min(when);
        drop(state);
        self.changed.notify_one();
    }

    /// Waits for the next key that is due and that nobody works on. It is worked on until [`Self::done`].
    pub async fn next(&self) -> K {
        loop {
            match self.take() {
                Ok(key) => return key,
                // A change while nobody waits is kept for the next who does.
                Err(Some(due)) => {
                    tokio::select! { () = self.changed.notified() => {}, () = sleep_until(due) => {} }
                }
                Err(None) => self.changed.notified().await,
            }
        }
    }

    /// A key that is due, or when the next one is.
    fn take(&self) -> Result<K, Option<Instant>> {
        let mut state = self.state.lock();
        let waiting = state.due.iter().filter(|(key, _)| !state.running.contains(*key));
        let Some((key, due)) = waiting.min_by_key(|(_, due)| **due).map(|(key, due)| (key.clone(), *due))
        else {
            return Err(None);
        };
        if due > Instant::now() {
            return Err(Some(due));
        }
        state.due.remove(&key);
        state.running.insert(key.clone());
        if !state.due.is_empty() {
            // Another one who waits looks at the rest.
            self.changed.notify_one();
        }
        Ok(key)
    }

    /// The work on a key has ended.
    pub fn done(&self, key: &K) {
        self.state.lock().running.remove(key);
        self.changed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    async fn nothing(queue: &Queue<u8>, within: Duration) -> bool {
        timeout(within, queue.next()).await.is_err()
    }

    #[tokio::test(start_paused = true)]
    async fn touches_that_come_together_are_one() {
        let queue = Queue::default();
        queue.touch(1);
        queue.touch(1);
        assert_eq!(queue.next().await, 1);
        queue.done(&1);
        assert!(nothing(&queue, Duration::from_secs(3600)).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_is_worked_on_by_one_at_a_time_and_comes_again() {
        let queue = Queue::default();
        queue.touch(1);
        assert_eq!(queue.next().await, 1);
        queue.touch(1);
        queue.touch(2);
        assert_eq!(queue.next().await, 2);
        assert!(nothing(&queue, Duration::from_secs(60)).await, "1 is still being worked on");
        queue.done(&1);
        assert_eq!(queue.next().await, 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_touch_comes_before_what_was_due_later() {
        let queue = Queue::default();
        queue.after(1, Duration::from_secs(30));
        assert!(nothing(&queue, Duration::from_secs(10)).await);
        queue.touch(1);
        let began = Instant::now();
        assert_eq!(queue.next().await, 1);
        assert!(began.elapsed() < Duration::from_secs(1));
        queue.done(&1);
        queue.after(1, Duration::from_secs(5));
        queue.after(1, Duration::from_secs(50));
        let began = Instant::now();
        assert_eq!(queue.next().await, 1);
        assert!(began.elapsed() < Duration::from_secs(6), "the sooner of two");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_forgotten_does_not_come() {
        let queue = Queue::default();
        queue.after(1, Duration::from_secs(1));
        queue.forget(&1);
        assert!(nothing(&queue, Duration::from_secs(3600)).await);
    }
}
