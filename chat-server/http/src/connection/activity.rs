//! How far one HTTP connection is, and whether its client takes too long for it.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout_at},
};

use super::{Closed, answer::Open};

/// A stranger's whole request must be there by then, counted from the connection's begin or the last answer's end.
const REQUEST: Duration = Duration::from_secs(10);
/// A person's, or a proxy's. Longer than proxies keep their connections (60 s is usual), so that they close first.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// A client that takes nothing of its answer for so long is given up.
const READER_STALLS: Duration = Duration::from_secs(30);
/// An answer may take so long, and more by its size.
const READER_GRACE: Duration = Duration::from_secs(60);
/// How many bytes a second a client must take of an answer, on average.
const MIN_READ_RATE: u64 = 4 * 1024;
/// Bytes that are neither a request's head nor body: at first, for each request, and for each second.
const OVERHEAD: (u64, u64, u64) = (512 * 1024, 64 * 1024, 1024);
/// How soon a connection is looked at again on which the server has something to do.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// How soon one is looked at again that has answers under way: somebody may be waiting for what they have.
const LOOK_AT_ANSWERS: Duration = Duration::from_secs(1);

/// What has happened on a connection so far; its stream and its requests write it.
#[derive(Debug)]
pub struct Activity(Mutex<State>, Notify);

#[derive(Debug)]
struct State {
    began: Instant,
    /// When nothing was in flight any more.
    quiet_since: Instant,
    /// Requests that are not answered to their end.
    in_flight: usize,
    /// Of those, the ones that wait for the server.
    working: usize,
    requests: u64,
    /// Pings and window updates look like a client that reads on.
    is_http2: bool,
    read: u64,
    /// Bytes of bodies.
    bodies: u64,
    /// When the client last took something of an answer.
    taken: Instant,
    /// When the first of those in flight began, and the bytes of answers since.
    busy_since: Instant,
    answered: u64,
    /// The answers under way, and some that were. With HTTP/1 there is one at a time.
    answers: Vec<Weak<Open>>,
}

impl Activity {
    /// Of a connection that begins now.
    #[must_use]
    pub fn begin() -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self(
            Mutex::new(State {
                began: now,
                quiet_since: now,
                in_flight: 0,
                working: 0,
                requests: 0,
                is_http2: false,
                read: 0,
                bodies: 0,
                taken: now,
                busy_since: now,
                answered: 0,
                answers: Vec::new(),
            }),
            Notify::new(),
        ))
    }

    /// A request's head is there. It is in flight until what is returned is dropped.
    pub fn request(self: &Arc<Self>, is_http2: bool) -> Flight {
        let mut state = self.0.lock();
        if state.in_flight == 0 {
            (state.busy_since, state.answered) = (Instant::now(), 0);
        }
        state.in_flight += 1;
        state.requests += 1;
        state.is_http2 |= is_http2;
        drop(state);
        Flight(Arc::new(InFlight(Arc::clone(self))))
    }

    /// Bytes came. False when they are far more than all that was asked for.
    pub(super) fn read(&self, bytes: usize) -> bool {
        let mut state = self.0.lock();
        state.read += bytes as u64;
        let (at_first, each, second) = OVERHEAD;
        let allowed =
            at_first + each * state.requests + 2 * state.bodies + second * state.began.elapsed().as_secs();
        state.read <= allowed
    }

    /// Bytes of a body came.
    pub(super) fn body(&self, bytes: usize) {
        self.0.lock().bodies += bytes as u64;
    }

    /// The kernel took bytes for the client.
    pub(super) fn wrote(&self) {
        let mut state = self.0.lock();
        if !state.is_http2 {
            state.taken = Instant::now();
        }
    }

    /// The next bytes of an answer were asked for, since the client took some, and that many are given.
    pub(super) fn answer(&self, bytes: usize) {
        let mut state = self.0.lock();
        state.taken = Instant::now();
        state.answered += bytes as u64;
    }

    /// An answer is under way.
    pub(super) fn opened(&self, answer: &Arc<Open>) {
        let mut state = self.0.lock();
        if state.answers.len() == state.answers.capacity() {
            state.answers.retain(|answer| answer.strong_count() > 0);
        }
        state.answers.push(Arc::downgrade(answer));
        drop(state);
        self.1.notify_one();
    }

    /// Gives up answers of which too little is taken. Whether the connection has to end for one of them, and when to look again while
    /// there are any.
    fn give_up(&self) -> (bool, Option<Duration>) {
        let (answers, is_http2) = {
            let state = self.0.lock();
            let answers: Vec<_> = state.answers.iter().filter_map(Weak::upgrade).collect();
            (answers, state.is_http2)
        };
        // All of them, also behind one that is stuck.
        let is_stuck =
            answers.iter().fold(false, |stuck, answer| answer.give_up_if_overdue(is_http2) | stuck);
        (is_stuck, (!answers.is_empty()).then_some(LOOK_AT_ANSWERS))
    }

    /// The server has something to do for a request, or has done it.
    pub(super) fn works(&self, works: bool) {
        let mut state = self.0.lock();
        if works {
            state.working += 1;
        } else {
            state.working = state.working.saturating_sub(1);
            state.taken = Instant::now();
        }
    }

    /// Returns when the client takes too long; `is_stranger` is asked each time.
    pub async fn overdue(&self, is_stranger: impl Fn() -> bool) -> Closed {
        loop {
            let (at, reason) = self.0.lock().due(is_stranger());
            if Instant::now() >= at
                && let Some(reason) = reason
            {
                return reason;
            }
            let (is_stuck, again) = self.give_up();
            if is_stuck {
                return Closed::SlowReader;
            }
            let until = again.map_or(at, |again| at.min(Instant::now() + again));
            if again.is_some() {
                sleep_until(until).await;
            } else {
                // Until there is one.
                let _ = timeout_at(until, self.1.notified()).await;
            }
        }
    }
}

