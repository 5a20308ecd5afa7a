//! Requests of HTTP/1 that are not as RFC 9110 and RFC 9112 want them.

use tokio::io::AsyncWriteExt as _;

use super::{World, harness::raw::Raw};

/// A request for something public with these lines.
fn get(lines: &str) -> Vec<u8> {
    format!("GET /.well-known/jwks.json HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes()
}

/// A login with these lines and this body; nobody has the password.
fn post(lines: &str, body: &str) -> Vec<u8> {
    let head = "POST /v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n";
    format!("{head}{lines}\r\n{body}").into_bytes()
}

const LOGIN: &str = r#"{"handle":"nobody","password":"wrong password"}"#;

/// What is no request: it is answered with one of these statuses, or the connection ends without an answer.
fn no_requests() -> Vec<(Vec<u8>, &'static [u16])> {
    let bad: &[u16] = &[400, 405, 413, 414, 431, 505];
    let mut all: Vec<(Vec<u8>, &[u16])> = Vec::new();
    // Request lines.
    for line in [
        "",
        " ",
        "GET",
        "GET /",
        "GET  / HTTP/1.1",
        "GET /\tHTTP/1.1",
        "GET / HTTP/1.1 ",
        "GET / HTTP/1.2",
        "GET / HTTP/0.9",
        "GET / HTTP/2.0",
        "GET / HTTP/3",
        "GET / http/1.1",
        "GET / HTTP/11",
        "GET / HTTP/-1.1",
        "GET / HTTPS/1.1",
        "GET / ICAP/1.0",
        "G\u{e9}T / HTTP/1.1",
        "GE T / HTTP/1.1",
        "GET\0 / HTTP/1.1",
        "GET /\0 HTTP/1.1",
        "GET /\u{7f} HTTP/1.1",
        "GET / HTTP/1.1\0",
        "{} / HTTP/1.1",
        "(GET) / HTTP/1.1",
        "\u{16}\u{3}\u{1}\u{2}",
        "SSH-2.0-OpenSSH_9.6",
        "EHLO a",
        "*1\r\n$4\r\nPING",
        "<xml/>",
    ] {
        all.push((format!("{line}\r\nHost: a\r\n\r\n").into_bytes(), bad));
    }
    // Header lines.
    for line in [
        "X y: z",
        "X : z",
        " X: z",
        "\tX: z",
        ": z",
        "X",
        "X\0: z",
        "X: a\0b",
        "X: a\rb",
        "X: \u{1}",
        "X\u{e9}: z",
        "(X): z",
        "X@y: z",
        "X: a\r\n b",
        "X: a\r\n\tb",
        "X[]: z",
        "\"X\": z",
        "X;y: z",
    ] {
        all.push((get(&format!("{line}\r\n")), &[400]));
    }
    for length in [
        "-1",
        "+1",
        "0x10",
        "1 1",
        "1,1",
        "1, 2",
        "9999999999999999999999",
        "a",
        "",
        "1e3",
        "1.0",
        "18446744073709551616",
    ] {
        all.push((post(&format!("Content-Length: {length}\r\n"), LOGIN), &[400, 401, 413]));
    }
    for coding in
        ["gzip", "chunked, gzip", "xchunked", "chunked, chunked", "identity", "chunked\0", "\"chunked\"", ""]
    {
        all.push((post(&format!("Transfer-Encoding: {coding}\r\n"), "0\r\n\r\n"), &[400, 501]));
    }
    // Chunks.
    for chunks in [
        "x\r\n",
        "-1\r\na\r\n",
        "1\r\nab\r\n0\r\n\r\n",
        "1\na\n0\n\n",
        "fffffffffffffffff\r\n",
        "1;\0\r\na\r\n0\r\n\r\n",
        "+1\r\na\r\n0\r\n\r\n",
        "0x1\r\na\r\n0\r\n\r\n",
        "1 \0\r\na\r\n",
        "\r\n",
        " \r\n",
        "1\r\n",
        "1\r\na",
        "1\r\na\r\n",
        "G\r\n",
        "1\r\na\r\n0\r\nX y: z\r\n\r\n",
    ] {
        all.push((post("Transfer-Encoding: chunked\r\n", chunks), &[400]));
    }
    // What is too much of something.
    all.push((format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "a".repeat(70_000)).into_bytes(), bad));
    all.push((get(&format!("X: {}\r\n", "a".repeat(70_000))), bad));
    all.push((get(&format!("{}: a\r\n", "X".repeat(70_000))), bad));
    all.push((get(&"X: y\r\n".repeat(2_000)), bad));
    all.push((format!("{} / HTTP/1.1\r\nHost: a\r\n\r\n", "A".repeat(70_000)).into_bytes(), bad));
    all.push((post("Content-Length: 200000\r\n", &"a".repeat(200_000)), &[400, 413]));
    // A body of two lengths is one of two requests to somebody else: RFC 9112 §6.3.
    for lines in [
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Content-Length: 4\r\nContent-Length: 4\r\nContent-Length: 5\r\n",
    ] {
        all.push((post(lines, LOGIN), &[400]));
    }
    for host in ["a b", "a/b", "who@a", "a, b", "a:b", "a:99999", "[::1", "\u{e9}", "a\\b", "<a>"] {
        all.push((format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes(), &[400]));
    }
    all
}

