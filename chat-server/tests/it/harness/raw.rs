//! Bytes as a client would not send them.

use chat_protocol::SUBPROTOCOL;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::wait::DEADLINE;

/// The key of RFC 6455 §1.3.
pub const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// A connection without manners.
pub struct Raw(pub TcpStream);

impl Raw {
    /// Connects to where `base_url` is.
    pub async fn connect(base_url: &str) -> Self {
        let address = base_url.strip_prefix("http://").expect("an http URL");
        let connected = timeout(DEADLINE, TcpStream::connect(address)).await.expect("in time");
        Self(connected.expect("connects"))
    }

    /// Connects, and sends this.
    pub async fn send(base_url: &str, bytes: impl AsRef<[u8]>) -> Self {
        let mut raw = Self::connect(base_url).await;
        raw.write(bytes).await.expect("is sent");
        raw
    }

    /// Upgrades to a socket, with more lines of headers.
    pub async fn upgrade(base_url: &str, more: &str) -> Self {
        let mut raw =
            Self::send(base_url, upgrade_request(&format!("Host: a\r\nSec-WebSocket-Key: {KEY}\r\n{more}")))
                .await;
        let (status, _) = raw.head().await.expect("answers");
        assert_eq!(status, 101);
        raw
    }

    pub async fn write(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        timeout(DEADLINE, self.0.write_all(bytes.as_ref())).await.expect("in time")
    }

    /// Sends a frame: its first byte, and its payload below 126 bytes.
    pub async fn frame(&mut self, first: u8, payload: &[u8]) -> std::io::Result<()> {
        self.write(masked_frame(first, payload, 0)).await
    }

    /// The status and headers of an answer; `None` when the connection ends before.
    pub async fn head(&mut self) -> Option<(u16, String)> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(DEADLINE, self.0.read_u8()).await.expect("in time").ok()?);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Some((status, head))
    }

    /// The next frame of the server's: its first byte and its payload. `None` at the end.
    pub async fn next_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let read = async {
            let first = self.0.read_u8().await.ok()?;
            let length = match self.0.read_u8().await.ok()? {
                126 => usize::from(self.0.read_u16().await.ok()?),
                127 => usize::try_from(self.0.read_u64().await.ok()?).ok()?,
                short => usize::from(short),
            };
            let mut payload = vec![0; length];
            self.0.read_exact(&mut payload).await.ok()?;
            Some((first, payload))
        };
        timeout(DEADLINE, read).await.expect("something in time")
    }

    /// The code with which the server closes; frames before it are dropped.
    pub async fn close_code(&mut self) -> Option<u16> {
        loop {
            let (first, payload) = self.next_frame().await?;
            if first == 0x88 {
                return payload.first_chunk().map(|code| u16::from_be_bytes(*code));
            }
        }
    }

    /// Whether the server has closed it; what came before is dropped.
    pub fn has_ended(&self) -> bool {
        let mut bytes = [0; 1024];
        loop {
            match self.0.try_read(&mut bytes) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
            }
        }
    }

    /// Waits for the end of the connection, whatever comes before it.
    pub async fn ended(&mut self) {
        let mut rest = Vec::new();
        // A reset is an end too.
        let _ = timeout(DEADLINE, self.0.read_to_end(&mut rest)).await.expect("ends in time");
    }
}

/// A frame with a mask of zeros, and a length that takes as many bytes as are asked for beside the usual one: 0, 2 or 8.
pub fn masked_frame(first: u8, payload: &[u8], length_bytes: usize) -> Vec<u8> {
    let mut bytes = vec![first];
    match length_bytes {
        0 => bytes.push(0x80 | u8::try_from(payload.len()).expect("is short")),
        2 => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(payload.len()).expect("is short").to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend((payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

/// A request for a socket with these lines of headers.
pub fn upgrade_request(headers: &str) -> String {
    format!(
        "GET /v1/ws HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n{headers}\r\n"
    )
}
