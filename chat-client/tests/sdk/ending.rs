//! What ends a client for good.

use chat_client::{Auth, Client, ClientError, ConnectionState, End, SendError};
use chat_protocol::{CloseCode, ErrorCode, ServerFrame};

use crate::{CHANNEL, head, options, server::Server, start, state, within};

#[tokio::test]
async fn a_close_that_is_not_resumable_ends_it_and_fails_what_waits() {
    for (code, expected) in [
        (CloseCode::SessionRevoked, End::SessionRevoked),
        (CloseCode::TooManySockets, End::Refused(CloseCode::TooManySockets)),
        (CloseCode::TooBig, End::Refused(CloseCode::TooBig)),
        (CloseCode::Unauthenticated, End::SignedOut),
    ] {
        let mut server = Server::start().await;
        let (client, mut updates) = start(server.url(), options()).await;
        let socket = server.welcome(head(0)).await;
        let pending = client.submit(CHANNEL, "hello", vec![]).await;
        socket.close(code).await;
        let end = state(&mut updates, |state| match state {
            ConnectionState::Ended(end) => Some(end),
            _ => None,
        })
        .await;
        assert_eq!(end, expected);
        assert_eq!(within(pending.outcome()).await, Err(SendError::Ended(end.clone())));
        assert_eq!(within(updates.next()).await, None);
        assert_eq!(within(client.send(CHANNEL, "too late")).await, Err(SendError::Ended(end)));
    }
}

#[tokio::test]
async fn a_close_that_is_resumable_does_not() {
    for code in CloseCode::ALL.into_iter().filter(|code| code.resumable()) {
        let mut server = Server::start().await;
        let (_client, _updates) = start(server.url(), options()).await;
        server.welcome(head(0)).await.close(code).await;
        server.welcome(head(0)).await;
    }
}

#[tokio::test]
async fn connecting_says_why_it_failed() {
    let mut server = Server::start().await;
    let url = server.url().to_owned();
    let connecting = tokio::spawn(async move {
        Client::connect(&url, Auth::AccessToken("bad".into()), options()).await.map(drop)
    });
    let mut socket = server.accept().await;
    assert_eq!(socket.hello().await, "bad");
    socket.close(CloseCode::Unauthenticated).await;
    let error = within(connecting).await.unwrap().unwrap_err();
    assert!(matches!(error, ClientError::Ended(End::SignedOut)), "got {error:?}");
}

#[tokio::test]
async fn a_server_that_is_away_is_a_typed_error_in_time() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let deadline = std::time::Duration::from_millis(100);
    let options = chat_client::Options { first_welcome_deadline: deadline, ..options() };
    let error = within(Client::connect(&url, Auth::AccessToken("t".into()), options)).await.unwrap_err();
    assert!(matches!(error, ClientError::NoWelcome { .. }), "got {error:?}");
}

#[tokio::test]
async fn a_refusal_is_final_and_typed() {
    let mut server = Server::start().await;
    let (client, _updates) = start(server.url(), options()).await;
    let mut socket = server.welcome(head(0)).await;
    let pending = client.submit(CHANNEL, "hello", vec![]).await;
    let (id, code, message) = (Some(pending.id()), ErrorCode::Archived, "read-only".to_owned());
    socket.receive().await;
    socket.send(ServerFrame::Error { id, code, message, retryable: false, retry_after_ms: None }).await;
    match within(pending.outcome()).await {
        Err(SendError::Refused(refusal)) => assert_eq!(refusal.code, ErrorCode::Archived),
        other => panic!("expected a refusal, got {other:?}"),
    }
}

#[tokio::test]
async fn closing_and_dropping_close_the_socket() {
    let mut server = Server::start().await;
    let (client, _updates) = start(server.url(), options()).await;
    let socket = server.welcome(head(0)).await;
    within(client.close()).await;
    socket.gone().await;

    let (client, _updates) = start(server.url(), options()).await;
    let socket = server.welcome(head(0)).await;
    drop(client);
    socket.gone().await;
}