impl State {
    /// When to look again, and what it is then unless something happens before.
    fn due(&self, is_stranger: bool) -> (Instant, Option<Closed>) {
        if self.in_flight == 0 {
            let limit = if is_stranger { REQUEST } else { KEEP_ALIVE };
            // The end of an answer may still lie in a buffer of HTTP/1.
            let since = if self.requests > 0 { self.quiet_since.max(self.taken) } else { self.quiet_since };
            let reason = if self.requests == 0 { Closed::NoRequest } else { Closed::Idle };
            (since + limit, Some(reason))
        } else if self.working > 0 {
            (Instant::now() + LOOK_AGAIN, None)
        } else {
            let by_size = READER_GRACE + Duration::from_secs(self.answered / MIN_READ_RATE);
            ((self.taken + READER_STALLS).min(self.busy_since + by_size), Some(Closed::SlowReader))
        }
    }
}

/// A request that is in flight while one of these is held.
#[derive(Debug, Clone)]
pub struct Flight(Arc<InFlight>);

impl Flight {
    pub(super) fn activity(&self) -> &Activity {
        &self.0.0
    }

    /// The server works on it until what is returned is dropped.
    #[must_use]
    pub fn work(&self) -> Work {
        self.activity().works(true);
        Work(self.clone())
    }
}

#[derive(Debug)]
struct InFlight(Arc<Activity>);

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.0.0.lock();
        state.in_flight -= 1;
        if state.in_flight == 0 {
            state.quiet_since = Instant::now();
        }
    }
}

/// The server works on a request while this is held.
#[derive(Debug)]
pub struct Work(Flight);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.activity().works(false);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    async fn overdue(activity: &Activity, is_stranger: bool) -> (u64, Closed) {
        let began = Instant::now();
        let reason = activity.overdue(|| is_stranger).await;
        (began.elapsed().as_secs(), reason)
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_waited_for_and_what_comes_drop_by_drop_does_not_put_it_off() {
        let activity = Activity::begin();
        let drip = async {
            loop {
                advance(Duration::from_secs(1)).await;
                assert!(activity.read(1));
            }
        };
        let late =
            tokio::select! { biased; late = overdue(&activity, true) => late, () = drip => unreachable!() };
        assert!((10..=11).contains(&late.0) && late.1 == Closed::NoRequest, "{late:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn between_requests_a_person_may_wait_longer_than_a_stranger() {
        for (is_stranger, expected) in [(true, 10), (false, 75)] {
            let activity = Activity::begin();
            drop(activity.request(false));
            assert_eq!(overdue(&activity, is_stranger).await, (expected, Closed::Idle));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_server_may_take_its_time_and_a_reader_may_not() {
        let activity = Activity::begin();
        let flight = activity.request(true);
        let work = flight.work();
        let patient = tokio::time::timeout(Duration::from_secs(300), activity.overdue(|| true)).await;
        assert!(patient.is_err(), "the server works");
        drop(work);
        // What an HTTP/2 connection writes may be the answer to a ping.
        activity.wrote();
        let (seconds, reason) = overdue(&activity, false).await;
        assert!(seconds <= 30 && reason == Closed::SlowReader, "{seconds} {reason:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_is_taken_a_byte_at_a_time_ends() {
        let activity = Activity::begin();
        let _flight = activity.request(false);
        let drip = async {
            loop {
                advance(Duration::from_secs(5)).await;
                activity.answer(1);
            }
        };
        let late =
            tokio::select! { biased; late = overdue(&activity, false) => late, () = drip => unreachable!() };
        assert!((60..=66).contains(&late.0) && late.1 == Closed::SlowReader, "{late:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_much_may_come_that_is_no_request() {
        let activity = Activity::begin();
        assert!(activity.read(512 * 1024));
        assert!(!activity.read(1));
        drop(activity.request(true));
        assert!(activity.read(60_000));
        activity.body(1_000_000);
        assert!(activity.read(1_000_000));
    }
}
