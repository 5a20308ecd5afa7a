//! A request whose body is held back does what its sender may do when the body is there, not what they might when the headers
//! came. Over every operation of the OpenAPI document that takes a body.

use chat_protocol::{
    ErrorCode, Problem,
    rest::{Role, TokenResponse},
};
use http::Method;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use uuid::Uuid;

use crate::harness::{
    TestServer,
    operations::{Operation, operations},
    read,
    wait::DEADLINE,
};

/// What happens to the sender between the headers and the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meanwhile {
    Nothing,
    SignedOut,
    NewRole,
    Closed,
}

impl Meanwhile {
    async fn happens(self, server: &TestServer, owner: &TokenResponse, sender: &TokenResponse) {
        let change = match self {
            Self::Nothing => return,
            Self::SignedOut => {
                let out = server.post("/v1/auth/logout").bearer_auth(&sender.access_token).send().await;
                assert_eq!(out.expect("answers").status(), StatusCode::NO_CONTENT);
                return;
            }
            Self::NewRole => json!({ "role": "guest" }),
            Self::Closed => json!({ "deactivated": true }),
        };
        let url = server.url(&format!("/v1/users/{}", sender.user.id));
        let changed = server.http.patch(url).bearer_auth(&owner.access_token).json(&change).send().await;
        assert_eq!(changed.expect("answers").status(), StatusCode::OK);
    }
}

/// Sends a request whose body follows once the server asks for it, and `meanwhile` has happened. The answer, as it came.
async fn held(
    server: &TestServer,
    sender: &TokenResponse,
    operation: &Operation,
    meanwhile: impl Future<Output = ()>,
) -> (u16, String) {
    let address = server.base_url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let Operation { method, path, media_type, body, .. } = operation;
    // Who asks for leave to go on has got it when the body is waited for, which is behind the check of the token.
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {}\r\nContent-Type: {media_type}\r\n\
         Content-Length: {}\r\nIdempotency-Key: {}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n",
        sender.access_token,
        body.len(),
        Uuid::new_v4()
    );
    stream.write_all(head.as_bytes()).await.expect("is sent");
    let mut asked = Vec::new();
    while !asked.ends_with(b"\r\n\r\n") {
        asked.push(timeout(DEADLINE, stream.read_u8()).await.expect("in time").expect("answers"));
    }
    assert!(asked.starts_with(b"HTTP/1.1 100 "), "{method} {path}: {}", String::from_utf8_lossy(&asked));
    meanwhile.await;
    stream.write_all(body).await.expect("is sent");
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer)).await.expect("in time").expect("is text");
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
    (status, answer.split_once("\r\n\r\n").expect("a body").1.to_owned())
}

async fn every_operation(meanwhile: Meanwhile) {
    let server = TestServer::start().await;
    let owner = server.register("owner").await;
    let channel = server.channel_of(&owner, &[], "den").await;
    let count = operations(&owner, channel).len();
    for n in 0..count {
        let sender = server.register(&format!("sender{n}")).await;
        let add = json!({ "users": [sender.user.id] });
        let url = format!("/v1/channels/{channel}/members");
        let added = server.post(&url).bearer_auth(&owner.access_token).json(&add).send().await;
        assert_eq!(added.expect("answers").status(), StatusCode::NO_CONTENT);
        let operation = &operations(&sender, channel)[n];
        let happens = meanwhile.happens(&server, &owner, &sender);
        let (status, answer) = held(&server, &sender, operation, happens).await;
        let what = format!("{} {} {meanwhile:?}: {status} {answer}", operation.method, operation.path);
        if meanwhile == Meanwhile::Nothing {
            assert!(!matches!(status, 400 | 401 | 500..), "{what}");
        } else {
            assert_eq!(status, 401, "{what}");
            let problem: Problem = serde_json::from_str(&answer).expect("a problem");
            assert_eq!(problem.code, ErrorCode::Unauthenticated, "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_signed_in_still_is_answered() {
    every_operation(Meanwhile::Nothing).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_signed_out_meanwhile_does_nothing() {
    every_operation(Meanwhile::SignedOut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_role_changed_meanwhile_does_nothing() {
    every_operation(Meanwhile::NewRole).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_account_was_closed_meanwhile_does_nothing() {
    every_operation(Meanwhile::Closed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_ended_makes_no_owner() {
    let server = TestServer::start().await;
    let (owner, linus) = (server.register("owner").await, server.register("linus").await);
    let operation = Operation {
        method: Method::PATCH,
        template: "/v1/users/{user}".into(),
        path: format!("/v1/users/{}", linus.user.id),
        media_type: "application/json".into(),
        body: br#"{"role":"owner"}"#.to_vec(),
    };
    let out = Meanwhile::SignedOut.happens(&server, &owner, &owner);
    let (status, answer) = held(&server, &owner, &operation, out).await;
    let stored = server.app().store().user(linus.user.id).await.expect("is read").expect("is there");
    assert_eq!((status, stored.role), (401, Role::Member), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_left_the_channel_while_they_uploaded_leaves_no_file() {
    let server = TestServer::start().await;
    let (owner, sender) = (server.register("owner").await, server.register("sender").await);
    let channel = server.channel_of(&owner, &[&sender], "den").await;
    let operation =
        operations(&sender, channel).into_iter().find(|operation| operation.path.starts_with("/v1/files"));
    let leave = async {
        let url = format!("/v1/channels/{channel}/leave");
        let left = server.post(&url).bearer_auth(&sender.access_token).send().await.expect("answers");
        assert_eq!(left.status(), StatusCode::NO_CONTENT);
    };
    let (status, answer) = held(&server, &sender, &operation.expect("is there"), leave).await;
    assert_eq!(status, 404, "{answer}");
    let me = server.get("/v1/users/me").bearer_auth(&sender.access_token).send().await.expect("answers");
    let _: Value = read(me, StatusCode::OK).await;
}
