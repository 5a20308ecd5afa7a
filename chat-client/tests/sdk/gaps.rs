//! Holes in what arrives.

use chat_protocol::{ClientFrame, ServerFrame};

use crate::{CHANNEL, after, event, events, head, server::Server, start};

#[tokio::test]
async fn a_gap_is_synced_once_and_filled_in_order() {
    let mut server = Server::start().await;
    let (_client, mut updates) = start(server.url(), after(5)).await;
    let mut socket = server.welcome(head(5)).await;
    for seq in [6, 9, 6, 10] {
        socket.send(ServerFrame::Event(event(seq))).await;
    }
    let sync = socket.receive().await;
    assert!(matches!(sync, ClientFrame::Sync { after: 6, channel: CHANNEL, .. }), "got {sync:?}");
    socket.answer_sync(sync, 10).await;
    socket.send(ServerFrame::Event(event(11))).await;
    assert_eq!(events(&mut updates, 6).await, [6, 7, 8, 9, 10, 11]);
}

#[tokio::test]
async fn what_sync_cannot_recover_is_paged_over_rest() {
    let mut server = Server::start().await;
    *server.rest.log.lock() = (1..=505).map(event).collect();
    *server.rest.unavailable.lock() = 1;
    let (_client, mut updates) = start(server.url(), after(5)).await;
    let mut socket = server.welcome(head(500)).await;
    let ClientFrame::Sync { id, channel, after: 5 } = socket.receive().await else {
        panic!("expected a sync")
    };
    socket.send(ServerFrame::Event(event(505))).await;
    socket.send(ServerFrame::Synced { id, channel, head: 504, recovered: false }).await;
    socket.send(ServerFrame::Event(event(506))).await;
    assert_eq!(events(&mut updates, 501).await, (6..=506).collect::<Vec<_>>());
    assert_eq!(*server.rest.pages.lock(), [5, 205, 405], "one page after the other, and no page twice");
}

#[tokio::test]
async fn a_log_that_may_not_be_read_any_more_holds_up_nobody() {
    let mut server = Server::start().await;
    let (client, _updates) = start(server.url(), after(5)).await;
    let mut socket = server.welcome(head(9)).await;
    let ClientFrame::Sync { id, .. } = socket.receive().await else { panic!("expected a sync") };
    let (code, message) = (chat_protocol::ErrorCode::NotFound, String::new());
    socket.send(ServerFrame::Error { id, code, message, retryable: false, retry_after_ms: None }).await;
    let _pending = client.submit(CHANNEL, "still here", vec![]).await;
    let next = socket.receive().await;
    assert!(matches!(next, ClientFrame::Send { .. }), "expected no second sync, got {next:?}");
}
