//! A server that the test plays: sockets are handed to it; a few REST paths answer by themselves.

use std::{collections::HashMap, sync::Arc};

use chat_protocol::{
    ChannelState, ClientFrame, CloseCode, ErrorCode, Event, GENERATION_HEADER, Generation, Problem,
    SUBPROTOCOL, ServerFrame, SessionId,
    rest::{Page, RefreshRequest, Role, TokenResponse, User},
};
use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};
use tokio_tungstenite::{
    WebSocketStream, accept_hdr_async,
    tungstenite::{
        Message,
        handshake::server::{ErrorResponse, Request, Response},
        protocol::CloseFrame,
    },
};

use crate::{ME, within};

pub(crate) struct Server {
    url: String,
    sockets: mpsc::Receiver<Socket>,
    pub(crate) rest: Arc<Rest>,
}

/// What REST answers with, and what it was asked.
#[derive(Default)]
pub(crate) struct Rest {
    /// The log that `/events` pages through, ascending.
    pub(crate) log: Mutex<Vec<Event>>,
    /// The `after` of each page that was asked for.
    pub(crate) pages: Mutex<Vec<u64>>,
    /// The refresh tokens that came, in order.
    pub(crate) refreshes: Mutex<Vec<String>>,
    /// How many requests are answered with 503 first.
    pub(crate) unavailable: Mutex<u32>,
    /// Access tokens that `/v1/users/me` does not accept.
    pub(crate) rejected: Mutex<Vec<String>>,
    /// How many upgrades are refused first, with 503 and a `Retry-After` of 1 s.
    pub(crate) going_away: Mutex<u32>,
    /// What other paths answer with.
    pub(crate) answers: Mutex<HashMap<String, serde_json::Value>>,
    /// What answers say of which generation they are.
    pub(crate) generation: Mutex<Option<Generation>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, sockets) = mpsc::channel(16);
        let rest = Arc::new(Rest::default());
        let answering = Arc::clone(&rest);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (sender, rest) = (sender.clone(), Arc::clone(&answering));
                tokio::spawn(serve(stream, sender, rest));
            }
        });
        Self { url, sockets, rest }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The next socket, before its `hello`.
    pub(crate) async fn accept(&mut self) -> Socket {
        within(self.sockets.recv()).await.expect("the server runs")
    }

    /// The next socket, welcomed.
    pub(crate) async fn welcome(&mut self, channels: Vec<ChannelState>) -> Socket {
        let mut socket = self.accept().await;
        socket.hello().await;
        socket.welcome(channels).await;
        socket
    }

    pub(crate) async fn welcome_to(&mut self, generation: Generation, channels: Vec<ChannelState>) -> Socket {
        let mut socket = self.accept().await;
        socket.hello().await;
        socket.welcome_to(Some(generation), channels).await;
        socket
    }
}

async fn serve(stream: TcpStream, sockets: mpsc::Sender<Socket>, rest: Arc<Rest>) {
    let mut start = [0; 10];
    while stream.peek(&mut start).await.is_ok_and(|read| read > 0 && read < start.len()) {
        tokio::task::yield_now().await;
    }
    if &start != b"GET /v1/ws" {
        return answer(stream, &rest).await;
    }
    #[expect(clippy::result_large_err, reason = "tungstenite's callback has this shape")]
    let choose = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        assert_eq!(request.headers()["sec-websocket-protocol"], SUBPROTOCOL);
        let mut going_away = rest.going_away.lock();
        if *going_away > 0 {
            *going_away -= 1;
            let mut refused = ErrorResponse::new(None);
            *refused.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
            refused.headers_mut().insert("retry-after", "1".parse().unwrap());
            return Err(refused);
        }
        response.headers_mut().insert("sec-websocket-protocol", SUBPROTOCOL.parse().unwrap());
        Ok(response)
    };
    if let Ok(stream) = accept_hdr_async(stream, choose).await {
        let _ = sockets.send(Socket { stream }).await;
    }
}

/// One request, one answer.
async fn answer(mut stream: TcpStream, rest: &Rest) {
    let mut request = Vec::new();
    let (head, body) = loop {
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await.unwrap_or(0);
        if read == 0 {
            return;
        }
        request.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .lines()
            .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok())
            .unwrap_or(0usize);
        if body.len() >= length {
            break (head.to_owned(), body.to_owned());
        }
    };
    let (status, json) = rest.answer(&head, &body);
    let generation = rest.generation.lock().map(|id| format!("{GENERATION_HEADER}: {id}\r\n"));
    let generation = generation.unwrap_or_default();
    let answer = format!(
        "HTTP/1.1 {status} -\r\n{generation}content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{json}",
        json.len()
    );
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

