//! What one signed-in person may do: so many requests, messages, channels, invitations and uploads, whoever else is there.

use chat_protocol::{ChannelId, ErrorCode, Problem, ServerFrame, rest::TokenResponse};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::json;

use crate::harness::{TestServer, ws::TestSocket};

/// Asserts that an answer says how long to wait.
async fn is_limited(answer: Response) {
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    let seconds: u64 =
        answer.headers()["retry-after"].to_str().expect("is text").parse().expect("is a number");
    let problem: Problem = answer.json().await.expect("a problem");
    assert_eq!(problem.code, ErrorCode::RateLimited);
    assert!(problem.retryable);
    assert_eq!(problem.retry_after_ms.expect("says when").div_ceil(1_000), seconds);
}

async fn send(request: RequestBuilder, as_whom: &TokenResponse) -> Response {
    request.bearer_auth(&as_whom.access_token).send().await.expect("answers")
}

fn message(server: &TestServer, channel: ChannelId, text: &str) -> RequestBuilder {
    let request = server.post(&format!("/v1/channels/{channel}/messages"));
    request.header("Idempotency-Key", uuid::Uuid::new_v4().to_string()).json(&json!({ "text": text }))
}

#[tokio::test]
async fn requests_of_every_kind_are_counted_for_their_person() {
    let server = TestServer::with(|config| {
        config.server.requests_per_second = 1;
        config.server.request_burst = 5;
    })
    .await;
    let (ada, grace) = (server.register("ada").await, server.register("grace").await);
    let mut taken = 0;
    // A machine that is held up gives some back meanwhile; at this rate they do not last.
    let refused = loop {
        let request = match taken % 3 {
            0 => server.get("/v1/users/me"),
            1 => server.get("/v1/auth/sessions"),
            _ => server.http.patch(server.url(&format!("/v1/users/{}", ada.user.id))).json(&json!({})),
        };
        let answer = send(request, &ada).await;
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            break answer;
        }
        taken += 1;
        assert!(taken < 1_000, "nothing is refused");
    };
    assert!(taken >= 5, "{taken}");
    is_limited(refused).await;
    assert!(server.metric(r#"folkmoot_refused_total{reason="rate_limited"}"#).await >= 1.0);
    assert_eq!(send(server.get("/v1/users/me"), &grace).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn messages_are_counted_over_all_doors() {
    let server = TestServer::with(|config| {
        config.gateway.commands_per_second = 1;
        config.gateway.command_burst = 4;
    })
    .await;
    let (ada, grace) = (server.register("ada").await, server.register("grace").await);
    let channel = server.channel_of(&ada, &[&grace], "den").await;
    let mut sockets = Vec::new();
    for _ in 0..3 {
        sockets.push(TestSocket::connect(&server.base_url, &ada.access_token).await);
    }
    // Two on each socket: no socket is at its own limit.
    let mut refused = 0;
    for socket in &mut sockets {
        for _ in 0..2 {
            let sent = socket.say(channel, "hello").await;
            refused += socket
                .until(|frame| match frame {
                    ServerFrame::Ack { id, .. } if id == sent => Some(0),
                    ServerFrame::Error { id: Some(id), code: ErrorCode::RateLimited, .. } if id == sent => {
                        Some(1)
                    }
                    _ => None,
                })
                .await;
        }
    }
    // A slow machine gives some back; over REST it goes on until they are used up.
    let mut answer = send(message(&server, channel, "over REST"), &ada).await;
    for _ in 0..1_000 {
        if answer.status() != StatusCode::CREATED {
            break;
        }
        answer = send(message(&server, channel, "over REST"), &ada).await;
    }
    is_limited(answer).await;
    let sent = sockets[0].say(channel, "and on a socket").await;
    let code = sockets[0]
        .until(|frame| match frame {
            ServerFrame::Error { id: Some(id), code, .. } if id == sent => Some(Some(code)),
            ServerFrame::Ack { id, .. } if id == sent => Some(None),
            _ => None,
        })
        .await;
    assert!(refused > 0 || code == Some(ErrorCode::RateLimited), "{refused} {code:?}");
    assert_eq!(send(message(&server, channel, "me too"), &grace).await.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn so_many_channels_and_invitations_an_hour() {
    let server = TestServer::with(|config| {
        config.server.channels_per_hour = 2;
        config.server.invitations_per_hour = 1;
    })
    .await;
    let (ada, grace) = (server.register("ada").await, server.register("grace").await);
    let direct = || server.post("/v1/dms").json(&json!({ "users": [grace.user.id] }));
    assert!(send(direct(), &ada).await.status().is_success());
    let create = |name: &str| server.post("/v1/channels").json(&json!({ "kind": "public", "name": name }));
    assert_eq!(send(create("one"), &ada).await.status(), StatusCode::CREATED);
    is_limited(send(create("two"), &ada).await).await;
    let alone = server.post("/v1/dms").json(&json!({ "users": [] }));
    is_limited(send(alone, &ada).await).await;
    assert!(send(direct(), &ada).await.status().is_success(), "what is there is opened, not made");
    assert_eq!(send(create("two"), &grace).await.status(), StatusCode::CREATED);

    let invite = || server.post("/v1/invitations").json(&json!({}));
    let reset = server.post(&format!("/v1/users/{}/password-reset", grace.user.id));
    assert_eq!(send(invite(), &ada).await.status(), StatusCode::CREATED);
    is_limited(send(invite(), &ada).await).await;
    is_limited(send(reset, &ada).await).await;
}

#[tokio::test]
async fn so_many_uploads_an_hour() {
    let server = TestServer::with(|config| config.files.uploads_per_hour = 2).await;
    let (ada, grace) = (server.register("ada").await, server.register("grace").await);
    let channel = server.channel_of(&ada, &[&grace], "den").await;
    let upload = || server.post(&format!("/v1/files?channel={channel}&name=a.txt")).body("text");
    for _ in 0..2 {
        assert_eq!(send(upload(), &ada).await.status(), StatusCode::CREATED);
    }
    is_limited(send(upload(), &ada).await).await;
    assert_eq!(send(upload(), &grace).await.status(), StatusCode::CREATED);
}
