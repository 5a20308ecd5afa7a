//! Going away: nobody new, what was sent is finished, everybody is told when to come back.

mod harness;

use chat_protocol::{CloseCode, ServerFrame};
use harness::{
    TestServer,
    ws::{Incoming, TestSocket},
};

#[tokio::test]
async fn sockets_are_sent_away_with_a_hint_and_acks_in_flight_are_finished() {
    let server =
        TestServer::with(|config| config.gateway.drain_window = std::time::Duration::from_millis(300)).await;
    let ada = server.register("ada").await;
    let channel = server.channel_of(&ada, &[], "drain").await;
    let mut sockets = Vec::new();
    for _ in 0..5 {
        sockets.push(TestSocket::connect(&server.base_url, &ada.access_token).await);
    }
    let mut sent = Vec::new();
    for socket in &mut sockets {
        sent.push(socket.say(channel, "last words").await);
    }
    let mut silent = TestSocket::upgrade(&server.base_url, None, None).await.expect("upgrades");
    assert_eq!(server.metric("folkmoot_gateway_draining").await, 0.0);
    let draining = server.begin_drain();
    let refused = loop {
        // The drain begins a moment after it was asked for.
        if let Err(error) = TestSocket::upgrade(&server.base_url, None, None).await {
            break error;
        }
    };
    let tokio_tungstenite::tungstenite::Error::Http(response) = *refused else {
        panic!("expected an HTTP answer, got {refused}")
    };
    assert_eq!(response.status(), 503);
    assert!(response.headers().contains_key("retry-after"));
    assert_eq!(server.metric("folkmoot_gateway_draining").await, 1.0);
    let version = format!("folkmoot_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(server.metric(&version).await, 1.0);

    for (mut socket, id) in sockets.into_iter().zip(sent) {
        let (mut acked, mut hinted) = (false, false);
        let code = loop {
            match socket.next().await {
                Incoming::Frame(ServerFrame::Ack { id: acked_id, .. }) => acked |= acked_id == id,
                Incoming::Frame(ServerFrame::Reconnect { .. }) => hinted = true,
                Incoming::Frame(_) => {}
                Incoming::Closed(code) => break code,
            }
        };
        assert_eq!(code, Some(CloseCode::Restart.code()));
        assert!(acked, "what was sent before is acknowledged");
        assert!(hinted, "a reconnect frame comes before the close");
    }
    assert_eq!(silent.closed().await, Some(CloseCode::Restart.code()), "nobody waits for a hello");
    drop(silent);
    assert!(draining.await.expect("the drain ends"), "all have gone");
}
