//! What is said to the process that a request is handed to, and what of its answer is for the client.

use std::{net::IpAddr, sync::LazyLock};

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, Version, header};

/// What this process calls itself in `Via` (RFC 9110 §7.6.3). The names of processes are nobody's business, and a client that could
/// guess this one would make its requests look as if they went in a circle.
static PSEUDONYM: LazyLock<String> = LazyLock::new(|| format!("folkmoot-{:016x}", rand::random::<u64>()));

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What only a proxy in front may say of where a request came from, and how.
const WORD_OF_PROXIES: [HeaderName; 4] = [
    X_FORWARDED_FOR,
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-host"),
    header::FORWARDED,
];

/// What is said for one connection only (RFC 9110 §7.6.1), besides what `Connection` names.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// Whether this process handed the request on already.
pub(super) fn came_from_us(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(header::VIA).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|hop| {
        // Protocol, then who received it by it.
        hop.split_whitespace().nth(1) == Some(&**PSEUDONYM)
    })
}

/// Changes the headers of a request that came from `peer`, which is `trusted` to say whom it speaks for.
pub(super) fn request(
    headers: &mut HeaderMap,
    uri: &Uri,
    version: Version,
    peer: Option<IpAddr>,
    trusted: bool,
) {
    remove_hop_by_hop(headers);
    if !trusted {
        for name in WORD_OF_PROXIES {
            headers.remove(name);
        }
    }
    if let Some(peer) = peer {
        append(headers, X_FORWARDED_FOR, &peer.to_string());
    }
    // HTTP/2 says it in the request's target (RFC 9113 §8.3.1).
    if !headers.contains_key(header::HOST)
        && let Some(host) = uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok())
    {
        headers.insert(header::HOST, host);
    }
    let protocol = if version == Version::HTTP_2 { "2" } else { "1.1" };
    append(headers, header::VIA, &format!("{protocol} {}", *PSEUDONYM));
}

/// Changes the headers of an answer.
pub(super) fn response(headers: &mut HeaderMap, status: StatusCode) {
    remove_hop_by_hop(headers);
    if matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        // There is no body, whatever its length would have been (RFC 9110 §8.6).
        headers.remove(header::CONTENT_LENGTH);
    }
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let lines: Vec<HeaderValue> = headers.get_all(header::CONNECTION).iter().cloned().collect();
    let named = lines.iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(','));
    for name in named.filter_map(|name| name.trim().parse::<HeaderName>().ok()) {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// Adds an entry at the end of a list, in one line with those before it.
fn append(headers: &mut HeaderMap, name: HeaderName, entry: &str) {
    let mut list = Vec::new();
    for line in headers.get_all(&name) {
        list.extend_from_slice(line.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(entry.as_bytes());
    if let Ok(value) = HeaderValue::from_bytes(&list) {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&str, &str)]) -> HeaderMap {
        let lines = lines.iter().map(|(name, value)| {
            (name.parse::<HeaderName>().expect("a name"), value.parse::<HeaderValue>().expect("a value"))
        });
        lines.collect()
    }

    /// What this process adds to `Via`.
    fn ours(protocol: &str) -> &'static str {
        String::leak(format!("{protocol} {}", *PSEUDONYM))
    }

    fn shown(headers: &HeaderMap) -> Vec<(&str, &str)> {
        let mut lines: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.to_str().expect("is text"))).collect();
        lines.sort_unstable();
        lines
    }

    fn sent(lines: &[(&str, &str)], trusted: bool) -> HeaderMap {
        let mut headers = map(lines);
        let peer = "192.0.2.1".parse().expect("an address");
        request(&mut headers, &Uri::from_static("/v1/users/me"), Version::HTTP_11, Some(peer), trusted);
        headers
    }

    #[test]
    fn what_a_client_says_of_where_it_is_goes_no_further() {
        let received = [
            ("host", "chat.example"),
            ("x-forwarded-for", "198.51.100.1"),
            ("x-forwarded-for", "203.0.113.5, 203.0.113.6"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "evil.example"),
            ("forwarded", "for=198.51.100.1"),
        ];
        let expected = [("host", "chat.example"), ("via", ours("1.1")), ("x-forwarded-for", "192.0.2.1")];
        assert_eq!(shown(&sent(&received, false)), expected);
        let expected = [
            ("forwarded", "for=198.51.100.1"),
            ("host", "chat.example"),
            ("via", ours("1.1")),
            ("x-forwarded-for", "198.51.100.1, 203.0.113.5, 203.0.113.6, 192.0.2.1"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-proto", "https"),
        ];
        assert_eq!(shown(&sent(&received, true)), expected);
    }

    #[test]
    fn what_is_for_one_connection_stays_on_it() {
        let received = [
            ("host", "chat.example"),
            ("connection", "Upgrade, X-Secret"),
            ("connection", "keep-alive"),
            ("upgrade", "websocket"),
            ("x-secret", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("trailer", "x-sum"),
            ("transfer-encoding", "chunked"),
            ("proxy-connection", "close"),
            ("proxy-authorization", "Basic x"),
            ("authorization", "Bearer x"),
            ("content-length", "5"),
        ];
        let expected = [
            ("authorization", "Bearer x"),
            ("content-length", "5"),
            ("host", "chat.example"),
            ("via", ours("1.1")),
            ("x-forwarded-for", "192.0.2.1"),
        ];
        assert_eq!(shown(&sent(&received, false)), expected);
        let mut headers = map(&[("connection", "close, x-hop"), ("x-hop", "1"), ("etag", "\"1\"")]);
        response(&mut headers, StatusCode::OK);
        assert_eq!(shown(&headers), [("etag", "\"1\"")]);
        // Nobody makes us keep our own word back.
        let headers = sent(&[("connection", "x-forwarded-for, via, host"), ("host", "chat.example")], false);
        assert_eq!(shown(&headers), [("via", ours("1.1")), ("x-forwarded-for", "192.0.2.1")]);
    }

    #[test]
    fn the_host_of_http2_is_passed_in_the_way_of_http1() {
        let mut headers = HeaderMap::new();
        let uri = Uri::from_static("https://chat.example/v1/users/me");
        request(&mut headers, &uri, Version::HTTP_2, None, false);
        assert_eq!(shown(&headers), [("host", "chat.example"), ("via", ours("2"))]);
    }

    #[test]
    fn requests_that_were_handed_on_are_known() {
        for (via, expected) in [
            (&[] as &[(&str, &str)], false),
            (&[("via", ours("1.1"))], true),
            (&[("via", "1.1 vegur"), ("via", String::leak(format!("1.0 a, {} (x)", ours("2"))))], true),
            (&[("via", "1.1 folkmoot.example")], false),
            // A client can say so too, and is none of us.
            (&[("via", "1.1 folkmoot")], false),
        ] {
            assert_eq!(came_from_us(&map(via)), expected, "{via:?}");
        }
        assert!(came_from_us(&sent(&[("via", "1.1 vegur")], false)));
    }
}
