//! The floor: a bare WebSocket broadcaster on one thread and one epoll.
//!
//! It does nothing that fan-out does not need: no store, no accounts, one channel in which everybody is. It
//! speaks so much of Folkmoot's protocol that `chat-load` drives both: `hello` is answered by a minimal
//! `welcome`, `send` by an `ack` and an event to all sockets, in the same form and so of the same size as
//! Folkmoot's. All frames that came in one epoll round leave in one write per socket; what a socket does not
//! take at once is queued for it and leaves in one vectored write when it can.

use std::{
    collections::VecDeque,
    io::{self, IoSlice, Read, Write},
    net::SocketAddr,
    rc::Rc,
    time::{SystemTime, UNIX_EPOCH},
};

use chat_protocol::{ChannelId, ChannelState, ClientFrame, Event, EventBody, ServerFrame, SessionId, UserId};
use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};
use socket2::{Domain, Protocol, Socket as Socket2, Type};
use uuid::Uuid;

use crate::ws::{self, Opcode};

/// The one channel.
pub const CHANNEL: ChannelId = ChannelId(Uuid::from_u128(0xba5e_0000_0000_4000_8000_0000_0000_0001));

const BACKLOG: i32 = 4096;
const LISTENER: Token = Token(usize::MAX);
/// A socket that lets more than this queue up is closed.
const MAX_QUEUED: usize = 4 << 20;
const MAX_SLICES: usize = 64;

struct Socket {
    stream: TcpStream,
    upgraded: bool,
    /// Set by `hello`: from then on it gets the events.
    member: bool,
    partial: Vec<u8>,
    queue: VecDeque<Rc<[u8]>>,
    queued: usize,
    /// How much of the front of the queue has left.
    offset: usize,
}

/// A broadcaster that has its address but serves nobody yet.
#[derive(Debug)]
pub struct Broadcaster {
    listener: TcpListener,
    poll: Poll,
}

struct Room {
    sockets: Vec<Option<Socket>>,
    free: Vec<usize>,
    head: u64,
    /// The event frames of this epoll round.
    round: Vec<u8>,
    buffer: Vec<u8>,
}

impl Broadcaster {
    /// Listens on an address; port 0 picks a free one.
    ///
    /// # Errors
    /// When it cannot listen there.
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let poll = Poll::new()?;
        let raw = Socket2::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        raw.set_nonblocking(true)?;
        raw.set_reuse_address(true)?;
        raw.bind(&address.into())?;
        // The standard library's 128 make a burst of connects wait a second for its second try.
        raw.listen(BACKLOG)?;
        let mut listener = TcpListener::from_std(raw.into());
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self { listener, poll })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// When the system does not report it.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the process ends.
    ///
    /// # Errors
    /// When epoll fails.
    pub fn serve(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut room = Room {
            sockets: Vec::new(),
            free: Vec::new(),
            head: 0,
            round: Vec::new(),
            buffer: vec![0; 256 * 1024],
        };
        loop {
            match self.poll.poll(&mut events, None) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                if event.token() == LISTENER {
                    self.accept_all(&mut room)?;
                } else {
                    if event.is_writable() {
                        room.flush(event.token().0);
                    }
                    if event.is_readable() {
                        room.read(event.token().0);
                    }
                }
            }
            room.broadcast();
        }
    }

    fn accept_all(&self, room: &mut Room) -> io::Result<()> {
        loop {
            let (mut stream, _) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // Out of files, or the client went away: the others are still served.
                Err(_) => return Ok(()),
            };
            let _ = stream.set_nodelay(true);
            let index = room.free.pop().unwrap_or_else(|| {
                room.sockets.push(None);
                room.sockets.len() - 1
            });
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(index), interest)?;
            room.sockets[index] = Some(Socket {
                stream,
                upgraded: false,
                member: false,
                partial: Vec::new(),
                queue: VecDeque::new(),
                queued: 0,
                offset: 0,
            });
        }
    }
}

impl Room {
    fn close(&mut self, index: usize) {
        if self.sockets[index].take().is_some() {
            self.free.push(index);
        }
    }

    fn flush(&mut self, index: usize) {
        if let Some(socket) = &mut self.sockets[index]
            && socket.flush().is_err()
        {
            self.close(index);
        }
    }

