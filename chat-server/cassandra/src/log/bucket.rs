//! Where in a log's buckets a position lies. Pure arithmetic.

use chat_protocol::Seq;

/// How a log is cut into partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Buckets {
    /// Events in one bucket.
    size: Seq,
}

impl Buckets {
    /// `size` is taken as at least 1.
    pub(super) fn new(size: Seq) -> Self {
        Self { size: size.max(1) }
    }

    /// The bucket of the event at `seq`. Positions start at 1; those beyond any log are in the last bucket there is.
    pub(super) fn of(self, seq: Seq) -> i32 {
        i32::try_from(seq.saturating_sub(1) / self.size).unwrap_or(i32::MAX)
    }

    /// The bucket that the event after `head` goes to.
    pub(super) fn next(self, head: Seq) -> i32 {
        self.of(head.saturating_add(1))
    }

    /// The last position of a bucket.
    pub(super) fn end(self, bucket: i32) -> Seq {
        u64::try_from(bucket).unwrap_or(0).saturating_add(1).saturating_mul(self.size)
    }

    /// The first position of a bucket.
    pub(super) fn start(self, bucket: i32) -> Seq {
        self.end(bucket) - self.size + 1
    }

    /// Whether the event after `head` is the first of its bucket.
    pub(super) fn opens(self, head: Seq) -> bool {
        head.is_multiple_of(self.size)
    }

    /// Events that still fit into the bucket that the event after `head` goes to.
    pub(super) fn capacity(self, head: Seq) -> usize {
        usize::try_from(self.size - head % self.size).unwrap_or(usize::MAX)
    }

    /// Events in one bucket.
    pub(super) fn size(self) -> Seq {
        self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_position_has_one_bucket() {
        let buckets = Buckets::new(4);
        let of: Vec<i32> = (1..=9).map(|seq| buckets.of(seq)).collect();
        assert_eq!(of, [0, 0, 0, 0, 1, 1, 1, 1, 2]);
        assert_eq!(buckets.of(Seq::MAX), i32::MAX);
        for head in 0..20 {
            let next = buckets.next(head);
            assert_eq!(next, buckets.of(head + 1), "{head}");
            assert_eq!(buckets.opens(head), head == 0 || buckets.of(head) != next, "{head}");
            assert!((buckets.start(next)..=buckets.end(next)).contains(&(head + 1)), "{head}");
            assert_eq!(head + buckets.capacity(head) as Seq, buckets.end(next), "{head}");
        }
    }
}
