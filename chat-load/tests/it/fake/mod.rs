//! A small server that speaks enough of the protocol, and breaks its promises on demand.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use chat_load::tokens::Account;
use chat_protocol::{
    ChannelId, ChannelState, ClientFrame, ClientId, ErrorCode, Event, EventBody, PresenceStatus, ServerFrame,
    SessionId, UserId, UserPresence,
    rest::{Channel, Page},
};
use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

/// Frames that wait for a socket: more than a test sends.
const QUEUE: usize = 100_000;

/// A promise to break.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The server behaves well.
    None,
    /// `sync` recovers nothing, which is allowed: events must be read over REST.
    NeverRecovers,
    /// Now and then a socket misses an event, which is allowed: it must ask for it.
    Skip,
    /// The first sends are refused as overloaded, which is allowed.
    Overloaded,
    /// The first sends are refused for a while, and their sockets cut before it is over, which is allowed.
    RefuseAndCut,
    /// All sockets are cut once, which is allowed.
    Crash,
    /// The first of two gateways dies for good, which is allowed.
    Gateway,
    /// One socket gets nothing after some time.
    Mute,
    /// Now and then a socket gets an event twice.
    Double,
    /// Now and then a socket gets two events in the wrong order.
    Swap,
    /// Now and then a send is acked and not kept.
    Forget,
    /// Now and then a send is kept twice.
    KeepTwice,
    /// What somebody sends is kept although they have left.
    Left,
    /// Now and then an ack names the wrong seq.
    WrongAck,
}

struct Socket {
    user: UserId,
    gateway: usize,
    frames: mpsc::Sender<Message>,
    held: Option<Message>,
}

struct State {
    fault: Fault,
    accounts: HashMap<String, Account>,
    logs: HashMap<ChannelId, Vec<Event>>,
    acked: HashMap<ClientId, u64>,
    sockets: HashMap<u64, Socket>,
    watches: HashMap<u64, HashSet<UserId>>,
    next_socket: u64,
    sends: u64,
    /// The first gateway is gone.
    dead: bool,
}

/// A server with two gateways for accounts `0..users`, in channels of `members` each; its URLs and accounts.
pub(crate) async fn serve(fault: Fault, users: usize, members: usize) -> ([String; 2], Vec<Account>) {
    let channels: Vec<ChannelId> = (0..users.div_ceil(members)).map(|_| ChannelId::new()).collect();
    let accounts: Vec<Account> = (0..users)
        .map(|n| Account {
            user: UserId::new(),
            token: format!("token-{n}"),
            channels: vec![channels[n / members]],
        })
        .collect();
    let state = Arc::new(Mutex::new(State {
        fault,
        accounts: accounts.iter().map(|a| (a.token.clone(), a.clone())).collect(),
        logs: channels.iter().map(|c| (*c, founded(*c, &accounts, fault))).collect(),
        acked: HashMap::new(),
        sockets: HashMap::new(),
        watches: HashMap::new(),
        next_socket: 0,
        sends: 0,
        dead: false,
    }));
    let mut urls = [String::new(), String::new()];
    for (gateway, url) in urls.iter_mut().enumerate() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        *url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if gateway == 1 || !state.lock().dead {
                    tokio::spawn(connection(stream, gateway, Arc::clone(&state)));
                }
            }
        });
    }
    (urls, accounts)
}

/// The first events of a log: the channel, and its members.
fn founded(channel: ChannelId, accounts: &[Account], fault: Fault) -> Vec<Event> {
    let mut log = vec![created(channel)];
    let members: Vec<UserId> =
        accounts.iter().filter(|a| a.channels.contains(&channel)).map(|a| a.user).collect();
    let joined = members.iter().map(|user| (*user, EventBody::MemberJoined { user: *user }));
    let left = members.first().filter(|_| fault == Fault::Left);
    let left = left.map(|user| (*user, EventBody::MemberLeft { user: *user }));
    for (by, body) in joined.chain(left) {
        log.push(Event { seq: log.len() as u64 + 1, by, body, ..created(channel) });
    }
    log
}

fn created(channel: ChannelId) -> Event {
    let body = EventBody::ChannelCreated {
        channel_kind: chat_protocol::ChannelKind::Public,
        name: Some("load".into()),
        topic: String::new(),
    };
    Event { channel, seq: 1, at: now(), by: UserId(Uuid::nil()), id: None, body }
}

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

