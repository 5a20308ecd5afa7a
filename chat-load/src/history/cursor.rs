//! What one receiver has of one channel, in 40 bytes while all is well.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event_head::mix;

/// Events kept beyond a gap. More are dropped and come again when the gap is repaired from the cursor.
const MAX_PENDING: usize = 10_000;

/// What an event was to a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Observation {
    /// Not seen before, and nothing is missing before it.
    Next,
    /// Not seen before, but events before it are missing: ask for them when they do not come.
    Ahead,
    /// Seen before: to be dropped.
    Seen,
}

/// What a receiver saw that it should not have, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Events that came twice on one socket though nothing was asked for.
    pub duplicated: u64,
    /// Events that came after a later one though nothing was asked for.
    pub out_of_order: u64,
}

/// The events of one channel that one receiver got, without the events: where they begin, up to where they
/// have no hole, and a digest of them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Cursor {
    base: u64,
    contiguous: u64,
    digest: u64,
    /// The highest seq seen on this socket while no catching up was under way.
    last_live: u64,
    trouble: Option<Box<Trouble>>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Trouble {
    pending: BTreeMap<u64, u64>,
    tally: Tally,
}

impl Cursor {
    /// A cursor of a receiver that has everything up to `base`: the channel's head in its first `welcome`.
    #[must_use]
    pub fn new(base: u64) -> Self {
        Self { base, contiguous: base, ..Self::default() }
    }

    /// Where this receiver began: it is owed every event after it.
    #[must_use]
    pub const fn base(&self) -> u64 {
        self.base
    }

    /// Up to where nothing is missing.
    #[must_use]
    pub const fn contiguous(&self) -> u64 {
        self.contiguous
    }

    /// Sum of `placed` over the events in `base + 1 ..= contiguous`.
    #[must_use]
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// Events it has beyond a gap.
    pub fn pending(&self) -> impl Iterator<Item = u64> + '_ {
        self.trouble.iter().flat_map(|t| t.pending.keys().copied())
    }

    /// Whether events are missing before some that it has.
    #[must_use]
    pub fn has_gap(&self) -> bool {
        self.trouble.as_ref().is_some_and(|t| !t.pending.is_empty())
    }

    /// What it saw that it should not have.
    #[must_use]
    pub fn tally(&self) -> Tally {
        self.trouble.as_ref().map(|t| t.tally).unwrap_or_default()
    }

    /// A new socket replaces the old one: what was live before may come again.
    pub const fn reconnected(&mut self) {
        self.last_live = 0;
    }

    /// An event came. `catching_up` says that missed ones were asked for and the answer is not complete, so
    /// that old and new ones may interleave.
    pub fn observe(&mut self, seq: u64, fingerprint: u64, catching_up: bool) -> Observation {
        let observation = if seq <= self.contiguous {
            Observation::Seen
        } else if seq == self.contiguous + 1 {
            self.advance(seq, fingerprint);
            Observation::Next
        } else {
            self.keep(seq, fingerprint)
        };
        if !catching_up {
            self.judge_live(seq, observation);
        }
        observation
    }

    fn judge_live(&mut self, seq: u64, observation: Observation) {
        if seq > self.last_live {
            self.last_live = seq;
            return;
        }
        let tally = &mut self.trouble.get_or_insert_default().tally;
        match observation {
            Observation::Seen => tally.duplicated += 1,
            Observation::Next | Observation::Ahead => tally.out_of_order += 1,
        }
    }

    fn keep(&mut self, seq: u64, fingerprint: u64) -> Observation {
        let pending = &mut self.trouble.get_or_insert_default().pending;
        if pending.len() >= MAX_PENDING && !pending.contains_key(&seq) {
            return Observation::Ahead;
        }
        match pending.insert(seq, fingerprint) {
            Some(_) => Observation::Seen,
            None => Observation::Ahead,
        }
    }

    fn advance(&mut self, seq: u64, fingerprint: u64) {
        self.take(seq, fingerprint);
        let Some(trouble) = &mut self.trouble else { return };
        // The borrow ends before `take`, so the map is moved out; it is empty but for repaired gaps.
        let mut pending = std::mem::take(&mut trouble.pending);
        while let Some(entry) = pending.first_entry() {
            if *entry.key() != self.contiguous + 1 {
                break;
            }
            let (seq, fingerprint) = entry.remove_entry();
            self.take(seq, fingerprint);
        }
        if let Some(trouble) = &mut self.trouble {
            trouble.pending = pending;
        }
    }

    const fn take(&mut self, seq: u64, fingerprint: u64) {
        self.contiguous = seq;
        self.digest = self.digest.wrapping_add(placed(seq, fingerprint));
    }
}

