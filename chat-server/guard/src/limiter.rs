//! How many calls a dependency gets at once. Pure: time is handed in.
//!
//! Little's law turned round: when calls take longer than they used to, more of them at once only makes the queue inside
//! the dependency longer. So the limit goes down by a factor when most calls of a while are slow against what is usual
//! for their class, or some were refused or timed out; otherwise, while the limit is really used, it grows: fast below
//! what was good before, then by steps (like TCP's congestion window, RFC 5681 §3.1).

use std::time::{Duration, Instant};

use chat_domain::store::class::Class;

use super::budget::{CLASSES, budget, index};

/// A decision is made after this long at the earliest,
const WINDOW: Duration = Duration::from_millis(250);
/// and after this many calls.
const WINDOW_CALLS: u32 = 16;
/// So many times slower than usual is slow.
const TOLERANCE: f64 = 3.0;
/// Down by this when most calls were slow,
const SLOWED: f64 = 0.9;
/// and by this when the dependency itself refused or did not answer.
const REFUSED: f64 = 0.7;
/// What is usual forgets at this rate a second, so that it follows a dependency that has changed for good: threefold
/// in about a minute.
const FORGET_PER_SECOND: f64 = 1.02;

/// Bounds of a [`Limiter`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LimitBounds {
    /// The lowest limit.
    pub min: u32,
    /// To begin with.
    pub initial: u32,
    /// The highest limit.
    pub max: u32,
    /// Never more appends, however well the dependency does: what waits joins the next write of its channel, which costs
    /// less than a write of its own that waits inside the dependency.
    pub appends: u32,
}

/// How a call ended, as far as the limit is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// With an answer.
    Answered,
    /// The dependency refused it for overload, or let it time out.
    Dropped,
}

#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    calls: u32,
    slow: u32,
    dropped: u32,
    /// Most calls that were under way at once.
    peak: u32,
    /// The fastest of each class, in seconds.
    fastest: [Option<f64>; CLASSES],
}

/// How many calls may be in flight now.
#[derive(Debug)]
pub(super) struct Limiter {
    bounds: LimitBounds,
    limit: f64,
    /// Growth is fast below this.
    threshold: f64,
    /// What is usual for each class, in seconds.
    usual: [Option<f64>; CLASSES],
    forgot: Option<Instant>,
    window: Window,
}

impl Limiter {
    pub(super) fn new(bounds: LimitBounds) -> Self {
        let initial = f64::from(bounds.initial.clamp(bounds.min, bounds.max));
        Self {
            bounds,
            limit: initial,
            threshold: initial,
            usual: [None; CLASSES],
            forgot: None,
            window: Window::default(),
        }
    }

    /// Calls that may be under way at once.
    pub(super) const fn limit(&self) -> f64 {
        self.limit
    }

    /// Starts from the bottom, because everybody comes back at once.
    pub(super) fn restart(&mut self) {
        // What failed says nothing of how much is well when it works.
        self.threshold = self.threshold.max(f64::from(self.bounds.initial));
        self.limit = f64::from(self.bounds.min);
        self.window = Window::default();
    }

    /// A call ended; `in_flight` were under way with it.
    pub(super) fn record(
        &mut self,
        now: Instant,
        class: Class,
        took: Duration,
        signal: Signal,
        in_flight: u32,
    ) {
        let seconds = took.as_secs_f64();
        let index = index(class);
        let usual = self.usual[index].unwrap_or(seconds).max(budget(class).unsuspicious);
        let window = &mut self.window;
        let began = *window.began.get_or_insert(now);
        window.calls += 1;
        window.peak = window.peak.max(in_flight);
        match signal {
            Signal::Dropped => window.dropped += 1,
            Signal::Answered => {
                window.slow += u32::from(seconds > usual * TOLERANCE);
                let fastest = &mut window.fastest[index];
                *fastest = Some(fastest.map_or(seconds, |f| f.min(seconds)));
            }
        }
        if now.saturating_duration_since(began) >= WINDOW && self.window.calls >= WINDOW_CALLS {
            let window = std::mem::take(&mut self.window);
            self.decide(&window);
            self.learn(now, &window);
        }
    }

    fn decide(&mut self, window: &Window) {
        let limit = if window.dropped * 10 >= window.calls {
            self.limit * REFUSED
        } else if window.slow * 2 > window.calls {
            self.limit * SLOWED
        } else if f64::from(window.peak) * 2.0 < self.limit {
            // Nobody knows whether more would be well: it was not tried.
            self.limit
        } else if self.limit < self.threshold {
            (self.limit * 2.0).min(self.threshold)
        } else {
            self.limit + self.limit.sqrt()
        };
        let limit = limit.clamp(f64::from(self.bounds.min), f64::from(self.bounds.max));
        if limit < self.limit {
            self.threshold = limit;
        }
        self.limit = limit;
    }

