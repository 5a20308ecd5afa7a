//! The sockets of a channel, which a fan-out walks while others come and go.

use std::sync::Arc;

/// Entries in a piece at most.
const PIECE: usize = 64;

/// One or more, by ascending key.
type Piece<T> = Vec<(u64, T)>;

/// Values by key, in pieces. A [`Snapshot`] shares them: whoever is added or removed while one is held costs a copy of one piece
/// and of the list of pieces, not of all. Keys that ascend, as those of sockets do, fill the pieces.
pub(super) struct Pieces<T> {
    /// By ascending key.
    pieces: Arc<Vec<Arc<Piece<T>>>>,
    len: usize,
}

/// What was in it at one moment.
pub(super) struct Snapshot<T>(Arc<Vec<Arc<Piece<T>>>>);

impl<T> Default for Pieces<T> {
    fn default() -> Self {
        Self { pieces: Arc::default(), len: 0 }
    }
}

impl<T: Clone> Pieces<T> {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn snapshot(&self) -> Snapshot<T> {
        Snapshot(Arc::clone(&self.pieces))
    }

    /// False if the key is there already; then nothing changes.
    pub(super) fn insert(&mut self, key: u64, value: T) -> bool {
        let at = self.piece_of(key);
        let Some(piece) = self.pieces.get(at) else {
            Arc::make_mut(&mut self.pieces).push(Arc::new(vec![(key, value)]));
            self.len += 1;
            return true;
        };
        let Err(place) = find(piece, key) else { return false };
        let pieces = Arc::make_mut(&mut self.pieces);
        if pieces[at].len() < PIECE {
            Arc::make_mut(&mut pieces[at]).insert(place, (key, value));
        } else if place == PIECE {
            pieces.insert(at + 1, Arc::new(vec![(key, value)]));
        } else {
            let upper = Arc::make_mut(&mut pieces[at]).split_off(PIECE / 2);
            pieces.insert(at + 1, Arc::new(upper));
            let (at, place) = if place <= PIECE / 2 { (at, place) } else { (at + 1, place - PIECE / 2) };
            Arc::make_mut(&mut pieces[at]).insert(place, (key, value));
        }
        self.len += 1;
        true
    }

    /// False if the key is not there.
    pub(super) fn remove(&mut self, key: u64) -> bool {
        let at = self.piece_of(key);
        let Some(Ok(place)) = self.pieces.get(at).map(|piece| find(piece, key)) else { return false };
        let pieces = Arc::make_mut(&mut self.pieces);
        Arc::make_mut(&mut pieces[at]).remove(place);
        self.len -= 1;
        if pieces[at].is_empty() {
            pieces.remove(at);
        } else {
            // So that there are never many more pieces than it takes.
            let small = |pair: usize| pieces[pair].len() + pieces[pair + 1].len() <= PIECE / 2;
            let pair = [at.checked_sub(1), Some(at)].into_iter().flatten();
            if let Some(pair) = pair.filter(|pair| pair + 1 < pieces.len()).find(|pair| small(*pair)) {
                let upper = pieces.remove(pair + 1);
                Arc::make_mut(&mut pieces[pair]).extend(upper.iter().cloned());
            }
        }
        true
    }

    /// The piece that has the key, or into which it belongs.
    fn piece_of(&self, key: u64) -> usize {
        let first = |piece: &Arc<Piece<T>>| piece.first().map_or(0, |(key, _)| *key);
        self.pieces.partition_point(|piece| first(piece) <= key).saturating_sub(1)
    }
}

fn find<T>(piece: &Piece<T>, key: u64) -> Result<usize, usize> {
    piece.binary_search_by_key(&key, |(key, _)| *key)
}

impl<T> Snapshot<T> {
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pieces().flatten()
    }

    /// All values, some at a time.
    pub(super) fn pieces(&self) -> impl Iterator<Item = impl Iterator<Item = &T>> {
        self.0.iter().map(|piece| piece.iter().map(|(_, value)| value))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn keys(snapshot: &Snapshot<u64>) -> Vec<u64> {
        snapshot.iter().copied().collect()
    }

    fn filled(count: u64) -> Pieces<u64> {
        let mut pieces = Pieces::default();
        assert!((0..count).all(|key| pieces.insert(key, key)));
        pieces
    }

    #[test]
    fn whoever_comes_beside_a_fan_out_copies_one_piece() {
        let mut sockets = filled(15_000);
        let before = sockets.snapshot();
        assert!(sockets.insert(15_000, 15_000) && sockets.remove(7));
        let after = sockets.snapshot();
        let shared = before.0.iter().zip(after.0.iter()).filter(|(a, b)| Arc::ptr_eq(a, b)).count();
        assert_eq!((before.0.len(), after.0.len(), shared), (235, 235, 233));
        assert_eq!(keys(&before), (0..15_000).collect::<Vec<_>>());
        assert_eq!(keys(&after), (0..=15_000).filter(|key| *key != 7).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_is_copied_when_nothing_changes() {
        let mut sockets = filled(3);
        let before = sockets.snapshot();
        assert!(!sockets.insert(1, 1) && !sockets.remove(9) && !Pieces::<u64>::default().remove(0));
        assert!(Arc::ptr_eq(&before.0, &sockets.pieces));
    }

    #[test]
    fn when_most_have_gone_there_are_few_pieces() {
        let mut sockets = filled(64 * 100);
        for key in (0..64 * 100).filter(|key| key % 64 != 0) {
            assert!(sockets.remove(key));
        }
        assert!(sockets.len() == 100 && sockets.pieces.len() <= 7, "{}", sockets.pieces.len());
    }

    proptest! {
        #[test]
        fn it_holds_what_a_map_holds(steps in proptest::collection::vec((any::<bool>(), 0_u64..400), 0..2_000)) {
            let (mut pieces, mut map) = (Pieces::default(), BTreeMap::new());
            for (add, key) in steps {
                if add {
                    prop_assert_eq!(pieces.insert(key, key), map.insert(key, key).is_none());
                } else {
                    prop_assert_eq!(pieces.remove(key), map.remove(&key).is_some());
                }
                prop_assert_eq!(pieces.len(), map.len());
            }
            let snapshot = pieces.snapshot();
            prop_assert_eq!(keys(&snapshot), map.into_keys().collect::<Vec<_>>());
            prop_assert!(snapshot.0.iter().all(|piece| (1..=PIECE).contains(&piece.len())));
        }
    }
}