/// An event at its position, as a number to be summed: the sum over a range of seqs shows whether two sides
/// had the same events at the same positions.
#[must_use]
pub(super) const fn placed(seq: u64, fingerprint: u64) -> u64 {
    mix(fingerprint ^ mix(seq))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn in_order_is_the_small_case() {
        let mut cursor = Cursor::new(10);
        for seq in 11..100 {
            assert_eq!(cursor.observe(seq, seq, false), Observation::Next);
        }
        assert_eq!((cursor.contiguous(), cursor.tally()), (99, Tally::default()));
        assert!(cursor.trouble.is_none(), "nothing is allocated while all is well");
        assert!(size_of::<Cursor>() <= 40);
    }

    #[test]
    fn twice_on_one_socket_is_a_duplicate_but_not_across_sockets_or_while_catching_up() {
        let mut cursor = Cursor::new(0);
        cursor.observe(1, 1, false);
        cursor.observe(1, 1, false);
        assert_eq!(cursor.tally(), Tally { duplicated: 1, out_of_order: 0 });
        cursor.reconnected();
        cursor.observe(1, 1, false);
        cursor.observe(1, 1, true);
        assert_eq!(cursor.tally(), Tally { duplicated: 1, out_of_order: 0 });
    }

    #[test]
    fn a_late_event_is_out_of_order_and_closes_the_gap() {
        let mut cursor = Cursor::new(0);
        assert_eq!(cursor.observe(2, 2, false), Observation::Ahead);
        assert!(cursor.has_gap());
        assert_eq!(cursor.observe(1, 1, false), Observation::Next);
        assert_eq!((cursor.contiguous(), cursor.has_gap()), (2, false));
        assert_eq!(cursor.tally(), Tally { duplicated: 0, out_of_order: 1 });
    }

    #[test]
    fn a_live_event_that_a_sync_brought_first_is_no_duplicate() {
        let mut cursor = Cursor::new(0);
        cursor.observe(1, 1, false);
        cursor.observe(2, 2, true);
        cursor.observe(3, 3, true);
        cursor.observe(3, 3, false);
        assert_eq!(cursor.tally(), Tally::default());
    }

    proptest! {
        #[test]
        fn any_order_ends_at_the_same_digest(order in Just((1u64..60).collect::<Vec<_>>()).prop_shuffle()) {
            let mut shuffled = Cursor::new(0);
            order.iter().for_each(|seq| { shuffled.observe(*seq, seq * 7, true); });
            let mut straight = Cursor::new(0);
            (1..60).for_each(|seq| { straight.observe(seq, seq * 7, false); });
            prop_assert_eq!(shuffled.contiguous(), 59);
            prop_assert_eq!(shuffled.digest(), straight.digest());
            prop_assert!(!shuffled.has_gap());
        }

        #[test]
        fn live_and_out_of_order_is_always_noticed(order in Just((1u64..20).collect::<Vec<_>>()).prop_shuffle()) {
            let mut cursor = Cursor::new(0);
            order.iter().for_each(|seq| { cursor.observe(*seq, *seq, false); });
            prop_assert_eq!(cursor.tally().out_of_order > 0, !order.is_sorted());
            prop_assert_eq!(cursor.tally().duplicated, 0);
        }
    }
}
