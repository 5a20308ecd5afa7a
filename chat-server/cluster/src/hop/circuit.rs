//! When an owner that failed is left alone. Pure: time comes in.

use std::time::{Duration, Instant};

const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// Doubled with each failure in a row, up to 4 seconds: by then the digests have said whether it lives.
const DOUBLINGS: u32 = 4;

/// Closed: everything passes. Open after a failure: nothing passes for a while, then one at a time, until one succeeds.
#[derive(Debug, Default)]
pub(super) struct Circuit {
    failures: u32,
    until: Option<Instant>,
    trying: bool,
}

impl Circuit {
    /// Whether something would pass now.
    pub(super) fn would_admit(&self, now: Instant) -> bool {
        self.until.is_none_or(|until| now >= until && !self.trying)
    }

    /// Lets something pass or not. What passed ends in [`Circuit::succeeded`] or [`Circuit::failed`].
    pub(super) fn admit(&mut self, now: Instant) -> bool {
        let admits = self.would_admit(now);
        self.trying |= admits && self.until.is_some();
        admits
    }

    pub(super) fn succeeded(&mut self) {
        *self = Self::default();
    }

    pub(super) fn failed(&mut self, now: Instant) {
        // Those that were under way together fail together, and count as one.
        if self.trying || self.until.is_none() {
            self.until = Some(now + FIRST_PAUSE * 2_u32.pow(self.failures.min(DOUBLINGS)));
            self.failures = self.failures.saturating_add(1);
            self.trying = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_failure_one_at_a_time_passes_until_one_succeeds() {
        let start = Instant::now();
        let mut circuit = Circuit::default();
        assert!(circuit.admit(start) && circuit.admit(start));
        circuit.failed(start);
        circuit.failed(start);
        assert!(!circuit.admit(start + FIRST_PAUSE / 2));
        assert!(circuit.admit(start + FIRST_PAUSE));
        assert!(!circuit.admit(start + FIRST_PAUSE) && !circuit.would_admit(start + FIRST_PAUSE));
        circuit.succeeded();
        assert!(circuit.admit(start) && circuit.admit(start));
    }

    #[test]
    fn pauses_double_up_to_four_seconds() {
        let mut now = Instant::now();
        let mut circuit = Circuit::default();
        for millis in [250, 500, 1_000, 2_000, 4_000, 4_000] {
            assert!(circuit.admit(now));
            circuit.failed(now);
            assert!(!circuit.would_admit(now + Duration::from_millis(millis - 1)));
            now += Duration::from_millis(millis);
        }
    }
}
