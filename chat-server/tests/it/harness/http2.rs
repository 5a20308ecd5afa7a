//! HTTP/2 frame by frame, for readers who do not take what they asked for (RFC 9113).

use tokio::{io::AsyncReadExt as _, time::timeout};

use super::{raw::Raw, wait::DEADLINE};

pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;

pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("is short").to_be_bytes();
    let mut bytes = vec![length[1], length[2], length[3], kind, flags];
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// A length, or the begin of one, as HPACK has it (RFC 7541 §5.1), with a prefix of 7 bits.
fn length(text: &str) -> Vec<u8> {
    if text.len() < 127 {
        return vec![u8::try_from(text.len()).expect("is short")];
    }
    let (mut left, mut bytes) = (text.len() - 127, vec![127]);
    while left >= 128 {
        bytes.push(u8::try_from(left % 128 + 128).expect("is a byte"));
        left /= 128;
    }
    bytes.push(u8::try_from(left).expect("is a byte"));
    bytes
}

/// What the server sends on a stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Part {
    /// The head of an answer; whether its status is 200.
    Head { is_ok: bool },
    /// So many bytes of it.
    Data(usize),
    /// Nothing comes any more.
    End,
    /// The server has given it up.
    Reset,
}

/// A connection whose reader decides what it takes.
pub struct Http2 {
    raw: Raw,
    last: u32,
}

impl Http2 {
    /// With so large a window for each stream, and a large one for all of them.
    pub async fn connect(base_url: &str, window: u32) -> Self {
        let mut raw = Raw::connect(base_url).await;
        let settings = [&4_u16.to_be_bytes()[..], &window.to_be_bytes()].concat();
        let opened = frame(WINDOW_UPDATE, 0, 0, &1_000_000_000_u32.to_be_bytes());
        raw.write([PREFACE, &frame(SETTINGS, 0, 0, &settings), &opened].concat()).await.expect("is sent");
        Self { raw, last: 0 }
    }

    /// Asks; on which stream. Whether the connection has ended is for [`Self::next`] to say.
    pub async fn get(&mut self, path: &str, token: &str) -> u32 {
        self.last = if self.last == 0 { 1 } else { self.last + 2 };
        // GET and http of the static table, and three literals without an index: path, authority, authorization.
        let token = format!("Bearer {token}");
        let block = [
            &b"\x82\x86\x04"[..],
            &length(path),
            path.as_bytes(),
            b"\x01\x01a\x0f\x08",
            &length(&token),
            token.as_bytes(),
        ];
        let _ = self.raw.write(frame(HEADERS, 5, self.last, &block.concat())).await;
        self.last
    }

    /// Lets so many bytes more of a stream come.
    pub async fn open(&mut self, stream: u32, bytes: u32) {
        let _ = self.raw.write(frame(WINDOW_UPDATE, 0, stream, &bytes.to_be_bytes())).await;
    }

    /// What comes next on which stream, whenever it comes; pings are answered. `None`: the connection has ended.
    pub async fn next(&mut self) -> Option<(u32, Vec<Part>)> {
        loop {
            let mut head = [0; 9];
            self.raw.0.read_exact(&mut head).await.ok()?;
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            timeout(DEADLINE, self.raw.0.read_exact(&mut payload)).await.expect("in time").ok()?;
            let (kind, flags) = (head[3], head[4]);
            let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
            let part = match kind {
                DATA => Part::Data(payload.len()),
                // `:status: 200` of the static table.
                HEADERS => Part::Head { is_ok: payload.first() == Some(&0x88) },
                RST_STREAM => Part::Reset,
                SETTINGS | PING if flags & 1 == 0 => {
                    let answer: &[u8] = if kind == PING { &payload } else { &[] };
                    self.raw.write(frame(kind, 1, 0, answer)).await.ok()?;
                    continue;
                }
                _ => continue,
            };
            let is_end = matches!(kind, DATA | HEADERS) && flags & 1 == 1;
            return Some((stream, std::iter::once(part).chain(is_end.then_some(Part::End)).collect()));
        }
    }
}
