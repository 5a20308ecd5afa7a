//! As much of WebSocket (RFC 6455) as a load generator and a broadcaster need: unfragmented frames of small
//! size, read in place from a buffer and written into one.

use std::ops::Range;

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Longest frame that is read, in bytes.
pub const MAX_FRAME: usize = 1 << 20;
/// Longest HTTP head that is read, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// What a frame is for (RFC 6455 §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// A frame of UTF-8 text.
    Text,
    /// A frame of bytes.
    Binary,
    /// The other side closes.
    Close,
    /// To be answered by a pong with the same payload.
    Ping,
    /// Answers a ping.
    Pong,
}

impl Opcode {
    const fn bits(self) -> u8 {
        match self {
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }
}

/// Bytes that are not what was expected of the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WsError {
    /// Reserved bits or opcodes, or a control frame longer than 125 bytes.
    #[error("not a WebSocket frame")]
    Malformed,
    /// A message in several frames. Folkmoot's frames are never fragmented.
    #[error("the message is fragmented, which is not supported here")]
    Fragmented,
    /// Longer than [`MAX_FRAME`].
    #[error("the frame is too large: at most 1 MiB is allowed")]
    TooLong,
    /// Not an HTTP head, or too long for one.
    #[error("not an HTTP head")]
    Head,
    /// An answer other than 101.
    #[error("expected status 101, got {status}")]
    Refused {
        /// HTTP status of the answer.
        status: u16,
        /// When to come back, in seconds, if it says so.
        retry_after: Option<u16>,
    },
    /// `Sec-WebSocket-Accept` does not answer the key.
    #[error("the accept key does not answer ours")]
    AcceptKey,
}

/// A frame in a buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is for.
    pub opcode: Opcode,
    /// Where its payload lies in the buffer, unmasked.
    pub payload: Range<usize>,
    /// Where the next frame begins.
    pub end: usize,
}

/// Reads the frame that begins at `start` and unmasks it in place; none when more bytes are needed.
///
/// # Errors
/// When the bytes cannot become a frame that is understood.
pub fn next_frame(buffer: &mut [u8], start: usize) -> Result<Option<Frame>, WsError> {
    let bytes = &buffer[start..];
    let [first, second, ..] = *bytes else { return Ok(None) };
    let opcode = match first {
        0x81 => Opcode::Text,
        0x82 => Opcode::Binary,
        0x88 => Opcode::Close,
        0x89 => Opcode::Ping,
        0x8a => Opcode::Pong,
        0x00 | 0x01 | 0x02 | 0x80 => return Err(WsError::Fragmented),
        _ => return Err(WsError::Malformed),
    };
    let (len, mut at) = match second & 0x7f {
        126 => match bytes.get(2..4) {
            Some(b) => (usize::from(u16::from_be_bytes([b[0], b[1]])), 4),
            None => return Ok(None),
        },
        127 => match bytes.get(2..10).and_then(|b| <[u8; 8]>::try_from(b).ok()) {
            Some(b) => (usize::try_from(u64::from_be_bytes(b)).unwrap_or(usize::MAX), 10),
            None => return Ok(None),
        },
        short => (usize::from(short), 2),
    };
    if opcode.bits() >= 8 && len > 125 {
        return Err(WsError::Malformed);
    }
    if len > MAX_FRAME {
        return Err(WsError::TooLong);
    }
    let mask = if second & 0x80 == 0 {
        None
    } else {
        let mask = bytes.get(at..at + 4).and_then(|b| <[u8; 4]>::try_from(b).ok());
        at += 4;
        if mask.is_none() {
            return Ok(None);
        }
        mask
    };
    if bytes.len() < at + len {
        return Ok(None);
    }
    let payload = start + at..start + at + len;
    if let Some(mask) = mask {
        apply_mask(&mut buffer[payload.clone()], mask);
    }
    Ok(Some(Frame { opcode, end: payload.end, payload }))
}

/// Appends a frame as a server sends it: unmasked.
pub fn write_server_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    write_head(out, opcode, payload.len(), 0);
    out.extend_from_slice(payload);
}

/// Appends a frame as a client sends it: masked (RFC 6455 §5.3).
pub fn write_client_frame(out: &mut Vec<u8>, opcode: Opcode, payload: &[u8], mask: [u8; 4]) {
    write_head(out, opcode, payload.len(), 0x80);
    out.extend_from_slice(&mask);
    let start = out.len();
    out.extend_from_slice(payload);
    apply_mask(&mut out[start..], mask);
}

