//! Who gets which answer: every REST operation and every command of the socket, by every kind of caller, about a private channel
//! and about a public one. docs/answers.md is what is found here, for people to read; what must hold whatever it says is asserted.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use chat_protocol::{
    ChannelId, ClientFrame, ClientId, CloseCode, FileId, Problem, Seq, ServerFrame,
    rest::{Channel, TokenResponse},
};
use http::Method;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{
    PASSWORD, TestServer,
    operations::{Operation, Subject, signed_operations},
    read,
    ws::{Incoming, TestSocket},
};

/// Kinds of callers, in the order of the columns, and what stands above them.
const CALLERS: [(&str, &str); 11] = [
    ("stranger", "Nobody"),
    ("signed out", "Signed out"),
    ("deactivated", "Deactivated"),
    ("demoted", "Demoted"),
    ("removed", "Removed"),
    ("outsider", "Not in it"),
    ("guest outside", "Guest, not in it"),
    ("guest", "Guest in it"),
    ("member", "Member"),
    ("admin", "Admin, not in it"),
    ("owner", "Owner, not in it"),
];
/// Those whose tokens were good a moment ago, or who have none.
const GONE: [&str; 4] = ["stranger", "signed out", "deactivated", "demoted"];
/// Those who may not know that a private channel is there.
const OUTSIDE: [&str; 5] = ["removed", "outsider", "guest outside", "admin", "owner"];

/// One row: what each of [`CALLERS`] was answered.
type Row = (String, Vec<String>);

struct World {
    server: TestServer,
    callers: BTreeMap<&'static str, TokenResponse>,
    /// Made the channels that it is all about, and wrote in them.
    author: TokenResponse,
    made: u32,
}

struct Place {
    channel: ChannelId,
    seq: Seq,
    file: FileId,
}

impl World {
    async fn start() -> Self {
        let server = TestServer::with(|config| {
            config.gateway.commands_per_second = 10_000;
            config.gateway.command_burst = 10_000;
        })
        .await;
        // The first account owns the organisation.
        let owner = server.register("owner").await;
        let author = server.register("author").await;
        let mut callers = BTreeMap::new();
        for (name, _) in CALLERS.iter().filter(|(name, _)| !matches!(*name, "stranger" | "owner")) {
            callers.insert(*name, server.register(&name.replace(' ', "-")).await);
        }
        callers.insert("owner", owner);
        let mut world = Self { server, callers, author, made: 0 };
        for (name, role) in
            [("admin", "admin"), ("demoted", "admin"), ("guest", "guest"), ("guest outside", "guest")]
        {
            world.set(name, &json!({ "role": role })).await;
            let refresh = json!({ "refresh_token": world.callers[name].refresh_token });
            let answer = world.server.post("/v1/auth/refresh").json(&refresh).send().await.expect("answers");
            world.callers.insert(name, read(answer, StatusCode::OK).await);
        }
        world
    }

    /// Changes an account, as the owner.
    async fn set(&self, name: &str, change: &Value) {
        let url = self.server.url(&format!("/v1/users/{}", self.callers[name].user.id));
        let request = self.server.http.patch(url).bearer_auth(&self.callers["owner"].access_token);
        let answer = request.json(change).send().await.expect("answers");
        assert_eq!(answer.status(), StatusCode::OK, "{name}: {change}");
    }

