//! One read for all who want the same at the same time: when a gateway's sockets come back, thousands ask for the same
//! few things.

use std::{collections::HashMap, hash::Hash};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared, WeakShared},
};
use parking_lot::Mutex;

/// Keys of reads that were dropped unfinished are swept out beyond this many.
const SWEEP_BEYOND: usize = 1_024;

/// A read that somebody has begun.
pub type Read<V> = BoxFuture<'static, V>;

/// Reads that are under way, by what they read.
pub struct Flights<K, V: Clone> {
    running: Mutex<HashMap<K, WeakShared<Read<V>>>>,
}

impl<K, V: Clone> Default for Flights<K, V> {
    fn default() -> Self {
        Self { running: Mutex::default() }
    }
}

impl<K: Copy + Eq + Hash, V: Clone> Flights<K, V> {
    /// What the read of `key` gives that is under way, or the one that `start` begins. It may have begun before this
    /// call: what must not be older than the call belongs into the key.
    pub async fn join(&self, key: K, start: impl FnOnce() -> Read<V>) -> V {
        let read = {
            let mut running = self.running.lock();
            match running.get(&key).and_then(WeakShared::upgrade) {
                Some(read) => read,
                None => enter(&mut running, &[key], start()),
            }
        };
        let value = read.await;
        self.running.lock().remove(&key);
        value
    }

    /// The same for several keys: those that nobody reads are read by `start` in one go.
    pub async fn join_all(&self, keys: &[K], start: impl FnOnce(Vec<K>) -> Read<V>) -> Vec<V> {
        let reads = {
            let mut running = self.running.lock();
            let mut reads: Vec<Shared<Read<V>>> = Vec::new();
            let mut missing = Vec::new();
            for key in keys {
                match running.get(key).and_then(WeakShared::upgrade) {
                    Some(read) if reads.iter().any(|other| other.ptr_eq(&read)) => {}
                    Some(read) => reads.push(read),
                    None => missing.push(*key),
                }
            }
            if !missing.is_empty() {
                let read = start(missing.clone());
                reads.push(enter(&mut running, &missing, read));
            }
            reads
        };
        let mut values = Vec::with_capacity(reads.len());
        for read in reads {
            values.push(read.await);
        }
        let mut running = self.running.lock();
        for key in keys {
            running.remove(key);
        }
        values
    }
}

fn enter<K: Copy + Eq + Hash, V: Clone>(
    running: &mut HashMap<K, WeakShared<Read<V>>>,
    keys: &[K],
    read: Read<V>,
) -> Shared<Read<V>> {
    if running.len() >= SWEEP_BEYOND {
        running.retain(|_, read| read.upgrade().is_some());
    }
    let read = read.shared();
    for key in keys {
        // Not finished: nobody has polled it.
        running.extend(read.downgrade().map(|weak| (*key, weak)));
    }
    read
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    };

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn all_who_ask_meanwhile_share_one_read_and_the_next_begins_another() {
        let flights = Arc::new(Flights::default());
        let (reads, gate) = (Arc::new(AtomicU32::new(0)), Arc::new(Semaphore::new(0)));
        let ask = || {
            let (flights, reads, gate) = (Arc::clone(&flights), Arc::clone(&reads), Arc::clone(&gate));
            tokio::spawn(async move {
                let read = async move {
                    let n = reads.fetch_add(1, Ordering::Relaxed);
                    gate.acquire().await.expect("is open").forget();
                    n
                };
                flights.join(7, || read.boxed()).await
            })
        };
        let first: Vec<_> = (0..50).map(|_| ask()).collect();
        tokio::task::yield_now().await;
        gate.add_permits(1);
        for asked in first {
            assert_eq!(asked.await.expect("ends"), 0);
        }
        gate.add_permits(1);
        assert_eq!(ask().await.expect("ends"), 1);
        assert!(flights.running.lock().is_empty());
    }

    #[tokio::test]
    async fn keys_that_are_read_already_are_not_read_again() {
        let flights = Flights::default();
        let gate = Arc::new(Semaphore::new(0));
        let first = {
            let gate = Arc::clone(&gate);
            flights.join_all(&[1, 2], |keys| {
                let read = async move {
                    gate.acquire().await.expect("is open").forget();
                    keys
                };
                read.boxed()
            })
        };
        let second = flights.join_all(&[2, 3], |keys| {
            gate.add_permits(1);
            async move { keys }.boxed()
        });
        let (first, second) = futures_util::join!(first, second);
        assert_eq!(first, [vec![1, 2]]);
        assert_eq!(second, [vec![1, 2], vec![3]]);
    }

    #[tokio::test]
    async fn a_read_that_everybody_left_is_begun_anew() {
        let flights = Flights::default();
        let hangs = flights.join(1, || futures_util::future::pending().boxed());
        assert!(hangs.now_or_never().is_none());
        assert_eq!(flights.join(1, || async { 5 }.boxed()).await, 5);
    }
}