fn text(frame: &ServerFrame) -> Message {
    Message::text(serde_json::to_string(frame).unwrap())
}

async fn connection(stream: TcpStream, gateway: usize, state: Arc<Mutex<State>>) {
    let mut head = [0; 16];
    while stream.peek(&mut head).await.unwrap_or(0) < head.len() {}
    if head.starts_with(b"GET /v1/ws") {
        websocket(stream, gateway, state).await;
    } else {
        events(stream, state).await;
    }
}

/// `GET /v1/channels/{id}/events`, three events a page so that paging is part of every test.
async fn events(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(n) if n > 0 => request.extend_from_slice(&buffer[..n]),
            _ => return,
        }
    }
    let request = String::from_utf8(request).unwrap();
    let path = request.split(' ').nth(1).unwrap();
    let channel: ChannelId = path.split('/').nth(3).unwrap().parse().unwrap();
    let Some((_, query)) = path.split_once('?') else { return one_channel(stream, channel, &state).await };
    let number = |name: &str| {
        query
            .split('&')
            .filter_map(|p| p.split_once('='))
            .find(|p| p.0 == name)
            .map(|p| p.1.parse::<u64>().unwrap())
    };
    let after = number("cursor").or_else(|| number("after")).unwrap();
    let items: Vec<Event> =
        state.lock().logs[&channel].iter().filter(|e| e.seq > after).take(3).cloned().collect();
    let next = (items.len() == 3).then(|| items[2].seq.to_string());
    reply(stream, &serde_json::to_string(&Page { items, next }).unwrap()).await;
}

/// Answers `GET /v1/channels/{id}`.
async fn one_channel(stream: TcpStream, channel: ChannelId, state: &Mutex<State>) {
    let head = state.lock().logs[&channel].last().map_or(0, |e| e.seq);
    let channel = Channel {
        id: channel,
        kind: chat_protocol::ChannelKind::Public,
        name: Some("load".into()),
        topic: String::new(),
        archived: false,
        created_by: UserId(Uuid::nil()),
        created_at: 0,
        head,
        read: Some(0),
        unread: None,
        users: Vec::new(),
    };
    reply(stream, &serde_json::to_string(&channel).unwrap()).await;
}

async fn reply(mut stream: TcpStream, body: &str) {
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let _ = stream.write_all(answer.as_bytes()).await;
}

async fn websocket(stream: TcpStream, gateway: usize, state: Arc<Mutex<State>>) {
    let Ok(socket) = tokio_tungstenite::accept_async(stream).await else { return };
    let (mut sink, mut source) = socket.split();
    let (frames, mut outgoing) = mpsc::channel(QUEUE);
    let Some(Ok(Message::Text(hello))) = source.next().await else { return };
    let Ok(ClientFrame::Hello { token, .. }) = serde_json::from_str(&hello) else { return };
    let number = {
        let mut state = state.lock();
        let account = state.accounts[&token].clone();
        let channels = account.channels.iter().map(|c| {
            let head = state.logs[c].last().map_or(0, |e| e.seq);
            ChannelState { channel: *c, head, read: 0, unread: None }
        });
        let welcome = ServerFrame::Welcome {
            user: account.user,
            session: SessionId::new(),
            gateway: "fake".into(),
            now: now(),
            heartbeat_ms: 30_000,
            generation: None,
            channels: channels.collect(),
        };
        frames.try_send(text(&welcome)).unwrap();
        let number = state.next_socket;
        state.next_socket += 1;
        state.sockets.insert(number, Socket { user: account.user, gateway, frames, held: None });
        state.report_presence(account.user, PresenceStatus::Online);
        number
    };
    loop {
        tokio::select! {
            frame = outgoing.recv() => match frame {
                Some(frame) => if sink.send(frame).await.is_err() { break },
                None => break,
            },
            frame = source.next() => match frame {
                Some(Ok(Message::Text(json))) => state.lock().command(number, serde_json::from_str(&json).unwrap()),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                _ => break,
            },
        }
    }
    let mut state = state.lock();
    if let Some(socket) = state.sockets.remove(&number) {
        state.report_presence(socket.user, PresenceStatus::Offline);
    }
}

impl State {
    fn answer(&self, socket: u64, frame: &ServerFrame) {
        if let Some(socket) = self.sockets.get(&socket) {
            let _ = socket.frames.try_send(text(frame));
        }
    }

