//! Who is in a channel gets its events from the first to the last, and not one more.

use chat_protocol::EventBody;

use crate::harness::{TestServer, ws::TestSocket};

#[tokio::test]
async fn joining_brings_the_channel_and_leaving_ends_it() {
    let server = TestServer::start().await;
    let (ada, grace) = (server.register("ada").await, server.register("grace").await);
    let mut grace_socket = TestSocket::connect(&server.base_url, &grace.access_token).await;
    let mut ada_socket = TestSocket::connect(&server.base_url, &ada.access_token).await;
    let channel = server.channel_of(&ada, &[&grace], "club").await;
    let joined = grace_socket
        .until(|frame| match frame {
            chat_protocol::ServerFrame::Event(event) if event.channel == channel => match event.body {
                EventBody::MemberJoined { user } if user == grace.user.id => Some(event.seq),
                _ => None,
            },
            _ => None,
        })
        .await;
    let id = ada_socket.say(channel, "welcome").await;
    let (seq, _) = ada_socket.acked(id).await;
    assert_eq!(grace_socket.event().await.seq, seq);
    assert_eq!(joined + 1, seq);

    let response = server
        .http
        .delete(format!("{}/v1/channels/{channel}/members/{}", server.base_url, grace.user.id))
        .bearer_auth(&ada.access_token)
        .send()
        .await
        .expect("answers");
    assert_eq!(response.status(), 204);
    let left = grace_socket.event().await;
    assert_eq!(left.body, EventBody::MemberLeft { user: grace.user.id });
    let id = ada_socket.say(channel, "about grace").await;
    ada_socket.acked(id).await;
    // What she may still see comes through; what was said after she left does not.
    let other = server.channel_of(&grace, &[&ada], "elsewhere").await;
    let next = grace_socket.event().await;
    assert_eq!(next.channel, other, "got {next:?}");
}
