//! A channel that somebody may not read is `not_found` to them, whatever they want of it: each operation of the OpenAPI document
//! that names a channel or a file, and each command of a socket, answers a stranger as if there were none, and does nothing.

use chat_protocol::{
    ChannelId, ClientFrame, ClientId, ErrorCode, FileId, Problem, Seq, ServerFrame,
    rest::{Channel, TokenResponse},
};
use http::Method;
use reqwest::{Response, StatusCode};
use serde_json::json;

use crate::harness::{
    PASSWORD, TestServer,
    operations::{Operation, Subject, operations_in_channel},
    read,
    ws::TestSocket,
};

/// A private channel with a message and a file.
async fn den(server: &TestServer, owner: &TokenResponse, name: &str) -> (ChannelId, Seq, FileId) {
    let channel = server.channel_of(owner, &[], name).await;
    let (seq, file) = server.message_with_file(owner, channel).await;
    (channel, seq, file)
}

/// The direct channel of two, and a public channel.
async fn direct_and_public(
    server: &TestServer,
    owner: &TokenResponse,
    other: &TokenResponse,
) -> [ChannelId; 2] {
    let open = server.post("/v1/dms").bearer_auth(&owner.access_token);
    let open = open.json(&json!({ "users": [other.user.id] })).send().await.expect("answers");
    let direct: Channel = read(open, StatusCode::OK).await;
    let make = server.post("/v1/channels").bearer_auth(&owner.access_token);
    let make = make.json(&json!({ "kind": "public", "name": "open" })).send().await.expect("answers");
    let public: Channel = read(make, StatusCode::CREATED).await;
    [direct.id, public.id]
}

/// A guest, signed in.
async fn guest(server: &TestServer, owner: &TokenResponse) -> TokenResponse {
    let member = server.register("guest").await;
    let path = format!("/v1/users/{}", member.user.id);
    let demote = server.http.patch(server.url(&path)).bearer_auth(&owner.access_token);
    let demoted = demote.json(&json!({ "role": "guest" })).send().await.expect("answers");
    assert_eq!(demoted.status(), StatusCode::OK);
    let login = json!({ "handle": "guest", "password": PASSWORD });
    read(server.post("/v1/auth/login").json(&login).send().await.expect("answers"), StatusCode::OK).await
}

/// Positions of messages, of other events, and of nothing.
const POSITIONS: [Seq; 5] = [0, 1, 3, 4, 1_000];

async fn call(server: &TestServer, who: &TokenResponse, operation: &Operation) -> Response {
    operation.request(server, Some(&who.access_token)).send().await.expect("answers")
}

#[tokio::test]
async fn to_a_stranger_a_private_channel_is_not_there() {
    let server = TestServer::start().await;
    let (owner, stranger) = (server.register("owner").await, server.register("stranger").await);
    let about = |(channel, seq, file)| operations_in_channel(&Subject { user: &owner, channel, seq, file });
    let nowhere = about((ChannelId::new(), 1, FileId::new()));
    assert!(nowhere.len() >= 18, "only {}", nowhere.len());
    for (n, nothing) in nowhere.iter().enumerate() {
        let place = den(&server, &owner, &format!("den {n}")).await;
        let operation = &about(place)[n];
        let what = format!("{} {}", operation.method, operation.path);
        let before = server.events(&owner, place.0, 0).await;
        let hidden: Problem = read(call(&server, &stranger, operation).await, StatusCode::NOT_FOUND).await;
        let unknown: Problem = read(call(&server, &stranger, nothing).await, StatusCode::NOT_FOUND).await;
        assert_eq!((hidden.code, hidden.detail), (ErrorCode::NotFound, unknown.detail), "{what}");
        assert_eq!(server.events(&owner, place.0, 0).await, before, "{what} did something");
        // The operation itself is one that can be done.
        let status = call(&server, &owner, operation).await.status();
        assert_ne!(status, StatusCode::NOT_FOUND, "{what}");
    }
}

