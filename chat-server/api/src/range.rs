//! Byte ranges (RFC 9110 §14).

use std::ops::Range;

/// What a `Range` header asks of a representation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it: no range, an unknown unit, several ranges, or one that is not readable (RFC 9110 §14.2 lets a server
    /// ignore those).
    Whole,
    /// This part, which is not empty and lies within the size.
    Part(Range<u64>),
    /// No byte that there is: 416.
    Unsatisfiable,
}

/// Reads a `Range` header for a representation of `size` bytes.
pub(super) fn wanted(header: Option<&str>, size: u64) -> Wanted {
    match header.and_then(single) {
        None => Wanted::Whole,
        Some(Spec::From(first, last)) if first < size => {
            Wanted::Part(first..last.map_or(size, |last| last.saturating_add(1).min(size)))
        }
        Some(Spec::Last(length)) if length > 0 && size > 0 => Wanted::Part(size.saturating_sub(length)..size),
        Some(_) => Wanted::Unsatisfiable,
    }
}

enum Spec {
    From(u64, Option<u64>),
    Last(u64),
}

/// The one range of a header, when it has one and can be read.
fn single(header: &str) -> Option<Spec> {
    let (unit, range) = header.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = range.trim().split_once('-')?;
    match (first, last) {
        ("", length) => number(length).map(Spec::Last),
        (first, "") => Some(Spec::From(number(first)?, None)),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(Spec::From(first, Some(last)))
        }
    }
}

/// Digits only: `parse` alone would take a sign. More digits than fit mean "further than anything".
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_rfc_says() {
        use Wanted::{Part, Unsatisfiable, Whole};
        for (header, expected) in [
            ("bytes=0-0", Part(0..1)),
            ("bytes=0-499", Part(0..500)),
            ("bytes=500-999", Part(500..1_000)),
            ("bytes=9500-", Part(9_500..10_000)),
            ("bytes=-500", Part(9_500..10_000)),
            ("bytes=-20000", Part(0..10_000)),
            ("bytes=9999-99999", Part(9_999..10_000)),
            ("Bytes = 1-2", Part(1..3)),
            ("bytes=0-99999999999999999999999", Part(0..10_000)),
            ("bytes=-0", Unsatisfiable),
            ("bytes=10000-", Unsatisfiable),
            ("bytes=99999999999999999999999-", Unsatisfiable),
            ("bytes=0-1,5-6", Whole),
            ("bytes=5-4", Whole),
            ("bytes=+1-2", Whole),
            ("bytes=a-b", Whole),
            ("bytes=-", Whole),
            ("bytes", Whole),
            ("pages=1-2", Whole),
        ] {
            assert_eq!(wanted(Some(header), 10_000), expected, "{header}");
        }
        assert_eq!(wanted(None, 10_000), Whole);
    }
}
