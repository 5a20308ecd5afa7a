//! The hours by which channels are listed, and the clocks that they follow.
//!
//! Whoever notes a channel must not be late, or the list counts as final already; whoever reads lists must not be early.
//! So the one takes the later of its own clock and Cassandra's, the other the earlier one.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use chat_domain::clock::now_ms;
use chat_protocol::{ChannelId, Millis};

/// An hour's list is final so many hours after the hour's end. A batch relies on a note of its hour or the one before; what
/// remains is for clocks that differ and for batches that Cassandra finishes late.
const FINAL_AFTER: i64 = 2;

/// Which hour it is.
pub(super) struct Hours {
    /// Length of an hour in milliseconds; tests have shorter ones.
    length: i64,
    /// Cassandra's clock minus this process's, as last measured.
    offset: AtomicI64,
    /// The latest hour that this process took for the current one: it never goes back.
    latest: AtomicI64,
}

impl Hours {
    pub(super) fn new(length: Duration) -> Self {
        let length = i64::try_from(length.as_millis()).unwrap_or(i64::MAX).max(1);
        Self { length, offset: AtomicI64::new(0), latest: AtomicI64::new(0) }
    }

    /// Cassandra's clock showed this time just now.
    pub(super) fn measured(&self, theirs: Millis) {
        self.offset.store(signed(theirs) - signed(now_ms()), Ordering::Relaxed);
    }

    /// The hour that channels are noted in.
    pub(super) fn writing(&self) -> i64 {
        self.writing_at(signed(now_ms()))
    }

    fn writing_at(&self, own: i64) -> i64 {
        let hour = (own + self.offset.load(Ordering::Relaxed).max(0)) / self.length;
        self.latest.fetch_max(hour, Ordering::Relaxed).max(hour)
    }

    /// The time by which lists are final.
    pub(super) fn reading(&self) -> i64 {
        signed(now_ms()) + self.offset.load(Ordering::Relaxed).min(0)
    }

    /// The last hour whose list is final at that time.
    pub(super) const fn last_final(&self, reading: i64) -> i64 {
        reading.div_euclid(self.length) - 1 - FINAL_AFTER
    }

    /// How many hours fit into a time.
    pub(super) fn in_time(&self, time: Duration) -> i64 {
        i64::try_from(time.as_millis()).unwrap_or(i64::MAX) / self.length
    }

    /// One hour, in milliseconds.
    pub(super) const fn length(&self) -> i64 {
        self.length
    }
}

fn signed(time: Millis) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}

/// The shard of a channel. Part of the format: the finaliser of SplitMix64 (Steele, Lea and Flood 2014) over both halves of
/// the id.
pub(super) fn shard_of(channel: ChannelId, shards: u32) -> u32 {
    let (high, low) = channel.0.as_u64_pair();
    u32::try_from(mix(high ^ mix(low)) % u64::from(shards.max(1))).unwrap_or(0)
}

const fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const HOUR: i64 = 3_600_000;

    #[test]
    fn an_hour_is_final_two_hours_after_its_end() {
        let hours = Hours::new(Duration::from_hours(1));
        assert_eq!(hours.last_final(13 * HOUR - 1), 9);
        assert_eq!(hours.last_final(13 * HOUR), 10);
    }

    #[test]
    fn the_hour_of_a_writer_never_goes_back() {
        let hours = Hours::new(Duration::from_hours(1));
        assert_eq!(hours.writing_at(7 * HOUR), 7);
        assert_eq!(hours.writing_at(4 * HOUR), 7);
        assert_eq!(hours.writing_at(8 * HOUR), 8);
    }

    #[test]
    fn writers_follow_the_later_clock_and_readers_the_earlier_one() {
        let hours = Hours::new(Duration::from_hours(1));
        hours.measured(now_ms() + 3_600_000 * 7 / 2);
        assert_eq!(hours.writing_at(7 * HOUR), 10);
        assert!(hours.reading() <= signed(now_ms()));
        hours.measured(now_ms() - 3 * 3_600_000);
        assert_eq!(hours.writing_at(10 * HOUR), 10);
        assert!(hours.reading() < signed(now_ms()) - 2 * HOUR);
    }

    #[test]
    fn the_shard_of_a_channel_is_the_same_in_every_version() {
        let shards: Vec<u32> = (0..6).map(|n| shard_of(ChannelId(Uuid::from_u128(n)), 64)).collect();
        assert_eq!(shards, SHARDS);
        assert!((0..500).all(|_| shard_of(ChannelId::new(), 4) < 4));
    }

    const SHARDS: [u32; 6] = [47, 30, 52, 23, 11, 53];
}