    fn learn(&mut self, now: Instant, window: &Window) {
        let elapsed = self.forgot.map_or(Duration::ZERO, |at| now.saturating_duration_since(at));
        self.forgot = Some(now);
        let forget = FORGET_PER_SECOND.powf(elapsed.as_secs_f64().min(60.0));
        for (usual, fastest) in self.usual.iter_mut().zip(window.fastest) {
            let Some(fastest) = fastest else { continue };
            *usual = Some(match *usual {
                None => fastest,
                Some(usual) if fastest < usual => f64::midpoint(usual, fastest),
                Some(usual) => (usual * forget).min(fastest),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: LimitBounds = LimitBounds { min: 8, initial: 64, max: 256, appends: 256 };

    struct Run {
        limiter: Limiter,
        now: Instant,
    }

    impl Run {
        fn new() -> Self {
            Self { limiter: Limiter::new(BOUNDS), now: Instant::now() }
        }

        /// One window of calls that all end the same way, while `used` of the limit is used.
        fn window(&mut self, ms: u64, signal: Signal, used: f64) -> f64 {
            self.limiter.window = Window::default();
            for _ in 0..=20 {
                self.now += Duration::from_millis(15);
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "small and positive"
                )]
                let in_flight = (self.limiter.limit() * used) as u32;
                self.limiter.record(self.now, Class::Append, Duration::from_millis(ms), signal, in_flight);
            }
            self.limiter.limit()
        }
    }

    #[test]
    fn a_limit_that_is_used_grows_and_one_that_is_not_stays() {
        let mut run = Run::new();
        assert!((run.window(5, Signal::Answered, 0.1) - 64.0).abs() < f64::EPSILON);
        let mut last = 64.0;
        for _ in 0..40 {
            let limit = run.window(5, Signal::Answered, 1.0);
            assert!(limit >= last && limit <= 256.0);
            last = limit;
        }
        assert!((last - 256.0).abs() < f64::EPSILON, "{last}");
    }

    #[test]
    fn slowness_shrinks_it_only_when_it_is_more_than_usual_and_worth_a_word() {
        let mut run = Run::new();
        for _ in 0..4 {
            run.window(5, Signal::Answered, 0.1);
        }
        assert!(run.window(90, Signal::Answered, 0.1) >= 64.0, "18 times as slow, and fast enough");
        let mut limit = 64.0;
        for _ in 0..30 {
            let next = run.window(900, Signal::Answered, 1.0);
            assert!(next <= limit);
            limit = next;
        }
        assert!((limit - 8.0).abs() < f64::EPSILON, "{limit}");
    }

    #[test]
    fn what_stays_slow_becomes_usual() {
        let mut run = Run::new();
        for _ in 0..4 {
            run.window(150, Signal::Answered, 1.0);
        }
        let before = run.window(500, Signal::Answered, 1.0);
        for _ in 0..400 {
            run.window(500, Signal::Answered, 1.0);
        }
        let after = run.window(500, Signal::Answered, 1.0);
        assert!(after > before, "{before} {after}");
    }

    #[test]
    fn refusals_shrink_it_at_once_and_it_comes_back_fast_to_what_was_good_after_a_restart() {
        let mut run = Run::new();
        assert!(run.window(5, Signal::Dropped, 1.0) < 50.0);

        let mut run = Run::new();
        run.limiter.restart();
        assert!((run.limiter.limit() - 8.0).abs() < f64::EPSILON);
        for _ in 0..4 {
            run.window(5, Signal::Answered, 1.0);
        }
        assert!(run.limiter.limit() >= 64.0, "{}", run.limiter.limit());
    }

    proptest! {
        #[test]
        fn it_stays_within_its_bounds(calls in proptest::collection::vec((0_u64..5_000, any::<bool>(), 0_u32..500, 0_u64..400, 0_usize..CLASSES), 1..400)) {
            let mut limiter = Limiter::new(BOUNDS);
            let mut now = Instant::now();
            for (took, dropped, in_flight, pause, class) in calls {
                now += Duration::from_millis(pause);
                let signal = if dropped { Signal::Dropped } else { Signal::Answered };
                limiter.record(now, Class::ALL[class], Duration::from_millis(took), signal, in_flight);
                prop_assert!((8.0..=256.0).contains(&limiter.limit()));
            }
        }
    }
}
