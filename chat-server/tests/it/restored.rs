//! A store that was brought back to an older state: its logs are shorter, and go on with other messages. Nobody takes the
//! one for the other.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
    time::Duration,
};

use chat_auth::new_key;
use chat_client::{Auth, Backoff, Client, ConnectionState, End, Options, Update, Updates};
use chat_domain::{
    bus::{Bus as _, BusMessage, CommittedEvent, Signal},
    chat::now_ms,
    store::{AuthStore as _, GenerationRow, GenerationStore as _, Store},
};
use chat_protocol::{
    ChannelId, ClientId, CloseCode, Event, EventBody, GENERATION_HEADER, Generation, Seq, UserId,
    rest::{Channel, Page, TokenResponse},
};
use chat_sqlite::SqliteStore;
use reqwest::{Response, StatusCode};
use serde_json::json;

use crate::conformance::fixtures::new_session;
use crate::harness::{
    PASSWORD,
    cluster::TestCluster,
    process::ServerProcess,
    read,
    ws::{DEADLINE, TestSocket},
};

const BINARY: &str = env!("CARGO_BIN_EXE_chat-server");

/// A real server on a data folder that can be put back.
struct World {
    server: ServerProcess,
    http: reqwest::Client,
    dir: tempfile::TempDir,
}

