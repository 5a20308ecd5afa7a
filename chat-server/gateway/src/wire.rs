//! Server frames as they go over the wire: encoded once, header included, and shared by all receivers
//! (RFC 6455 §5.2; frames to a client are not masked).

use bytes::{BufMut, Bytes, BytesMut};
use chat_domain::chat::ChatError;
use chat_protocol::{ClientId, CloseCode, ServerFrame};

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8A;

/// A text frame around a JSON text.
pub(super) fn text_frame(json: &[u8]) -> Bytes {
    frame(TEXT, json)
}

/// An error as the answer to the command `id`.
pub(super) fn error_frame(error: ChatError, id: Option<ClientId>) -> ServerFrame {
    ServerFrame::Error {
        id,
        code: error.code,
        message: error.message,
        retryable: error.code.retryable(),
        retry_after_ms: error.retry_after_ms,
    }
}

/// A server frame, encoded.
pub(super) fn server_frame(server_frame: &ServerFrame) -> Bytes {
    // These types have string keys only and no fallible parts: serialising cannot fail.
    text_frame(&serde_json::to_vec(server_frame).unwrap_or_default())
}

/// A close frame with code and reason (§5.5.1).
pub(super) fn close_frame(code: CloseCode) -> Bytes {
    let payload = [&code.code().to_be_bytes()[..], code.reason().as_bytes()].concat();
    frame(CLOSE, &payload)
}

/// An empty ping (§5.5.2).
pub(super) fn ping_frame() -> Bytes {
    frame(PING, &[])
}

/// Whether an encoded frame is a pong (§5.5.3).
pub(super) fn is_pong(frame: &Bytes) -> bool {
    frame.first() == Some(&PONG)
}

/// The answer to a close frame with this payload: the same code (§5.5.1).
pub(super) fn close_answer(payload: &[u8]) -> Bytes {
    frame(CLOSE, &payload[..payload.len().min(2)])
}

/// A pong with this payload.
pub(super) fn pong_frame(payload: &[u8]) -> Bytes {
    frame(PONG, payload)
}

/// The JSON text of a text frame made here.
pub(super) fn payload(frame: &Bytes) -> &[u8] {
    let header = match frame.get(1) {
        Some(126) => 4,
        Some(127) => 10,
        _ => 2,
    };
    frame.get(header..).unwrap_or_default()
}

fn frame(first: u8, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(payload.len() + 10);
    out.put_u8(first);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short), _) if short < 126 => out.put_u8(short),
        (_, Ok(medium)) => {
            out.put_u8(126);
            out.put_u16(medium);
        }
        _ => {
            out.put_u8(127);
            out.put_u64(payload.len() as u64);
        }
    }
    out.put_slice(payload);
    out.freeze()
}

#[cfg(test)]
mod tests {
    use tokio_tungstenite::tungstenite::{Message, WebSocket, protocol::Role};

    use super::*;

    #[test]
    fn another_implementation_reads_what_is_written_here() {
        for len in [0, 1, 125, 126, 127, 65_535, 65_536] {
            let text = "x".repeat(len);
            let frame = text_frame(text.as_bytes());
            assert_eq!(payload(&frame), text.as_bytes());
            let stream = std::io::Cursor::new(frame.to_vec());
            let mut socket = WebSocket::from_raw_socket(stream, Role::Client, None);
            assert_eq!(socket.read().expect("a frame"), Message::text(text));
        }
    }
}
