//! The first seconds of a socket, and what is refused.

use chat_protocol::{ClientFrame, ClientId, CloseCode, ErrorCode, ServerFrame};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::harness::{
    TestServer,
    raw::{Raw, masked_frame},
    ws::{Incoming, TestSocket},
};

#[tokio::test]
async fn without_a_valid_hello_there_is_no_socket() {
    let server =
        TestServer::with(|config| config.gateway.hello_timeout = std::time::Duration::from_millis(200)).await;
    let mut silent = TestSocket::upgrade(&server.base_url, None, None).await.expect("upgrades");
    assert_eq!(silent.closed().await, Some(CloseCode::HelloTimeout.code()));

    // Whoever says something has the usual time for it.
    let server = TestServer::start().await;
    let ada = server.register("ada").await;

    let mut forged = TestSocket::upgrade(&server.base_url, None, None).await.expect("upgrades");
    let mut token = ada.access_token.clone();
    token.replace_range(token.len() - 8.., "AAAAAAAA");
    forged.hello(&token).await;
    assert!(matches!(
        forged.next().await,
        Incoming::Frame(ServerFrame::Error { code: ErrorCode::Unauthenticated, .. })
    ));
    assert_eq!(forged.closed().await, Some(CloseCode::Unauthenticated.code()));

    let mut rude = TestSocket::upgrade(&server.base_url, None, None).await.expect("upgrades");
    rude.send(&ClientFrame::Ping { id: None }).await;
    assert_eq!(rude.closed().await, Some(CloseCode::Protocol.code()));
}

#[tokio::test]
async fn who_says_nothing_is_pinged_and_then_closed() {
    let server = TestServer::with(|config| {
        config.gateway.ping_after = std::time::Duration::from_secs(1);
        config.gateway.idle_timeout = std::time::Duration::from_secs(12);
    })
    .await;
    let ada = server.register("ada").await;
    let mut silent = Raw::upgrade(&server.base_url, "").await;
    let hello = ClientFrame::Hello { token: ada.access_token, client: None };
    let hello = serde_json::to_vec(&hello).expect("serialises");
    silent.write(masked_frame(0x81, &hello, 2)).await.expect("is sent");
    let mut pinged = false;
    loop {
        let (first, payload) = silent.next_frame().await.expect("a close comes first");
        pinged |= first == 0x89;
        if first == 0x88 {
            assert_eq!(payload[..2], CloseCode::IdleTimeout.code().to_be_bytes());
            break;
        }
    }
    assert!(pinged);
}

#[tokio::test]
async fn pages_of_other_sites_get_no_socket() {
    let server =
        TestServer::with(|config| config.gateway.allowed_origins = vec!["https://app.example".into()]).await;
    let refused = TestSocket::upgrade(&server.base_url, Some("https://evil.example"), None).await;
    match refused.err().map(|e| *e) {
        Some(Error::Http(response)) => assert_eq!(response.status(), 403),
        other => panic!("expected 403, got {other:?}"),
    }
    assert!(TestSocket::upgrade(&server.base_url, Some("https://app.example"), None).await.is_ok());
    let own = server.base_url.clone();
    assert!(TestSocket::upgrade(&server.base_url, Some(&own), None).await.is_ok());
}

#[tokio::test]
async fn bad_frames_are_answered_or_closed_and_never_carried_out() {
    let server = TestServer::with(|config| {
        config.gateway.command_burst = 20;
        config.gateway.commands_per_second = 1;
    })
    .await;
    let ada = server.register("ada").await;

    let mut socket = TestSocket::connect(&server.base_url, &ada.access_token).await;
    let id = ClientId(uuid::Uuid::new_v4());
    for (text, expected) in [
        (format!(r#"{{"type":"dance","id":"{id}"}}"#), ErrorCode::UnknownType),
        (format!(r#"{{"type":"send","id":"{id}"}}"#), ErrorCode::Malformed),
        (format!(r#"{{"type":"send","id":"{id}","channel":"{id}","text":"x"}}"#), ErrorCode::NotFound),
    ] {
        socket.send_text(text.clone()).await;
        let got = socket
            .until(|frame| match frame {
                ServerFrame::Error { id: Some(got), code, .. } if got == id => Some(code),
                _ => None,
            })
            .await;
        assert_eq!(got, expected, "{text}");
    }
    socket.hello(&ada.access_token).await;
    let again =
        socket.until(|f| if let ServerFrame::Error { code, .. } = f { Some(code) } else { None }).await;
    assert_eq!(again, ErrorCode::Conflict);

    // Beyond its rate a command is refused, with the time when it would be taken.
    for _ in 0..100 {
        socket.send(&ClientFrame::Ping { id: None }).await;
    }
    let wait = socket
        .until(|frame| match frame {
            ServerFrame::Error { code: ErrorCode::RateLimited, retry_after_ms, .. } => retry_after_ms,
            _ => None,
        })
        .await;
    assert!(wait > 0 && wait <= 1_000, "{wait}");
}

#[tokio::test]
async fn frames_that_are_too_large_or_not_text_end_the_socket() {
    let server = TestServer::start().await;
    let ada = server.register("ada").await;
    let mut large = TestSocket::connect(&server.base_url, &ada.access_token).await;
    large.send_text("x".repeat(64 * 1024 + 1)).await;
    assert_eq!(large.closed().await, Some(CloseCode::TooBig.code()));
    let mut binary = TestSocket::connect(&server.base_url, &ada.access_token).await;
    binary.send_raw(Message::binary(vec![1, 2, 3])).await;
    assert_eq!(binary.closed().await, Some(CloseCode::Unsupported.code()));
}