impl World {
    fn start() -> Self {
        // Without it, reqwest does not know which of its TLS providers to take, though no test speaks TLS.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let dir = tempfile::tempdir().expect("a folder");
        let server = ServerProcess::start(&dir.path().join("data"));
        let http = reqwest::Client::builder().timeout(DEADLINE).no_proxy().build().expect("a client");
        Self { server, http, dir }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Stops the server where it is, and keeps what is there.
    fn back_up(&mut self) {
        self.server.kill();
        copy(&self.data(), &self.dir.path().join("backup"));
        self.server.restart();
    }

    /// Stops the server where it is, and puts back what was kept.
    fn bring_back(&mut self) {
        self.server.kill();
        std::fs::remove_dir_all(self.data()).expect("is removed");
        copy(&self.dir.path().join("backup"), &self.data());
    }

    fn say_restored(&self) -> String {
        let output = restored(&self.data());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("is text")
    }

    async fn post(&self, path: &str, token: &str, body: serde_json::Value) -> Response {
        let request = self.http.post(format!("{}{path}", self.server.base_url)).bearer_auth(token);
        request.json(&body).send().await.expect("answers")
    }

    async fn get(&self, path: &str, token: &str) -> Response {
        let request = self.http.get(format!("{}{path}", self.server.base_url)).bearer_auth(token);
        request.send().await.expect("answers")
    }

    async fn register(&self, handle: &str) -> TokenResponse {
        let body = json!({ "handle": handle, "password": PASSWORD });
        read(self.post("/v1/auth/register", "", body).await, StatusCode::CREATED).await
    }

    async fn sign_in(&self, handle: &str) -> TokenResponse {
        let body = json!({ "handle": handle, "password": PASSWORD });
        read(self.post("/v1/auth/login", "", body).await, StatusCode::OK).await
    }

    async fn channel(&self, owner: &TokenResponse, member: UserId) -> ChannelId {
        let body = json!({ "kind": "private", "name": "ops", "members": [member] });
        let answer = self.post("/v1/channels", &owner.access_token, body).await;
        read::<Channel>(answer, StatusCode::CREATED).await.id
    }

    async fn say(&self, author: &TokenResponse, channel: ChannelId, texts: &[&str]) {
        let mut socket = TestSocket::connect(&self.server.base_url, &author.access_token).await;
        for text in texts {
            let id = socket.say(channel, text).await;
            socket.acked(id).await;
        }
    }

    async fn log(&self, reader: &TokenResponse, channel: ChannelId) -> Vec<Event> {
        let path = format!("/v1/channels/{channel}/events?limit=200");
        read::<Page<Event>>(self.get(&path, &reader.access_token).await, StatusCode::OK).await.items
    }

    async fn client(&self, cursors: Option<&Updates>) -> (Client, Updates) {
        let auth = Auth::Password { handle: "ada".into(), password: PASSWORD.into() };
        let backoff = Backoff { base: Duration::from_millis(20), cap: Duration::from_millis(200) };
        let mut options = Options { backoff, ..Options::default() };
        if let Some(updates) = cursors {
            options.cursors.clone_from(updates.cursors());
            options.generation = updates.generation();
        }
        Client::connect(&self.server.base_url, auth, options).await.expect("connects")
    }
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp starts");
    assert!(copied.success());
}

fn restored(data: &Path) -> Output {
    Command::new(BINARY).arg("restored").arg("--data-dir").arg(data).output().expect("starts")
}

async fn next(updates: &mut Updates) -> Update {
    let update = tokio::time::timeout(DEADLINE, updates.next()).await.expect("something in time");
    update.expect("the client has not ended")
}

/// The messages of one channel, up to the one with this text.
async fn until(updates: &mut Updates, channel: ChannelId, last: &str) -> Vec<(Seq, String)> {
    let mut got = Vec::new();
    loop {
        match next(updates).await {
            Update::Event(Event { channel: of, seq, body: EventBody::Message { text, .. }, .. })
                if of == channel =>
            {
                got.push((seq, text));
                if got.last().is_some_and(|(_, text)| text == last) {
                    return got;
                }
            }
            Update::State(ConnectionState::Ended(end)) => panic!("ended: {end}; got {got:?}"),
            Update::Restored { .. } => panic!("the logs begin anew; got {got:?}"),
            _ => {}
        }
    }
}

async fn until_restored(updates: &mut Updates) -> Option<Generation> {
    loop {
        match next(updates).await {
            Update::Restored { generation, .. } => return generation,
            Update::State(ConnectionState::Ended(end)) => panic!("ended: {end}"),
            Update::Event(event) => panic!("before the logs begin anew: {event:?}"),
            _ => {}
        }
    }
}

fn messages(log: &[Event]) -> Vec<(Seq, String)> {
    let text = |event: &Event| match &event.body {
        EventBody::Message { text, .. } => Some((event.seq, text.clone())),
        _ => None,
    };
    log.iter().filter_map(text).collect()
}

fn texts(messages: &[(Seq, String)]) -> Vec<&str> {
    messages.iter().map(|(_, text)| text.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_before_get_the_messages_of_after_each_once_and_sessions_are_over() {
    let mut world = World::start();
    let (ada, grace) = (world.register("ada").await, world.register("grace").await);
    let channel = world.channel(&grace, ada.user.id).await;
    let (_client, mut updates) = world.client(None).await;
    world.say(&grace, channel, &["one", "two"]).await;
    assert_eq!(texts(&until(&mut updates, channel, "two").await), ["one", "two"]);
    world.back_up();
    world.say(&grace, channel, &["lost 1", "lost 2", "lost 3", "lost 4", "lost 5", "lost 6"]).await;
    assert_eq!(until(&mut updates, channel, "lost 6").await.len(), 6);
    let before = updates.generation().expect("the server names it");

    let running = restored(&world.data());
    let said = String::from_utf8_lossy(&running.stderr).into_owned();
    assert!(!running.status.success() && said.contains("another server uses"), "{said}");

    world.bring_back();
    let said = world.say_restored();
    assert!(said.contains("sessions: 3 ended") && said.contains("signing keys: replaced"), "{said}");
    assert!(said.contains("passwords, roles"), "it says what it cannot do: {said}");
    world.server.restart();

    // Nothing of before is believed.
    let old = world.get("/v1/users/me", &ada.access_token).await;
    assert_eq!(old.status(), StatusCode::UNAUTHORIZED);
    let refresh = json!({ "refresh_token": ada.refresh_token });
    assert_eq!(world.post("/v1/auth/refresh", "", refresh).await.status(), StatusCode::UNAUTHORIZED);
    loop {
        if let Update::State(ConnectionState::Ended(end)) = next(&mut updates).await {
            assert_eq!(end, End::SignedOut);
            break;
        }
    }

    // More than were lost, so that no position shows that it is another log.
    let grace = world.sign_in("grace").await;
    let new: Vec<String> = (1..=8).map(|n| format!("new {n}")).collect();
    world.say(&grace, channel, &new.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let (_client, mut updates) = world.client(Some(&updates)).await;
    let now = until_restored(&mut updates).await.expect("the server names it");
    assert_ne!(now, before);
    let got = until(&mut updates, channel, "new 8").await;
    assert_eq!(got, messages(&world.log(&grace, channel).await));
    assert_eq!(texts(&got)[..3], ["one", "two", "new 1"]);
    world.say(&grace, channel, &["live"]).await;
    assert_eq!(texts(&until(&mut updates, channel, "live").await), ["live"]);

    let answer = world.get(&format!("/v1/channels/{channel}/events"), &grace.access_token).await;
    let said =
        answer.headers().get(GENERATION_HEADER).expect("is said").to_str().expect("is text").to_owned();
    assert_eq!((said.parse(), updates.generation()), (Ok(now), Some(now)));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_swallowed_although_nobody_said_that_the_store_was_restored() {
    let mut world = World::start();
    let (ada, grace) = (world.register("ada").await, world.register("grace").await);
    let channel = world.channel(&grace, ada.user.id).await;
    let (_client, mut updates) = world.client(None).await;
    world.say(&grace, channel, &["one", "two"]).await;
    until(&mut updates, channel, "two").await;
    world.back_up();
    world.say(&grace, channel, &["lost 1", "lost 2", "lost 3", "lost 4", "lost 5", "lost 6"]).await;
    until(&mut updates, channel, "lost 6").await;
    world.bring_back();
    world.server.restart();
    until_restored(&mut updates).await;
    // As many as would have been swallowed.
    world.say(&grace, channel, &["new 1", "new 2", "new 3", "new 4", "new 5", "new 6"]).await;
    let got = until(&mut updates, channel, "new 6").await;
    assert_eq!(got, messages(&world.log(&grace, channel).await));
    assert_eq!(got.len(), 8);
}

#[test]
fn a_folder_without_a_store_is_not_made_one() {
    let dir = tempfile::tempdir().expect("a folder");
    let output = restored(&dir.path().join("mistyped"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("there is no store in"), "{said}");
    assert!(!dir.path().join("mistyped").exists());
}

#[test]
fn keys_in_a_file_are_their_owners() {
    let dir = tempfile::tempdir().expect("a folder");
    drop(SqliteStore::open(&dir.path().join("folkmoot.db")).expect("a store"));
    let output = Command::new(BINARY)
        .args(["restored", "--set", "auth.signing_keys_file=/run/keys.json", "--data-dir"])
        .arg(dir.path())
        .output()
        .expect("starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    assert!(said.contains("in /run/keys.json, which is not changed"), "{said}");
}

#[tokio::test]
async fn an_embedded_store_keeps_its_generation_until_another_one_begins() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("folkmoot.db");
    let open = || SqliteStore::open(&path).expect("a store");
    let first = open().generation().await.expect("is there");
    assert_eq!(first.since, 0);
    let store = open();
    assert_eq!(store.generation().await.expect("is there"), first);
    let session = begin_one(&store).await;
    let next = GenerationRow { id: Generation::new(), since: 5_000 };
    let key = new_key();
    assert_eq!(store.begin_generation(next, Some(key.clone())).await.expect("begins"), 1);
    assert_eq!(store.session(session).await.expect("is read"), None);
    assert!(store.signing_keys().await.expect("are read") == [key]);
    drop(store);
    assert_eq!(open().generation().await.expect("is there"), next);
}

/// A session, and a key that signs.
async fn begin_one(store: &dyn Store) -> chat_protocol::SessionId {
    let session = new_session(UserId::new(), now_ms());
    store.create_session(&session).await.expect("is added");
    store.add_signing_key(&new_key(), now_ms()).await.expect("is added");
    session.id
}

/// Begins another generation under running processes, as `chat-server restored` does.
async fn begin(store: &dyn Store) -> Generation {
    let next = GenerationRow { id: Generation::new(), since: (now_ms() / 1_000) * 1_000 };
    store.begin_generation(next, Some(new_key())).await.expect("begins");
    next.id
}

#[tokio::test(flavor = "multi_thread")]
async fn running_processes_notice_and_send_everybody_to_come_anew() {
    let cluster = TestCluster::new();
    let (ada, grace) = (cluster.user("ada").await, cluster.user("grace").await);
    let (a, b) = (cluster.gateway("a").await, cluster.gateway("b").await);
    let channel = a.channel(&ada, &[&grace], "ops").await;
    let (mut here, mut there) = (a.connect(&ada).await, b.connect(&grace).await);
    assert!(here.generation.is_some() && here.generation == there.generation);
    let token = a.verifier.issue(&ada, Duration::from_secs(600)).expect("a token");
    let next = begin(&*cluster.store).await;
    for socket in [&mut here, &mut there] {
        let after_ms = socket.until(|frame| match frame {
            chat_protocol::ServerFrame::Reconnect { after_ms } => Some(after_ms),
            _ => None,
        });
        assert!(after_ms.await <= 3_000);
        assert_eq!(socket.closed().await, Some(CloseCode::Restart.code()));
    }
    let refused = async {
        while a.verifier.verify(&token).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(DEADLINE, refused).await.expect("a token of before is not believed");
    let (mut here, mut there) = (a.connect(&ada).await, b.connect(&grace).await);
    assert_eq!((here.generation, there.generation), (Some(next), Some(next)));
    let head = here.head(channel);
    let id = here.say(channel, "of the new life").await;
    assert_eq!(here.acked(id).await, (head + 1, false));
    assert_eq!(there.event().await.seq, head + 1);
    a.knows(&b).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_bus_brings_of_another_generation_is_not_for_this_one() {
    let cluster = TestCluster::new();
    let ada = cluster.user("ada").await;
    let a = cluster.gateway("a").await;
    let channel = a.channel(&ada, &[], "ops").await;
    let mut socket = a.connect(&ada).await;
    let head = socket.head(channel);
    let body = EventBody::Message { text: "of another life".into(), files: vec![], deleted: false };
    let event = Event { channel, seq: head + 1, at: 1, by: ada.user, id: None, body: body.clone() };
    let json = serde_json::to_vec(&chat_protocol::ServerFrame::Event(event)).expect("serialises").into();
    let strange = Some(Generation::new());
    let (seq, body) = (head + 1, body.into());
    let event = CommittedEvent { channel, seq, body, json, end: None, generation: strange, reader: None };
    let read =
        Signal::Read { user: ada.user, channel, seq: 99, unread: None, head: None, generation: strange };
    for message in [BusMessage::Event(Arc::new(event)), BusMessage::Signal(read)] {
        cluster.bus.publish(message).await.expect("is published");
    }
    let id = ClientId::new();
    a.chat.send(&ada, channel, id, "of this one".into(), vec![], None).await.expect("is committed");
    // The first of either kind that comes.
    let first = socket.until(|frame| match frame {
        chat_protocol::ServerFrame::Event(event) => Some(event),
        chat_protocol::ServerFrame::Read { seq: 99, .. } => panic!("of another life"),
        _ => None,
    });
    let first = first.await;
    assert_eq!((first.seq, first.id), (head + 1, Some(id)));
}
