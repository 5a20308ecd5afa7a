//! Chance that is the same in every run.

/// Random numbers by SplitMix64: the same seed gives the same run.
pub(crate) struct Chance(u64);

impl Chance {
    /// From a seed.
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From 0 to 1, without 1.
    pub(crate) fn part(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Whether something of this probability happens.
    pub(crate) fn happens(&mut self, probability: f64) -> bool {
        self.part() < probability
    }

    /// 1, by so much more or less at most.
    pub(crate) fn around(&mut self, noise: f64) -> f64 {
        1.0 + noise * (2.0 * self.part() - 1.0)
    }

    /// To a neighbouring whole number, so that the mean stays.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts of sockets, far below 2^53"
    )]
    pub(crate) fn round(&mut self, value: f64) -> u64 {
        (value.max(0.0) + self.part()) as u64
    }
}
