//! Uploads: limits, what is left behind, and what they cost in memory.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use chat_protocol::{ChannelId, ErrorCode, FileRef, Problem, limits::MAX_FILE_BYTES, rest::TokenResponse};
use chat_server::config::Config;
use futures_util::{StreamExt as _, future::join_all, stream};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::harness::{
    TestServer,
    process::ServerProcess,
    wait::{DEADLINE, until},
};

const MAX: usize = 25 * 1024 * 1024;
const _: () = assert!(MAX as u64 == MAX_FILE_BYTES);

/// A server, somebody in a channel, and where the server keeps files.
struct Scene {
    server: TestServer,
    ada: TokenResponse,
    channel: ChannelId,
    files: PathBuf,
}

impl Scene {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut files = PathBuf::new();
        let server = TestServer::with(|config| {
            files = config.data.dir.join("files");
            change(config);
        })
        .await;
        let ada = server.register("ada").await;
        let channel = server.channel_of(&ada, &[], "den").await;
        Self { server, ada, channel, files }
    }

    fn path(&self) -> String {
        format!("/v1/files?channel={}&name=a.bin", self.channel)
    }

    async fn upload(&self, body: impl Into<reqwest::Body>) -> reqwest::Response {
        let request = self.server.http.post(format!("{}{}", self.server.base_url, self.path()));
        request.bearer_auth(&self.ada.access_token).body(body).send().await.expect("is answered")
    }

    /// A connection on which the head of an upload was sent, and nothing else.
    async fn begin(&self, framing: &str) -> TcpStream {
        self.begin_as(&self.ada, framing).await
    }

    async fn begin_as(&self, who: &TokenResponse, framing: &str) -> TcpStream {
        let host = self.server.base_url.strip_prefix("http://").expect("an http URL");
        let mut stream = TcpStream::connect(host).await.expect("connects");
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {}\r\n{framing}\r\n\r\n",
            self.path(),
            who.access_token
        );
        stream.write_all(head.as_bytes()).await.expect("is sent");
        stream
    }

    async fn until_kept(&self, expected: usize) {
        until(&format!("{expected} files are kept"), || kept(&self.files).len() == expected).await;
    }
}

/// All files below a directory.
fn kept(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { kept(&path) } else { vec![path] }).collect()
}

/// A body of a length that it does not announce.
fn chunked(length: usize) -> reqwest::Body {
    const CHUNK: usize = 64 * 1024;
    let chunks = (0..length.div_ceil(CHUNK)).map(move |n| (length - n * CHUNK).min(CHUNK));
    reqwest::Body::wrap_stream(stream::iter(chunks).map(|n| Ok::<_, std::io::Error>(Bytes::from(vec![7; n]))))
}

async fn problem(response: reqwest::Response) -> Problem {
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    response.json().await.expect("a problem")
}

