//! What survives a connection that is lost.

use std::time::{Duration, Instant};

use chat_client::{Backoff, ConnectionState, Options, SendError};
use chat_protocol::{ClientFrame, CloseCode, ErrorCode, ServerFrame};

use crate::{CHANNEL, after, event, events, head, options, server::Server, start, state};

#[tokio::test]
async fn it_resumes_after_its_cursor_and_sends_again_with_the_same_id() {
    let mut server = Server::start().await;
    let (client, mut updates) = start(server.url(), after(5)).await;
    let mut socket = server.welcome(head(5)).await;
    socket.send(ServerFrame::Event(event(6))).await;
    assert_eq!(events(&mut updates, 1).await, [6]);
    let pending = client.submit(CHANNEL, "hello", vec![]).await;
    let first = socket.receive().await;
    drop(socket);

    let mut socket = server.welcome(head(8)).await;
    let (mut again, mut synced) = (None, false);
    while again.is_none() || !synced {
        match socket.receive().await {
            frame @ ClientFrame::Send { .. } => again = Some(frame),
            ClientFrame::Sync { id, channel, after: 6 } => {
                socket.answer_sync(ClientFrame::Sync { id, channel, after: 6 }, 8).await;
                synced = true;
            }
            other => panic!("expected the send and a sync after 6, got {other:?}"),
        }
    }
    assert_eq!(again, Some(first));
    assert_eq!(events(&mut updates, 2).await, [7, 8]);
    let id = pending.id();
    socket.send(ServerFrame::Ack { id, channel: CHANNEL, seq: 9, at: 1, duplicate: true }).await;
    let sent = crate::within(pending.outcome()).await.unwrap();
    assert_eq!((sent.seq, sent.duplicate), (9, true));
    assert_eq!(updates.cursors()[&CHANNEL], 8);
}

#[tokio::test]
async fn what_is_sent_while_away_waits_and_keeps_its_order() {
    let mut server = Server::start().await;
    let (client, _updates) = start(server.url(), options()).await;
    let mut outcomes = Vec::new();
    for text in ["one", "two", "three"] {
        outcomes.push(client.submit(CHANNEL, text, vec![]).await);
    }
    let mut socket = server.welcome(head(0)).await;
    for (seq, expected) in (1u64..).zip(["one", "two", "three"]) {
        let ClientFrame::Send { id, text, .. } = socket.receive().await else { panic!("expected a send") };
        assert_eq!(text, expected);
        if seq == 2 {
            // For the moment only: the third one must not overtake it.
            let (code, message) = (ErrorCode::Overloaded, String::new());
            let retry_after_ms = Some(1);
            socket
                .send(ServerFrame::Error { id: Some(id), code, message, retryable: true, retry_after_ms })
                .await;
            let again = socket.receive().await;
            assert!(matches!(again, ClientFrame::Send { id: same, .. } if same == id), "got {again:?}");
        }
        socket.send(ServerFrame::Ack { id, channel: CHANNEL, seq, at: 1, duplicate: false }).await;
    }
    for (seq, pending) in (1u64..).zip(outcomes) {
        assert_eq!(crate::within(pending.outcome()).await.unwrap().seq, seq);
    }
}

#[tokio::test]
async fn it_comes_back_when_the_server_says() {
    let mut server = Server::start().await;
    let (_client, mut updates) = start(server.url(), options()).await;
    let mut socket = server.welcome(head(0)).await;
    let refused_at = Instant::now();
    socket.send(ServerFrame::Reconnect { after_ms: 300 }).await;
    socket.close(CloseCode::Restart).await;
    let wait = state(&mut updates, |state| match state {
        ConnectionState::Waiting { retry_in, .. } => Some(retry_in),
        _ => None,
    })
    .await;
    assert!(wait <= Duration::from_millis(300), "waits {wait:?}");
    server.welcome(head(0)).await;
    assert!(refused_at.elapsed() >= Duration::from_millis(300), "came back after {:?}", refused_at.elapsed());
}