fn write_head(out: &mut Vec<u8>, opcode: Opcode, len: usize, masked: u8) {
    out.push(0x80 | opcode.bits());
    #[expect(clippy::cast_possible_truncation, reason = "the arms say that it fits")]
    match len {
        0..=125 => out.push(masked | len as u8),
        126..=0xffff => {
            out.push(masked | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
}

fn apply_mask(payload: &mut [u8], mask: [u8; 4]) {
    for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

/// The upgrade request of a client.
#[must_use]
pub fn upgrade_request(host: &str, key: &str) -> String {
    format!(
        "GET /v1/ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {}\r\nSec-WebSocket-Key: {key}\r\n\r\n",
        chat_protocol::SUBPROTOCOL
    )
}

/// Reads the answer to [`upgrade_request`]: where its head ends, or none when more bytes are needed.
///
/// # Errors
/// When it is no HTTP answer, another status than 101, or the wrong accept key.
pub fn upgrade_answer(buffer: &[u8], key: &str) -> Result<Option<usize>, WsError> {
    let Some((head, end)) = http_head(buffer)? else { return Ok(None) };
    let status: u16 = head
        .get(9..12)
        .and_then(|s| s.parse().ok())
        .filter(|_| head.starts_with("HTTP/1.1 "))
        .ok_or(WsError::Head)?;
    if status != 101 {
        let retry_after = header(head, "retry-after").and_then(|seconds| seconds.parse().ok());
        return Err(WsError::Refused { status, retry_after });
    }
    if header(head, "sec-websocket-accept") != Some(derive_accept_key(key.as_bytes()).as_str()) {
        return Err(WsError::AcceptKey);
    }
    Ok(Some(end))
}

/// Reads an upgrade request as a server: the answer to write and where the head ends, or none when more bytes
/// are needed.
///
/// # Errors
/// When it is no WebSocket upgrade.
pub fn accept_upgrade(buffer: &[u8]) -> Result<Option<(String, usize)>, WsError> {
    let Some((head, end)) = http_head(buffer)? else { return Ok(None) };
    let key = header(head, "sec-websocket-key").filter(|_| head.starts_with("GET ")).ok_or(WsError::Head)?;
    let protocol = match header(head, "sec-websocket-protocol") {
        Some(protocol) => format!("Sec-WebSocket-Protocol: {protocol}\r\n"),
        None => String::new(),
    };
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{protocol}\
         Sec-WebSocket-Accept: {}\r\n\r\n",
        derive_accept_key(key.as_bytes())
    );
    Ok(Some((answer, end)))
}

fn http_head(buffer: &[u8]) -> Result<Option<(&str, usize)>, WsError> {
    match buffer.windows(4).position(|w| w == b"\r\n\r\n") {
        Some(at) => Ok(Some((std::str::from_utf8(&buffer[..at]).map_err(|_| WsError::Head)?, at + 4))),
        None if buffer.len() > MAX_HEAD => Err(WsError::Head),
        None => Ok(None),
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split("\r\n")
        .filter_map(|line| line.split_once(':'))
        .find_map(|(n, value)| n.eq_ignore_ascii_case(name).then(|| value.trim()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn frames_survive_any_cut(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..70_000), 1..4), mask: Option<[u8; 4]>, cut in 0usize..200_000) {
            let mut bytes = Vec::new();
            for payload in &payloads {
                match mask {
                    Some(mask) => write_client_frame(&mut bytes, Opcode::Text, payload, mask),
                    None => write_server_frame(&mut bytes, Opcode::Text, payload),
                }
            }
            let cut = cut.min(bytes.len());
            let (mut buffer, mut at, mut got) = (bytes[..cut].to_vec(), 0, Vec::new());
            for last in [false, true] {
                while let Some(frame) = next_frame(&mut buffer, at).expect("well-formed") {
                    got.push(buffer[frame.payload].to_vec());
                    at = frame.end;
                }
                if !last {
                    buffer.extend_from_slice(&bytes[cut..]);
                }
            }
            prop_assert_eq!(got, payloads);
            prop_assert_eq!(at, bytes.len());
        }

        #[test]
        fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = next_frame(&mut bytes, 0);
            let _ = upgrade_answer(&bytes, "x");
            let _ = accept_upgrade(&bytes);
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (bytes, error) in [
            (vec![0x01, 0], WsError::Fragmented),
            (vec![0xc1, 0], WsError::Malformed),
            (vec![0x89, 126, 0, 126], WsError::Malformed),
            (vec![0x81, 127, 0, 0, 0, 0, 1, 0, 0, 0], WsError::TooLong),
        ] {
            assert_eq!(next_frame(&mut bytes.clone(), 0), Err(error), "{bytes:?}");
        }
    }

    #[test]
    fn both_sides_of_the_handshake_agree() {
        // The key and its answer are those of RFC 6455 §1.3.
        let key = "dGhlIHNhbXBsZSBub25jZQ==";
        let request = upgrade_request("localhost:1", key);
        let (answer, end) = accept_upgrade(request.as_bytes()).expect("an upgrade").expect("complete");
        assert_eq!(end, request.len());
        assert!(answer.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(upgrade_answer(answer.as_bytes(), key), Ok(Some(answer.len())));
        assert_eq!(upgrade_answer(answer.as_bytes(), "another"), Err(WsError::AcceptKey));
        assert_eq!(upgrade_answer(&answer.as_bytes()[..20], key), Ok(None));
        for (more, retry_after) in [("", None), ("Retry-After: 2\r\n", Some(2))] {
            let refused = format!("HTTP/1.1 503 Service Unavailable\r\n{more}\r\n");
            let expected = WsError::Refused { status: 503, retry_after };
            assert_eq!(upgrade_answer(refused.as_bytes(), key), Err(expected));
        }
    }
}
