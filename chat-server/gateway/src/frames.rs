//! A client's frames (RFC 6455 §5), from the bytes that came. Between whole messages nothing is kept: there are tens of thousands of
//! sockets, and most say nothing.

use bytes::Bytes;
use chat_protocol::{CloseCode, limits};

use super::wire;

/// The longest message, in bytes.
const MAX_MESSAGE: usize = limits::MAX_FRAME_BYTES;
/// Bytes from which a whole message must come: the longest one, and as much again for the heads of its fragments.
const MAX_UNFINISHED: usize = MAX_MESSAGE * 2;
/// The longest control frame, in bytes: masked, with 125 of its own (§5.5).
const MAX_CONTROL: usize = 131;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;

/// What a client said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A whole message.
    Text(String),
    /// A ping, to be answered with this frame.
    Ping(Bytes),
    /// A pong, which nothing follows from.
    Pong,
    /// A close, to be answered with this frame. What is behind it is not looked at.
    Close(Bytes),
}

/// What came of one socket and is not taken yet.
#[derive(Debug, Default)]
pub struct Frames {
    /// Frames behind the last one that was taken, and the beginning of one.
    rest: Vec<u8>,
    /// How much of it was taken.
    taken: usize,
    message: Option<Message>,
    /// Bytes that came since the last whole message.
    unfinished: usize,
}

/// The fragments of a message so far.
#[derive(Debug, Default)]
struct Message {
    text: Vec<u8>,
    /// So much of it is text.
    checked: usize,
}

impl Message {
    /// What is no text is refused as soon as it comes, not at the end.
    fn push(&mut self, fragment: &[u8]) -> Result<(), CloseCode> {
        if self.text.len() + fragment.len() > MAX_MESSAGE {
            return Err(CloseCode::TooBig);
        }
        self.text.extend_from_slice(fragment);
        match std::str::from_utf8(&self.text[self.checked..]) {
            Ok(_) => self.checked = self.text.len(),
            // A letter may go on in the next one.
            Err(error) if error.error_len().is_none() => self.checked += error.valid_up_to(),
            Err(_) => return Err(CloseCode::NotUtf8),
        }
        Ok(())
    }
}

impl Frames {
    /// More has come.
    pub fn push(&mut self, bytes: &[u8]) {
        self.unfinished += bytes.len();
        self.rest.extend_from_slice(bytes);
    }

    /// The next one of what came; `None` when it is not whole.
    ///
    /// # Errors
    /// The code to close with: nothing behind it can be read.
    pub fn take(&mut self) -> Result<Option<Input>, CloseCode> {
        while let Some(Frame { is_last, kind, payload, length }) = frame(&mut self.rest[self.taken..])? {
            let text = match (kind, &mut self.message) {
                (PING | PONG | CLOSE, _) => {
                    let input = control(kind, payload)?;
                    self.taken += length;
                    self.unfinished = self.unfinished.saturating_sub(MAX_CONTROL);
                    return Ok(Some(input));
                }
                (BINARY, None) => return Err(CloseCode::Unsupported),
                (TEXT, None) if is_last => Some(payload.to_vec()),
                (TEXT, None) => {
                    self.message.insert(Message::default()).push(payload)?;
                    None
                }
                (CONTINUATION, Some(message)) => {
                    message.push(payload)?;
                    self.message.take_if(|_| is_last).map(|message| message.text)
                }
                _ => return Err(CloseCode::Protocol),
            };
            self.taken += length;
            if let Some(text) = text {
                self.unfinished = self.rest.len() - self.taken;
                return String::from_utf8(text)
                    .map(|text| Some(Input::Text(text)))
                    .map_err(|_| CloseCode::NotUtf8);
            }
        }
        if self.unfinished > MAX_UNFINISHED {
            return Err(CloseCode::TooBig);
        }
        if self.taken == self.rest.len() {
            self.rest = Vec::new();
        } else {
            self.rest.drain(..self.taken);
        }
        self.taken = 0;
        Ok(None)
    }
}

/// One frame of a client, unmasked.
struct Frame<'a> {
    is_last: bool,
    kind: u8,
    payload: &'a [u8],
    /// With its head.
    length: usize,
}

