//! Conditional requests (RFC 9110 §13) for representations with a strong entity tag.

use http::{HeaderMap, header};

/// Whether `If-None-Match` names this tag, by weak comparison (RFC 9110 §13.1.2): the answer is 304 then.
pub(super) fn none_match(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|candidate| candidate == "*" || candidate.strip_prefix("W/").unwrap_or(candidate) == etag)
}

/// Whether a `Range` is to be honoured: there is no `If-Range`, or it holds this tag by strong comparison (RFC 9110
/// §13.1.5). A date never matches, because nothing here has a modification date.
pub(super) fn range_applies(headers: &HeaderMap, etag: &str) -> bool {
    headers.get(header::IF_RANGE).is_none_or(|value| value.as_bytes() == etag.as_bytes())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn with(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn tags_are_compared_weakly_for_if_none_match() {
        for (value, expected) in [
            (r#""a""#, true),
            (r#"W/"a""#, true),
            (r#""b", "a""#, true),
            ("*", true),
            (r#""b""#, false),
            ("a", false),
            ("", false),
        ] {
            assert_eq!(none_match(&with(header::IF_NONE_MATCH, value), r#""a""#), expected, "{value}");
        }
        assert!(!none_match(&HeaderMap::new(), r#""a""#));
    }

    #[test]
    fn tags_are_compared_strongly_for_if_range() {
        for (value, expected) in [
            (r#""a""#, true),
            (r#"W/"a""#, false),
            (r#""b""#, false),
            ("Sun, 06 Nov 1994 08:49:37 GMT", false),
        ] {
            assert_eq!(range_applies(&with(header::IF_RANGE, value), r#""a""#), expected, "{value}");
        }
        assert!(range_applies(&HeaderMap::new(), r#""a""#));
    }
}
