//! Downloads: who may, in what parts, and that they cannot script.

use chat_protocol::{ChannelId, ErrorCode, FileRef, Problem, rest::TokenResponse};
use reqwest::{Method, Response};

use crate::harness::TestServer;

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR and what follows";

struct Scene {
    server: TestServer,
    ada: TokenResponse,
    channel: ChannelId,
}

impl Scene {
    async fn new() -> Self {
        let server = TestServer::start().await;
        let ada = server.register("ada").await;
        let channel = server.channel_of(&ada, &[], "den").await;
        Self { server, ada, channel }
    }

    async fn post(&self, by: &TokenResponse, name: &str, bytes: &[u8]) -> Response {
        let channel = self.channel.to_string();
        let request = self.server.http.post(format!("{}/v1/files", self.server.base_url));
        let request = request.query(&[("channel", channel.as_str()), ("name", name)]).body(bytes.to_vec());
        request.bearer_auth(&by.access_token).send().await.expect("is answered")
    }

    async fn upload(&self, name: &str, bytes: &[u8]) -> FileRef {
        let response = self.post(&self.ada, name, bytes).await;
        assert_eq!(response.status(), 201);
        response.json().await.expect("a file")
    }

    async fn ask(
        &self,
        by: &TokenResponse,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Response {
        let request = self.server.http.request(method, format!("{}{path}", self.server.base_url));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.bearer_auth(&by.access_token).send().await.expect("is answered")
    }

    async fn content(&self, file: &FileRef, headers: &[(&str, &str)]) -> Response {
        self.ask(&self.ada, Method::GET, &format!("/v1/files/{}/content", file.id), headers).await
    }
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("text"))
}

#[tokio::test]
async fn a_file_comes_back_whole_and_in_parts() {
    let scene = Scene::new().await;
    let bytes: Vec<u8> = (0..300_000_u32).flat_map(|n| n.to_le_bytes()).take(1_000_000).collect();
    let file = scene.upload("numbers.bin", &bytes).await;
    assert_eq!((file.name.as_str(), file.size), ("numbers.bin", 1_000_000));

    let whole = scene.content(&file, &[]).await;
    assert_eq!(whole.status(), 200);
    assert_eq!(header(&whole, "accept-ranges"), "bytes");
    assert_eq!(header(&whole, "content-length"), "1000000");
    let etag = header(&whole, "etag").to_owned();
    assert!(whole.bytes().await.expect("bytes") == bytes);

    for (range, status, content_range, part) in [
        ("bytes=0-0", 206, "bytes 0-0/1000000", 0..1),
        ("bytes=65535-131072", 206, "bytes 65535-131072/1000000", 65_535..131_073),
        ("bytes=999999-", 206, "bytes 999999-999999/1000000", 999_999..1_000_000),
        ("bytes=-10", 206, "bytes 999990-999999/1000000", 999_990..1_000_000),
        ("bytes=5-99999999", 206, "bytes 5-999999/1000000", 5..1_000_000),
        ("bytes=0-1,5-6", 200, "", 0..1_000_000),
        ("lines=1-2", 200, "", 0..1_000_000),
        ("bytes=7-6", 200, "", 0..1_000_000),
    ] {
        let response = scene.content(&file, &[("range", range)]).await;
        assert_eq!(response.status(), status, "{range}");
        assert_eq!(header(&response, "content-range"), content_range, "{range}");
        assert_eq!(header(&response, "content-length"), part.len().to_string(), "{range}");
        assert!(response.bytes().await.expect("bytes") == bytes[part], "{range}");
    }
    for range in ["bytes=1000000-", "bytes=-0"] {
        let response = scene.content(&file, &[("range", range)]).await;
        assert_eq!(response.status(), 416, "{range}");
        assert_eq!(header(&response, "content-range"), "bytes */1000000", "{range}");
        let problem: Problem = response.json().await.expect("a problem");
        assert_eq!(problem.code, ErrorCode::RangeNotSatisfiable);
    }
    let weak = format!("W/{etag}");
    for (if_range, status) in [(etag.as_str(), 206), (&weak, 200), ("\"other\"", 200)] {
        let response = scene.content(&file, &[("range", "bytes=0-1"), ("if-range", if_range)]).await;
        assert_eq!(response.status(), status, "{if_range}");
    }
}