/// The frame that some bytes begin with, unmasked where it stands; `None` when it is not whole.
fn frame(bytes: &mut [u8]) -> Result<Option<Frame<'_>>, CloseCode> {
    let [first, second, ..] = *bytes else { return Ok(None) };
    let (is_last, kind) = (first & 0x80 != 0, first & 0x0f);
    let is_control = kind & 0x8 != 0;
    // Extensions would use the reserved bits; none is offered (§5.2). What a client sends is masked (§5.1).
    let is_known = matches!(kind, CONTINUATION | TEXT | BINARY | CLOSE | PING | PONG);
    if first & 0x70 != 0 || second & 0x80 == 0 || !is_known || (is_control && !is_last) {
        return Err(CloseCode::Protocol);
    }
    let (long, head) = match second & 0x7f {
        126 => (2, 8),
        127 => (8, 14),
        _ => (0, 6),
    };
    let Some(length) = bytes.get(2..2 + long) else { return Ok(None) };
    let length = match long {
        0 => u64::from(second & 0x7f),
        _ => length.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
    };
    // In as few bytes as do (§5.2), and of control frames in one (§5.5).
    let is_short = [(2, 126), (8, 0x1_0000)].iter().all(|(bytes, least)| long != *bytes || length >= *least);
    if !is_short || length >> 63 != 0 || (is_control && long > 0) {
        return Err(CloseCode::Protocol);
    }
    let Some(length) = usize::try_from(length).ok().filter(|length| *length <= MAX_MESSAGE) else {
        return Err(CloseCode::TooBig);
    };
    if bytes.len() < head + length {
        return Ok(None);
    }
    let (head_bytes, rest) = bytes.split_at_mut(head);
    let mask: [u8; 4] = head_bytes.last_chunk().copied().unwrap_or_default();
    let payload = &mut rest[..length];
    for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
    Ok(Some(Frame { is_last, kind, payload, length: head + length }))
}

fn control(kind: u8, payload: &[u8]) -> Result<Input, CloseCode> {
    match kind {
        PING => Ok(Input::Ping(wire::pong_frame(payload))),
        PONG => Ok(Input::Pong),
        _ => {
            // §5.5.1: nothing, or a code, and behind it a reason.
            match payload.split_first_chunk() {
                None if payload.is_empty() => {}
                Some((code, reason)) if may_be_sent(u16::from_be_bytes(*code)) => {
                    std::str::from_utf8(reason).map_err(|_| CloseCode::NotUtf8)?;
                }
                _ => return Err(CloseCode::Protocol),
            }
            Ok(Input::Close(wire::close_answer(payload)))
        }
    }
}

