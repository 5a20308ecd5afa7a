//! Who opens more sockets than one may have gets the newest.

use chat_protocol::{ClientFrame, CloseCode, ServerFrame};

use crate::harness::{TestServer, ws::TestSocket};

#[tokio::test]
async fn the_newest_socket_wins_and_the_longest_silent_one_goes() {
    let server = TestServer::with(|config| config.gateway.max_sockets_per_user = 2).await;
    let ada = server.register("ada").await;
    let mut first = TestSocket::connect(&server.base_url, &ada.access_token).await;
    let mut second = TestSocket::connect(&server.base_url, &ada.access_token).await;
    // Seconds are counted, and the first one says something in a later one.
    tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    first.send(&ClientFrame::Ping { id: None }).await;
    first.until(|frame| matches!(frame, ServerFrame::Pong { .. }).then_some(())).await;
    let mut third = TestSocket::connect(&server.base_url, &ada.access_token).await;
    assert_eq!(second.closed().await, Some(CloseCode::TooManySockets.code()));
    // A client that is closed so does not come back by itself, or two would push each other out for ever.
    assert!(!CloseCode::TooManySockets.resumable());
    for socket in [&mut first, &mut third] {
        socket.send(&ClientFrame::Ping { id: None }).await;
        socket.until(|frame| matches!(frame, ServerFrame::Pong { .. }).then_some(())).await;
    }
}