#[tokio::test]
async fn what_a_client_has_is_not_sent_again() {
    let scene = Scene::new().await;
    let file = scene.upload("a.txt", b"hello").await;
    let etag = header(&scene.content(&file, &[]).await, "etag").to_owned();
    // SHA-256 of "hello".
    assert_eq!(etag, "\"2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\"");
    let (weak, several) = (format!("W/{etag}"), format!("\"x\", {etag}"));
    for (known, status) in [(etag.as_str(), 304), (&weak, 304), (&several, 304), ("*", 304), ("\"x\"", 200)] {
        let response = scene.content(&file, &[("if-none-match", known), ("range", "bytes=0-1")]).await;
        let expected = if status == 200 { 206 } else { status };
        assert_eq!(response.status(), expected, "{known}");
        assert_eq!(header(&response, "etag"), etag, "{known}");
    }
    let path = format!("/v1/files/{}/content", file.id);
    let head = scene.ask(&scene.ada, Method::HEAD, &path, &[("range", "bytes=0-1")]).await;
    assert_eq!((head.status().as_u16(), header(&head, "content-length")), (200, "5"));
    assert_eq!(header(&head, "etag"), etag);
}

#[tokio::test]
async fn a_file_is_seen_by_those_who_may_read_its_channel() {
    let scene = Scene::new().await;
    let file = scene.upload("secret.txt", b"secret").await;
    let mallory = scene.server.register("mallory").await;
    for path in [format!("/v1/files/{}", file.id), format!("/v1/files/{}/content", file.id)] {
        let mine = scene.ask(&scene.ada, Method::GET, &path, &[]).await;
        assert_eq!(mine.status(), 200);
        let hers = scene.ask(&mallory, Method::GET, &path, &[]).await;
        assert_eq!(hers.status(), 404);
        let refused: Problem = hers.json().await.expect("a problem");
        // Not even whether it exists: the same answer as for one that does not.
        let unknown = path.replace(&file.id.to_string(), &chat_protocol::FileId::new().to_string());
        let unknown = scene.ask(&mallory, Method::GET, &unknown, &[]).await;
        assert_eq!(refused, unknown.json::<Problem>().await.expect("a problem"));
        let nobody = scene.server.http.get(format!("{}{path}", scene.server.base_url)).send().await;
        assert_eq!(nobody.expect("is answered").status(), 401);
    }
    assert_eq!(scene.post(&mallory, "plant.txt", b"planted").await.status(), 404);
}

#[tokio::test]
async fn a_file_cannot_script() {
    let scene = Scene::new().await;
    for (name, bytes, media_type, disposition) in [
        ("cat.png", PNG, "image/png", "inline"),
        ("page.html", b"<!doctype html><script>alert(1)</script>", "text/plain; charset=utf-8", "attachment"),
        (
            "cat.png",
            b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
            "text/plain; charset=utf-8",
            "attachment",
        ),
        ("feed.xml", b"<?xml version='1.0'?><a/>", "text/plain; charset=utf-8", "attachment"),
        ("code.js", b"alert(1)", "text/plain; charset=utf-8", "attachment"),
        ("doc.pdf", b"%PDF-1.7 and so on", "application/pdf", "attachment"),
        ("x.html", b"<html>\0\xff", "application/octet-stream", "attachment"),
    ] as [(&str, &[u8], &str, &str); 7]
    {
        let file = scene.upload(name, bytes).await;
        let response = scene.content(&file, &[]).await;
        assert_eq!(header(&response, "content-type"), media_type, "{name}");
        let expected = format!(r#"{disposition}; filename="{name}"; filename*=UTF-8''{name}"#);
        assert_eq!(header(&response, "content-disposition"), expected);
        assert_eq!(header(&response, "content-security-policy"), "default-src 'none'; sandbox");
        assert_eq!(header(&response, "x-content-type-options"), "nosniff");
        assert_eq!(header(&response, "cross-origin-resource-policy"), "same-origin");
        assert_eq!(header(&response, "cache-control"), "private, no-cache");
    }
    let file = scene.upload("../..\\q\"uote\r\n\u{202e}ü.txt", b"text").await;
    assert_eq!(file.name, "q\"uoteü.txt");
    let response = scene.content(&file, &[]).await;
    assert_eq!(
        header(&response, "content-disposition"),
        r#"attachment; filename="q_uote_.txt"; filename*=UTF-8''q%22uote%C3%BC.txt"#
    );
}
