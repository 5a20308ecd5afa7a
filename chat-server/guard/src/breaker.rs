//! Whether a dependency is asked at all. Pure: time is handed in.
//!
//! Closed → open on failures in a row, on a high part of failures, or when calls hang and none comes back. Open: nobody
//! asks but a probe in the background. When that succeeds, half-open: one call at a time, and when a few succeeded,
//! closed.

use std::time::{Duration, Instant};

/// Failures in a row that open it.
const FAILURES_IN_A_ROW: u32 = 5;
/// Calls of a while before their part that failed means anything,
const RATE_CALLS: u32 = 20;
/// the while, over which they are counted,
const RATE_WHILE: Duration = Duration::from_secs(5);
/// and the part that opens it, in hundredths.
const RATE_FAILED: u32 = 50;
/// Calls that succeed one at a time before all are let in.
const TRIALS: u32 = 3;
/// The first pause between probes of an open one,
const PROBE_FIRST: Duration = Duration::from_millis(250);
/// and the longest: what comes back is noticed within this.
const PROBE_LAST: Duration = Duration::from_secs(1);
/// Without calls for this long a half-open one is probed: nobody may have anything to ask.
const PROBE_IDLE: Duration = Duration::from_millis(250);

/// Where a breaker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// All calls are let in.
    Closed,
    /// One call at a time is let in.
    HalfOpen,
    /// No call is let in.
    Open,
}

/// What a breaker says of one more call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The call may go on.
    Pass,
    /// Come in, alone.
    Trial,
    /// The call is refused.
    Refuse,
}

#[derive(Debug, Clone, Copy)]
enum State {
    Closed { in_a_row: u32 },
    Open { next_probe: Instant, pause: Duration },
    HalfOpen { succeeded: u32, busy: bool, pause: Duration, touched: Instant },
}

#[derive(Debug)]
pub(super) struct Breaker {
    state: State,
    counted_since: Instant,
    calls: u32,
    failed: u32,
}

impl Breaker {
    pub(super) const fn new(now: Instant) -> Self {
        Self { state: State::Closed { in_a_row: 0 }, counted_since: now, calls: 0, failed: 0 }
    }

    pub(super) const fn state(&self) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Whether one more call may come in. A [`Verdict::Trial`] must be followed by [`Self::record`] or
    /// [`Self::abandon`].
    pub(super) const fn admit(&mut self) -> Verdict {
        match &mut self.state {
            State::Closed { .. } => Verdict::Pass,
            State::HalfOpen { busy: busy @ false, .. } => {
                *busy = true;
                Verdict::Trial
            }
            State::HalfOpen { .. } | State::Open { .. } => Verdict::Refuse,
        }
    }

    /// A call that was let in succeeded or failed. True when that changed the state.
    pub(super) fn record(&mut self, now: Instant, ok: bool, trial: bool) -> bool {
        match self.state {
            State::Closed { in_a_row } => {
                if now.saturating_duration_since(self.counted_since) >= RATE_WHILE {
                    (self.counted_since, self.calls, self.failed) = (now, 0, 0);
                }
                self.calls += 1;
                self.failed += u32::from(!ok);
                let in_a_row = if ok { 0 } else { in_a_row + 1 };
                self.state = State::Closed { in_a_row };
                let often = self.calls >= RATE_CALLS && self.failed * 100 >= self.calls * RATE_FAILED;
                if in_a_row >= FAILURES_IN_A_ROW || (often && !ok) {
                    self.open(now, PROBE_FIRST);
                    return true;
                }
                false
            }
            // Calls that were let in before it opened say nothing about how it is now.
            State::HalfOpen { succeeded, pause, .. } if trial => {
                if !ok {
                    self.open(now, pause);
                    return true;
                }
                if succeeded + 1 >= TRIALS {
                    self.close(now);
                    return true;
                }
                self.state = State::HalfOpen { succeeded: succeeded + 1, busy: false, pause, touched: now };
                false
            }
            State::HalfOpen { .. } | State::Open { .. } => false,
        }
    }

    /// A trial ended without saying anything about the dependency: its caller went.
    pub(super) const fn abandon(&mut self) {
        if let State::HalfOpen { busy, .. } = &mut self.state {
            *busy = false;
        }
    }

    /// Calls hang. True when that changed the state.
    pub(super) fn stalled(&mut self, now: Instant) -> bool {
        let closed = matches!(self.state, State::Closed { .. });
        if closed {
            self.open(now, PROBE_FIRST);
        }
        closed
    }

    /// Whether it is time to probe one that is not closed.
    pub(super) fn probe_due(&self, now: Instant) -> bool {
        match self.state {
            State::Closed { .. } => false,
            State::Open { next_probe, .. } => next_probe <= now,
            State::HalfOpen { busy, touched, .. } => {
                !busy && now.saturating_duration_since(touched) >= PROBE_IDLE
            }
        }
    }

    /// A probe ended of one that is not closed.
    pub(super) fn probed(&mut self, now: Instant, ok: bool) {
        match self.state {
            State::Closed { .. } => {}
            State::Open { pause, .. } if ok => {
                self.state =
                    State::HalfOpen { succeeded: 0, busy: false, pause: longer(pause), touched: now };
            }
            State::Open { pause, .. } => self.open(now, longer(pause)),
            // A call that is under way says more than a probe.
            State::HalfOpen { busy: true, .. } => {}
            State::HalfOpen { .. } => {
                self.record(now, ok, true);
            }
        }
    }

