//! Requests that are not as the RFCs want them.

use crate::harness::{
    TestServer,
    raw::{KEY, Raw, upgrade_request},
};

#[tokio::test]
async fn a_request_has_one_host() {
    let server = TestServer::start().await;
    for base_url in [&server.base_url, &server.admin_url] {
        for (lines, version, expected) in [
            ("Host: a\r\n", "1.1", 200),
            ("", "1.0", 200),
            ("", "1.1", 400),
            ("Host: a\r\nHost: a\r\n", "1.1", 400),
            ("Host: a\r\nHost: b\r\n", "1.0", 400),
            ("Host: a b\r\n", "1.1", 400),
            ("Host: who@a\r\n", "1.1", 400),
        ] {
            let path = if *base_url == server.admin_url { "/healthz" } else { "/.well-known/jwks.json" };
            let mut raw = Raw::send(base_url, format!("GET {path} HTTP/{version}\r\n{lines}\r\n")).await;
            let (status, head) = raw.head().await.expect("is answered");
            assert_eq!(status, expected, "{path} {version} {lines:?}: {head}");
        }
    }
    let name = "folkmoot_http_closed_total{reason=\"host\"}";
    assert_eq!(server.metric(name).await, 5.0, "those of the public address are counted");
}

#[tokio::test]
async fn the_key_of_a_socket_is_16_bytes_in_base64() {
    let server = TestServer::start().await;
    for (keys, expected) in [
        (&[KEY] as &[_], 101),
        (&[], 400),
        (&[""], 400),
        (&["x"], 400),
        (&["dGhlIHNhbXBsZSBub25j"], 400),
        (&[KEY, KEY], 400),
    ] {
        let lines: String = keys.iter().map(|key| format!("Sec-WebSocket-Key: {key}\r\n")).collect();
        let mut raw = Raw::send(&server.base_url, upgrade_request(&format!("Host: a\r\n{lines}"))).await;
        let (status, head) = raw.head().await.expect("is answered");
        assert_eq!(status, expected, "{keys:?}: {head}");
    }
}

#[tokio::test]
async fn what_may_be_there_once_is_not_there_twice() {
    let server = TestServer::start().await;
    let upgrade = |more: &str| upgrade_request(&format!("Host: a\r\nSec-WebSocket-Key: {KEY}\r\n{more}"));
    let token = "Authorization: Bearer x\r\n";
    for (request, expected) in [
        (upgrade("Origin: http://a\r\n"), 101),
        (upgrade("Origin: http://a\r\nOrigin: http://a\r\n"), 400),
        (upgrade("Sec-WebSocket-Version: 13\r\n"), 400),
        (upgrade(&token.repeat(2)), 400),
        (upgrade("").replacen("GET", "HEAD", 1), 400),
        (format!("GET /v1/users/me HTTP/1.1\r\nHost: a\r\n{token}\r\n"), 401),
        (format!("GET /v1/users/me HTTP/1.1\r\nHost: a\r\n{token}{token}\r\n"), 400),
    ] {
        let mut raw = Raw::send(&server.base_url, &request).await;
        let (status, head) = raw.head().await.expect("is answered");
        assert_eq!(status, expected, "{request}: {head}");
    }
}

#[tokio::test]
async fn a_head_has_a_bound_in_bytes() {
    let server = TestServer::start().await;
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Long: {}\r\n\r\n", "x".repeat(100_000));
    let mut raw = Raw::connect(&server.base_url).await;
    // It may be ended while it is written.
    let _ = raw.write(long).await;
    if let Some((status, _)) = raw.head().await {
        assert_eq!(status, 431);
    }
    raw.ended().await;
}
