//! What a worker has to do at some time.

use std::{cmp::Reverse, collections::BinaryHeap};

/// Why a connection is to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wake {
    /// It has been away for long enough.
    Reconnect,
    /// It should be welcomed by now.
    Handshake,
    /// Its sends should be acked by now.
    Acks,
    /// It may send again after the server asked it to wait.
    Outbox,
    /// What is missing in this slot has had its time to come by itself.
    Gap(usize),
    /// The answer to the `sync` of this slot should be here by now.
    Sync(usize),
}

/// A wake-up of one connection. One of an older generation (another socket of it) is void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timer {
    pub(crate) at_us: u64,
    pub(crate) conn: usize,
    pub(crate) generation: u32,
    pub(crate) wake: Wake,
}

/// Timers by their time.
#[derive(Debug, Default)]
pub(crate) struct Timers(BinaryHeap<Reverse<Timer>>);

impl Timers {
    pub(crate) fn add(&mut self, timer: Timer) {
        self.0.push(Reverse(timer));
    }

    pub(crate) fn next_us(&self) -> Option<u64> {
        self.0.peek().map(|Reverse(timer)| timer.at_us)
    }

    pub(crate) fn pop_due(&mut self, now_us: u64) -> Option<Timer> {
        (self.next_us()? <= now_us).then(|| self.0.pop()).flatten().map(|Reverse(timer)| timer)
    }
}
