//! Pages of listings: one item more than fits is read, which says whether another page follows.

/// How many items to read for a page of `limit`.
pub const fn with_next(limit: usize) -> usize {
    limit.saturating_add(1)
}

/// Cuts what was read to a page of `limit`. When something was cut off, also the cursor of the last item that stays, after
/// which the next page begins.
pub fn cut<T, C>(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> C) -> (Vec<T>, Option<C>) {
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(cursor);
    (items, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_there_only_when_something_was_cut_off() {
        for (read, limit, expected) in [
            (vec![], 2, (vec![], None)),
            (vec![1], 2, (vec![1], None)),
            (vec![1, 2], 2, (vec![1, 2], None)),
            (vec![1, 2, 3], 2, (vec![1, 2], Some(2))),
        ] {
            assert!(read.len() <= with_next(limit));
            assert_eq!(cut(read, limit, |item| *item), expected);
        }
    }
}