/// The status line of the answer that is on its way.
async fn answered(stream: &mut TcpStream) -> String {
    let mut answer = vec![0; 4096];
    let n = timeout(DEADLINE, stream.read(&mut answer)).await.expect("in time").expect("an answer, no reset");
    String::from_utf8_lossy(&answer[..n]).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_largest_file_is_kept_and_one_byte_more_leaves_nothing() {
    let scene = Scene::new().await;
    for body in [chunked(MAX + 1), vec![7; MAX + 1].into()] {
        let refused = scene.upload(body).await;
        assert_eq!(refused.status(), 413);
        assert_eq!(problem(refused).await.code, ErrorCode::TooLarge);
        scene.until_kept(0).await;
    }
    for (body, files) in [(chunked(MAX), 1), (vec![7; MAX].into(), 2)] {
        let response = scene.upload(body).await;
        assert_eq!(response.status(), 201);
        let file: FileRef = response.json().await.expect("a file");
        assert_eq!(file.size, MAX_FILE_BYTES);
        scene.until_kept(files).await;
    }
}

#[tokio::test]
async fn a_file_that_is_announced_too_large_is_refused_before_it_is_sent() {
    let scene = Scene::new().await;
    let mut stream = scene.begin(&format!("Content-Length: {}", MAX + 1)).await;
    assert_eq!(answered(&mut stream).await, "HTTP/1.1 413 Payload Too Large");
    scene.until_kept(0).await;
}

#[tokio::test]
async fn a_client_that_only_reads_after_writing_gets_to_read_the_refusal() {
    let scene = Scene::new().await;
    let mut stream = scene.begin(&format!("Content-Length: {}", MAX + 1)).await;
    let bytes = vec![7; MAX + 1];
    timeout(DEADLINE, stream.write_all(&bytes)).await.expect("in time").expect("is taken");
    assert_eq!(answered(&mut stream).await, "HTTP/1.1 413 Payload Too Large");
}

#[tokio::test]
async fn a_cut_upload_leaves_nothing() {
    let scene = Scene::new().await;
    for (framing, part) in [("Content-Length: 1000000", ""), ("Transfer-Encoding: chunked", "7a120\r\n")] {
        let mut stream = scene.begin(framing).await;
        stream.write_all(part.as_bytes()).await.expect("is sent");
        stream.write_all(&vec![7; 500_000]).await.expect("is sent");
        scene.until_kept(1).await;
        drop(stream);
        scene.until_kept(0).await;
    }
}

#[tokio::test]
async fn nothing_is_not_a_file() {
    let scene = Scene::new().await;
    let refused = scene.upload("").await;
    assert_eq!(refused.status(), 422);
    assert_eq!(problem(refused).await.code, ErrorCode::Invalid);
    scene.until_kept(0).await;
}

#[tokio::test]
async fn more_uploads_than_places_are_asked_to_come_later() {
    let scene = Scene::with(|config| config.files.uploads_at_once = 33).await;
    let mut held = Vec::new();
    for _ in 0..32 {
        held.push(scene.begin("Content-Length: 10").await);
    }
    scene.until_kept(32).await;
    let refused = scene.upload("one too many").await;
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(problem(refused).await.code, ErrorCode::Overloaded);
    for stream in &mut held {
        stream.write_all(b"0123456789").await.expect("is sent");
        assert_eq!(answered(stream).await, "HTTP/1.1 201 Created");
    }
    assert_eq!(scene.upload("now there is room").await.status(), 201);
}

#[tokio::test]
async fn whoever_drips_has_a_part_of_the_places() {
    let scene = Scene::new().await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(scene.begin("Content-Length: 10").await);
    }
    scene.until_kept(4).await;
    let refused = scene.upload("one too many").await;
    assert_eq!(refused.status(), 429);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(problem(refused).await.code, ErrorCode::RateLimited);
    // Others have places.
    let grace = scene.server.register("grace").await;
    let members = serde_json::json!({ "users": [grace.user.id] });
    let add = scene.server.post(&format!("/v1/channels/{}/members", scene.channel)).json(&members);
    let added = add.bearer_auth(&scene.ada.access_token).send().await.expect("is answered");
    assert!(added.status().is_success());
    let mut other = scene.begin_as(&grace, "Content-Length: 10").await;
    other.write_all(b"0123456789").await.expect("is sent");
    assert_eq!(answered(&mut other).await, "HTTP/1.1 201 Created");
    // One that ends, however it ends, gives its place back.
    drop(held.pop());
    scene.until_kept(4).await;
    for stream in &mut held {
        stream.write_all(b"0123456789").await.expect("is sent");
        assert_eq!(answered(stream).await, "HTTP/1.1 201 Created");
    }
    assert_eq!(scene.upload("now there is room").await.status(), 201);
}

fn http_client() -> reqwest::Client {
    // Without it, reqwest does not know which of its TLS providers to take, though no test speaks TLS.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().timeout(DEADLINE).no_proxy().build().expect("a client")
}

/// A value of `/proc/PID/status`, in bytes.
fn memory(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("the field");
    let kib: u64 = line.trim_matches([':', '\t', ' ', 'k', 'B']).parse().expect("a number");
    kib * 1024
}

#[tokio::test]
async fn ten_uploads_at_once_cost_less_than_4_mib_each() {
    let data = tempfile::tempdir().expect("a directory");
    let server = ServerProcess::start_with(data.path(), &["files.uploads_at_once=10"]);
    let http = http_client();
    let account = serde_json::json!({ "handle": "ada", "password": "correct horse battery" });
    let register = http.post(format!("{}/v1/auth/register", server.base_url)).json(&account);
    let ada: TokenResponse = register.send().await.expect("is answered").json().await.expect("tokens");
    let create = http.post(format!("{}/v1/channels", server.base_url)).bearer_auth(&ada.access_token);
    let create = create.json(&serde_json::json!({ "kind": "private", "name": "den" }));
    let channel: chat_protocol::rest::Channel =
        create.send().await.expect("is answered").json().await.expect("a channel");
    let token = &ada.access_token;
    let upload = |length: usize| {
        let request = http.post(format!("{}/v1/files?channel={}&name=a", server.base_url, channel.id));
        async move {
            let response = request.bearer_auth(token).body(chunked(length)).send().await;
            assert_eq!(response.expect("is answered").status(), 201);
        }
    };
    // What the first upload loads and allocates stays; it is not the cost of one.
    upload(1024).await;

    // Forgets the high-water mark so far, to which the password's hash belongs.
    std::fs::write(format!("/proc/{}/clear_refs", server.pid()), "5").expect("is our process");
    let before = memory(server.pid(), "VmRSS");
    join_all((0..10).map(|_| upload(MAX))).await;
    let peak = memory(server.pid(), "VmHWM");
    let each = peak.saturating_sub(before) / 10;
    assert!(each < 4 * 1024 * 1024, "each took {each} bytes: {before} before, {peak} at the peak");
}
