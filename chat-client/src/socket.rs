//! Opening a socket: TCP, TLS, upgrade, `hello`, `welcome`, each with a deadline.

use std::time::Duration;

use chat_protocol::{
    ChannelState, ClientFrame, CloseCode, Generation, SUBPROTOCOL, ServerFrame, SessionId, UserId,
};
use futures_util::{SinkExt, StreamExt};
use http::{HeaderValue, header};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{self, Message, client::IntoClientRequest, protocol::WebSocketConfig},
};
use url::Url;

use crate::RestError;

/// Largest frame taken from a server: `welcome` of somebody in many channels is the largest one.
const MAX_INCOMING_BYTES: usize = 16 * 1024 * 1024;
/// tungstenite allocates 128 KiB at once for each socket otherwise.
const READ_BUFFER_BYTES: usize = 16 * 1024;

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The server's address cannot be used.
    #[error("not a URL to connect to: {0}")]
    Url(String),
    /// There is no access token to say `hello` with.
    #[error("no access token to connect with")]
    Token(#[source] RestError),
    /// No connection, or not with a WebSocket server.
    #[error("failed to connect with a WebSocket")]
    Connect(#[source] Box<tungstenite::Error>),
    /// The server refused the upgrade.
    #[error("the server refused the WebSocket with status {status}")]
    Upgrade {
        /// The HTTP status.
        status: u16,
        /// When to try again.
        retry_after: Option<Duration>,
    },
    /// It took too long.
    #[error("no {what} within {} ms", .deadline.as_millis())]
    TimedOut {
        /// What was waited for.
        what: &'static str,
        /// For how long.
        deadline: Duration,
    },
    /// The server closed the socket instead of welcoming.
    #[error("the server closed the socket instead of welcoming: {code:?} {reason}")]
    Closed {
        /// The close code, if there was one.
        code: Option<u16>,
        /// The reason that came with it.
        reason: String,
        /// When to try again, if it said so.
        retry_after: Option<Duration>,
    },
}

/// A welcomed socket.
pub(crate) struct Opened {
    pub(crate) socket: Socket,
    pub(crate) token: String,
    pub(crate) user: UserId,
    pub(crate) session: SessionId,
    pub(crate) heartbeat: Duration,
    pub(crate) generation: Option<Generation>,
    pub(crate) channels: Vec<ChannelState>,
}

/// Opens a socket and waits for its `welcome`.
pub(crate) async fn open(
    base: Url,
    token: String,
    client: String,
    deadline: Duration,
) -> Result<Opened, OpenError> {
    let mut socket = timeout(deadline, upgrade(&base))
        .await
        .map_err(|_| OpenError::TimedOut { what: "connection", deadline })??;
    timeout(deadline, hello(&mut socket, token.clone(), client))
        .await
        .map_err(|_| OpenError::TimedOut { what: "answer to hello", deadline })?
        .map(|welcome| {
            let Welcome { user, session, heartbeat, generation, channels } = welcome;
            Opened { socket, token, user, session, heartbeat, generation, channels }
        })
}

async fn upgrade(base: &Url) -> Result<Socket, OpenError> {
    let bad = || OpenError::Url(base.to_string());
    let mut url = base.join("v1/ws").map_err(|_| bad())?;
    let scheme = if base.scheme() == "https" { "wss" } else { "ws" };
    url.set_scheme(scheme).map_err(|()| bad())?;
    let mut request = url.as_str().into_client_request().map_err(|_| bad())?;
    request.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_message_size(Some(MAX_INCOMING_BYTES))
        .max_frame_size(Some(MAX_INCOMING_BYTES));
    match connect_async_with_config(request, Some(config), true).await {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::Error::Http(response)) => Err(OpenError::Upgrade {
            status: response.status().as_u16(),
            retry_after: response
                .headers()
                .get(header::RETRY_AFTER)
                .and_then(|value| value.to_str().ok()?.parse().ok())
                .map(Duration::from_secs),
        }),
        Err(error) => Err(OpenError::Connect(Box::new(error))),
    }
}

struct Welcome {
    user: UserId,
    session: SessionId,
    heartbeat: Duration,
    generation: Option<Generation>,
    channels: Vec<ChannelState>,
}

async fn hello(socket: &mut Socket, token: String, client: String) -> Result<Welcome, OpenError> {
    let broken = |error| OpenError::Connect(Box::new(error));
    socket.send(encode(&ClientFrame::Hello { token, client: Some(client) })).await.map_err(broken)?;
    // A server that is too busy to welcome says when to come back, and closes.
    let mut retry_after = None;
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => match decode(&text) {
                Some(ServerFrame::Welcome { user, session, heartbeat_ms, generation, channels, .. }) => {
                    let heartbeat = Duration::from_millis(heartbeat_ms);
                    return Ok(Welcome { user, session, heartbeat, generation, channels });
                }
                Some(ServerFrame::Error { retry_after_ms, .. }) => {
                    retry_after = retry_after_ms.map(Duration::from_millis);
                }
                _ => {}
            },
            Some(Ok(Message::Close(close))) => {
                let code = close.as_ref().map(|close| close.code.into());
                let reason = close.map(|close| close.reason.to_string()).unwrap_or_default();
                return Err(OpenError::Closed { code, reason, retry_after });
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(broken(error)),
            None => return Err(OpenError::Closed { code: None, reason: String::new(), retry_after }),
        }
    }
}

/// A frame as a message.
pub(crate) fn encode(frame: &ClientFrame) -> Message {
    Message::text(serde_json::to_string(frame).expect("frames hold nothing that JSON cannot say"))
}

/// A message as a frame; `None` for what this version cannot read. A lost event shows as a gap and is asked
/// for, so one odd frame need not end the connection.
pub(crate) fn decode(text: &str) -> Option<ServerFrame> {
    serde_json::from_str(text)
        .inspect_err(|error| tracing::warn!(%error, "not a frame of {SUBPROTOCOL}"))
        .ok()
}

/// Ends a socket politely, in the background.
pub(crate) fn retire(mut socket: Socket) {
    let goodbye = async move {
        let frame = tungstenite::protocol::CloseFrame {
            code: CloseCode::Normal.code().into(),
            reason: CloseCode::Normal.reason().into(),
        };
        let _ = socket.close(Some(frame)).await;
        while let Some(Ok(_)) = socket.next().await {}
    };
    tokio::spawn(timeout(Duration::from_secs(2), goodbye));
}
