//! When each of a crowd has its turn: evenly over a window, and never in a burst.

use std::time::Duration;

use tokio::time::Instant;

/// Lateness that is the timer's (it counts milliseconds) and not the machine's: it is made up for at once.
const SLACK: Duration = Duration::from_millis(10);

/// The turns of a crowd. Where the process was held up, the turns that were missed are made up for at twice the pace
/// and no faster, for who is sent away comes back elsewhere: a burst of farewells is a burst of arrivals.
#[derive(Debug)]
pub(super) struct Pace {
    began: Instant,
    step: Duration,
    turn: u32,
    /// The next turn is not before this.
    floor: Instant,
}

impl Pace {
    /// Turns for `count` over `window`; the first one is at once.
    pub(super) fn new(now: Instant, window: Duration, count: usize) -> Self {
        let count = u32::try_from(count).unwrap_or(u32::MAX).max(1);
        Self { began: now, step: window / count, turn: 0, floor: now }
    }

    /// When the next one has its turn.
    pub(super) fn next(&self) -> Instant {
        (self.began + self.step * self.turn).max(self.floor)
    }

    /// The next one had its turn.
    pub(super) fn had(&mut self, now: Instant) {
        let late = now.checked_sub(SLACK).unwrap_or(now);
        self.floor = self.next().max(late) + self.step / 2;
        self.turn = self.turn.saturating_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When each one had its turn, in milliseconds, for a process that is held up in `held` and else on time.
    fn turns(window_ms: u64, count: usize, held: std::ops::Range<u64>) -> Vec<u64> {
        let start = Instant::now();
        let mut pace = Pace::new(start, Duration::from_millis(window_ms), count);
        let mut sent_at = Vec::new();
        for _ in 0..count {
            let mut now = pace.next();
            let at = u64::try_from((now - start).as_millis()).expect("is short");
            if held.contains(&at) {
                now = start + Duration::from_millis(held.end);
            }
            pace.had(now);
            sent_at.push(u64::try_from((now - start).as_millis()).expect("is short"));
        }
        sent_at
    }

    /// The most turns in any second.
    fn peak(turns: &[u64]) -> usize {
        turns
            .iter()
            .map(|from| turns.iter().filter(|at| (*from..from + 1_000).contains(at)).count())
            .max()
            .unwrap_or(0)
    }

    #[test]
    fn turns_are_even() {
        assert_eq!(turns(1_000, 4, 0..0), [0, 250, 500, 750]);
        assert_eq!(turns(0, 3, 0..0), [0, 0, 0]);
        assert_eq!(turns(1_000, 0, 0..0), [0; 0]);
        assert_eq!(peak(&turns(10_000, 1_000, 0..0)), 100);
        // Turns lie between whole milliseconds.
        assert!((1_900..=1_901).contains(&peak(&turns(10_000, 19_000, 0..0))));
    }

    #[test]
    fn what_was_missed_is_made_up_for_at_twice_the_pace() {
        for (count, held) in
            [(1_000, 2_000..5_000), (1_000, 0..9_000), (19_000, 4_000..4_500), (100, 9_000..30_000)]
        {
            let sent_at = turns(10_000, count, held.clone());
            let mean = count / 10;
            assert!(
                peak(&sent_at) <= mean * 2 + 1 + mean / 50,
                "{} in a second, {count} held up in {held:?}",
                peak(&sent_at)
            );
            let last = sent_at.last().copied().unwrap_or_default();
            assert!(last < 10_000.max(held.end) + 10_000, "the last one at {last}");
        }
    }
}
