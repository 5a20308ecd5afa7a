//! A channel that somebody may not read is `not_found` to them, whatever they want of it: each operation of the OpenAPI document
//! that names a channel or a file answers a stranger as if there were none, and does nothing.

mod harness;

use chat_protocol::{
    ChannelId, ErrorCode, FileId, FileRef, Problem, Seq,
    rest::{Committed, TokenResponse},
};
use harness::{
    TestServer,
    operations::{Operation, Subject, operations_in_channel},
    read,
};
use reqwest::{Response, StatusCode};
use serde_json::json;

/// A private channel with a message and a file.
async fn den(server: &TestServer, owner: &TokenResponse, name: &str) -> (ChannelId, Seq, FileId) {
    let channel = server.channel_of(owner, &[], name).await;
    let upload = server.post(&format!("/v1/files?channel={channel}&name=notes.txt"));
    let upload = upload.bearer_auth(&owner.access_token).body("secret").send().await.expect("answers");
    let file: FileRef = read(upload, StatusCode::CREATED).await;
    let send = server.post(&format!("/v1/channels/{channel}/messages")).bearer_auth(&owner.access_token);
    let send = send.header("Idempotency-Key", uuid::Uuid::new_v4().to_string());
    let sent = send.json(&json!({ "text": "secret", "files": [file.id] })).send().await.expect("answers");
    let sent: Committed = read(sent, StatusCode::CREATED).await;
    (channel, sent.seq, file.id)
}

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
