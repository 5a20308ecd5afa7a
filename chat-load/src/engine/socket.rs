//! One TCP connection that becomes a WebSocket.

use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use mio::{Interest, Registry, Token, net::TcpStream};
use socket2::{Domain, Protocol, Socket as RawSocket, Type};

use crate::ws::{self, Opcode};

/// `EINPROGRESS` of Linux: a non-blocking connect goes on in the background.
const IN_PROGRESS: i32 = 115;

/// How far a socket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stage {
    /// TCP is being set up.
    Connecting,
    /// The upgrade was asked for with this key.
    Upgrading(String),
    /// Upgraded: frames of the protocol flow.
    Open,
}

/// A connection to the server.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) stream: TcpStream,
    pub(crate) stage: Stage,
    /// The beginning of a frame whose rest has not come.
    pub(crate) partial: Vec<u8>,
    out: Vec<u8>,
}

impl Socket {
    /// Begins to connect, from a loopback address of its own when the server is on loopback.
    pub(crate) fn connect(
        address: SocketAddr,
        source: Option<Ipv4Addr>,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        let raw = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        raw.set_nonblocking(true)?;
        raw.set_tcp_nodelay(true)?;
        if let (Some(source), IpAddr::V4(_)) = (source, address.ip()) {
            raw.bind(&SocketAddr::from((source, 0)).into())?;
        }
        match raw.connect(&address.into()) {
            Ok(()) => {}
            Err(e) if e.raw_os_error() == Some(IN_PROGRESS) || e.kind() == io::ErrorKind::WouldBlock => {}
            Err(e) => return Err(e),
        }
        let mut stream = TcpStream::from_std(raw.into());
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { stream, stage: Stage::Connecting, partial: Vec::new(), out: Vec::new() })
    }

    /// The socket can be written: goes on with what waits for that.
    pub(crate) fn writable(&mut self, host: &str) -> io::Result<()> {
        if self.stage == Stage::Connecting {
            if let Some(error) = self.stream.take_error()? {
                return Err(error);
            }
            if let Err(error) = self.stream.peer_addr() {
                // A spurious wake-up: the connect is still under way.
                return if error.kind() == io::ErrorKind::NotConnected { Ok(()) } else { Err(error) };
            }
            let key = tokio_tungstenite::tungstenite::handshake::client::generate_key();
            self.out.extend_from_slice(ws::upgrade_request(host, &key).as_bytes());
            self.stage = Stage::Upgrading(key);
        }
        self.flush()
    }

    /// Sends a frame, or as much of it as fits; the rest follows when the socket can be written.
    pub(crate) fn send(&mut self, opcode: Opcode, payload: &[u8], mask: [u8; 4]) -> io::Result<()> {
        ws::write_client_frame(&mut self.out, opcode, payload, mask);
        self.flush()
    }

    fn flush(&mut self) -> io::Result<()> {
        let mut sent = 0;
        while sent < self.out.len() {
            match self.stream.write(&self.out[sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => sent += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        if sent == self.out.len() {
            // Most sockets hardly ever send: they keep no buffer.
            self.out = Vec::new();
        } else {
            self.out.drain(..sent);
        }
        Ok(())
    }
}
