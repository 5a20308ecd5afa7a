//! Who is there, and who goes first when there are too many: a set by keys (addresses, or people), with a bound in all and one for
//! each key. Pure; what closes a connection is elsewhere.
//!
//! The newcomer always comes in. At the bound of a key its own oldest member goes; at the bound in all the oldest of the key that
//! has most, so that one crowded address does not push others out. Those that wait for their client go before those that are
//! being answered.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
};

/// One member. Those that come first in this order go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Member {
    /// It is being answered: the server's turn, not the client's.
    answering: bool,
    /// When it came, as a number that grows.
    came: u64,
}

/// Which bound was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// That of the key.
    Key,
    /// That in all.
    All,
}

/// Members with what belongs to them, by key.
#[derive(Debug)]
pub(super) struct Crowd<K, T> {
    of: HashMap<K, BTreeMap<Member, T>>,
    len: usize,
    next: u64,
}

impl<K: Copy + Eq + Hash, T> Crowd<K, T> {
    /// An empty one.
    pub(super) fn new() -> Self {
        Self { of: HashMap::new(), len: 0, next: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// Whether one more of this key pushes somebody out.
    fn full(&self, key: K, (max_of_key, max): (usize, usize)) -> Option<Full> {
        if self.of.get(&key).is_some_and(|members| members.len() >= max_of_key) {
            Some(Full::Key)
        } else {
            (self.len >= max).then_some(Full::All)
        }
    }

    /// Takes one in, by the bounds of its key and in all. Answers who had to go for it, and why.
    pub(super) fn enter(
        &mut self,
        key: K,
        bounds: (usize, usize),
        what: T,
    ) -> (Member, Option<(K, T, Full)>) {
        let gone = self.full(key, bounds).and_then(|full| {
            let from = if full == Full::Key { Some(key) } else { self.most() };
            from.and_then(|from| self.push_out(from)).map(|(key, what)| (key, what, full))
        });
        let member = Member { answering: false, came: self.next };
        self.next += 1;
        self.of.entry(key).or_default().insert(member, what);
        self.len += 1;
        (member, gone)
    }

    /// Sends away whoever would go first.
    pub(super) fn push_out_one(&mut self) -> Option<(K, T)> {
        self.most().and_then(|key| self.push_out(key))
    }

    /// Changes whose turn it is, and with it the member's name. `None`: it is not there any more.
    pub(super) fn turn(&mut self, key: K, member: Member, answering: bool) -> Option<Member> {
        let members = self.of.get_mut(&key)?;
        let what = members.remove(&member)?;
        let member = Member { answering, ..member };
        members.insert(member, what);
        Some(member)
    }

    /// Takes one out, if it is there.
    pub(super) fn leave(&mut self, key: K, member: Member) -> Option<T> {
        let members = self.of.get_mut(&key)?;
        let what = members.remove(&member)?;
        if members.is_empty() {
            self.of.remove(&key);
        }
        self.len -= 1;
        Some(what)
    }

    /// The key that has most members; of several, the one whose first goes first.
    fn most(&self) -> Option<K> {
        let first = |members: &BTreeMap<Member, T>| members.keys().next().copied();
        let by = |members: &BTreeMap<Member, T>| (members.len(), std::cmp::Reverse(first(members)));
        self.of.iter().max_by_key(|(_, members)| by(members)).map(|(key, _)| *key)
    }

    fn push_out(&mut self, key: K) -> Option<(K, T)> {
        let first = *self.of.get(&key)?.keys().next()?;
        self.leave(key, first).map(|what| (key, what))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes `n` in; who went.
    fn enter(crowd: &mut Crowd<char, u32>, key: char, n: u32) -> (Member, Option<(char, u32, Full)>) {
        crowd.enter(key, (3, 4), n)
    }

    #[test]
    fn the_newcomer_comes_in_and_the_oldest_of_its_key_goes() {
        let mut crowd = Crowd::new();
        for n in 0..3 {
            assert_eq!(enter(&mut crowd, 'a', n).1, None);
        }
        assert_eq!(enter(&mut crowd, 'a', 3).1, Some(('a', 0, Full::Key)));
        assert_eq!(enter(&mut crowd, 'b', 4).1, None, "another key has its own bound");
        assert_eq!(crowd.len(), 4);
    }

    #[test]
    fn at_the_bound_in_all_the_key_that_has_most_gives_one() {
        let mut crowd = Crowd::new();
        let (lone, _) = enter(&mut crowd, 'b', 0);
        for n in 1..4 {
            enter(&mut crowd, 'a', n);
        }
        assert_eq!(enter(&mut crowd, 'c', 4).1, Some(('a', 1, Full::All)));
        assert_eq!(enter(&mut crowd, 'd', 5).1, Some(('a', 2, Full::All)));
        // All have one: the oldest goes.
        assert_eq!(enter(&mut crowd, 'e', 6).1, Some(('b', 0, Full::All)));
        assert_eq!(crowd.leave('b', lone), None, "it went");
        assert_eq!(crowd.len(), 4);
    }

    #[test]
    fn who_is_being_answered_goes_last() {
        let mut crowd = Crowd::new();
        let (first, _) = enter(&mut crowd, 'a', 0);
        let first = crowd.turn('a', first, true).expect("is there");
        let (second, _) = enter(&mut crowd, 'a', 1);
        enter(&mut crowd, 'a', 2);
        assert_eq!(enter(&mut crowd, 'a', 3).1, Some(('a', 1, Full::Key)));
        assert_eq!(crowd.turn('a', second, true), None, "it went");
        crowd.turn('a', first, false).expect("is there");
        assert_eq!(crowd.push_out_one(), Some(('a', 0)));
        assert_eq!(crowd.push_out_one(), Some(('a', 2)));
        assert_eq!(crowd.push_out_one(), Some(('a', 3)));
        assert_eq!((crowd.push_out_one(), crowd.len()), (None, 0));
    }
}
