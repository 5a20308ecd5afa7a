//! Pings, pongs, closes and fragments (RFC 6455 §5.4, §5.5): answered at any time, bounded at any time.

use chat_protocol::{ClientFrame, CloseCode, ServerFrame};
use tokio::time::timeout;

use crate::harness::{TestServer, raw::Raw, wait::DEADLINE};

const PING: u8 = 0x89;
const PONG: u8 = 0x8A;
const CLOSE: u8 = 0x88;
const TEXT: u8 = 0x81;
/// A text with more to come, and more with more to come.
const BEGIN: u8 = 0x01;
const MORE: u8 = 0x00;

/// A socket that says hello in raw frames.
async fn welcomed(server: &TestServer, token: &str) -> Raw {
    let mut raw = Raw::upgrade(&server.base_url, "").await;
    let hello =
        serde_json::to_vec(&ClientFrame::Hello { token: token.into(), client: None }).expect("serialises");
    let length = u16::try_from(hello.len()).expect("is short").to_be_bytes();
    let frame = [&[TEXT, 0xFE, length[0], length[1], 0, 0, 0, 0], &hello[..]].concat();
    raw.write(frame).await.expect("is sent");
    let (first, payload) = raw.next_frame().await.expect("is answered");
    let frame: ServerFrame = serde_json::from_slice(&payload).expect("a frame");
    assert!(first == TEXT && matches!(frame, ServerFrame::Welcome { .. }), "{frame:?}");
    raw
}

#[tokio::test]
async fn before_hello_pings_and_a_close_are_answered() {
    let server = TestServer::start().await;
    let mut raw = Raw::upgrade(&server.base_url, "").await;
    for text in ["one", "two"] {
        raw.frame(PING, text.as_bytes()).await.expect("is sent");
        assert_eq!(raw.next_frame().await, Some((PONG, text.into())));
    }
    let bye = [&1000_u16.to_be_bytes()[..], b"bye"].concat();
    raw.frame(CLOSE, &bye).await.expect("is sent");
    assert_eq!(raw.close_code().await, Some(1000));
    raw.ended().await;
}

#[tokio::test]
async fn before_hello_there_are_few_of_them() {
    let server = TestServer::start().await;
    let mut raw = Raw::upgrade(&server.base_url, "").await;
    for _ in 0..50 {
        if raw.frame(PING, b"").await.is_err() {
            break;
        }
    }
    assert_eq!(raw.close_code().await, Some(CloseCode::RateLimited.code()));
}

#[tokio::test]
async fn after_hello_they_have_the_rate_of_commands() {
    let server = TestServer::start().await;
    let ada = server.register("ada").await;
    for kind in [PING, PONG] {
        let mut raw = welcomed(&server, &ada.access_token).await;
        let frames = [kind, 0x80, 0, 0, 0, 0].repeat(100_000);
        // The server may end it while it is written.
        let _ = timeout(DEADLINE, raw.write(frames)).await.expect("in time");
        let code = raw.close_code().await;
        assert!(code.is_none_or(|code| code == CloseCode::RateLimited.code()), "{code:?}");
    }
    // Who pings as clients do is answered.
    let mut polite = welcomed(&server, &ada.access_token).await;
    for n in 0..10 {
        polite.frame(PING, &[n]).await.expect("is sent");
        assert_eq!(polite.next_frame().await, Some((PONG, vec![n])));
    }
}

#[tokio::test]
async fn fragments_without_an_end_are_too_big() {
    let server = TestServer::start().await;
    let ada = server.register("ada").await;
    for said_hello in [false, true] {
        let mut raw = if said_hello {
            welcomed(&server, &ada.access_token).await
        } else {
            Raw::upgrade(&server.base_url, "").await
        };
        raw.frame(BEGIN, b"").await.expect("is sent");
        let fragments = [MORE, 0x80, 0, 0, 0, 0].repeat(100_000);
        let _ = timeout(DEADLINE, raw.write(fragments)).await.expect("in time");
        let code = raw.close_code().await;
        assert!(code.is_none_or(|code| code == CloseCode::TooBig.code()), "{said_hello} {code:?}");
    }
    // A message in a few fragments is one.
    let mut raw = welcomed(&server, &ada.access_token).await;
    raw.frame(BEGIN, br#"{"type":"#).await.expect("is sent");
    raw.frame(PING, b"between").await.expect("is sent");
    assert_eq!(raw.next_frame().await, Some((PONG, b"between".to_vec())));
    raw.frame(MORE | 0x80, br#""ping"}"#).await.expect("is sent");
    let (_, answer) = raw.next_frame().await.expect("is answered");
    assert_eq!(answer, br#"{"type":"pong"}"#);
}

#[tokio::test]
async fn what_is_not_utf_8_is_closed_with_its_own_code() {
    let server = TestServer::start().await;
    let ada = server.register("ada").await;
    let mut before = Raw::upgrade(&server.base_url, "").await;
    before.frame(TEXT, b"\xff\xfe").await.expect("is sent");
    assert_eq!(before.close_code().await, Some(CloseCode::NotUtf8.code()));
    let mut after = welcomed(&server, &ada.access_token).await;
    after.frame(TEXT, b"{\"type\":\"\xc3\"}").await.expect("is sent");
    assert_eq!(after.close_code().await, Some(1007));
    let mut fragmented = welcomed(&server, &ada.access_token).await;
    fragmented.frame(BEGIN, b"\xc3").await.expect("is sent");
    fragmented.frame(MORE | 0x80, b"\x28").await.expect("is sent");
    assert_eq!(fragmented.close_code().await, Some(1007));
}