/// Ids of direct channels follow from ids of users, and the id of a public channel may be known to a guest.
#[tokio::test]
async fn what_is_in_a_channel_cannot_be_counted_from_outside() {
    let server = TestServer::start().await;
    let (owner, other) = (server.register("owner").await, server.register("other").await);
    let (stranger, guest) = (server.register("stranger").await, guest(&server, &owner).await);
    let [direct, public] = direct_and_public(&server, &owner, &other).await;
    for (channel, outside) in [(direct, &stranger), (direct, &guest), (public, &guest)] {
        let (there, file) = server.message_with_file(&owner, channel).await;
        let before = server.events(&owner, channel, 0).await;
        let about = |channel, seq, file| operations_in_channel(&Subject { user: &owner, channel, seq, file });
        let mut unknown = Vec::new();
        for nothing in about(ChannelId::new(), 1, FileId::new()) {
            let problem: Problem = read(call(&server, outside, &nothing).await, StatusCode::NOT_FOUND).await;
            unknown.push(problem.detail);
        }
        for seq in POSITIONS.into_iter().chain([there]) {
            for file in [file, FileId::new()] {
                for (operation, unknown) in about(channel, seq, file).iter().zip(&unknown) {
                    if operation.method == Method::GET && seq != there {
                        // Positions are in none of them.
                        continue;
                    }
                    let what = format!("{} {}", operation.method, operation.path);
                    let hidden: Problem =
                        read(call(&server, outside, operation).await, StatusCode::NOT_FOUND).await;
                    assert_eq!((hidden.code, &hidden.detail), (ErrorCode::NotFound, unknown), "{what}");
                }
            }
        }
        assert_eq!(server.events(&owner, channel, 0).await, before);
    }
}

/// All commands that name a channel, but for `typing`.
fn commands(channel: ChannelId, target: Seq) -> Vec<ClientFrame> {
    let id = || ClientId(uuid::Uuid::new_v4());
    vec![
        ClientFrame::Send { id: id(), channel, text: "hi".into(), files: vec![], seen: None },
        ClientFrame::Edit { id: id(), channel, target, text: "hi".into() },
        ClientFrame::Delete { id: id(), channel, target },
        ClientFrame::React { id: id(), channel, target, emoji: "👍".into(), removed: false },
        ClientFrame::React { id: id(), channel, target, emoji: "👍".into(), removed: true },
        ClientFrame::Read { id: Some(id()), channel, seq: target },
        ClientFrame::Sync { id: Some(id()), channel, after: target },
    ]
}

/// What a socket answers to commands, without what they asked for.
async fn refusals(socket: &mut TestSocket, commands: &[ClientFrame]) -> Vec<(ErrorCode, String)> {
    let mut refusals = Vec::new();
    for command in commands {
        socket.send(command).await;
        let refusal = socket.until(|frame| match frame {
            ServerFrame::Error { id, code, message, .. } if id == command.id() => Some((code, message)),
            ServerFrame::Ack { .. } | ServerFrame::Synced { .. } => panic!("{frame:?} to {command:?}"),
            _ => None,
        });
        refusals.push(refusal.await);
    }
    refusals
}

#[tokio::test]
async fn over_a_socket_neither() {
    let server = TestServer::with(|config| config.gateway.command_burst = 1_000).await;
    let (owner, other) = (server.register("owner").await, server.register("other").await);
    let (stranger, guest) = (server.register("stranger").await, guest(&server, &owner).await);
    let [direct, public] = direct_and_public(&server, &owner, &other).await;
    let (private, ..) = den(&server, &owner, "den").await;
    for channel in [direct, public] {
        server.message_with_file(&owner, channel).await;
    }
    for (outside, channels) in [(&stranger, vec![direct, private]), (&guest, vec![direct, private, public])] {
        let mut socket = TestSocket::connect(&server.base_url, &outside.access_token).await;
        let nothing = refusals(&mut socket, &commands(ChannelId::new(), 1)).await;
        assert!(nothing.iter().all(|(code, _)| *code == ErrorCode::NotFound), "{nothing:?}");
        // Once for each channel: what is repeated within seconds is not answered.
        let typing = |channel| [ClientFrame::Typing { id: Some(ClientId(uuid::Uuid::new_v4())), channel }];
        let not_typing = refusals(&mut socket, &typing(ChannelId::new())).await;
        for channel in channels {
            assert_eq!(refusals(&mut socket, &typing(channel)).await, not_typing);
            let before = server.events(&owner, channel, 0).await;
            for target in POSITIONS {
                assert_eq!(refusals(&mut socket, &commands(channel, target)).await, nothing, "{target}");
            }
            assert_eq!(server.events(&owner, channel, 0).await, before);
        }
    }
}
