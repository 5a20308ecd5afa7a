//! The worst seconds of a run, which quantiles over all of it hide.

use serde::{Deserialize, Serialize};

use crate::histogram::Histogram;

/// Length of an interval.
pub(crate) const INTERVAL_US: u64 = 5_000_000;
/// Intervals that are kept apart, of 18 KiB each; what comes after almost an hour counts to the last one.
const MAX_INTERVALS: usize = 700;
/// Of fewer values there is no 99th percentile to speak of.
const JUDGED: u64 = 200;

/// Latencies by when they ended, or by when they began.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Intervals(Vec<Histogram>);

/// What a process of several measures, by when it began.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct ByTime {
    /// Deliveries in all channels but the crowd's, to sockets that never lost their gateway.
    pub(crate) channels: Intervals,
    /// Deliveries in the crowd's channel to them.
    pub(crate) crowd: Intervals,
    /// Deliveries to sockets after they had lost their gateway.
    pub(crate) returned: Intervals,
    /// What they caught up with, from when it was due.
    pub(crate) caught_up: Intervals,
    /// From due to acked.
    pub(crate) ack: Intervals,
    /// From a change of presence to its being heard of.
    pub(crate) presence: Intervals,
}

impl ByTime {
    pub(crate) fn merge(&mut self, other: &Self) {
        self.channels.merge(&other.channels);
        self.crowd.merge(&other.crowd);
        self.returned.merge(&other.returned);
        self.caught_up.merge(&other.caught_up);
        self.ack.merge(&other.ack);
        self.presence.merge(&other.presence);
    }
}

/// The interval of a run with the highest p99, of those with 200 values or more.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Worst {
    /// When it began, in seconds from the start of the run.
    pub at_seconds: f64,
    /// How long it was.
    pub seconds: f64,
    /// Values in it.
    pub count: u64,
    /// 99 in 100 of them were no slower than this, in milliseconds.
    pub p99_ms: f64,
}

impl Intervals {
    /// Counts a value that was known at this time; both in microseconds.
    pub(crate) fn record(&mut self, at_us: u64, us: u64) {
        let index = usize::try_from(at_us / INTERVAL_US).unwrap_or(MAX_INTERVALS).min(MAX_INTERVALS - 1);
        if self.0.len() <= index {
            self.0.resize_with(index + 1, Histogram::default);
        }
        self.0[index].record(us);
    }

    /// Adds what another one counted.
    pub(crate) fn merge(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize_with(other.0.len(), Histogram::default);
        }
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            mine.merge(theirs);
        }
    }

    /// The intervals from the first on.
    pub(crate) fn all(&self) -> &[Histogram] {
        &self.0
    }

    /// All that was counted in a span, which begins and ends with an interval.
    pub(crate) fn between(&self, from_us: u64, to_us: u64) -> Histogram {
        let mut sum = Histogram::default();
        let (from, to) = (from_us / INTERVAL_US, to_us.div_ceil(INTERVAL_US));
        for (_, interval) in (0..).zip(&self.0).filter(|(index, _)| (from..to).contains(index)) {
            sum.merge(interval);
        }
        sum
    }

    /// The worst; none when no interval has enough values.
    pub(crate) fn worst(&self) -> Option<Worst> {
        let judged = self.0.iter().enumerate().filter(|(_, interval)| interval.count() >= JUDGED);
        let worst = judged.max_by_key(|(_, interval)| interval.quantile_us(0.99));
        worst.map(|(index, interval)| Worst {
            at_seconds: index as f64 * INTERVAL_US as f64 / 1e6,
            seconds: INTERVAL_US as f64 / 1e6,
            count: interval.count(),
            p99_ms: interval.quantile_us(0.99) as f64 / 1e3,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_bad_seconds_show_and_a_handful_of_values_do_not() {
        let (mut all, mut more) = (Intervals::default(), Intervals::default());
        assert_eq!(all.worst(), None);
        for at in 0..10_000 {
            // Ten seconds of two values a millisecond; in their second half one in forty takes a second.
            let us = if at >= 5_000 && at % 20 == 0 { 1_000_000 } else { 2_000 };
            all.record(at * 1_000, us);
            more.record(at * 1_000, 2_000);
        }
        more.record(17_000_000, 9_000_000);
        more.record(u64::MAX, 9_000_000);
        all.merge(&more);
        let worst = all.worst().expect("there are enough");
        assert_eq!((worst.at_seconds, worst.seconds, worst.count), (5.0, 5.0, 10_000));
        assert!((1_000.0..1_020.0).contains(&worst.p99_ms), "{worst:?}");
    }
}
