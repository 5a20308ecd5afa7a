//! The state of the connection, and what happens on it next.

use std::time::{Duration, Instant};

use chat_protocol::{ClientFrame, ServerFrame};
use futures_util::{FutureExt, SinkExt, StreamExt, future::BoxFuture};
use tokio::time::{sleep_until, timeout};
use tokio_tungstenite::tungstenite::{Error, Message, error::ProtocolError};

use crate::{
    OpenError,
    socket::{self, Opened, Socket},
};

/// Longest time for handing frames to the system.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);

/// What a person is shown of a connection that just ended.
const LOST: &str = "connection lost";

/// Where the connection stands.
pub(crate) enum Link {
    /// Nothing until then.
    Waiting(Instant),
    /// On its way.
    Opening(BoxFuture<'static, Result<Opened, Failure>>),
    /// Connected: the server has sent `welcome`.
    Open(Box<Open>),
}

/// A connection that was not welcomed.
pub(crate) struct Failure {
    pub(crate) error: OpenError,
    /// What it was tried with, when it came that far.
    pub(crate) token: Option<String>,
}

/// A welcomed connection.
pub(crate) struct Open {
    pub(crate) socket: Socket,
    pub(crate) token: String,
    pub(crate) since: Instant,
    heartbeat: Duration,
    dead_after: Duration,
    heard: Instant,
    pinged: Instant,
    /// The server goes away; when to come back.
    pub(crate) comeback: Option<Instant>,
}

/// What happened on the connection.
pub(crate) enum Step {
    /// The wait is over.
    Due,
    /// Connected: the server has sent `welcome`.
    Opened(Box<Opened>),
    /// The connection could not be opened.
    Failed(Failure),
    /// A frame came.
    Frame(ServerFrame),
    /// Something came that shows that the connection works.
    Alive,
    /// The connection ended.
    Closed(Option<u16>, String),
}

impl Link {
    /// Waits for what happens next. Cancel-safe.
    pub(crate) async fn step(&mut self) -> Step {
        match self {
            Self::Waiting(until) => {
                sleep_until((*until).into()).await;
                Step::Due
            }
            Self::Opening(opening) => match opening.await {
                Ok(opened) => Step::Opened(Box::new(opened)),
                Err(failure) => Step::Failed(failure),
            },
            Self::Open(open) => open.step().await,
        }
    }

    pub(crate) fn opening(future: impl Future<Output = Result<Opened, Failure>> + Send + 'static) -> Self {
        Self::Opening(future.boxed())
    }
}

impl Open {
    pub(crate) fn new(opened: Opened, dead_after: Option<Duration>, now: Instant) -> Self {
        let Opened { socket, token, heartbeat, .. } = opened;
        // A server that says 0 must not make the client spin.
        let heartbeat = heartbeat.max(Duration::from_secs(1));
        let dead_after = dead_after.unwrap_or(2 * heartbeat);
        let comeback = None;
        Self { socket, token, since: now, heartbeat, dead_after, heard: now, pinged: now, comeback }
    }

    async fn step(&mut self) -> Step {
        let message = self.socket.next().await;
        self.heard = Instant::now();
        match message {
            Some(Ok(Message::Text(text))) => socket::decode(&text).map_or(Step::Alive, Step::Frame),
            Some(Ok(Message::Close(close))) => {
                let code = close.as_ref().map(|close| close.code.into());
                Step::Closed(code, close.map(|close| close.reason.to_string()).unwrap_or_default())
            }
            Some(Ok(_)) => Step::Alive,
            Some(Err(error)) => Step::Closed(None, reason(&error)),
            None => Step::Closed(None, LOST.to_owned()),
        }
    }

    /// The ping that is due, if one is. Sent also while the client talks: only the answer shows that the
    /// server still hears.
    pub(crate) fn ping(&mut self, now: Instant) -> Option<ClientFrame> {
        (now >= self.ping_at()).then(|| {
            self.pinged = now;
            ClientFrame::Ping { id: None }
        })
    }

    /// When the next ping is due: twice within the heartbeat, and within the time to be declared dead.
    pub(crate) fn ping_at(&self) -> Instant {
        self.pinged + (self.heartbeat / 2).min(self.dead_after / 3)
    }

    /// When the connection counts as dead, unless something is heard.
    pub(crate) fn dead_at(&self) -> Instant {
        self.heard + self.dead_after
    }

    /// Puts frames on the wire, in one write where they fit.
    pub(crate) async fn write(&mut self, frames: Vec<ClientFrame>) -> Result<(), String> {
        let socket = &mut self.socket;
        let write = async {
            for frame in &frames {
                socket.feed(socket::encode(frame)).await?;
            }
            socket.flush().await
        };
        match timeout(WRITE_DEADLINE, write).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(reason(&error)),
            Err(_) => Err("the server takes nothing".to_owned()),
        }
    }
}

/// What a person is shown of an error. A peer that vanishes is no protocol error to them.
fn reason(error: &Error) -> String {
    match error {
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)
        | Error::ConnectionClosed
        | Error::AlreadyClosed => LOST.to_owned(),
        Error::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}
