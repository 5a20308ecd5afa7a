//! Upgrades and frames that are not as RFC 6455 and docs/protocol.md want them.

use chat_protocol::ClientFrame;
use serde_json::{Value, json};

use super::{
    World,
    harness::{
        raw::{KEY, Raw, masked_frame as frame},
        ws::{Incoming, TestSocket},
    },
};

const CLOSED_BAD: u16 = 1002;
const CLOSED_TEXT: u16 = 1007;
const CLOSED_LARGE: u16 = 1009;

/// What comes, and the codes with which it may be closed.
fn frames() -> Vec<(Vec<u8>, &'static [u16])> {
    let mut all: Vec<(Vec<u8>, &[u16])> = Vec::new();
    // Reserved bits and reserved kinds.
    for bit in [0x40, 0x20, 0x10, 0x70] {
        for kind in [0x81, 0x82, 0x88, 0x89, 0x8a] {
            all.push((frame(kind | bit, b"{}", 0), &[CLOSED_BAD]));
        }
    }
    for kind in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        all.push((frame(0x80 | kind, b"", 0), &[CLOSED_BAD]));
        all.push((frame(kind, b"{}", 0), &[CLOSED_BAD]));
    }
    // Without a mask.
    for first in [0x81, 0x88, 0x89, 0x8a, 0x01, 0x80] {
        all.push((vec![first, 2, b'{', b'}'], &[CLOSED_BAD]));
    }
    // Control frames in parts, and too long.
    for kind in [8, 9, 10] {
        all.push((frame(kind, b"", 0), &[CLOSED_BAD]));
        all.push((frame(0x80 | kind, &[0; 126], 2), &[CLOSED_BAD]));
        all.push((frame(0x80 | kind, &[0; 300], 8), &[CLOSED_BAD]));
    }
    // Parts without a beginning, and a beginning among parts.
    all.push((frame(0x80, b"{}", 0), &[CLOSED_BAD]));
    all.push((frame(0x00, b"{}", 0), &[CLOSED_BAD]));
    all.push(([frame(0x01, b"{", 0), frame(0x81, b"}", 0)].concat(), &[CLOSED_BAD]));
    all.push(([frame(0x01, b"{", 0), frame(0x01, b"}", 0)].concat(), &[CLOSED_BAD]));
    // Lengths that nobody may have.
    for length in [u64::MAX, 1 << 63, 1 << 62, 1 << 40, 1 << 32, 1 << 20, 65_537] {
        let mut bytes = vec![0x81, 0xff];
        bytes.extend(length.to_be_bytes());
        bytes.extend([0; 4]);
        all.push((bytes, &[CLOSED_BAD, CLOSED_LARGE]));
    }
    // Text that is none.
    for text in [
        &b"\xff"[..],
        b"\xfe",
        b"\xc0\x80",
        b"\xc1\xbf",
        b"\xe0\x80\x80",
        b"\xed\xa0\x80",
        b"\xed\xbf\xbf",
        b"\xf0\x80\x80\x80",
        b"\xf4\x90\x80\x80",
        b"\xf5\x80\x80\x80",
        b"\xf8\x88\x80\x80\x80",
        b"\x80",
        b"\xbf",
        b"\xc2",
        b"\xe2\x82",
        b"\xf0\x9f\x98",
        b"{\"type\":\"\xff\"}",
    ] {
        all.push((frame(0x81, text, 0), &[CLOSED_TEXT]));
    }
    all.push(([frame(0x01, b"\xe2\x82", 0), frame(0x80, b"\x28", 0)].concat(), &[CLOSED_TEXT]));
    // Closes. A code that nobody may send is answered with 1002, a good one with itself.
    all.push((frame(0x88, b"\x03", 0), &[CLOSED_BAD]));
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        all.push((frame(0x88, &u16::to_be_bytes(code), 0), &[CLOSED_BAD]));
    }
    all.push((frame(0x88, b"\x03\xe8\xff", 0), &[CLOSED_TEXT, CLOSED_BAD]));
    for (code, bytes) in [(1000, b"\x03\xe8"), (1001, b"\x03\xe9"), (3000, b"\x0b\xb8"), (4999, b"\x13\x87")]
    {
        all.push((frame(0x88, bytes, 0), if code == 1000 { &[1000] } else { &[1000, 1001, 3000, 4999] }));
    }
    all.push((frame(0x82, b"{}", 0), &[1003]));
    all
}

/// Frames, without what they should end with.
pub(crate) fn inputs() -> Vec<Vec<u8>> {
    frames().into_iter().map(|(bytes, _)| bytes).collect()
}