    fn open(&mut self, now: Instant, pause: Duration) {
        self.state = State::Open { next_probe: now + pause, pause };
    }

    const fn close(&mut self, now: Instant) {
        self.state = State::Closed { in_a_row: 0 };
        (self.counted_since, self.calls, self.failed) = (now, 0, 0);
    }
}

fn longer(pause: Duration) -> Duration {
    (pause * 2).min(PROBE_LAST)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// `+` a call that succeeds, `-` one that fails; answers the state after each.
    fn after(calls: &str) -> BreakerState {
        let now = Instant::now();
        let mut breaker = Breaker::new(now);
        for call in calls.chars() {
            if breaker.admit() == Verdict::Pass {
                breaker.record(now, call == '+', false);
            }
        }
        breaker.state()
    }

    #[test]
    fn failures_in_a_row_or_in_number_open_it() {
        for (calls, expected) in [
            ("", BreakerState::Closed),
            ("----", BreakerState::Closed),
            ("-----", BreakerState::Open),
            ("----+----+", BreakerState::Closed),
            ("-+-+-+-+-+-+-+-+-+-", BreakerState::Closed),
            ("-+-+-+-+-+-+-+-+-+-+-", BreakerState::Open),
            ("-++-++-++-++-++-++-++-++-++-++", BreakerState::Closed),
        ] {
            assert_eq!(after(calls), expected, "{calls}");
        }
    }

    #[test]
    fn it_opens_probes_tries_one_at_a_time_and_closes() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(now);
        assert!(breaker.stalled(now));
        assert!(!breaker.stalled(now), "it is open already");
        assert_eq!(breaker.admit(), Verdict::Refuse);
        assert!(!breaker.probe_due(now));
        now += PROBE_FIRST;
        assert!(breaker.probe_due(now));
        breaker.probed(now, false);
        assert!(!breaker.probe_due(now + PROBE_FIRST), "the pause grows");
        now += PROBE_FIRST * 2;
        assert!(breaker.probe_due(now));
        breaker.probed(now, true);

        for left in (0..TRIALS).rev() {
            assert_eq!(breaker.admit(), Verdict::Trial);
            assert_eq!(breaker.admit(), Verdict::Refuse, "alone");
            assert_eq!(breaker.record(now, true, true), left == 0);
        }
        assert_eq!(breaker.admit(), Verdict::Pass);
    }

    #[test]
    fn a_failed_trial_opens_it_again_and_an_abandoned_one_makes_room() {
        let now = Instant::now();
        let mut breaker = Breaker::new(now);
        breaker.stalled(now);
        breaker.probed(now, true);
        assert_eq!(breaker.admit(), Verdict::Trial);
        breaker.abandon();
        assert_eq!(breaker.admit(), Verdict::Trial);
        assert!(!breaker.record(now, false, false), "a call of before says nothing");
        assert!(breaker.record(now, false, true));
        assert_eq!(breaker.state(), BreakerState::Open);
    }

    #[test]
    fn without_calls_probes_alone_close_it() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(now);
        breaker.stalled(now);
        for _ in 0..=TRIALS {
            assert_ne!(breaker.state(), BreakerState::Closed);
            now += PROBE_IDLE;
            assert!(breaker.probe_due(now));
            breaker.probed(now, true);
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn failures_long_ago_do_not_count() {
        let mut now = Instant::now();
        let mut breaker = Breaker::new(now);
        for _ in 0..9 {
            breaker.record(now, false, false);
            breaker.record(now, true, false);
        }
        now += RATE_WHILE;
        for _ in 0..4 {
            breaker.record(now, false, false);
        }
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    proptest! {
        #[test]
        fn nothing_gets_past_an_open_one_and_what_is_well_gets_through_in_the_end(steps in proptest::collection::vec((0_u8..5, any::<bool>()), 0..200)) {
            let mut now = Instant::now();
            let mut breaker = Breaker::new(now);
            let mut trials = 0_u32;
            for (step, ok) in steps {
                now += ms(100);
                match step {
                    0 => match breaker.admit() {
                        Verdict::Pass => prop_assert_eq!(breaker.state(), BreakerState::Closed),
                        Verdict::Trial => trials += 1,
                        Verdict::Refuse => prop_assert_ne!(breaker.state(), BreakerState::Closed),
                    },
                    1 => { breaker.record(now, ok, false); }
                    2 => if trials > 0 { trials -= 1; breaker.record(now, ok, true); },
                    3 => { breaker.stalled(now); }
                    _ => if breaker.probe_due(now) { breaker.probed(now, ok); },
                }
                if breaker.state() != BreakerState::HalfOpen { trials = 0; }
                prop_assert!(trials <= 1);
            }
            if trials > 0 { breaker.abandon(); }
            for _ in 0..20 {
                now += PROBE_LAST;
                if breaker.probe_due(now) { breaker.probed(now, true); }
                let verdict = breaker.admit();
                if verdict != Verdict::Refuse { breaker.record(now, true, verdict == Verdict::Trial); }
            }
            prop_assert_eq!(breaker.admit(), Verdict::Pass);
        }
    }
}
