//! A histogram of latencies in fixed memory.

use serde::{Deserialize, Serialize};

/// Linear steps within each power of two: values are kept to 1 part in 64.
const STEPS: u64 = 64;
const STEPS_LEN: usize = 64;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Values from 2^40 µs (12 days) on share the last bucket.
const MAX_BITS: u32 = 40;
const BUCKETS: usize = ((MAX_BITS - STEP_BITS + 1) as usize) * STEPS_LEN;

/// Counts of microseconds in log-linear buckets: 18 KiB, whatever is recorded.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(into = "Sparse", from = "Sparse")]
pub struct Histogram {
    counts: Box<[u64]>,
    total: u64,
    max_us: u64,
}

/// A histogram as it is sent: only what is not 0.
#[derive(Serialize, Deserialize)]
struct Sparse {
    counts: Vec<(usize, u64)>,
    max_us: u64,
}

impl From<Histogram> for Sparse {
    fn from(histogram: Histogram) -> Self {
        let counts = histogram.counts.iter().copied().enumerate().filter(|(_, count)| *count > 0).collect();
        Self { counts, max_us: histogram.max_us }
    }
}

impl From<Sparse> for Histogram {
    fn from(sparse: Sparse) -> Self {
        let mut histogram = Self { max_us: sparse.max_us, ..Self::default() };
        for (index, count) in sparse.counts {
            if let Some(place) = histogram.counts.get_mut(index) {
                *place += count;
                histogram.total += count;
            }
        }
        histogram
    }
}

/// The quantiles that a report shows, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Half were no slower than this.
    pub p50: f64,
    /// 99 in 100 were no slower than this.
    pub p99: f64,
    /// The slowest, exactly.
    pub max: f64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; BUCKETS].into_boxed_slice(), total: 0, max_us: 0 }
    }
}

impl Histogram {
    /// Counts one value, in microseconds.
    pub fn record(&mut self, us: u64) {
        self.counts[bucket(us)] += 1;
        self.total += 1;
        self.max_us = self.max_us.max(us);
    }

    /// How many values were recorded.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.total
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.total += other.total;
        self.max_us = self.max_us.max(other.max_us);
    }

    /// The value that a share of `q` (0 to 1) does not exceed, in microseconds: at most 1/64 above the true one.
    #[must_use]
    pub fn quantile_us(&self, q: f64) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank is a small whole number"
        )]
        let rank = ((q * self.total as f64).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return upper_bound(index).min(self.max_us);
            }
        }
        self.max_us
    }

    /// The quantiles in milliseconds; none when nothing was recorded.
    #[must_use]
    pub fn quantiles(&self) -> Option<Quantiles> {
        let ms = |us: u64| us as f64 / 1000.0;
        (self.total > 0).then(|| Quantiles {
            p50: ms(self.quantile_us(0.5)),
            p99: ms(self.quantile_us(0.99)),
            max: ms(self.max_us),
        })
    }
}

fn bucket(us: u64) -> usize {
    let us = us.min((1 << MAX_BITS) - 1);
    let shift = (u64::BITS - us.leading_zeros()).saturating_sub(STEP_BITS + 1);
    let index = u64::from(shift) * STEPS + (us >> shift);
    usize::try_from(index).unwrap_or(BUCKETS - 1).min(BUCKETS - 1)
}

/// The largest value that falls into a bucket.
fn upper_bound(index: usize) -> u64 {
    let index = index as u64;
    if index < 2 * STEPS {
        return index;
    }
    let shift = index / STEPS - 1;
    ((index % STEPS + STEPS + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn quantiles_are_within_a_64th_of_the_truth(mut values in prop::collection::vec(0u64..1 << 39, 1..200), q in 0.01f64..1.0) {
            let mut histogram = Histogram::default();
            values.iter().for_each(|v| histogram.record(*v));
            values.sort_unstable();
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small whole number")]
            let truth = values[((q * values.len() as f64).ceil() as usize).max(1) - 1];
            let found = histogram.quantile_us(q);
            prop_assert!(found >= truth && found <= truth + truth / 64 + 1, "{found} for {truth}");
        }

        #[test]
        fn every_value_lies_in_its_bucket(us in 0u64..1 << 40) {
            let index = bucket(us);
            prop_assert!(us <= upper_bound(index));
            prop_assert!(index == 0 || us > upper_bound(index - 1));
        }
    }

    #[test]
    fn merging_adds_and_nothing_measured_is_none() {
        let mut a = Histogram::default();
        assert_eq!(a.quantiles(), None);
        let mut b = Histogram::default();
        a.record(1_000);
        b.record(3_000);
        a.merge(&b);
        assert_eq!(a.count(), 2);
        assert_eq!(a.quantiles().map(|q| q.max), Some(3.0));
        let sent = serde_json::to_string(&a).expect("serialises");
        let got: Histogram = serde_json::from_str(&sent).expect("is a histogram");
        assert!(sent.len() < 60, "{sent}");
        assert_eq!((got.count(), got.quantiles()), (2, a.quantiles()));
    }
}
