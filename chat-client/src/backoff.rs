//! How long to wait before trying again.

use std::time::Duration;

/// Exponential backoff with full jitter: a random time between 0 and `base` × 2ⁿ, at most `cap`. Full
/// jitter, because clients that lost one server at the same moment must not come back at the same moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Upper bound of the first wait.
    pub base: Duration,
    /// Upper bound of every wait.
    pub cap: Duration,
}

/// Doublings after which a wait grows no further when the server says when to come back.
const HINTED_DOUBLINGS: u32 = 3;

impl Backoff {
    /// 250 ms, doubled up to 15 s.
    pub const DEFAULT: Self = Self { base: Duration::from_millis(250), cap: Duration::from_secs(15) };

    /// The longest wait after `failures` failed tries before this one.
    #[must_use]
    pub fn ceiling(&self, failures: u32) -> Duration {
        self.base.saturating_mul(1u32.checked_shl(failures).unwrap_or(u32::MAX)).min(self.cap)
    }

    /// The wait for a `unit` drawn evenly from 0 to 1.
    #[must_use]
    pub fn delay(&self, failures: u32, unit: f64) -> Duration {
        self.ceiling(failures).mul_f64(unit.clamp(0.0, 1.0))
    }

    /// The wait on top of a time that the server has named. It knows how it fares: doubling further would keep clients
    /// away long after it is well.
    #[must_use]
    pub fn hinted(&self, failures: u32) -> Duration {
        self.draw(failures.min(HINTED_DOUBLINGS))
    }

    /// The wait, with the dice thrown.
    #[must_use]
    pub fn draw(&self, failures: u32) -> Duration {
        self.delay(failures, rand::random())
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_the_cap_and_the_wait_stays_below_it() {
        let backoff = Backoff::DEFAULT;
        for (failures, millis) in
            [(0, 250), (1, 500), (2, 1000), (5, 8000), (6, 15_000), (31, 15_000), (99, 15_000)]
        {
            assert_eq!(backoff.ceiling(failures), Duration::from_millis(millis), "after {failures} failures");
            assert_eq!(backoff.delay(failures, 0.0), Duration::ZERO);
            assert_eq!(backoff.delay(failures, 0.5), Duration::from_millis(millis) / 2);
            assert!(backoff.draw(failures) <= Duration::from_millis(millis));
            assert!(backoff.hinted(failures) <= Duration::from_millis(millis.min(2_000)));
        }
    }
}