#[tokio::test]
async fn a_server_too_busy_to_welcome_is_asked_again_when_it_says() {
    let mut server = Server::start().await;
    let (_client, mut updates) = start(server.url(), options()).await;
    let mut socket = server.accept().await;
    socket.hello().await;
    let (code, message, retry_after_ms) = (ErrorCode::Overloaded, String::new(), Some(300));
    socket.send(ServerFrame::Error { id: None, code, message, retryable: true, retry_after_ms }).await;
    socket.close(CloseCode::TryLater).await;
    let wait = state(&mut updates, |state| match state {
        ConnectionState::Waiting { retry_in, .. } => Some(retry_in),
        _ => None,
    })
    .await;
    assert!(wait >= Duration::from_millis(300), "waits {wait:?}");
    server.welcome(head(0)).await;
}

#[tokio::test]
async fn who_is_refused_comes_back_after_the_time_that_was_named_and_not_all_at_once() {
    let mut server = Server::start().await;
    *server.rest.going_away.lock() = 3;
    let backoff = Backoff { base: Duration::from_millis(400), cap: Duration::from_secs(1) };
    let mut waits = Vec::new();
    let mut clients = Vec::new();
    for _ in 0..3 {
        let (client, mut updates) = start(server.url(), Options { backoff, ..options() }).await;
        let wait = state(&mut updates, |state| match state {
            ConnectionState::Waiting { retry_in, .. } => Some(retry_in),
            _ => None,
        });
        waits.push(wait.await);
        clients.push((client, updates));
    }
    let named = Duration::from_secs(1);
    for wait in &waits {
        assert!((named..=named + backoff.base).contains(wait), "{waits:?}");
    }
    assert!(waits[0] != waits[1] || waits[1] != waits[2], "they differ by chance: {waits:?}");
    for _ in 0..3 {
        server.welcome(head(0)).await;
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_counts_as_dead() {
    let mut server = Server::start().await;
    let options = Options { dead_after: Some(Duration::from_secs(2)), ..options() };
    let (_client, _updates) = start(server.url(), options).await;
    let silent = server.welcome(head(0)).await;
    server.welcome(head(0)).await;
    silent.gone().await;
}

#[tokio::test]
async fn a_send_without_an_answer_goes_again_on_a_new_connection() {
    let mut server = Server::start().await;
    let options = Options { answer_deadline: Duration::from_secs(1), ..options() };
    let (client, _updates) = start(server.url(), options).await;
    let mut deaf = server.welcome(head(0)).await;
    let _pending = client.submit(CHANNEL, "hello", vec![]).await;
    let first = deaf.receive().await;
    let mut socket = server.welcome(head(0)).await;
    assert_eq!(socket.receive().await, first);
    deaf.gone().await;
}

#[tokio::test]
async fn who_sends_more_than_the_outbox_holds_waits_for_a_place() {
    let mut server = Server::start().await;
    let options = Options { max_outbox: 2, ..options() };
    let (client, _updates) = start(server.url(), options).await;
    let _pending = [client.submit(CHANNEL, "1", vec![]).await, client.submit(CHANNEL, "2", vec![]).await];
    let refused = client.try_submit(CHANNEL, "3", vec![]).await.unwrap_err();
    assert_eq!(refused, SendError::OutboxFull);
    let waiting = tokio::spawn(async move { client.send(CHANNEL, "3").await });
    let mut socket = server.welcome(head(0)).await;
    for seq in 1..=3u64 {
        let ClientFrame::Send { id, text, .. } = socket.receive().await else { panic!("expected a send") };
        assert_eq!(text, seq.to_string());
        socket.send(ServerFrame::Ack { id, channel: CHANNEL, seq, at: 1, duplicate: false }).await;
    }
    assert_eq!(crate::within(waiting).await.unwrap().unwrap().seq, 3);
}