pub(crate) async fn all(world: &mut World) {
    upgrades(world).await;
    for (bytes, expected) in frames() {
        let mut raw = Raw::upgrade(&world.server.base_url, "").await;
        let _ = raw.write(&bytes).await;
        ends(world, "before hello", &bytes, &mut raw, &[expected, &[4001, 4005]].concat()).await;
        let mut raw = welcomed(world).await;
        let _ = raw.write(&bytes).await;
        ends(world, "after it", &bytes, &mut raw, expected).await;
    }
    hellos(world).await;
    commands(world).await;
}

async fn ends(world: &mut World, when: &str, bytes: &[u8], raw: &mut Raw, expected: &[u16]) {
    world.tried += 1;
    let code = raw.close_code().await;
    let shown = &bytes[..bytes.len().min(40)];
    assert!(
        code.is_some_and(|code| expected.contains(&code)),
        "{shown:x?} {when}: expected {expected:?}, got {code:?}"
    );
    raw.ended().await;
}

async fn welcomed(world: &World) -> Raw {
    let mut raw = Raw::upgrade(&world.server.base_url, "").await;
    let hello = json!({ "type": "hello", "token": world.owner.access_token }).to_string();
    raw.write(frame(0x81, hello.as_bytes(), 2)).await.expect("is sent");
    let (first, welcome) = raw.next_frame().await.expect("is answered");
    assert_eq!(first, 0x81);
    assert!(welcome.starts_with(br#"{"type":"welcome""#), "{}", String::from_utf8_lossy(&welcome));
    raw
}

async fn upgrades(world: &mut World) {
    let key = format!("Sec-WebSocket-Key: {KEY}\r\n");
    let all = [
        ("GET", "1.1", "Upgrade: websocket\r\nConnection: upgrade\r\n".to_owned() + &key),
        (
            "GET",
            "1.1",
            "Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 12\r\n".to_owned() + &key,
        ),
        (
            "GET",
            "1.1",
            "Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13, 8\r\n".to_owned() + &key,
        ),
        (
            "GET",
            "1.1",
            "Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: a\r\n".to_owned() + &key,
        ),
        (
            "GET",
            "1.1",
            "Upgrade: other\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n".to_owned() + &key,
        ),
        ("GET", "1.1", "Connection: upgrade\r\nSec-WebSocket-Version: 13\r\n".to_owned() + &key),
        ("GET", "1.1", "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n".to_owned() + &key),
        (
            "GET",
            "1.1",
            "Upgrade: websocket\r\nConnection: close\r\nSec-WebSocket-Version: 13\r\n".to_owned() + &key,
        ),
        (
            "GET",
            "1.0",
            "Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n".to_owned() + &key,
        ),
        (
            "POST",
            "1.1",
            "Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n".to_owned() + &key,
        ),
        (
            "GET",
            "1.1",
            "Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n".to_owned(),
        ),
        (
            "GET",
            "1.1",
            format!(
                "Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n{key}Origin: https://evil.example\r\n"
            ),
        ),
        (
            "GET",
            "1.1",
            format!(
                "Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n{key}Origin: null\r\n"
            ),
        ),
        (
            "GET",
            "1.1",
            format!(
                "Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n{key}Origin: \u{e9}\r\n"
            ),
        ),
    ];
    for (method, version, lines) in all {
        world.tried += 1;
        let request = format!("{method} /v1/ws HTTP/{version}\r\nHost: a\r\n{lines}\r\n");
        let mut raw = Raw::send(&world.server.base_url, &request).await;
        let (status, head) = raw.head().await.expect("is answered");
        assert!([400, 403, 405, 426].contains(&status), "{request}: {head}");
    }
}

/// What is no hello ends the socket before anything is done.
async fn hellos(world: &mut World) {
    let token = world.owner.access_token.clone();
    let mut all = vec![
        json!({}),
        json!([]),
        json!(null),
        json!("hello"),
        json!(1),
        json!({ "type": "hello" }),
        json!({ "type": "hello", "token": null }),
        json!({ "type": "hello", "token": 7 }),
        json!({ "type": "hello", "token": [token] }),
        json!({ "type": "hello", "token": "" }),
        json!({ "type": "Hello", "token": token }),
        json!({ "type": ["hello"], "token": token }),
        json!({ "token": token }),
        json!({ "type": "hello", "token": format!("Bearer {token}") }),
        json!({ "type": "hello", "token": format!("{token} ") }),
        json!({ "type": "hello", "token": "a".repeat(60_000) }),
        json!({ "type": "hello", "token": "\0" }),
        json!({ "type": "hello", "token": token, "client": 7 }),
    ];
    for of in ClientFrame::TYPES.into_iter().filter(|of| *of != "hello") {
        all.push(json!({ "type": of, "token": token }));
    }
    for hello in all {
        world.tried += 1;
        let mut raw = Raw::upgrade(&world.server.base_url, "").await;
        let text = hello.to_string();
        let _ = raw.write(frame(0x81, text.as_bytes(), 2)).await;
        let code = raw.close_code().await;
        let shown = &text[..text.len().min(100)];
        assert!(code.is_some_and(|code| [1002, 4002].contains(&code)), "{shown}: {code:?}");
    }
}

/// Commands with each field missing, and as everything that it may not be: each is refused, and the socket goes on.
async fn commands(world: &mut World) {
    let id = uuid::Uuid::new_v4().to_string();
    let channel = world.channel.clone();
    let good = [
        json!({ "type": "send", "id": id, "channel": channel, "text": "hi", "files": [], "seen": 1 }),
        json!({ "type": "edit", "id": id, "channel": channel, "target": 2, "text": "hi" }),
        json!({ "type": "delete", "id": id, "channel": channel, "target": 2 }),
        json!({ "type": "react", "id": id, "channel": channel, "target": 2, "emoji": "👍", "removed": false }),
        json!({ "type": "read", "id": id, "channel": channel, "seq": 1 }),
        json!({ "type": "typing", "id": id, "channel": channel }),
        json!({ "type": "watch", "id": id, "users": [world.owner.user.id] }),
        json!({ "type": "sync", "id": id, "channel": channel, "after": 0 }),
        json!({ "type": "ping", "id": id }),
    ];
    let strange = [
        json!(-1),
        json!(1.5),
        json!(1e300),
        json!(true),
        json!({}),
        json!([[]]),
        json!("\0"),
        json!("00000000-0000-0000-0000-00000000000g"),
        json!({ "an": "object" }),
    ];
    let mut socket = TestSocket::connect(&world.server.base_url, &world.owner.access_token).await;
    let mut texts = Vec::new();
    for command in &good {
        for name in command.as_object().expect("is an object").keys() {
            for value in &strange {
                let mut wrong = command.clone();
                wrong[name] = value.clone();
                // What a field may be after all: a text with anything in it but NUL, and a flag.
                let fits = matches!((name.as_str(), value), ("text", Value::String(text)) if text != "\0")
                    || (name == "removed" && value.is_boolean());
                if !fits {
                    texts.push(wrong.to_string());
                }
            }
        }
    }
    for number in
        ["18446744073709551615", "18446744073709551616", "-0", "1e1", "01", "0x1", "NaN", "Infinity", "1."]
    {
        texts.push(format!(
            r#"{{"type":"edit","id":"{id}","channel":"{channel}","target":{number},"text":"x"}}"#
        ));
    }
    for text in [
        "",
        " ",
        "{",
        "}",
        "{}",
        "[]",
        "null",
        "{\"type\":",
        "{\"type\":\"ping\"",
        "{\"type\":\"ping\"}{}",
        "{\"type\":\"ping\",}",
        "{'type':'ping'}",
        "\u{feff}{\"type\":\"ping\"}",
        "{\"type\":\"ping\",\"type\":\"ping\"}",
        "{\"type\":\"\\ud800\"}",
        "{\"type\":\"hello\",\"token\":\"\"}",
        "{\"type\":\"ping\",\"id\":\"\\u0000\"}",
        "/*a*/{\"type\":\"ping\"}",
        "{\"type\":\"welcome\"}",
        "{\"type\":\"ack\"}",
        "{\"type\":\"__proto__\"}",
    ] {
        texts.push(text.to_owned());
    }
    texts.push("[".repeat(60_000));
    texts.push(format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000)));
    texts.push(format!("{{\"type\":\"ping\",\"a\":{}1{}}}", "[".repeat(500), "]".repeat(500)));
    texts.push(format!(
        r#"{{"type":"send","id":"{id}","channel":"{channel}","text":"{}"}}"#,
        "a".repeat(16_385)
    ));
    texts.push(format!(
        r#"{{"type":"watch","id":"{id}","users":[{}]}}"#,
        vec![format!("\"{id}\""); 501].join(",")
    ));
    for text in texts {
        world.tried += 1;
        socket.send_text(text.clone()).await;
        let last = uuid::Uuid::new_v4();
        socket.send_text(format!(r#"{{"type":"ping","id":"{last}"}}"#)).await;
        let mut refused = false;
        loop {
            let shown = &text[..text.len().min(200)];
            match socket.next().await {
                Incoming::Frame(chat_protocol::ServerFrame::Pong { id: Some(id) }) if id.0 == last => {
                    assert!(refused, "{shown}: was not refused");
                    break;
                }
                Incoming::Frame(chat_protocol::ServerFrame::Error { code, .. }) => {
                    assert_ne!(code, chat_protocol::ErrorCode::Internal, "{shown}");
                    refused = true;
                }
                Incoming::Frame(_) => {}
                Incoming::Closed(code) => panic!("{shown}: closed with {code:?}"),
            }
        }
    }
}