    /// Ends what the first columns had a moment ago. Their sockets close: with which codes.
    async fn end(&self) -> BTreeMap<&'static str, u16> {
        let mut sockets = Vec::new();
        for name in GONE.into_iter().filter(|name| *name != "stranger") {
            let token = &self.callers[name].access_token;
            sockets.push((name, TestSocket::connect(&self.server.base_url, token).await));
        }
        let logout =
            self.server.post("/v1/auth/logout").bearer_auth(&self.callers["signed out"].access_token);
        assert_eq!(logout.send().await.expect("answers").status(), StatusCode::NO_CONTENT);
        self.set("deactivated", &json!({ "deactivated": true })).await;
        self.set("demoted", &json!({ "role": "member" })).await;
        let mut codes = BTreeMap::new();
        for (name, mut socket) in sockets {
            codes.insert(name, socket.closed().await.expect("a code"));
            let mut again = TestSocket::upgrade(&self.server.base_url, None, None).await.expect("upgrades");
            again.hello(&self.callers[name].access_token).await;
            assert_eq!(again.closed().await, Some(CloseCode::Unauthenticated.code()), "{name}");
        }
        let mut nobody = TestSocket::upgrade(&self.server.base_url, None, None).await.expect("upgrades");
        nobody.hello("no token").await;
        codes.insert("stranger", nobody.closed().await.expect("a code"));
        codes
    }

    fn token(&self, name: &str) -> Option<&str> {
        self.callers.get(name).map(|tokens| tokens.access_token.as_str())
    }

    /// A channel with a message and a file, with those in it who are to be, and without who was until a moment ago.
    async fn place(&mut self, kind: &str) -> Place {
        self.made += 1;
        let token = &self.author.access_token;
        let members: Vec<_> =
            ["guest", "member", "removed"].iter().map(|name| self.callers[name].user.id).collect();
        let body = json!({ "kind": kind, "name": format!("place {}", self.made), "members": members });
        let made = self.server.post("/v1/channels").bearer_auth(token).json(&body);
        let channel: Channel = read(made.send().await.expect("answers"), StatusCode::CREATED).await;
        let channel = channel.id;
        let (seq, file) = self.server.message_with_file(&self.author, channel).await;
        let removed = self.callers["removed"].user.id;
        let url = self.server.url(&format!("/v1/channels/{channel}/members/{removed}"));
        let remove = self.server.http.delete(url).bearer_auth(token).send().await.expect("answers");
        assert_eq!(remove.status(), StatusCode::NO_CONTENT);
        Place { channel, seq, file }
    }

    /// All operations about a place, with bodies that ask for something.
    fn operations(&mut self, place: &Place) -> Vec<(Operation, bool)> {
        self.made += 1;
        let (made, author) = (self.made, self.author.user.id);
        let subject =
            Subject { user: &self.author, channel: place.channel, seq: place.seq, file: place.file };
        let mut all = signed_operations(&subject);
        for (operation, _) in &mut all {
            let body = match (operation.method.as_str(), operation.template.as_str()) {
                ("POST", "/v1/auth/password") => json!({ "current": PASSWORD, "new": "another password" }),
                ("POST", "/v1/channels") => json!({ "kind": "private", "name": format!("room {made}") }),
                ("PATCH", "/v1/channels/{channel}") => json!({ "topic": format!("topic {made}") }),
                ("POST", "/v1/channels/{channel}/members" | "/v1/dms") => json!({ "users": [author] }),
                ("POST", "/v1/users") => json!({ "handle": format!("person{made}") }),
                ("PATCH", "/v1/users/{user}") => json!({ "display_name": format!("Author {made}") }),
                ("POST", "/v1/invitations") => json!({ "role": "guest" }),
                _ => continue,
            };
            operation.body = body.to_string().into_bytes();
        }
        all
    }

    /// What each caller is answered by the `n`th operation.
    async fn rest_row(&mut self, kind: &str, n: usize) -> Row {
        let mut place = self.place(kind).await;
        let (mut title, mut row) = (String::new(), Vec::new());
        for (caller, _) in CALLERS {
            let (operation, in_channel) = self.operations(&place).swap_remove(n);
            title = format!("{} {}", operation.method, operation.template);
            let answer = operation.request(&self.server, self.token(caller)).send().await.expect("answers");
            let status = answer.status();
            let text = answer.text().await.expect("a body");
            assert!(!status.is_server_error(), "{title} by {caller}: {status} {text}");
            let cell = if status.is_client_error() {
                let problem: Problem = serde_json::from_str(&text).expect("a problem");
                format!("{} {}", status.as_u16(), json!(problem.code).as_str().expect("a name"))
            } else {
                status.as_u16().to_string()
            };
            if GONE.contains(&caller) {
                assert_eq!(cell, "401 unauthenticated", "{title} by {caller}");
            } else if kind == "private" && in_channel && OUTSIDE.contains(&caller) {
                assert_eq!(cell, "404 not_found", "{title} by {caller}");
            }
            row.push(cell);
            if status.is_success() && operation.method != Method::GET {
                place = self.place(kind).await;
            }
        }
        (title, row)
    }

    /// What each caller is answered to a command of this type, on a socket that was open before the channel was made.
    async fn socket_row(
        &mut self,
        kind: &str,
        of: &str,
        sockets: &mut BTreeMap<&'static str, TestSocket>,
        closed: &BTreeMap<&'static str, u16>,
    ) -> Row {
        let mut row = Vec::new();
        for (caller, _) in CALLERS {
            if let Some(code) = closed.get(caller) {
                row.push(format!("closed {code}"));
                continue;
            }
            let place = self.place(kind).await;
            let socket = sockets.get_mut(caller).expect("is open");
            let cell = command(socket, of, &place, self.author.user.id).await;
            if kind == "private" && OUTSIDE.contains(&caller) && !matches!(of, "watch" | "ping" | "typing") {
                assert_eq!(cell, "not_found", "{of} by {caller}");
            }
            row.push(cell);
        }
        (of.to_owned(), row)
    }
}

