//! The timeout of a conditional batch, after which its outcome is settled by reading.
//!
//! A batch cannot be asked of two nodes at once, as a read can. But a node that stands still says nothing, the others do, and to
//! settle a batch is always right: so it is given up long before the request times out. How long before follows from the median of
//! what batches take. One slow node of three does not move a median; where all are slow it grows, and nobody makes an overload
//! worse by asking again too soon.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Nothing is given up sooner, in microseconds: what a send should take at most, and several times what it takes under pressure.
const SHORTEST_US: u64 = 500_000;
/// By the median. What is normal for large batches and on a busy machine is far below it.
const MEDIANS: u64 = 16;
/// Each batch moves the median by this part of it.
const PART: u64 = 16;
/// At first: four seconds' worth.
const FIRST_US: u64 = 250_000;

/// An estimate of the median, by steps towards each value (Ma, Muthukrishnan and Sandler 2013, "Frugal Streaming").
pub(super) struct BatchTimeout {
    median_us: AtomicU64,
}

impl BatchTimeout {
    pub(super) const fn new() -> Self {
        Self { median_us: AtomicU64::new(FIRST_US) }
    }

    /// How long to wait for a batch of a call that had so many unanswered ones before.
    pub(super) fn of(&self, unanswered: u32) -> Duration {
        let timeout = self.median_us.load(Ordering::Relaxed).saturating_mul(MEDIANS).max(SHORTEST_US);
        Duration::from_micros(timeout.saturating_mul(1 << unanswered.min(8)))
    }

    /// A batch was answered, or given up, after so long.
    pub(super) fn record(&self, time: Duration) {
        let time = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        // A step that is lost to another one at the same time is no matter.
        let median = self.median_us.load(Ordering::Relaxed);
        let step = (median / PART).max(1);
        let moved = if time > median {
            median.saturating_add(step).min(time)
        } else {
            median.saturating_sub(step).max(time)
        };
        self.median_us.store(moved, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// What it waits after so many batches that take what `time` says of each.
    fn after(count: u32, time: impl Fn(u32, Duration) -> Duration) -> Duration {
        let timeout = BatchTimeout::new();
        for number in 0..count {
            let given = timeout.of(0);
            timeout.record(time(number, given).min(given));
        }
        timeout.of(0)
    }

    #[test]
    fn it_is_long_at_first_and_short_once_batches_were_seen_to_be_fast() {
        assert_eq!(after(0, |_, _| MS), Duration::from_secs(4));
        assert_eq!(after(100, |_, _| 6 * MS), 500 * MS);
    }

    #[test]
    fn one_node_of_three_that_stands_still_changes_nothing() {
        let waited = after(1_000, |number, given| if number % 3 == 0 { given } else { 8 * MS });
        assert_eq!(waited, 500 * MS);
    }

    #[test]
    fn where_all_are_slow_it_waits_longer() {
        // As slow as they like: they are given up at first, and later no more.
        let waited = after(300, |number, _| if number < 100 { 6 * MS } else { 700 * MS });
        assert!(waited > 1_400 * MS, "{waited:?}");
    }

    #[test]
    fn each_unanswered_batch_of_a_call_doubles_it() {
        let timeout = BatchTimeout::new();
        (0..100).for_each(|_| timeout.record(MS));
        assert_eq!([0, 1, 2, 40].map(|n| timeout.of(n).as_millis()), [500, 1_000, 2_000, 128_000]);
    }
}
