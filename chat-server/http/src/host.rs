//! `Host`, of which a request has exactly one (RFC 9112 §3.2).

use http::{HeaderMap, Version, header, uri::Authority};

/// Whether a request says well enough for which host it is: HTTP/1.1 in one `Host` line, the others in one at most (HTTP/2 has
/// `:authority`). An empty value is allowed.
#[must_use]
pub fn has_good_host(version: Version, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) => version != Version::HTTP_11,
        (Some(_), Some(_)) => false,
        (Some(host), None) => {
            let host = host.as_bytes();
            host.is_empty()
                || (!host.contains(&b'@') && Authority::try_from(host).is_ok_and(|host| has_good_port(&host)))
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
    let once = [header::AUTHORIZATION, header::ORIGIN, header::SEC_WEBSOCKET_VERSION];
    once.iter().all(|name| headers.get_all(name).iter().nth(1).is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_host_and_it_is_one() {
        for (version, hosts, expected) in [
            (Version::HTTP_11, &["chat.example:8080"] as &[_], true),
            (Version::HTTP_11, &["[::1]:8080"], true),
            (Version::HTTP_11, &[""], true),
            (Version::HTTP_11, &[], false),
            (Version::HTTP_11, &["a", "a"], false),
            (Version::HTTP_11, &["a b"], false),
            (Version::HTTP_11, &["a:"], true),
            (Version::HTTP_11, &["a:b"], false),
            (Version::HTTP_11, &["a:65536"], false),
            (Version::HTTP_11, &["[::1]:b"], false),
            (Version::HTTP_11, &["a/b"], false),
            (Version::HTTP_11, &["who@a"], false),
            (Version::HTTP_11, &["a, b"], false),
            (Version::HTTP_10, &[], true),
            (Version::HTTP_10, &["a", "b"], false),
            (Version::HTTP_2, &[], true),
            (Version::HTTP_2, &["a", "b"], false),
        ] {
            let mut headers = HeaderMap::new();
            for host in hosts {
                headers.append(header::HOST, host.parse().expect("a value"));
            }
            assert_eq!(has_good_host(version, &headers), expected, "{version:?} {hosts:?}");
        }
    }
}
