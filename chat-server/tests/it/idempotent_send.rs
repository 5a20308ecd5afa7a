//! Sending again with the same id returns the first outcome, through whatever door.

use chat_protocol::{ClientFrame, rest::Committed};

use crate::harness::{TestServer, ws::TestSocket};

#[tokio::test]
async fn a_resend_returns_the_first_position_on_any_socket_and_over_rest() {
    let mut server = TestServer::start().await;
    let ada = server.register("ada").await;
    let grace = server.register("grace").await;
    let channel = server.channel_of(&ada, &[&grace], "once").await;
    let mut socket = TestSocket::connect(&server.base_url, &ada.access_token).await;
    let id = socket.say(channel, "once").await;
    let (seq, duplicate) = socket.acked(id).await;
    assert!(!duplicate);

    let again = ClientFrame::Send { id, channel, text: "once".into(), files: vec![], seen: None };
    socket.send(&again).await;
    assert_eq!(socket.acked(id).await, (seq, true));

    let mut other = TestSocket::connect(&server.base_url, &ada.access_token).await;
    other.send(&again).await;
    assert_eq!(other.acked(id).await, (seq, true));

    server.restart().await;
    let committed: Committed = server
        .http
        .post(format!("{}/v1/channels/{channel}/messages", server.base_url))
        .bearer_auth(&ada.access_token)
        .header("idempotency-key", id.to_string())
        .json(&serde_json::json!({ "text": "once" }))
        .send()
        .await
        .expect("answers")
        .json()
        .await
        .expect("is committed");
    assert_eq!((committed.seq, committed.duplicate), (seq, true));

    // The id is the user's own name for a command: somebody else's is another command.
    let mut grace = TestSocket::connect(&server.base_url, &grace.access_token).await;
    grace.send(&again).await;
    let (other_seq, duplicate) = grace.acked(id).await;
    assert!(!duplicate && other_seq == seq + 1);
}

#[tokio::test]
async fn a_resend_learns_of_its_commit_even_when_sending_is_not_allowed_any_more() {
    let server = TestServer::start().await;
    let ada = server.register("ada").await;
    let channel = server.channel_of(&ada, &[], "closing").await;
    let mut socket = TestSocket::connect(&server.base_url, &ada.access_token).await;
    let id = socket.say(channel, "just in time").await;
    let (seq, _) = socket.acked(id).await;
    let archived = server
        .http
        .patch(server.url(&format!("/v1/channels/{channel}")))
        .bearer_auth(&ada.access_token)
        .json(&serde_json::json!({ "archived": true }))
        .send()
        .await
        .expect("answers");
    assert_eq!(archived.status(), 200);
    socket
        .send(&ClientFrame::Send { id, channel, text: "just in time".into(), files: vec![], seen: None })
        .await;
    assert_eq!(socket.acked(id).await, (seq, true));
    let late = socket.say(channel, "too late").await;
    let code = socket
        .until(|frame| match frame {
            chat_protocol::ServerFrame::Error { id, code, .. } if id == Some(late) => Some(code),
            _ => None,
        })
        .await;
    assert_eq!(code, chat_protocol::ErrorCode::Archived);
}