/// What a command of this type is answered: the error's code, or what came.
async fn command(socket: &mut TestSocket, of: &str, place: &Place, author: chat_protocol::UserId) -> String {
    let (id, channel, target) = (ClientId(uuid::Uuid::new_v4()), place.channel, place.seq);
    let text = "hello".to_owned();
    let frame = match of {
        "send" => ClientFrame::Send { id, channel, text, files: vec![], seen: None },
        "edit" => ClientFrame::Edit { id, channel, target, text },
        "delete" => ClientFrame::Delete { id, channel, target },
        "react" => ClientFrame::React { id, channel, target, emoji: "👍".into(), removed: false },
        "read" => ClientFrame::Read { id: Some(id), channel, seq: target },
        "typing" => ClientFrame::Typing { id: Some(id), channel },
        "watch" => ClientFrame::Watch { id: Some(id), users: vec![author] },
        "sync" => ClientFrame::Sync { id: Some(id), channel, after: 0 },
        "ping" => ClientFrame::Ping { id: Some(id) },
        other => panic!("a command of the type {other}"),
    };
    socket.send(&frame).await;
    // What is written to the log is answered when it is there. Whatever else is refused is refused before the next is read.
    let is_written = matches!(of, "send" | "edit" | "delete" | "react");
    let last = ClientId(uuid::Uuid::new_v4());
    socket.send(&ClientFrame::Ping { id: Some(last) }).await;
    let (mut answer, mut passed) = ("taken".to_owned(), false);
    loop {
        if passed && !(is_written && answer == "taken") {
            return answer;
        }
        match socket.next().await {
            Incoming::Frame(ServerFrame::Pong { id: Some(of) }) if of == last => passed = true,
            Incoming::Frame(ServerFrame::Error { id: Some(of), code, .. }) if of == id => {
                answer = json!(code).as_str().expect("a name").to_owned();
            }
            Incoming::Frame(ServerFrame::Ack { id: of, .. }) if of == id => answer = "acked".into(),
            Incoming::Frame(ServerFrame::Synced { id: Some(of), .. }) if of == id => answer = "synced".into(),
            Incoming::Frame(ServerFrame::Pong { id: Some(of) }) if of == id => answer = "answered".into(),
            Incoming::Frame(_) => {}
            Incoming::Closed(code) => panic!("closed with {code:?}"),
        }
    }
}

fn table(out: &mut String, title: &str, what: &str, rows: &[Row]) {
    let _ = write!(out, "\n## {title}\n\n| {what} |");
    CALLERS.iter().for_each(|(_, head)| {
        let _ = write!(out, " {head} |");
    });
    let _ = write!(out, "\n|---|{}\n", "---|".repeat(CALLERS.len()));
    for (name, cells) in rows {
        let _ = writeln!(out, "| `{name}` | {} |", cells.join(" | "));
    }
}

const INTRODUCTION: &str = "# Who gets which answer

Every REST operation and every command of the socket, by every kind of caller, as a test finds them (`chat-server/tests/it/answers.rs`;
`UPDATE_DOCS=1` writes this page). The channel was made by somebody else, who also wrote the message and attached the file.
*Signed out*, *Deactivated* and *Demoted* (an admin who is a member now) use a token that was good a moment ago; *Removed* was in the
channel a moment ago. Operations without a token (registration, signing in, invitations that are used) are not here.

What holds throughout: a token that is over is `401`, whatever is asked for; and of a private channel nobody learns that it is there,
neither admins nor the owner: `404`, as for one that is not there. (When nobody with an open account is in it any more, an owner may take it over.)
";

#[tokio::test]
async fn every_caller_gets_the_answer_of_the_table() {
    let mut world = World::start().await;
    let closed = world.end().await;
    let mut page = INTRODUCTION.to_owned();

    let place = world.place("private").await;
    let mut elsewhere = Vec::new();
    let mut in_channel = BTreeMap::from([("private", vec![]), ("public", vec![])]);
    // Signing out comes last: whoever asks for it asks for nothing else afterwards.
    let mut order: Vec<usize> = (0..world.operations(&place).len()).collect();
    let all = world.operations(&place);
    order.sort_by_key(|n| all[*n].0.template == "/v1/auth/logout");
    assert!(order.len() >= 30, "only {}: does the document still say who is signed in?", order.len());
    for n in order.iter().copied().filter(|n| all[*n].1) {
        for (kind, rows) in &mut in_channel {
            rows.push(world.rest_row(kind, n).await);
        }
    }
    let mut sockets = BTreeMap::new();
    for (caller, _) in CALLERS.iter().filter(|(caller, _)| !GONE.contains(caller)) {
        let token = world.token(caller).expect("has a token").to_owned();
        sockets.insert(*caller, TestSocket::connect(&world.server.base_url, &token).await);
    }
    let mut commands = BTreeMap::from([("private", vec![]), ("public", vec![])]);
    for of in ClientFrame::TYPES.into_iter().filter(|of| *of != "hello") {
        for (kind, rows) in &mut commands {
            rows.push(world.socket_row(kind, of, &mut sockets, &closed).await);
        }
    }
    for n in order.into_iter().filter(|n| !all[*n].1) {
        elsewhere.push(world.rest_row("private", n).await);
    }
    for kind in ["private", "public"] {
        table(&mut page, &format!("REST, about a {kind} channel"), "Operation", &in_channel[kind]);
        table(
            &mut page,
            &format!("Commands of the socket, about a {kind} channel"),
            "Command",
            &commands[kind],
        );
    }
    table(&mut page, "REST, about everything else", "Operation", &elsewhere);

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/answers.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).expect("is written");
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    for (line, (found, expected)) in page.lines().zip(checked_in.lines()).enumerate() {
        assert_eq!(found, expected, "line {} of docs/answers.md", line + 1);
    }
    assert_eq!(page.lines().count(), checked_in.lines().count(), "docs/answers.md");
}
