//! One owner as seen from another process: a connection that many batches share, and when to do without it.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use chat_domain::{
    chat::{HandOverError, Remote},
    store::{Appended, NewEvent},
};
use chat_protocol::{ChannelId, Generation};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::Semaphore,
    task::JoinHandle,
};
use tokio_rustls::TlsConnector;

use super::{
    circuit::Circuit,
    client::may_be_plain,
    wire::{
        ALIVE, APPEND, MAX_ANSWER_BYTES, MAX_IN_FLIGHT, MAX_REQUEST_BYTES, decode_answer, encode_request,
    },
};
use crate::{
    metrics::ClusterMetrics,
    tls::{Identity, name},
};

/// A connection over which nothing came for so long is asked whether it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(1);
/// How long it may take to say so.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(1);

type Sender = SendRequest<Full<Bytes>>;

pub(super) struct Peer {
    /// Sends requests; none while there is no connection.
    sender: Mutex<Option<Sender>>,
    circuit: Mutex<Circuit>,
    in_flight: Semaphore,
    timeout: Duration,
    metrics: Arc<ClusterMetrics>,
}

/// A connection that the other side has answered on.
pub(super) struct Connected {
    sender: Sender,
    connection: Ending,
}

/// The task of a connection, which ends with it.
struct Ending(JoinHandle<()>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    #[error("failed to connect or to agree on certificates")]
    Io(#[from] io::Error),
    #[error("the peer does not speak HTTP/2")]
    Http(#[from] hyper::Error),
    #[error("the peer is not a process of this cluster: status {0}")]
    Status(StatusCode),
    #[error("not a loopback address, and there are no certificates")]
    Insecure,
    #[error("the connection took too long")]
    Timeout,
}

impl Peer {
    pub(super) fn new(timeout: Duration, metrics: Arc<ClusterMetrics>) -> Self {
        Self {
            sender: Mutex::default(),
            circuit: Mutex::default(),
            in_flight: Semaphore::new(MAX_IN_FLIGHT),
            timeout,
            metrics,
        }
    }

    /// Whether there is any point in asking it.
    pub(super) fn usable(&self, now: Instant) -> bool {
        self.sender.lock().is_some() && self.circuit.lock().would_admit(now)
    }

    /// Uses a connection until it ends.
    pub(super) async fn connected(&self, connected: Connected) {
        let Connected { sender, mut connection } = connected;
        self.circuit.lock().succeeded();
        *self.sender.lock() = Some(sender);
        let _disconnected = Disconnected(self);
        // Whether the task ended well or was aborted: the connection is over.
        drop((&mut connection.0).await);
    }

    async fn ask(
        &self,
        channel: ChannelId,
        generation: Option<Generation>,
        events: &[NewEvent],
    ) -> Result<Vec<Appended>, HandOverError> {
        let nothing_done = |_| HandOverError::NotDone;
        let _permit = self.in_flight.try_acquire().map_err(|_| HandOverError::NotDone)?;
        let mut sender = self.sender.lock().clone().ok_or(HandOverError::NotDone)?;
        let within_ms = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX);
        let body =
            encode_request(channel, within_ms, generation, events).map_err(|_| HandOverError::NotDone)?;
        if body.len() > MAX_REQUEST_BYTES || !self.circuit.lock().admit(Instant::now()) {
            return Err(HandOverError::NotDone);
        }

        let exchange = async {
            sender.ready().await.map_err(nothing_done)?;
            exchange(&mut sender, body).await
        };
        let answer =
            tokio::time::timeout(self.timeout, exchange).await.unwrap_or(Err(HandOverError::InDoubt));
        match answer {
            Ok((StatusCode::OK, answer)) => {
                self.circuit.lock().succeeded();
                decode_answer(&answer, events.len())
            }
            // It is there, and did not understand.
            Ok((status, _)) if status.is_client_error() => {
                self.circuit.lock().succeeded();
                Err(HandOverError::NotDone)
            }
            Ok(_) => {
                self.circuit.lock().failed(Instant::now());
                Err(HandOverError::InDoubt)
            }
            Err(error) => {
                self.circuit.lock().failed(Instant::now());
                Err(error)
            }
        }
    }
}

/// A peer, as the owner of a channel in one generation of the store.
pub(super) struct Owner {
    pub(super) peer: Arc<Peer>,
    pub(super) generation: Option<Generation>,
}

#[async_trait]
impl Remote for Owner {
    async fn append(&self, channel: ChannelId, events: &[NewEvent]) -> Result<Vec<Appended>, HandOverError> {
        let started = Instant::now();
        let answer = self.peer.ask(channel, self.generation, events).await;
        match answer {
            Ok(_) => {
                self.peer.metrics.hop_forwarded.inc();
                self.peer.metrics.hop_seconds.observe(started.elapsed().as_secs_f64());
            }
            Err(HandOverError::Busy { .. }) => {}
            Err(error) => {
                tracing::debug!(%channel, %error, "batch is written directly");
                self.peer.metrics.hop_fell_back.inc();
            }
        }
        answer
    }
}

async fn exchange(sender: &mut Sender, body: Vec<u8>) -> Result<(StatusCode, Bytes), HandOverError> {
    let request = Request::post(APPEND).body(Full::from(body)).map_err(|_| HandOverError::NotDone)?;
    let response = sender.send_request(request).await.map_err(in_doubt)?;
    let status = response.status();
    let answer = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await.map_err(in_doubt)?;
    Ok((status, answer.to_bytes()))
}

fn in_doubt<E: std::fmt::Display>(error: E) -> HandOverError {
    tracing::debug!(%error, "hop failed");
    HandOverError::InDoubt
}

/// Ends the use of a connection, however that comes about.
struct Disconnected<'a>(&'a Peer);

impl Drop for Disconnected<'_> {
    fn drop(&mut self) {
        *self.0.sender.lock() = None;
    }
}

impl Connected {
    /// Connects, and hears that the other side is there and takes us for one of its own.
    pub(super) async fn connect(address: &str, identity: Option<&Identity>) -> Result<Self, ConnectError> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        match identity {
            Some(identity) => {
                let connector = TlsConnector::from(identity.configs().await.client);
                Self::over(connector.connect(name(), stream).await?).await
            }
            None if may_be_plain(stream.peer_addr()?) => Self::over(stream).await,
            None => Err(ConnectError::Insecure),
        }
    }

    async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    ) -> Result<Self, ConnectError> {
        let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .handshake(TokioIo::new(stream))
            .await?;
        let connection = Ending(tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection to an owner ended early");
            }
        }));
        let mut request = Request::new(Full::default());
        *request.method_mut() = Method::GET;
        *request.uri_mut() = http::Uri::from_static(ALIVE);
        let status = sender.send_request(request).await?.status();
        if status.is_success() { Ok(Self { sender, connection }) } else { Err(ConnectError::Status(status)) }
    }
}
