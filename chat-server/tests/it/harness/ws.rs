//! A client for tests that sees every frame.

use std::net::SocketAddr;

use chat_protocol::{
    ChannelId, ChannelState, ClientFrame, ClientId, Event, Generation, SUBPROTOCOL, Seq, ServerFrame, UserId,
};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, Message, client::IntoClientRequest as _, http::HeaderValue},
};

pub use super::wait::DEADLINE;

/// What a socket brought.
#[derive(Debug)]
pub enum Incoming {
    Frame(ServerFrame),
    Closed(Option<u16>),
}

pub struct TestSocket {
    stream: WebSocketStream<TcpStream>,
    pub user: Option<UserId>,
    pub generation: Option<Generation>,
    pub channels: Vec<ChannelState>,
}

impl TestSocket {
    /// Upgrades without saying hello. `receive_buffer` shrinks the kernel's buffer, for slow readers.
    pub async fn upgrade(
        base_url: &str,
        origin: Option<&str>,
        receive_buffer: Option<u32>,
    ) -> Result<Self, Box<tungstenite::Error>> {
        let host = base_url.strip_prefix("http://").expect("an http URL");
        let address: SocketAddr = host.parse().expect("an address");
        let socket = TcpSocket::new_v4().expect("a socket");
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes).expect("a buffer size");
        }
        let stream = socket.connect(address).await.expect("connects");
        let mut request = format!("ws://{host}/v1/ws").into_client_request().expect("a request");
        request.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL));
        if let Some(origin) = origin {
            request.headers_mut().insert("origin", HeaderValue::from_str(origin).expect("a header"));
        }
        let (stream, _) = tokio_tungstenite::client_async(request, stream).await?;
        Ok(Self { stream, user: None, generation: None, channels: Vec::new() })
    }

    pub async fn connect(base_url: &str, token: &str) -> Self {
        Self::connect_with(base_url, token, None).await
    }

    pub async fn connect_with(base_url: &str, token: &str, receive_buffer: Option<u32>) -> Self {
        let mut socket = Self::upgrade(base_url, None, receive_buffer).await.expect("upgrades");
        socket.hello(token).await;
        match socket.next().await {
            Incoming::Frame(ServerFrame::Welcome { user, generation, channels, .. }) => {
                socket.user = Some(user);
                socket.generation = generation;
                socket.channels = channels;
            }
            other => panic!("expected a welcome first, got {other:?}"),
        }
        socket
    }

    pub async fn hello(&mut self, token: &str) {
        self.send(&ClientFrame::Hello { token: token.into(), client: None }).await;
    }

    pub async fn send(&mut self, frame: &ClientFrame) {
        self.send_text(serde_json::to_string(frame).expect("serialises")).await;
    }

    pub async fn send_text(&mut self, text: String) {
        self.send_raw(Message::text(text)).await;
    }

    pub async fn send_raw(&mut self, message: Message) {
        tokio::time::timeout(DEADLINE, self.stream.send(message)).await.expect("in time").expect("is sent");
    }

    /// Queues a message and answers its client id.
    pub async fn say(&mut self, channel: ChannelId, text: &str) -> ClientId {
        let id = ClientId(uuid::Uuid::new_v4());
        self.send(&ClientFrame::Send { id, channel, text: text.into(), files: vec![], seen: None }).await;
        id
    }

    pub async fn next(&mut self) -> Incoming {
        loop {
            let next = tokio::time::timeout(DEADLINE, self.stream.next()).await.expect("something in time");
            match next {
                Some(Ok(Message::Text(text))) => {
                    let frame = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
                    return Incoming::Frame(frame);
                }
                Some(Ok(Message::Close(close))) => return Incoming::Closed(close.map(|c| c.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Incoming::Closed(None),
            }
        }
    }

    /// The first frame that `pick` wants; others are dropped.
    pub async fn until<T>(&mut self, mut pick: impl FnMut(ServerFrame) -> Option<T>) -> T {
        loop {
            match self.next().await {
                Incoming::Frame(frame) => {
                    if let Some(picked) = pick(frame) {
                        return picked;
                    }
                }
                Incoming::Closed(code) => panic!("closed with {code:?} while waiting"),
            }
        }
    }

    /// The position and whether it is a duplicate, from the command's ack.
    pub async fn acked(&mut self, wanted: ClientId) -> (Seq, bool) {
        self.until(|frame| match frame {
            ServerFrame::Ack { id, seq, duplicate, .. } if id == wanted => Some((seq, duplicate)),
            ServerFrame::Error { id: Some(id), code, message, .. } if id == wanted => {
                panic!("refused: {code:?} {message}")
            }
            _ => None,
        })
        .await
    }

    pub async fn event(&mut self) -> Event {
        self.until(|frame| if let ServerFrame::Event(event) = frame { Some(event) } else { None }).await
    }

    /// The code with which the server closed; frames before it are dropped.
    pub async fn closed(&mut self) -> Option<u16> {
        loop {
            if let Incoming::Closed(code) = self.next().await {
                return code;
            }
        }
    }

    /// Everything that `sync` brings: the events' positions, the head, and whether it recovered.
    pub async fn sync(&mut self, channel: ChannelId, after: Seq) -> (Vec<Event>, Seq, bool) {
        let wanted = ClientId(uuid::Uuid::new_v4());
        self.send(&ClientFrame::Sync { id: Some(wanted), channel, after }).await;
        let mut events = Vec::new();
        loop {
            match self.next().await {
                Incoming::Frame(ServerFrame::Event(event)) if event.channel == channel => events.push(event),
                Incoming::Frame(ServerFrame::Synced { id, head, recovered, .. }) if id == Some(wanted) => {
                    return (events, head, recovered);
                }
                Incoming::Frame(_) => {}
                Incoming::Closed(code) => panic!("closed with {code:?} while syncing"),
            }
        }
    }

    pub fn head(&self, channel: ChannelId) -> Seq {
        self.channels.iter().find(|state| state.channel == channel).expect("is a member").head
    }
}
