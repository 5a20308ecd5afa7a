//! Takes appends from other processes of the cluster.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use chat_domain::{
    chat::{Chat, HandOverError, are_strangers},
    store::Appended,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::wire::{ALIVE, APPEND, MAX_IN_FLIGHT, MAX_REQUEST_BYTES, decode_request, encode_answer};
use crate::{
    metrics::ClusterMetrics,
    tls::{Identity, is_of_the_cluster},
};

/// Connections at most; each process of the cluster has one.
const CONNECTIONS: usize = 256;
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection over which nothing came for so long is asked whether it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Pause after a failed accept (no file descriptors left, say), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What serving needs.
pub(super) struct Serving {
    pub identity: Option<Arc<Identity>>,
    pub chat: Arc<Chat>,
    pub metrics: Arc<ClusterMetrics>,
    pub stop: CancellationToken,
}

impl Serving {
    /// Serves until stopped, and finishes what was taken.
    pub(super) async fn run(self, listener: TcpListener) {
        let serving = Arc::new(self);
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let connections = TaskTracker::new();
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { break };
            let accepted = tokio::select! {
                () = serving.stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let serving = Arc::clone(&serving);
                    connections.spawn(async move {
                        serving.connection(stream).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "connection of another process was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        connections.close();
        connections.wait().await;
    }

    async fn connection(self: Arc<Self>, stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY was not set");
        }
        let Some(identity) = &self.identity else { return self.speak(stream).await };
        let acceptor = TlsAcceptor::from(identity.configs().await.server);
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
            Ok(Ok(stream)) if is_of_the_cluster(stream.get_ref().1.peer_certificates()) => {
                self.speak(stream).await;
            }
            Ok(Ok(_)) => tracing::warn!(
                "refused a certificate of the authority that is not of this cluster's processes"
            ),
            Ok(Err(error)) => {
                tracing::warn!(%error, "refused a connection without a certificate of this cluster")
            }
            Err(_) => tracing::debug!("connection of another process was not secured in time"),
        }
    }

    async fn speak(self: &Arc<Self>, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let serving = Arc::clone(self);
        let service = service_fn(move |request| {
            let serving = Arc::clone(&serving);
            async move { Ok::<_, Infallible>(serving.answer(request).await) }
        });
        let streams = u32::try_from(MAX_IN_FLIGHT).unwrap_or(u32::MAX);
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(KEEP_ALIVE)
            .max_concurrent_streams(streams)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let served = tokio::select! {
            served = connection.as_mut() => served,
            () = self.stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = served {
            tracing::debug!(%error, "connection of another process ended early");
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (status, body) = match (request.method(), request.uri().path()) {
            (&Method::GET, ALIVE) => (StatusCode::NO_CONTENT, Vec::new()),
            (&Method::POST, APPEND) => self.append(request.into_body()).await,
            // Of a version that does not know this one.
            _ => (StatusCode::NOT_FOUND, Vec::new()),
        };
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = status;
        response
    }

    async fn append(&self, body: Incoming) -> (StatusCode, Vec<u8>) {
        let body = match Limited::new(body, MAX_REQUEST_BYTES).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => {
                return (StatusCode::PAYLOAD_TOO_LARGE, Vec::new());
            }
            Err(_) => return (StatusCode::BAD_REQUEST, Vec::new()),
        };
        let request = match decode_request(&body) {
            Ok(request) => request,
            Err(error) => {
                tracing::warn!(%error, "append of another process was not understood; it writes by itself");
                return (StatusCode::UNPROCESSABLE_ENTITY, Vec::new());
            }
        };
        if are_strangers(request.generation, self.chat.generation()) {
            // It would get the answer that its events are committed, and they would be gone with this generation, or with its own.
            tracing::debug!("append of a process on another generation of the store was not taken");
            return answered(Err(HandOverError::NotDone));
        }
        let appending = self.chat.append_for(request.channel, request.events);
        // The other side waits no longer, and then writes by itself.
        let within = Duration::from_millis(request.within_ms);
        let answer = tokio::time::timeout(within, appending).await.unwrap_or(Err(HandOverError::InDoubt));
        if answer.is_ok() {
            self.metrics.hop_served.inc();
        }
        answered(answer)
    }
}

fn answered(answer: Result<Vec<Appended>, HandOverError>) -> (StatusCode, Vec<u8>) {
    match encode_answer(answer) {
        Ok(body) => (StatusCode::OK, body),
        Err(error) => {
            tracing::error!(%error, "answer to another process cannot be encoded");
            (StatusCode::INTERNAL_SERVER_ERROR, Vec::new())
        }
    }
}