impl Rest {
    fn answer(&self, head: &str, body: &str) -> (u16, String) {
        let path = head.split(' ').nth(1).unwrap();
        {
            let mut unavailable = self.unavailable.lock();
            if *unavailable > 0 {
                *unavailable -= 1;
                return problem(ErrorCode::Unavailable);
            }
        }
        let bearer = head.lines().find_map(|line| line.strip_prefix("authorization: Bearer "));
        if path == "/v1/auth/refresh" {
            let request: RefreshRequest = serde_json::from_str(body).unwrap();
            let mut refreshes = self.refreshes.lock();
            if refreshes.contains(&request.refresh_token) {
                return problem(ErrorCode::Unauthenticated);
            }
            refreshes.push(request.refresh_token);
            return ok(&tokens(refreshes.len()));
        }
        if path == "/v1/users/me" {
            return match bearer {
                Some(token) if !self.rejected.lock().iter().any(|rejected| rejected == token) => ok(&user()),
                _ => problem(ErrorCode::Unauthenticated),
            };
        }
        if let Some(answer) = self.answers.lock().get(path.split('?').next().unwrap_or(path)) {
            return ok(answer);
        }
        let after: u64 = path
            .split_once("after=")
            .and_then(|(_, rest)| rest.split('&').next()?.parse().ok())
            .unwrap_or_else(|| panic!("expected a page of events, got {path}"));
        self.pages.lock().push(after);
        let log = self.log.lock();
        let mut items: Vec<Event> = log.iter().filter(|event| event.seq > after).cloned().collect();
        let next = (items.len() > 200).then(|| "more".to_owned());
        items.truncate(200);
        ok(&Page { items, next })
    }
}

fn ok(body: &impl Serialize) -> (u16, String) {
    (200, serde_json::to_string(body).unwrap())
}

fn problem(code: ErrorCode) -> (u16, String) {
    let problem = Problem {
        kind: "about:blank".into(),
        title: code.title().into(),
        status: code.status(),
        detail: "as the test says".into(),
        code,
        retryable: code.retryable(),
        retry_after_ms: None,
    };
    (code.status(), serde_json::to_string(&problem).unwrap())
}

fn user() -> User {
    User {
        id: ME,
        handle: "ada".into(),
        display_name: "Ada".into(),
        role: Role::Owner,
        created_at: 0,
        deactivated: false,
    }
}

/// The tokens that the `n`th refresh gives.
pub(crate) fn tokens(n: usize) -> TokenResponse {
    TokenResponse {
        access_token: format!("access-{n}"),
        token_type: "Bearer".into(),
        expires_in: 600,
        refresh_token: format!("refresh-{n}"),
        session: SessionId::new(),
        user: user(),
    }
}

/// The server's end of a socket.
pub(crate) struct Socket {
    stream: WebSocketStream<TcpStream>,
}

impl Socket {
    /// The next frame that is not a ping.
    pub(crate) async fn receive(&mut self) -> ClientFrame {
        loop {
            match within(self.stream.next()).await.expect("the client stays").unwrap() {
                Message::Text(text) => match serde_json::from_str(&text).unwrap() {
                    ClientFrame::Ping { id } => self.send(ServerFrame::Pong { id }).await,
                    frame => return frame,
                },
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("expected a frame, got {other:?}"),
            }
        }
    }

    /// Its `hello`: the token.
    pub(crate) async fn hello(&mut self) -> String {
        match self.receive().await {
            ClientFrame::Hello { token, .. } => token,
            other => panic!("expected hello, got {other:?}"),
        }
    }

    pub(crate) async fn welcome(&mut self, channels: Vec<ChannelState>) {
        self.welcome_to(None, channels).await;
    }

    pub(crate) async fn welcome_to(&mut self, generation: Option<Generation>, channels: Vec<ChannelState>) {
        self.send(ServerFrame::Welcome {
            user: ME,
            session: SessionId::new(),
            gateway: "test".to_owned(),
            now: 0,
            heartbeat_ms: 30_000,
            generation,
            channels,
        })
        .await;
    }

    pub(crate) async fn send(&mut self, frame: ServerFrame) {
        self.stream.send(Message::text(serde_json::to_string(&frame).unwrap())).await.unwrap();
    }

    /// Answers `sync` with the events up to `head`.
    pub(crate) async fn answer_sync(&mut self, frame: ClientFrame, head: u64) {
        self.answer_sync_with(frame, head, crate::event).await;
    }

    pub(crate) async fn answer_sync_with(
        &mut self,
        frame: ClientFrame,
        head: u64,
        event: impl Fn(u64) -> Event,
    ) {
        let ClientFrame::Sync { id, channel, after } = frame else { panic!("expected sync, got {frame:?}") };
        for seq in after + 1..=head {
            self.send(ServerFrame::Event(event(seq))).await;
        }
        self.send(ServerFrame::Synced { id, channel, head, recovered: true }).await;
    }

    pub(crate) async fn close(mut self, code: CloseCode) {
        let frame = CloseFrame { code: code.code().into(), reason: code.reason().into() };
        self.stream.close(Some(frame)).await.unwrap();
        while let Some(Ok(_)) = within(self.stream.next()).await {}
    }

    /// Waits until the client has gone; what it said until then is dropped.
    pub(crate) async fn gone(mut self) {
        while let Some(Ok(_)) = within(self.stream.next()).await {}
    }
}