    fn report_presence(&self, user: UserId, status: PresenceStatus) {
        for (watcher, users) in &self.watches {
            if users.contains(&user) {
                self.answer(*watcher, &ServerFrame::Presence { users: vec![UserPresence { user, status }] });
            }
        }
    }

    fn command(&mut self, socket: u64, command: ClientFrame) {
        match command {
            ClientFrame::Send { id, channel, text, .. } => self.send(socket, id, channel, text),
            ClientFrame::Sync { id, channel, after } => self.sync(socket, id, channel, after),
            ClientFrame::Watch { users, .. } => {
                self.watches.insert(socket, users.into_iter().collect());
            }
            other => panic!("the load generator does not send {other:?}"),
        }
    }

    fn sync(&self, socket: u64, id: Option<ClientId>, channel: ChannelId, after: u64) {
        let log = &self.logs[&channel];
        let head = log.last().map_or(0, |e| e.seq);
        let recovered = self.fault != Fault::NeverRecovers;
        if recovered {
            log.iter()
                .filter(|e| e.seq > after)
                .for_each(|e| self.answer(socket, &ServerFrame::Event(e.clone())));
        }
        self.answer(socket, &ServerFrame::Synced { id, channel, head, recovered });
    }

    fn send(&mut self, socket: u64, id: ClientId, channel: ChannelId, text: String) {
        let by = self.sockets[&socket].user;
        self.sends += 1;
        let now_and_then = self.sends % 40 == 20;
        let refuses = matches!(self.fault, Fault::Overloaded | Fault::RefuseAndCut);
        if refuses && self.sends < 10 {
            let cut = self.fault == Fault::RefuseAndCut;
            let after_ms = if cut { 600 } else { 50 };
            let (code, message) = (ErrorCode::Overloaded, "try later".into());
            let refused = ServerFrame::Error {
                id: Some(id),
                code,
                message,
                retryable: true,
                retry_after_ms: Some(after_ms),
            };
            self.answer(socket, &refused);
            if cut {
                // What was queued for it is still sent.
                self.sockets.remove(&socket);
            }
            return;
        }
        if self.fault == Fault::Crash && self.sends == 60 {
            self.sockets.clear();
            return;
        }
        if self.fault == Fault::Gateway && self.sends == 60 {
            self.dead = true;
            self.sockets.retain(|_, socket| socket.gateway != 0);
            return;
        }
        let known = self.acked.get(&id).copied();
        let head = self.logs[&channel].last().map_or(0, |e| e.seq);
        let seq = known.unwrap_or(head + 1);
        self.acked.insert(id, seq);
        let wrong = u64::from(self.fault == Fault::WrongAck && now_and_then);
        let ack = ServerFrame::Ack { id, channel, seq: seq + wrong, at: now(), duplicate: known.is_some() };
        self.answer(socket, &ack);
        if known.is_some() || (self.fault == Fault::Forget && now_and_then) {
            return;
        }
        let body = EventBody::Message { text, files: Vec::new(), deleted: false };
        let event = Event { channel, seq, at: now(), by, id: Some(id), body };
        self.publish(&event, now_and_then);
        if self.fault == Fault::KeepTwice && now_and_then {
            self.publish(&Event { seq: seq + 1, ..event }, false);
        }
    }

    fn publish(&mut self, event: &Event, now_and_then: bool) {
        self.logs.get_mut(&event.channel).unwrap().push(event.clone());
        let frame = text(&ServerFrame::Event(event.clone()));
        let members: HashSet<UserId> =
            self.accounts.values().filter(|a| a.channels.contains(&event.channel)).map(|a| a.user).collect();
        let fault = self.fault;
        let mut receivers: Vec<_> =
            self.sockets.iter_mut().filter(|(_, s)| members.contains(&s.user)).collect();
        receivers.sort_by_key(|(number, _)| **number);
        for (place, (_, socket)) in receivers.into_iter().enumerate() {
            let chosen = place == 0;
            match fault {
                Fault::Skip if chosen && now_and_then => continue,
                Fault::Mute if chosen && self.sends > 60 => continue,
                Fault::Swap if chosen && now_and_then => {
                    socket.held = Some(frame.clone());
                    continue;
                }
                Fault::Double if chosen && now_and_then => {
                    let _ = socket.frames.try_send(frame.clone());
                }
                _ => {}
            }
            let _ = socket.frames.try_send(frame.clone());
            if let Some(held) = socket.held.take() {
                let _ = socket.frames.try_send(held);
            }
        }
    }
}
