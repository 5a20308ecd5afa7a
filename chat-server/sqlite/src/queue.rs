//! A bounded queue between async callers and the store's threads. It never waits to push: full is an answer.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

/// Why an item was not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rejected {
    /// The bound is reached.
    Full,
    /// Nobody takes items out any more.
    Closed,
}

/// What a waiting thread got.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken<T> {
    /// At least one item, in the order they were pushed.
    Items(Vec<T>),
    /// Nothing came in time.
    Idle,
    /// Closed, and everything in it was taken out.
    Closed,
}

struct State<T> {
    items: VecDeque<T>,
    closed: bool,
}

/// Many producers, many consumers, first in first out.
pub(super) struct Queue<T> {
    state: Mutex<State<T>>,
    filled: Condvar,
    bound: usize,
}

impl<T> Queue<T> {
    pub(super) fn new(bound: usize) -> Self {
        let state = State { items: VecDeque::with_capacity(bound.min(1_024)), closed: false };
        Self { state: Mutex::new(state), filled: Condvar::new(), bound }
    }

    pub(super) fn push(&self, item: T) -> Result<(), Rejected> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(Rejected::Closed);
        }
        if state.items.len() >= self.bound {
            return Err(Rejected::Full);
        }
        state.items.push_back(item);
        drop(state);
        self.filled.notify_one();
        Ok(())
    }

    /// Waits up to `timeout` for the first item, then takes what is there, at most `most`.
    pub(super) fn take(&self, most: usize, timeout: Duration) -> Taken<T> {
        let deadline = Instant::now() + timeout;
        let mut state = self.state.lock();
        while state.items.is_empty() {
            if state.closed {
                return Taken::Closed;
            }
            if self.filled.wait_until(&mut state, deadline).timed_out() && state.items.is_empty() {
                return if state.closed { Taken::Closed } else { Taken::Idle };
            }
        }
        let count = state.items.len().min(most);
        Taken::Items(state.items.drain(..count).collect())
    }

    /// No more items are taken in; those inside can still be taken out.
    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.filled.notify_all();
    }

    /// Closes, and drops what is inside.
    pub(super) fn abandon(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        let dropped = std::mem::take(&mut state.items);
        drop(state);
        self.filled.notify_all();
        drop(dropped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_is_an_answer_and_order_is_kept() {
        let queue = Queue::new(2);
        assert_eq!(queue.push(1), Ok(()));
        assert_eq!(queue.push(2), Ok(()));
        assert_eq!(queue.push(3), Err(Rejected::Full));
        assert_eq!(queue.take(10, Duration::ZERO), Taken::Items(vec![1, 2]));
        assert_eq!(queue.take(10, Duration::ZERO), Taken::Idle);
    }

    #[test]
    fn a_closed_queue_gives_what_it_holds_and_takes_nothing() {
        let queue = Queue::new(2);
        queue.push(1).expect("there is room");
        queue.close();
        assert_eq!(queue.push(2), Err(Rejected::Closed));
        assert_eq!(queue.take(1, Duration::ZERO), Taken::Items(vec![1]));
        assert_eq!(queue.take(1, Duration::from_secs(60)), Taken::Closed);
    }

    #[test]
    fn an_abandoned_queue_is_empty() {
        let queue = Queue::new(2);
        queue.push(1).expect("there is room");
        queue.abandon();
        assert_eq!(queue.take(1, Duration::from_secs(60)), Taken::Closed);
    }
}
