//! `Host`, of which a request has exactly one (RFC 9112 §3.2).

use http::{HeaderMap, HeaderName, Uri, Version, header, uri::Authority};

/// Which headers a request may have once only.
pub const SINGLE_HEADERS: [HeaderName; 5] = [
    header::AUTHORIZATION,
    header::CONTENT_TYPE,
    HeaderName::from_static("idempotency-key"),
    header::ORIGIN,
    header::SEC_WEBSOCKET_VERSION,
];

/// Whether a request says well enough for which host it is: HTTP/1.1 in one `Host` line, whose value may be empty; HTTP/2 in
/// `:authority`, or in such a line, or in both if they say the same (RFC 9113 §8.3.1); HTTP/1.0 need not say it.
#[must_use]
pub fn has_good_host(version: Version, uri: &Uri, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (host, another) = (hosts.next(), hosts.next());
    let authority = uri.authority().filter(|_| version == Version::HTTP_2);
    match host.map(http::HeaderValue::as_bytes) {
        _ if another.is_some() || authority.is_some_and(|authority| authority.as_str().contains('@')) => {
            false
        }
        None => version == Version::HTTP_10 || authority.is_some(),
        Some(b"") => version != Version::HTTP_2,
        Some(host) => {
            let is_same = |host: &Authority| authority.is_none_or(|authority| authority == host);
            let read = Authority::try_from(host);
            !host.contains(&b'@') && read.is_ok_and(|host| has_good_port(&host) && is_same(&host))
        }
    }
}

/// None, or digits that may be one (RFC 3986 §3.2.3 allows none behind the colon).
fn has_good_port(host: &Authority) -> bool {
    let behind = host.as_str().strip_prefix(host.host()).unwrap_or_default();
    matches!(behind, "" | ":") || host.port_u16().is_some()
}

/// Whether no header is there twice of which there may be one only, so that nobody else reads another one of them.
#[must_use]
pub fn has_one_of_each(headers: &HeaderMap) -> bool {
    SINGLE_HEADERS.iter().all(|name| headers.get_all(name).iter().nth(1).is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_host_and_it_is_one() {
        let (one, two) = (Version::HTTP_11, Version::HTTP_2);
        for (version, uri, hosts, expected) in [
            (one, "/", &["chat.example:8080"] as &[_], true),
            (one, "/", &["[::1]:8080"], true),
            (one, "/", &[""], true),
            (one, "/", &[], false),
            (one, "/", &["a", "a"], false),
            (one, "/", &["a b"], false),
            (one, "/", &["a:"], true),
            (one, "/", &["a:b"], false),
            (one, "/", &["a:65536"], false),
            (one, "/", &["[::1]:b"], false),
            (one, "/", &["a/b"], false),
            (one, "/", &["who@a"], false),
            (one, "/", &["a, b"], false),
            // What the first line says is what counts (RFC 9112 §3.2.2).
            (one, "http://a/", &["b"], true),
            (Version::HTTP_10, "/", &[], true),
            (Version::HTTP_10, "/", &["a", "b"], false),
            (two, "http://a/", &[], true),
            (two, "http://a:8080/", &["A:8080"], true),
            (two, "/", &["a"], true),
            (two, "/", &[], false),
            (two, "/", &[""], false),
            (two, "http://a/", &[""], false),
            (two, "http://who@a/", &[], false),
            (two, "http://a/", &["b"], false),
            (two, "http://a:1/", &["a:2"], false),
            (two, "http://a/", &["a", "a"], false),
        ] {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, host.parse().expect("a value"));
            }
            let good = has_good_host(version, &uri.parse().expect("a target"), &headers);
            assert_eq!(good, expected, "{version:?} {uri} {hosts:?}");
        }
    }
}