/// Requests in which something is odd and nothing wrong: each has one of these statuses.
fn odd_requests() -> Vec<(Vec<u8>, &'static [u16])> {
    let mut all: Vec<(Vec<u8>, &[u16])> = Vec::new();
    for method in [
        "HEAD",
        "OPTIONS",
        "TRACE",
        "CONNECT",
        "PROPFIND",
        "get",
        "Get",
        "DELETE",
        "PATCH",
        "X",
        "!#$%&'*+-.^_`|~",
    ] {
        for path in ["/", "/.well-known/jwks.json", "/v1/users/me", "/v1/ws"] {
            all.push((
                format!("{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").into_bytes(),
                &[200, 204, 304, 400, 401, 404, 405, 426],
            ));
        }
    }
    for target in [
        "*",
        "http://a/",
        "http://b/v1/users/me",
        "//a/v1/users/me",
        "/v1//users/me",
        "/v1/./users/me",
        "/v1/../v1/users/me",
        "/..",
        "/../..",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/%00",
        "/%",
        "/%zz",
        "/%c0%ae%c0%ae/",
        "/%ff",
        "/%u0041",
        "/?",
        "/?%00",
        "/??",
        "/?a=%ff",
        "/#a",
        "/;a",
        "/v1/users/me/",
        "/V1/users/me",
        "/v1/users/%6d%65",
        "/v1/channels/%2e%2e",
        "/v1/channels/..%2fme",
        "/index.html%00.js",
        "/c:%5cwindows",
        "/.git/config",
        "/.env",
        "/data/folkmoot.db",
        "/v1/files/..%2f..%2fkey/content",
        "/app.css/..",
    ] {
        all.push((
            format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes(),
            &[200, 301, 302, 307, 308, 400, 401, 404, 405],
        ));
    }
    for lines in [
        "Expect: 100-continue\r\n",
        "Expect: something\r\n",
        "Range: bytes=0-0\r\n",
        "Accept: nothing/at-all\r\n",
        "Accept-Encoding: *;q=0\r\n",
        "If-None-Match: \"\r\n",
        "If-None-Match: W/\r\n",
        "If-None-Match: *\r\n",
        "If-Modified-Since: yesterday\r\n",
        "If-Match: \"a\"\r\n",
        "Connection: close, close\r\n",
        "Connection: Host\r\n",
        "Connection: \0\r\n",
        "Upgrade: h2c\r\nConnection: upgrade\r\n",
        "TE: trailers, gzip\r\n",
        "Authorization:\r\n",
        "Authorization: Basic YTpi\r\n",
        "Cookie: a=b; c\r\n",
        "X-Forwarded-For: 1.2.3.4, unknown, ::1\r\n",
        "X-Forwarded-For: \u{e9}\r\n",
        "Forwarded: for=\"_x\"\r\n",
        "X-Real-IP: a\r\n",
        "Content-Length: 0\r\n",
        "X-HTTP-Method-Override: DELETE\r\n",
        "Origin: null\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Max-Forwards: 0\r\n",
        "Via: 1.1 a\r\n",
        "Content-Encoding: gzip\r\n",
    ] {
        all.push((get(lines), &[200, 206, 304, 400, 412, 417]));
    }
    for lines in [
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
    ] {
        let length = LOGIN.len();
        all.push((post(lines, &format!("{length:x}\r\n{LOGIN}\r\n0\r\n\r\n")), &[400, 401]));
    }
    let length = format!("Content-Length: {}\r\n", LOGIN.len());
    for encoding in ["gzip", "br", "deflate", "identity", "gzip, gzip", "\u{1}", "compress"] {
        all.push((post(&format!("{length}Content-Encoding: {encoding}\r\n"), LOGIN), &[400, 401, 415]));
    }
    all
}

/// All of both kinds.
pub(crate) fn inputs() -> Vec<Vec<u8>> {
    no_requests().into_iter().chain(odd_requests()).map(|(bytes, _)| bytes).collect()
}

pub(crate) async fn all(world: &mut World) {
    for (bytes, expected) in no_requests() {
        one(world, &bytes, expected, true).await;
    }
    for (bytes, expected) in odd_requests() {
        one(world, &bytes, expected, false).await;
    }
    // What is left unsaid: the connection ends with its client.
    for cut in [
        "",
        "G",
        "GET / HTTP/1.1\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX",
        "POST /v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{",
    ] {
        one(world, cut.as_bytes(), &[400, 415], true).await;
    }
    // Behind a request that is refused nothing is taken for another one.
    let smuggled = post("Content-Length: -1\r\n", "GET /.well-known/jwks.json HTTP/1.1\r\nHost: a\r\n\r\n");
    let mut raw = Raw::send(&world.server.base_url, smuggled).await;
    let status = raw.head().await.map(|(status, _)| status);
    assert_eq!(status, Some(400));
    raw.ended().await;
    world.tried += 1;
}

async fn one(world: &mut World, bytes: &[u8], expected: &[u16], may_end: bool) {
    world.tried += 1;
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
    let mut raw = Raw::connect(&world.server.base_url).await;
    // It may be ended while it is written.
    let _ = raw.write(bytes).await;
    if may_end {
        // What waits for more is to see that no more comes.
        let _ = raw.0.shutdown().await;
    }
    match raw.head().await {
        Some((status, head)) => {
            assert!(expected.contains(&status), "{shown:?}: expected {expected:?}, got {head}")
        }
        None => assert!(may_end, "{shown:?}: expected {expected:?}, and it was not answered"),
    }
}
