//! Inputs that nobody well-meaning sends, over everything that listens: each ends as the RFCs and docs/limits.md say, none with a 5xx,
//! a panic, or memory that stays. A door that is added later is tried by adding it to one of these lists. `make hostile` goes on with
//! inputs that chance has changed.

mod bodies;
mod files;
mod http1;
mod http2;
mod mutated;
mod names;
mod sockets;
mod tokens;

use std::{fs, path::Path};

use chat_protocol::rest::TokenResponse;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use crate::harness;
use crate::harness::{PASSWORD, process::ServerProcess, raw::Raw};

/// How many inputs there are at least: a list that became empty by mistake would pass.
const LEAST: usize = 1_000;
/// Memory that the same inputs may cost when they come once more, in bytes. What is kept of the first time is caches.
const GROWTH: u64 = 16 << 20;

/// A server, and somebody who has done nothing wrong so far.
pub(crate) struct World {
    pub(crate) server: ServerProcess,
    pub(crate) http: Client,
    pub(crate) owner: TokenResponse,
    /// A public channel with a message and a file.
    pub(crate) channel: String,
    pub(crate) file: String,
    pub(crate) tried: usize,
    /// Answers that were none of those expected.
    pub(crate) wrong: Vec<String>,
}

impl World {
    async fn start(data: &Path, log: &Path) -> Self {
        let settings = [
            "auth.login_per_minute_account=100000",
            "auth.login_per_minute_address=1000000",
            "auth.register_per_hour_address=1000000",
            "gateway.commands_per_second=1000000",
            "gateway.command_burst=1000000",
            "server.requests_per_second=1000000",
            "server.request_burst=1000000",
            "server.channels_per_hour=1000000",
            "server.invitations_per_hour=1000000",
            "files.uploads_per_hour=1000000",
            "files.max_unattached_per_person=100000",
        ];
        let server = ServerProcess::start_logged(data, &settings, log);
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder().timeout(harness::wait::DEADLINE).no_proxy().build().expect("a client");
        let register = json!({ "handle": "owner", "password": PASSWORD });
        let url = format!("{}/v1/auth/register", server.base_url);
        let answer = http.post(url).json(&register).send().await.expect("answers");
        let owner: TokenResponse = harness::read(answer, StatusCode::CREATED).await;
        let mut world = Self {
            server,
            http,
            owner,
            channel: String::new(),
            file: String::new(),
            tried: 0,
            wrong: vec![],
        };
        let made = world.call("POST", "/v1/channels").json(&json!({ "kind": "public", "name": "hall" }));
        let made: Value = harness::read(made.send().await.expect("answers"), StatusCode::CREATED).await;
        world.channel = made["id"].as_str().expect("an id").to_owned();
        let upload = world.call("POST", &format!("/v1/files?channel={}&name=notes.txt", world.channel));
        let upload = upload.body("0123456789").send().await.expect("answers");
        let file: Value = harness::read(upload, StatusCode::CREATED).await;
        world.file = file["id"].as_str().expect("an id").to_owned();
        let path = format!("/v1/channels/{}/messages", world.channel);
        let sent = world.call("POST", &path).json(&json!({ "text": "hello", "files": [world.file] }));
        let _: Value = harness::read(sent.send().await.expect("answers"), StatusCode::CREATED).await;
        world
    }

    /// A request by the owner, under an idempotency key of its own.
    pub(crate) fn call(&self, method: &str, path: &str) -> RequestBuilder {
        let request = self.http.request(method.parse().expect("a method"), self.url(path));
        request
            .bearer_auth(&self.owner.access_token)
            .header("Idempotency-Key", uuid::Uuid::new_v4().to_string())
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server.base_url)
    }

    /// The answer to one input has one of these statuses, and is a problem when it is an error.
    pub(crate) async fn ends(&mut self, what: &str, answer: Response, expected: &[u16]) -> Value {
        self.tried += 1;
        let status = answer.status().as_u16();
        let text = String::from_utf8_lossy(&answer.bytes().await.expect("a body")).into_owned();
        let value: Value = serde_json::from_str(&text).unwrap_or_default();
        if !expected.contains(&status) {
            self.wrong.push(format!("{what}: expected one of {expected:?}, got {status} {text}"));
        } else if status >= 400 && !value["code"].is_string() {
            self.wrong.push(format!("{what}: {status} is no problem: {text}"));
        }
        value
    }

    /// The server is there for everybody else.
    async fn is_well(&self) {
        let mut raw = Raw::send(&self.server.base_url, "GET /v1/users/me HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(raw.head().await.expect("is answered").0, 401);
        let me = self.call("GET", "/v1/users/me").send().await.expect("answers");
        assert_eq!(me.status(), StatusCode::OK);
        let healthy =
            self.http.get(format!("{}/healthz", self.server.admin_url)).send().await.expect("answers");
        assert_eq!(healthy.status(), StatusCode::OK);
    }

    pub(crate) fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.server.pid())).expect("is running");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("says its size");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
    }
}

/// Every list once, and after each the server is as well as before.
async fn all(world: &mut World) {
    macro_rules! try_all {
        ($($list:ident)*) => {$(
            let before = world.tried;
            $list::all(world).await;
            world.is_well().await;
            println!("{}: {} inputs", stringify!($list), world.tried - before);
            assert!(world.wrong.is_empty(), "{}:\n{}", stringify!($list), world.wrong.join("\n"));
        )*};
    }
    try_all!(http1 http2 sockets tokens bodies names files);
}

#[tokio::test]
async fn whatever_comes_ends_as_it_should() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = folder.path().join("log");
    let mut world = World::start(&folder.path().join("data"), &log).await;
    all(&mut world).await;
    let (tried, before) = (world.tried, world.resident());
    assert!(tried >= LEAST, "only {tried} inputs");
    all(&mut world).await;
    let after = world.resident();
    println!("{tried} inputs once more: {} KiB more memory", after.saturating_sub(before) >> 10);
    assert!(after < before + GROWTH, "{before} bytes after {tried} inputs, {after} after as many more");
    let number = |name| std::env::var(name).ok().and_then(|text: String| text.parse::<u64>().ok());
    if let Some(seconds) = number("FOLKMOOT_HOSTILE_SECONDS") {
        let seed = number("FOLKMOOT_HOSTILE_SEED").unwrap_or_else(rand::random);
        mutated::all(&mut world, seconds, seed).await;
    }
    let said = fs::read_to_string(&log).expect("can be read");
    let panics: Vec<_> = said.lines().filter(|line| line.contains("panicked at")).collect();
    assert!(panics.is_empty(), "{panics:#?}");
}
