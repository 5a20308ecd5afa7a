//! The accept loop: HTTP/1.1 and HTTP/2 on one port.
//!
//! Our own instead of `axum::serve`, because an upgraded socket must come out as the bare `TcpStream` (the
//! fan-out writes to it directly), and because every phase of a connection has its bound: who may be connected is decided by
//! [`Admission`], and who takes too long is found by [`Activity`].

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::ConnectInfo,
    response::{IntoResponse as _, Response},
};
use chat_domain::chat::ChatError;
use chat_http::{
    Guest, HttpError, SINGLE_HEADERS,
    connection::{Activity, Admission, Answer, Closed, Paced, Requests, StrangersBody, Stream, is_too_much},
    has_good_host, has_one_of_each,
};
use chat_protocol::ErrorCode;
use http::{HeaderValue, Version, header};
use hyper::{Request, body::Body as _, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower::ServiceExt as _;

/// How long requests in progress may go on after shutdown began.
const GRACE: Duration = Duration::from_secs(10);
/// Pause after a failed accept, so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// Largest head of an HTTP/1 request, in bytes; more is answered 431.
const MAX_HEAD: usize = 64 * 1024;
/// Largest list of headers of an HTTP/2 request, in bytes as RFC 9113 §6.5.2 counts them.
const MAX_HEADER_LIST: u32 = 32 * 1024;
/// HTTP/2 requests at once on one connection.
const MAX_STREAMS: u32 = 64;
/// HTTP/2 requests that a client reset and nobody has looked at yet; more end the connection (CVE-2023-44487).
const MAX_RESETS: usize = 20;
/// HTTP/2 streams that this end reset for what their client did wrong; more end the connection.
const MAX_ERRORS: usize = 64;
/// What an HTTP/2 client may send, of one request and of all, before some of it was read.
const WINDOW: u32 = 256 * 1024;
/// What is kept of one HTTP/2 answer for a client that does not read.
const MAX_UNREAD: usize = 64 * 1024;

/// What the system takes beyond what is on its way, in bytes.
#[cfg(target_os = "linux")]
const NOT_SENT: u32 = 128 * 1024;

/// Serves `router` until `shutdown`, then lets requests in progress finish for a bounded time. Upgraded sockets
/// are not its business: whoever took them drains them.
pub async fn serve(listener: TcpListener, router: Router, admission: Admission, shutdown: CancellationToken) {
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = shutdown.cancelled() => break,
            accepted = accept(&listener, &admission) => accepted,
        };
        match accepted {
            Ok((stream, peer, guest)) => {
                connections.spawn(connection(stream, peer, guest, router.clone(), shutdown.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "connection was not accepted");
                admission.make_room();
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(GRACE, connections.wait()).await.is_err() {
        tracing::warn!(open = connections.len(), "requests were cut off at shutdown");
    }
}

async fn accept(listener: &TcpListener, admission: &Admission) -> io::Result<(TcpStream, SocketAddr, Guest)> {
    let permit = admission.ready().await.ok_or(io::ErrorKind::ConnectionAborted)?;
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, admission.enter(peer, permit)))
}

/// The system takes little more than is on its way: what it has taken counts as read, and a ping of HTTP/2 waits behind it. With
/// megabytes of it a slow reader would seem not to read for a minute.
fn keep_little(stream: &TcpStream) {
    #[cfg(target_os = "linux")]
    if let Err(error) = socket2::SockRef::from(stream).set_tcp_notsent_lowat(NOT_SENT) {
        tracing::debug!(%error, "TCP_NOTSENT_LOWAT was not set");
    }
    #[cfg(not(target_os = "linux"))]
    let _ = stream;
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    guest: Guest,
    router: Router,
    shutdown: CancellationToken,
) {
    // Frames are small and must leave at once.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY was not set");
    }
    keep_little(&stream);
    let activity = Activity::begin();
    let stream = Stream::new(stream, Arc::clone(&activity));
    let service = service_fn({
        let (guest, activity) = (guest.clone(), Arc::clone(&activity));
        move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            answer(request, router.clone(), guest.clone(), Arc::clone(&activity))
        }
    });
    let mut builder = auto::Builder::new(Requests);
    // `activity` has an eye on the time.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(MAX_HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_ERRORS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_send_buf_size(MAX_UNREAD);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let served = async {
        let mut stopping = false;
        loop {
            tokio::select! {
                served = connection.as_mut() => return served,
                () = shutdown.cancelled(), if !stopping => {
                    connection.as_mut().graceful_shutdown();
                    stopping = true;
                }
            }
        }
    };
    tokio::select! {
        served = served => if let Err(error) = served {
            if is_too_much(&*error) {
                guest.closed(Closed::Overhead);
            }
            tracing::debug!(%error, %peer, "connection ended early");
        },
        () = guest.sent_away() => {}
        why = activity.overdue(|| guest.is_stranger()) => guest.closed(why),
    }
}

/// Answers a request, as long as whoever sent it has a place.
async fn answer(
    request: Request<Incoming>,
    router: Router,
    connection: Guest,
    activity: Arc<Activity>,
) -> Result<Response, Infallible> {
    let flight = activity.request(request.version() == Version::HTTP_2);
    let work = flight.work();
    if !has_good_host(request.version(), request.uri(), request.headers()) {
        connection.closed(Closed::Host);
        let error = ChatError::new(
            ErrorCode::Malformed,
            "the host is missing, is no host, or is said twice: one Host header is expected, over HTTP/2 :authority, or both with the \
             same host",
        );
        return Ok(closing(HttpError(error).into_response()));
    }
    if !has_one_of_each(request.headers()) {
        let message = format!(
            "each of these headers may be there once only: {}",
            SINGLE_HEADERS.map(|name| name.to_string()).join(", ")
        );
        return Ok(closing(HttpError(ChatError::new(ErrorCode::Malformed, message)).into_response()));
    }
    let guest = connection.of_request(request.headers());
    guest.answering(request.body().is_end_stream());
    let mut request = request;
    let shares = guest.shares();
    request.extensions_mut().insert(guest.clone());
    request.extensions_mut().insert(shares.clone());
    let place = if request.body().is_end_stream() { None } else { guest.body() };
    let pushed_out = place.as_ref().map_or_else(CancellationToken::new, StrangersBody::away);
    let request = request.map(|body| {
        if body.is_end_stream() {
            Body::empty()
        } else {
            Body::new(Paced::new(body, flight.clone(), guest.clone(), place))
        }
    });
    let answered = tokio::select! {
        answered = router.oneshot(request) => answered?,
        () = pushed_out.cancelled() => closing(HttpError(ChatError::overloaded(1_000)).into_response()),
        () = guest.sent_away() => closing(HttpError(ChatError::overloaded(1_000)).into_response()),
    };
    drop(work);
    Ok(answered.map(|body| Body::new(Answer::new(body, flight, guest, shares))))
}

/// An answer after which the connection is closed.
fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}
