//! Who reads too slowly is cut off with a resumable code, harms nobody, and loses nothing.

use chat_protocol::CloseCode;

use crate::harness::{
    TestServer,
    ws::{DEADLINE, TestSocket},
};

#[tokio::test]
async fn a_slow_consumer_is_closed_and_resumes_without_loss() {
    let server = TestServer::with(|config| {
        config.gateway.max_queued_bytes = 64 * 1024;
        config.gateway.commands_per_second = 100_000;
        config.gateway.command_burst = 100_000;
    })
    .await;
    let ada = server.register("ada").await;
    let grace = server.register("grace").await;
    let channel = server.channel_of(&ada, &[&grace], "flood").await;
    let mut writer = TestSocket::connect(&server.base_url, &ada.access_token).await;
    let mut slow = TestSocket::connect_with(&server.base_url, &grace.access_token, Some(4_096)).await;
    let seen = slow.head(channel);
    let text = "x".repeat(16 * 1024);
    let mut sent = 0;
    // The kernel buffers some megabytes before the server's own queue fills.
    let flood = async {
        while server.metric("folkmoot_gateway_slow_consumers_total").await < 1.0 {
            for _ in 0..20 {
                let id = writer.say(channel, &text).await;
                writer.acked(id).await;
                sent += 1;
            }
        }
    };
    tokio::time::timeout(DEADLINE * 3, flood).await.expect("the slow socket's queue fills");
    assert_eq!(slow.closed().await, Some(CloseCode::SlowConsumer.code()));
    assert!(CloseCode::SlowConsumer.resumable());

    let mut back = TestSocket::connect(&server.base_url, &grace.access_token).await;
    assert_eq!(back.head(channel), seen + sent);
    // What does not fit the socket's queue is not sent over it, or it would be closed again and again: this client is
    // asked to read the log.
    let (events, head, recovered) = back.sync(channel, seen).await;
    assert_eq!((events.len(), head, recovered), (0, seen + sent, false));
    let mut after = seen;
    while after < seen + sent {
        let page = server.events(&grace, channel, after).await;
        assert_eq!(page.first().map(|event| event.seq), Some(after + 1));
        after = page.last().expect("is not empty").seq;
    }
    let id = back.say(channel, "still here").await;
    assert_eq!(back.acked(id).await.0, seen + sent + 1);
}