/// Whether a close frame may have this code (§7.4.1, and the codes that IANA has registered since).
const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use tokio_tungstenite::tungstenite::{
        self, Message as Theirs, WebSocket,
        error::CapacityError,
        protocol::{Role, WebSocketConfig},
    };

    use super::*;

    /// A frame of a client: its first byte, and its payload, masked.
    fn framed(first: u8, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
        let mut bytes = vec![first];
        match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
            (Ok(short @ ..126), _) => bytes.push(0x80 | short),
            (_, Ok(medium)) => {
                bytes.push(0x80 | 126);
                bytes.extend(medium.to_be_bytes());
            }
            _ => {
                bytes.push(0x80 | 127);
                bytes.extend((payload.len() as u64).to_be_bytes());
            }
        }
        bytes.extend(mask);
        bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
        bytes
    }

    /// All that is in some bytes, which come in pieces of this size, and how it ends.
    fn all(bytes: &[u8], piece: usize) -> (Vec<Input>, Option<CloseCode>) {
        let (mut frames, mut inputs) = (Frames::default(), Vec::new());
        for piece in bytes.chunks(piece) {
            frames.push(piece);
            loop {
                match frames.take() {
                    Ok(Some(Input::Close(answer))) => {
                        inputs.push(Input::Close(answer));
                        return (inputs, None);
                    }
                    Ok(Some(input)) => inputs.push(input),
                    Ok(None) => break,
                    Err(code) => return (inputs, Some(code)),
                }
            }
        }
        (inputs, None)
    }

    fn text(text: &str) -> Input {
        Input::Text(text.to_owned())
    }

    #[test]
    fn frames_are_as_the_rfc_wants_them() {
        let mask = [1, 2, 3, 4];
        let longest = "x".repeat(MAX_MESSAGE);
        let (ping, close) = (wire::pong_frame(b"?"), wire::close_answer(&1000_u16.to_be_bytes()));
        let framed = |first, payload: &[u8]| framed(first, payload, mask);
        let concat = |frames: &[Vec<u8>]| frames.concat();
        for (what, bytes, inputs, end) in [
            ("a text", framed(0x81, b"hello"), vec![text("hello")], None),
            ("an empty text", framed(0x81, b""), vec![text("")], None),
            ("two", concat(&[framed(0x81, b"a"), framed(0x81, b"b")]), vec![text("a"), text("b")], None),
            ("the longest", framed(0x81, longest.as_bytes()), vec![text(&longest)], None),
            ("a longer one", framed(0x81, &[b'x'; MAX_MESSAGE + 1]), vec![], Some(CloseCode::TooBig)),
            (
                "fragments, a ping between them, a letter in two of them",
                concat(&[
                    framed(0x01, b"\xc3"),
                    framed(0x89, b"?"),
                    framed(0x00, b"\xa9"),
                    framed(0x80, b""),
                ]),
                vec![Input::Ping(ping), text("\u{e9}")],
                None,
            ),
            (
                "fragments that are too long together",
                concat(&[framed(0x01, longest.as_bytes()), framed(0x80, b"x")]),
                vec![],
                Some(CloseCode::TooBig),
            ),
            ("a pong", framed(0x8a, b"!"), vec![Input::Pong], None),
            ("a close", framed(0x88, b"\x03\xe8bye"), vec![Input::Close(close)], None),
            ("an empty close", framed(0x88, b""), vec![Input::Close(wire::close_answer(b""))], None),
            ("half a code", framed(0x88, b"\x03"), vec![], Some(CloseCode::Protocol)),
            (
                "a code for nobody to send",
                framed(0x88, &1005_u16.to_be_bytes()),
                vec![],
                Some(CloseCode::Protocol),
            ),
            ("a reason that is no text", framed(0x88, b"\x03\xe8\xff"), vec![], Some(CloseCode::NotUtf8)),
            ("bytes", framed(0x82, b"a"), vec![], Some(CloseCode::Unsupported)),
            ("no text", framed(0x81, b"\xff"), vec![], Some(CloseCode::NotUtf8)),
            ("a surrogate", framed(0x81, b"\xed\xa0\x80"), vec![], Some(CloseCode::NotUtf8)),
            ("a continuation of nothing", framed(0x80, b"a"), vec![], Some(CloseCode::Protocol)),
            (
                "a text within a text",
                concat(&[framed(0x01, b"a"), framed(0x81, b"b")]),
                vec![],
                Some(CloseCode::Protocol),
            ),
            ("a ping in fragments", framed(0x09, b"a"), vec![], Some(CloseCode::Protocol)),
            ("a long ping", framed(0x89, &[0; 126]), vec![], Some(CloseCode::Protocol)),
            ("a reserved bit", framed(0xc1, b"a"), vec![], Some(CloseCode::Protocol)),
            ("a reserved kind", framed(0x83, b"a"), vec![], Some(CloseCode::Protocol)),
            ("a reserved control frame", framed(0x8b, b"a"), vec![], Some(CloseCode::Protocol)),
            ("no mask", vec![0x81, 1, b'a'], vec![], Some(CloseCode::Protocol)),
            ("two bytes for a short length", vec![0x81, 0xfe, 0, 5], vec![], Some(CloseCode::Protocol)),
            (
                "eight bytes for a short length",
                vec![0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
                vec![],
                Some(CloseCode::Protocol),
            ),
            (
                "a length of 64 bits",
                vec![0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0],
                vec![],
                Some(CloseCode::Protocol),
            ),
            (
                "a length that is not sent",
                vec![0x81, 0xff, 0, 0, 0, 1, 0, 0, 0, 0],
                vec![],
                Some(CloseCode::TooBig),
            ),
            ("half a frame", vec![0x81, 0x85, 1, 2], vec![], None),
        ] {
            for piece in [1, 3, 4_096, usize::MAX] {
                assert_eq!(all(&bytes, piece), (inputs.clone(), end), "{what}, {piece} bytes at once");
            }
        }
    }

    #[test]
    fn fragments_without_an_end_are_too_big() {
        let empty = framed(0x00, b"", [0; 4]);
        let many = [framed(0x01, b"", [0; 4]), empty.repeat(MAX_UNFINISHED / empty.len() + 1)].concat();
        assert_eq!(all(&many, 4_096), (vec![], Some(CloseCode::TooBig)));
        // Pings between them are none of theirs.
        let pings = [framed(0x01, b"", [0; 4]), framed(0x89, &[0; 125], [0; 4]).repeat(5_000)].concat();
        let (inputs, end) = all(&pings, 4_096);
        assert_eq!((inputs.len(), end), (5_000, None));
    }

    #[test]
    fn nothing_is_kept_between_messages() {
        let mut frames = Frames::default();
        frames.push(&framed(0x81, &[b'x'; 1_000], [9; 4]));
        assert!(matches!(frames.take(), Ok(Some(_))) && matches!(frames.take(), Ok(None)));
        assert_eq!(frames.rest.capacity(), 0);
        assert!(size_of::<Frames>() <= 80);
    }

    /// Reads some bytes and then nothing; takes all that is written.
    struct Stream(std::io::Cursor<Vec<u8>>);

    impl std::io::Read for Stream {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            match std::io::Read::read(&mut self.0, buf)? {
                0 => Err(std::io::ErrorKind::WouldBlock.into()),
                read => Ok(read),
            }
        }
    }

    impl std::io::Write for Stream {
        fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
            Ok(buf.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What another implementation reads.
    fn by_another(bytes: Vec<u8>) -> (Vec<Input>, Option<CloseCode>) {
        let config =
            WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
        let stream = Stream(std::io::Cursor::new(bytes));
        let mut socket = WebSocket::from_raw_socket(stream, Role::Server, Some(config));
        let mut inputs = Vec::new();
        loop {
            let end = match socket.read() {
                Ok(Theirs::Text(text)) => {
                    inputs.push(Input::Text(text.to_string()));
                    continue;
                }
                Ok(Theirs::Ping(payload)) => {
                    inputs.push(Input::Ping(wire::pong_frame(&payload)));
                    continue;
                }
                Ok(Theirs::Pong(_)) => {
                    inputs.push(Input::Pong);
                    continue;
                }
                // Its own answer to a code that may not be sent.
                Ok(Theirs::Close(Some(frame))) if frame.reason == "Protocol violation" => {
                    Some(CloseCode::Protocol)
                }
                Ok(Theirs::Close(frame)) => {
                    let code = frame.map(|frame| u16::from(frame.code).to_be_bytes());
                    inputs
                        .push(Input::Close(wire::close_answer(code.as_ref().map_or(&[], |code| &code[..]))));
                    None
                }
                Ok(_) => Some(CloseCode::Unsupported),
                Err(tungstenite::Error::Io(_)) => None,
                Err(tungstenite::Error::Capacity(CapacityError::MessageTooLong { .. })) => {
                    Some(CloseCode::TooBig)
                }
                Err(tungstenite::Error::Utf8(_)) => Some(CloseCode::NotUtf8),
                Err(_) => Some(CloseCode::Protocol),
            };
            return (inputs, end);
        }
    }

    fn some_frames() -> impl Strategy<Value = Vec<u8>> {
        let payload = prop_oneof![
            vec(any::<u8>(), 0..4),
            "\\PC{0,200}".prop_map(String::into_bytes),
            (0..200_usize).prop_map(|length| "\u{e9}".repeat(length).into_bytes()),
            // The other one does not know 1014.
            (1000..1014_u16).prop_map(|code| code.to_be_bytes().to_vec()),
        ];
        let first = prop_oneof![
            4 => Just(0x81_u8),
            4 => prop_oneof![Just(0x01_u8), Just(0x00), Just(0x80)],
            2 => prop_oneof![Just(0x89_u8), Just(0x8a), Just(0x88)],
            1 => any::<u8>(),
        ];
        vec((first, payload, any::<[u8; 4]>()), 0..8).prop_map(|frames| {
            frames.iter().flat_map(|(first, payload, mask)| framed(*first, payload, *mask)).collect()
        })
    }

    proptest! {
        #[test]
        fn another_implementation_reads_the_same(bytes in some_frames(), piece in 1..300_usize) {
            let (ours, theirs) = (all(&bytes, piece), by_another(bytes.clone()));
            if ours.1 == Some(CloseCode::Unsupported) {
                // It reads them, and goes on.
                prop_assert!(theirs.0.starts_with(&ours.0), "{ours:?} {theirs:?}");
            } else {
                // What is wrong in two ways may be called either.
                let same_end = ours.1.is_some() == theirs.1.is_some();
                prop_assert!(same_end && ours.0 == theirs.0, "{ours:?} {theirs:?}");
            }
        }
    }
}
