//! `folkmoot chat`: what is typed, and what becomes of it.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
};

use chat_protocol::{ClientFrame, ClientId, ErrorCode, Event, EventBody, Seq, ServerFrame};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{
    CHANNEL, ME, head,
    server::{Rest, Server, Socket},
    within,
};

/// The program at a server whose channel has messages up to 2.
struct Chat {
    program: Program,
    rest: Arc<Rest>,
    lines: mpsc::Receiver<String>,
    socket: Socket,
    _home: tempfile::TempDir,
}

/// Ends with its test, also when that fails.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Chat {
    async fn start() -> Self {
        let mut server = Server::start().await;
        for (path, answer) in [
            (
                "",
                json!({"id": CHANNEL, "kind": "public", "name": "general", "topic": "", "archived": false,
                "created_by": ME, "created_at": 0, "head": 2, "read": 2, "unread": 0, "users": []}),
            ),
            ("/members", json!({"items": []})),
            ("/messages", json!({"items": [message(2, "two"), message(1, "one")]})),
        ] {
            server.rest.answers.lock().insert(format!("/v1/channels/{CHANNEL}{path}"), answer);
        }
        let ada =
            json!({"id": ME, "handle": "ada", "display_name": "Ada", "role": "member", "created_at": 0});
        server.rest.answers.lock().insert("/v1/users".to_owned(), json!({"items": [ada]}));
        let home = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_folkmoot"))
            .args(["chat", &CHANNEL.to_string(), "--url", server.url()])
            .env("FOLKMOOT_CONFIG_DIR", home.path())
            .env("FOLKMOOT_TOKEN", "token")
            .env_remove("FOLKMOOT_PROFILE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, lines) = mpsc::channel(64);
        let printed = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            printed.lines().map_while(Result::ok).try_for_each(|line| sender.blocking_send(line))
        });
        let socket = server.welcome(head(2)).await;
        Self { program: Program(child), rest: Arc::clone(&server.rest), lines, socket, _home: home }
    }

    fn write(&mut self, line: &str) {
        writeln!(self.program.0.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// The next line with `text` in it.
    async fn shows(&mut self, text: &str) -> String {
        loop {
            let line =
                within(self.lines.recv()).await.unwrap_or_else(|| panic!("expected {text:?} on the screen"));
            if line.contains(text) {
                return line;
            }
        }
    }

    /// The next command that is to be committed.
    async fn command(&mut self) -> ClientFrame {
        let next = async {
            loop {
                match self.socket.receive().await {
                    ClientFrame::Read { .. } | ClientFrame::Watch { .. } | ClientFrame::Typing { .. } => {}
                    command => return command,
                }
            }
        };
        // As a whole: the pings of a client that has nothing to say would go on for ever.
        within(next).await
    }

    async fn commit(&mut self, id: ClientId, seq: Seq, body: EventBody) {
        self.socket.send(ServerFrame::Ack { id, channel: CHANNEL, seq, at: 1, duplicate: false }).await;
        let event = Event { channel: CHANNEL, seq, at: 1, by: ME, id: Some(id), body };
        self.socket.send(ServerFrame::Event(event)).await;
    }

    /// Leaves, once everything is done.
    async fn leave(mut self) {
        self.write("/quit");
        self.socket.gone().await;
        assert!(self.program.0.wait().unwrap().success());
    }
}

fn message(seq: Seq, text: &str) -> Value {
    json!({"channel": CHANNEL, "seq": seq, "at": 0, "by": ME, "text": text})
}

#[tokio::test]
async fn messages_edits_and_deletions_are_committed() {
    let mut chat = Chat::start().await;
    chat.write("hello");
    let ClientFrame::Send { id, text, seen, .. } = chat.command().await else { panic!("expected a message") };
    assert_eq!((text.as_str(), seen), ("hello", Some(2)));
    chat.commit(id, 3, EventBody::Message { text, files: vec![], deleted: false }).await;
    chat.shows("ada hello").await;
    chat.write("/edit hello there");
    let ClientFrame::Edit { id, target, text, .. } = chat.command().await else { panic!("expected an edit") };
    assert_eq!((target, text.as_str()), (3, "hello there"));
    chat.commit(id, 4, EventBody::Edited { target, text, deleted: false }).await;
    chat.shows("* ada edited message 3: hello there").await;
    chat.write("/delete");
    let ClientFrame::Delete { id, target, .. } = chat.command().await else { panic!("expected a deletion") };
    assert_eq!(target, 3);
    chat.commit(id, 5, EventBody::Deleted { target }).await;
    chat.shows("* ada deleted message 3").await;
    chat.write("//who");
    let ClientFrame::Send { id, text, .. } = chat.command().await else { panic!("expected a message") };
    assert_eq!(text, "/who");
    chat.commit(id, 6, EventBody::Message { text, files: vec![], deleted: false }).await;
    chat.shows("ada /who").await;
    chat.leave().await;
}

#[tokio::test]
async fn reactions_are_to_the_newest_message_that_is_shown() {
    let mut chat = Chat::start().await;
    // Nobody has seen the ninth event here; the second one was deleted.
    let mut deleted = message(2, "");
    deleted["deleted"] = json!(true);
    let items = json!({"items": [message(9, "nine"), deleted, message(1, "one")]});
    chat.rest.answers.lock().insert(format!("/v1/channels/{CHANNEL}/messages"), items);
    for (command, expected, shown) in [
        ("/react 👍", false, "* ada reacted with 👍 to message 1"),
        ("/unreact 👍", true, "* ada took back 👍 from message 1"),
    ] {
        chat.write(command);
        let ClientFrame::React { id, target, emoji, removed, .. } = chat.command().await else {
            panic!("expected a reaction");
        };
        assert_eq!((target, emoji.as_str(), removed), (1, "👍", expected));
        chat.commit(id, 3 + u64::from(removed), EventBody::Reaction { target, emoji, removed }).await;
        chat.shows(shown).await;
    }
    chat.write("/react");
    chat.shows("no emoji was given").await;
    chat.write("/react 🎉");
    let ClientFrame::React { id, .. } = chat.command().await else { panic!("expected a reaction") };
    chat.socket
        .send(ServerFrame::Error {
            id: Some(id),
            code: ErrorCode::Conflict,
            message: "as the test says".to_owned(),
            retryable: false,
            retry_after_ms: None,
        })
        .await;
    chat.shows("! no reaction: ").await;
    chat.leave().await;
}

#[tokio::test]
async fn the_help_names_every_command() {
    let mut chat = Chat::start().await;
    chat.write("/help");
    for command in
        ["/who ", "/edit TEXT ", "/delete ", "/react EMOJI ", "/unreact EMOJI ", "/upload FILE ", "/quit "]
    {
        assert!(chat.shows(command).await.starts_with(&format!("  {command}")));
    }
    chat.write("/nonsense");
    chat.shows("no command /nonsense").await;
    chat.leave().await;
}