    /// Reads until the socket is empty (the registration is edge-triggered).
    fn read(&mut self, index: usize) {
        loop {
            let Some(socket) = &mut self.sockets[index] else { return };
            let kept = socket.partial.len();
            self.buffer[..kept].copy_from_slice(&socket.partial);
            match socket.stream.read(&mut self.buffer[kept..]) {
                Ok(0) => return self.close(index),
                Ok(n) => {
                    socket.partial.clear();
                    if self.take(index, kept + n).is_none() {
                        return self.close(index);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(_) => return self.close(index),
            }
        }
    }

    /// Handles what stands in the buffer; none when the socket is to be closed.
    fn take(&mut self, index: usize, len: usize) -> Option<()> {
        let mut at = 0;
        let mut buffer = std::mem::take(&mut self.buffer);
        let outcome = loop {
            let Some(socket) = &mut self.sockets[index] else { break None };
            if !socket.upgraded {
                match ws::accept_upgrade(&buffer[at..len]) {
                    Ok(Some((answer, end))) => {
                        at += end;
                        socket.upgraded = true;
                        if socket.send(answer.into_bytes().into()).is_err() {
                            break None;
                        }
                        continue;
                    }
                    Ok(None) => break Some(()),
                    Err(_) => break None,
                }
            }
            match ws::next_frame(&mut buffer[..len], at) {
                Ok(Some(frame)) => {
                    at = frame.end;
                    if self.frame(index, frame.opcode, &buffer[frame.payload]).is_none() {
                        break None;
                    }
                }
                Ok(None) => break Some(()),
                Err(_) => break None,
            }
        };
        if let Some(socket) = &mut self.sockets[index] {
            // A partial frame must leave room to read the rest of it.
            if len - at > buffer.len() / 2 {
                self.buffer = buffer;
                return None;
            }
            socket.partial.extend_from_slice(&buffer[at..len]);
        }
        self.buffer = buffer;
        outcome
    }

    fn frame(&mut self, index: usize, opcode: Opcode, payload: &[u8]) -> Option<()> {
        let socket = self.sockets[index].as_mut()?;
        match opcode {
            Opcode::Text => {}
            Opcode::Ping => return socket.send_frame(Opcode::Pong, payload),
            Opcode::Pong => return Some(()),
            Opcode::Close | Opcode::Binary => return None,
        }
        match serde_json::from_slice(payload).ok()? {
            ClientFrame::Hello { .. } => {
                // What others sent in this round is part of its head, so it leaves before this one is in.
                self.broadcast();
                let head = self.head;
                let socket = self.sockets[index].as_mut()?;
                socket.member = true;
                socket.send_json(&welcome(head))
            }
            ClientFrame::Send { id, channel, text, .. } => {
                self.head += 1;
                let (seq, at) = (self.head, now());
                let event = Event {
                    channel,
                    seq,
                    at,
                    by: UserId(Uuid::nil()),
                    id: Some(id),
                    body: EventBody::Message { text, files: Vec::new(), deleted: false },
                };
                let json = serde_json::to_vec(&ServerFrame::Event(event)).ok()?;
                ws::write_server_frame(&mut self.round, Opcode::Text, &json);
                socket.send_json(&ServerFrame::Ack { id, channel, seq, at, duplicate: false })
            }
            _ => Some(()),
        }
    }

    fn broadcast(&mut self) {
        if self.round.is_empty() {
            return;
        }
        let round = std::mem::take(&mut self.round);
        // Shared only when some socket does not take all of it at once.
        let mut shared: Option<Rc<[u8]>> = None;
        for index in 0..self.sockets.len() {
            let Some(socket) = &mut self.sockets[index] else { continue };
            if !socket.member {
                continue;
            }
            let sent = if socket.queue.is_empty() { socket.write_now(&round) } else { Ok(0) };
            let kept = match sent {
                Ok(n) if n == round.len() => true,
                Ok(n) => {
                    let bytes = Rc::clone(shared.get_or_insert_with(|| Rc::from(&round[..])));
                    socket.enqueue(bytes, n)
                }
                Err(_) => false,
            };
            if !kept {
                self.close(index);
            }
        }
        self.round = round;
        self.round.clear();
    }
}

impl Socket {
    /// Writes until done or the socket is full; how much has left.
    fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.stream.write(bytes) {
            Ok(n) => Ok(n),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(0),
            Err(e) => Err(e),
        }
    }

    /// Whether there was room for it.
    fn enqueue(&mut self, bytes: Rc<[u8]>, offset: usize) -> bool {
        if self.queue.is_empty() {
            self.offset = offset;
        }
        self.queued += bytes.len();
        self.queue.push_back(bytes);
        self.queued <= MAX_QUEUED && self.flush().is_ok()
    }

    fn send(&mut self, bytes: Rc<[u8]>) -> io::Result<()> {
        let sent = if self.queue.is_empty() { self.write_now(&bytes)? } else { 0 };
        if sent < bytes.len() && !self.enqueue(bytes, sent) {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        Ok(())
    }

    fn send_frame(&mut self, opcode: Opcode, payload: &[u8]) -> Option<()> {
        let mut bytes = Vec::with_capacity(payload.len() + 10);
        ws::write_server_frame(&mut bytes, opcode, payload);
        self.send(bytes.into()).ok()
    }

    fn send_json(&mut self, frame: &ServerFrame) -> Option<()> {
        self.send_frame(Opcode::Text, &serde_json::to_vec(frame).ok()?)
    }

    fn flush(&mut self) -> io::Result<()> {
        while !self.queue.is_empty() {
            let slices: Vec<IoSlice<'_>> = self
                .queue
                .iter()
                .take(MAX_SLICES)
                .enumerate()
                .map(|(i, bytes)| IoSlice::new(if i == 0 { &bytes[self.offset..] } else { bytes }))
                .collect();
            let mut sent = match self.stream.write_vectored(&slices) {
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            };
            while let Some(front) = self.queue.front() {
                let left = front.len() - self.offset;
                if sent < left {
                    self.offset += sent;
                    break;
                }
                sent -= left;
                self.queued -= front.len();
                self.offset = 0;
                self.queue.pop_front();
            }
        }
        Ok(())
    }
}

fn welcome(head: u64) -> ServerFrame {
    ServerFrame::Welcome {
        user: UserId(Uuid::nil()),
        session: SessionId(Uuid::nil()),
        gateway: "bare-broadcaster".into(),
        now: now(),
        heartbeat_ms: 30_000,
        generation: None,
        channels: vec![ChannelState { channel: CHANNEL, head, read: head, unread: Some(0) }],
    }
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
