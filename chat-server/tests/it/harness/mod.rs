//! A whole server in the test's process, over real sockets, on a data folder of its own.
#![allow(unreachable_pub, reason = "what tests share is public to all of them")]

pub mod cluster;
pub mod engines;
pub mod http2;
pub mod moody_store;
pub mod operations;
pub mod people;
pub mod process;
pub mod raw;
pub mod wait;
pub mod ws;

use std::{sync::Arc, time::Duration};

use chat_protocol::{
    ChannelId, Event, FileId, FileRef, Seq,
    rest::{Channel, Committed, Page, TokenResponse},
};
use chat_server::{app::App, config::Config};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::{runtime::Runtime, task::JoinHandle};

/// What every test account is signed in with.
pub const PASSWORD: &str = "correct horse battery";

/// A running server. Its tasks are on a runtime of their own, so that [`TestServer::restart`] can end all of them as a
/// crash would.
pub struct TestServer {
    pub base_url: String,
    pub admin_url: String,
    pub http: Client,
    pub config: Config,
    app: Option<App>,
    runtime: Option<Runtime>,
    _dir: tempfile::TempDir,
}

impl TestServer {
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// A server whose configuration `change` has changed.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let mut config = Config::default();
        config.data.dir = dir.path().join("data");
        config.server.listen = ([127, 0, 0, 1], 0).into();
        config.server.admin_listen = ([127, 0, 0, 1], 0).into();
        config.gateway.drain_window = Duration::ZERO;
        config.auth.login_per_minute_account = 1_000;
        config.auth.login_per_minute_address = 1_000;
        config.auth.register_per_hour_address = 1_000;
        // Tests do in a minute what people do in a day.
        config.server.channels_per_hour = 10_000;
        config.server.invitations_per_hour = 10_000;
        config.files.uploads_per_hour = 10_000;
        change(&mut config);
        // Without it, reqwest does not know which of its TLS providers to take, though no test speaks TLS.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Client::builder().timeout(ws::DEADLINE).no_proxy().build().expect("a client");
        let mut server = Self {
            base_url: String::new(),
            admin_url: String::new(),
            http,
            config,
            app: None,
            runtime: None,
            _dir: dir,
        };
        server.boot().await;
        server
    }

    async fn boot(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let config = self.config.clone();
        let app = runtime.spawn(async move { App::start(&config).await }).await.expect("does not panic");
        let app = app.expect("starts");
        // The same address after a restart, for clients that come back by themselves.
        self.config.server.listen = app.address();
        self.config.server.admin_listen = app.admin_address();
        self.base_url = format!("http://{}", app.address());
        self.admin_url = format!("http://{}", app.admin_address());
        self.app = Some(app);
        self.runtime = Some(runtime);
    }

    pub fn app(&self) -> &App {
        self.app.as_ref().expect("is running")
    }

    /// Ends all tasks wherever they are, and starts anew on the same data and addresses.
    pub async fn restart(&mut self) {
        self.stopped(async || {}).await;
    }

    /// [`Self::restart`], with something that is done in between.
    pub async fn stopped(&mut self, meanwhile: impl AsyncFnOnce()) {
        let (app, runtime) = (self.app.take(), self.runtime.take());
        tokio::task::spawn_blocking(move || {
            if let Some(runtime) = runtime {
                runtime.shutdown_timeout(Duration::from_secs(10));
            }
            drop(app);
        })
        .await
        .expect("stops");
        meanwhile().await;
        self.boot().await;
    }

    /// Begins to send all sockets away. The result says whether they went by themselves.
    pub fn begin_drain(&self) -> JoinHandle<bool> {
        let gateway = Arc::clone(self.app().gateway().expect("is a gateway"));
        self.runtime.as_ref().expect("is running").spawn(async move { gateway.drain().await })
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base_url)
    }

    pub fn get(&self, path: &str) -> RequestBuilder {
        self.http.get(self.url(path))
    }

    pub fn post(&self, path: &str) -> RequestBuilder {
        self.http.post(self.url(path))
    }

    /// A new account with [`PASSWORD`], signed in.
    pub async fn register(&self, handle: &str) -> TokenResponse {
        let body = json!({ "handle": handle, "password": PASSWORD, "device": "test" });
        let answer = self.post("/v1/auth/register").json(&body).send().await.expect("answers");
        read(answer, StatusCode::CREATED).await
    }

    /// A private channel that `owner` makes with these members.
    pub async fn channel_of(
        &self,
        owner: &TokenResponse,
        members: &[&TokenResponse],
        name: &str,
    ) -> ChannelId {
        let members: Vec<_> = members.iter().map(|member| member.user.id).collect();
        let body = json!({ "kind": "private", "name": name, "members": members });
        let request = self.post("/v1/channels").bearer_auth(&owner.access_token).json(&body);
        let channel: Channel = read(request.send().await.expect("answers"), StatusCode::CREATED).await;
        channel.id
    }

    /// A message of this author with a file, in a channel that they are in: where it stands, and the file.
    pub async fn message_with_file(&self, author: &TokenResponse, channel: ChannelId) -> (Seq, FileId) {
        let token = &author.access_token;
        let upload = self.post(&format!("/v1/files?channel={channel}&name=notes.txt")).bearer_auth(token);
        let file: FileRef =
            read(upload.body("secret").send().await.expect("answers"), StatusCode::CREATED).await;
        let send = self.post(&format!("/v1/channels/{channel}/messages")).bearer_auth(token);
        let send = send.header("Idempotency-Key", uuid::Uuid::new_v4().to_string());
        let sent = send.json(&json!({ "text": "secret", "files": [file.id] })).send().await.expect("answers");
        let sent: Committed = read(sent, StatusCode::CREATED).await;
        (sent.seq, file.id)
    }

    /// All events of a channel after a position, page by page.
    pub async fn events(&self, reader: &TokenResponse, channel: ChannelId, after: Seq) -> Vec<Event> {
        let mut events = Vec::new();
        let mut cursor = None;
        loop {
            let mut request = self
                .get(&format!("/v1/channels/{channel}/events"))
                .query(&[("after", after.to_string()), ("limit", "200".to_owned())])
                .bearer_auth(&reader.access_token);
            if let Some(cursor) = &cursor {
                request = request.query(&[("cursor", cursor)]);
            }
            let page: Page<Event> = read(request.send().await.expect("answers"), StatusCode::OK).await;
            events.extend(page.items);
            match page.next {
                Some(next) => cursor = Some(next),
                None => return events,
            }
        }
    }

    /// The value of a metric without labels; 0 when there is none.
    pub async fn metric(&self, name: &str) -> f64 {
        let answer = self.http.get(format!("{}/metrics", self.admin_url)).send().await.expect("answers");
        let text = answer.text().await.expect("is text");
        metric_in(&text, name).unwrap_or(0.0)
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A runtime must not wait inside of another one.
            runtime.shutdown_background();
        }
    }
}

/// The value of a metric without labels, in what `/metrics` answered.
fn metric_in(text: &str, name: &str) -> Option<f64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    Some(value.trim().parse().expect("is a number"))
}

/// The body of an answer that must have this status.
pub async fn read<T: DeserializeOwned>(answer: Response, status: StatusCode) -> T {
    let (got, url) = (answer.status(), answer.url().clone());
    let text = answer.text().await.expect("a body");
    assert_eq!(got, status, "{url}: {text}");
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{url}: {error}: {text}"))
}
