//! Which channel a consumer is given next. Pure: time comes in.
//!
//! A channel is in one place only: ready, running, or waiting until what failed is tried again. So a channel's events stay
//! in order, and a channel that fails takes nobody's place.

use std::{
    collections::{BTreeSet, HashMap, HashSet, hash_map::Entry},
    time::{Duration, Instant},
};

use chat_protocol::{ChannelId, Seq};
use indexmap::IndexMap;

use super::FollowOptions;

/// How far a channel is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// At least up to this position.
    Seq(Seq),
    /// To its end, as it is now. `settled`: see [`chat_domain::store::follow::FollowStore::head`].
    Head { settled: bool },
}

struct Failing {
    failures: u32,
    due: Instant,
}

/// The channels of one consumer that something is to be done about.
pub(super) struct Queue {
    ready: IndexMap<ChannelId, Seq>,
    running: HashSet<ChannelId>,
    failing: HashMap<ChannelId, Failing>,
    due: BTreeSet<(Instant, ChannelId)>,
    most_ready: usize,
    most_failing: usize,
    backoff: (Duration, Duration),
}

impl Queue {
    pub(super) fn new(options: &FollowOptions) -> Self {
        Self {
            ready: IndexMap::new(),
            running: HashSet::new(),
            failing: HashMap::new(),
            due: BTreeSet::new(),
            most_ready: options.most_channels,
            most_failing: options.most_failing,
            backoff: options.backoff,
        }
    }

    /// A channel goes on. False when there is no place for it: a walk must find it.
    pub(super) fn wake(&mut self, channel: ChannelId, seq: Seq) -> bool {
        if self.failing.contains_key(&channel) {
            // It is read to its end when its time comes.
            return true;
        }
        if let Some(wanted) = self.ready.get_mut(&channel) {
            *wanted = seq.max(*wanted);
            return true;
        }
        if self.ready.len() >= self.most_ready || self.is_full() {
            return false;
        }
        self.ready.insert(channel, seq);
        true
    }

    /// Whether so many channels fail that no others are taken.
    pub(super) fn is_full(&self) -> bool {
        self.failing.len() >= self.most_failing
    }

    /// Whether a channel waits to be tried again.
    pub(super) fn waits(&self, channel: ChannelId, now: Instant) -> bool {
        self.failing.get(&channel).is_some_and(|failing| failing.due > now)
    }

    /// The next channel, which then is running; or when there may be one, if that is known.
    pub(super) fn take(&mut self, now: Instant) -> Result<(ChannelId, Until), Option<Instant>> {
        let due = self.due.iter().find(|(_, channel)| !self.running.contains(channel)).copied();
        if let Some((at, channel)) = due.filter(|(at, _)| *at <= now) {
            self.due.remove(&(at, channel));
            self.running.insert(channel);
            return Ok((channel, Until::Head { settled: false }));
        }
        let found = self.ready.iter().position(|(channel, _)| !self.running.contains(channel));
        match found.and_then(|place| self.ready.shift_remove_index(place)) {
            Some((channel, seq)) => {
                self.running.insert(channel);
                Ok((channel, Until::Seq(seq)))
            }
            None => Err(due.map(|(at, _)| at)),
        }
    }

    /// A channel that was taken is no longer running.
    pub(super) fn done(&mut self, channel: ChannelId) {
        self.running.remove(&channel);
    }

    /// A channel failed: it waits, longer each time. Answers how often it has failed in a row.
    pub(super) fn failed(&mut self, channel: ChannelId, now: Instant) -> u32 {
        self.ready.shift_remove(&channel);
        let failing = self.failing.entry(channel).or_insert(Failing { failures: 0, due: now });
        self.due.remove(&(failing.due, channel));
        let pause = self.backoff.0.saturating_mul(1 << failing.failures.min(20)).min(self.backoff.1);
        failing.failures = failing.failures.saturating_add(1);
        failing.due = now + pause;
        self.due.insert((failing.due, channel));
        failing.failures
    }

    /// A channel is behind since an earlier life: it is tried at once.
    pub(super) fn is_behind(&mut self, channel: ChannelId, now: Instant) {
        if let Entry::Vacant(entry) = self.failing.entry(channel) {
            entry.insert(Failing { failures: 0, due: now });
            self.due.insert((now, channel));
        }
    }

    /// A channel succeeded. Whether it had failed before.
    pub(super) fn succeeded(&mut self, channel: ChannelId) -> bool {
        let Some(failing) = self.failing.remove(&channel) else { return false };
        self.due.remove(&(failing.due, channel));
        true
    }

    /// Forgets channels that are another process's now.
    pub(super) fn retain(&mut self, own: impl Fn(ChannelId) -> bool) {
        self.ready.retain(|channel, _| own(*channel));
        self.failing.retain(|channel, _| own(*channel));
        self.due.retain(|(_, channel)| own(*channel));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const HEAD: Until = Until::Head { settled: false };

    fn queue(most_failing: usize) -> Queue {
        Queue::new(&FollowOptions { most_failing, backoff: (SECOND, 4 * SECOND), ..FollowOptions::default() })
    }

    #[test]
    fn a_channel_runs_once_at_a_time_and_up_to_the_last_event_that_was_heard_of() {
        let (a, b, now) = (ChannelId::new(), ChannelId::new(), Instant::now());
        let mut queue = queue(10);
        assert!(queue.wake(a, 3) && queue.wake(a, 2) && queue.wake(b, 1));
        assert_eq!(queue.take(now), Ok((a, Until::Seq(3))));
        assert!(queue.wake(a, 4));
        assert_eq!(queue.take(now), Ok((b, Until::Seq(1))));
        assert_eq!(queue.take(now), Err(None), "a is running");
        queue.done(a);
        assert_eq!(queue.take(now), Ok((a, Until::Seq(4))));
    }

    #[test]
    fn what_fails_waits_longer_each_time_and_stops_nobody() {
        let (a, b, now) = (ChannelId::new(), ChannelId::new(), Instant::now());
        let mut queue = queue(10);
        let mut at = now;
        for pause in [1, 2, 4, 4] {
            queue.failed(a, at);
            assert!(queue.wake(a, 9), "it is read to its end anyway");
            assert!(queue.wake(b, 1));
            assert_eq!(queue.take(at), Ok((b, Until::Seq(1))));
            queue.done(b);
            assert_eq!(queue.take(at), Err(Some(at + pause * SECOND)));
            assert!(queue.waits(a, at));
            at += pause * SECOND;
            assert!(!queue.waits(a, at));
            assert_eq!(queue.take(at), Ok((a, HEAD)));
            queue.done(a);
        }
        assert!(queue.succeeded(a) && !queue.succeeded(a));
        assert_eq!(queue.take(at), Err(None));
    }

    #[test]
    fn when_too_many_fail_no_others_are_taken() {
        let now = Instant::now();
        let mut queue = queue(2);
        let (a, b) = (ChannelId::new(), ChannelId::new());
        queue.failed(a, now);
        queue.is_behind(b, now);
        queue.is_behind(b, now);
        assert!(queue.is_full() && !queue.wake(ChannelId::new(), 1));
        assert_eq!(queue.take(now), Ok((b, HEAD)));
        queue.done(b);
        assert!(queue.succeeded(b) && queue.wake(ChannelId::new(), 1));
        queue.retain(|_| false);
        assert_eq!((queue.is_full(), queue.take(now + SECOND)), (false, Err(None)));
    }
}
