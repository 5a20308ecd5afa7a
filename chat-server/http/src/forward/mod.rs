//! A process that lacks a role hands requests of that role to one that has it.
//!
//! Where something in front routes by path, nothing comes here. Where nothing does, as behind a plain Service of Kubernetes
//! that selects the gateways, this makes one address do for everything. Bodies are streamed, both ways at once; nothing is
//! repeated, no redirect is followed, nothing is upgraded.
//!
//! In reading order: `headers` is what is said to the other process, `connect` is how it is reached, `flow` are the bodies and
//! the deadline on them.

mod connect;
mod flow;
mod headers;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{ConnectInfo, Request, State},
    response::{IntoResponse as _, Response},
    routing::any,
};
use chat_domain::chat::ChatError;
use chat_protocol::ErrorCode;
use http::{Method, StatusCode, Uri, Version, uri};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, Error as ClientError},
    rt::{TokioExecutor, TokioTimer},
};
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{HttpError, TrustedProxies, connection::is_too_slow, fallback, method_not_allowed};
use connect::Connect;
use flow::Activity;

/// Requests that may be under way to one role at once. Sockets are not among them.
const PLACES: usize = 1_024;
/// A request and its answer on which nothing moves for so long are given up.
const IDLE: Duration = Duration::from_secs(30);
/// Idle connections are not used again after this. Shorter than the server at the other end waits for a request
/// (`http_server`), or one would now and then be written into a connection that is just being closed.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Idle connections that are kept.
const KEPT: usize = 64;

/// Where gateways take sockets.
const SOCKETS: &str = "/v1/ws";

/// Where requests of a role are handed to.
#[derive(Debug, Clone)]
pub struct ForwardOptions {
    /// The role, for metrics and the log.
    pub role: &'static str,
    /// `host:port` of whoever has it.
    pub to: uri::Authority,
    /// The proxies whose word is taken, and passed on, for where a request came from.
    pub trusted_proxies: TrustedProxies,
    /// Requests under way at once; more are answered `overloaded`.
    pub places: usize,
    /// After how long without anything moving a request is given up.
    pub idle: Duration,
}

impl ForwardOptions {
    /// To this URL, with the usual bounds.
    ///
    /// # Errors
    /// When it is not `http://host:port`.
    pub fn new(
        role: &'static str,
        url: &str,
        trusted_proxies: TrustedProxies,
    ) -> Result<Self, NotAnUpstream> {
        Ok(Self { role, to: upstream(url)?, trusted_proxies, places: PLACES, idle: IDLE })
    }
}

/// A text that names no process to hand requests to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not http://host:port without a path, such as http://folkmoot-api:8080")]
pub struct NotAnUpstream;

/// Host and port of `http://host:port`.
///
/// # Errors
/// When it is something else.
pub fn upstream(url: &str) -> Result<uri::Authority, NotAnUpstream> {
    let url: Uri = url.parse().map_err(|_| NotAnUpstream)?;
    let plain = url.scheme() == Some(&uri::Scheme::HTTP)
        && url.path_and_query().is_none_or(|path| path.as_str() == "/");
    let authority = url.authority().filter(|authority| plain && !authority.as_str().contains('@'));
    authority.cloned().ok_or(NotAnUpstream)
}

/// What is to be measured of all forwarders of a process.
#[derive(Debug, Clone, Default)]
pub struct ForwardMetrics {
    in_flight: Family<Labels, Gauge>,
    refused: Family<Labels, Count>,
    failed: Family<Labels, Count>,
}

type Labels = Vec<(&'static str, &'static str)>;
type Count = Counter<u64, AtomicU64>;

impl ForwardMetrics {
    /// Adds it to what is shown.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "forward_in_flight",
            "Requests that are under way to a process with the role",
            self.in_flight.clone(),
        );
        registry.register(
            "forward_refused",
            "Requests refused because too many were under way",
            self.refused.clone(),
        );
        registry.register(
            "forward_failed",
            "Requests that no process with the role answered",
            self.failed.clone(),
        );
    }
}

/// Hands requests to processes with a role. Cheap to clone.
#[derive(Clone)]
pub struct Forwarder(Arc<Inner>);

struct Inner {
    options: ForwardOptions,
    client: Client<Connect, Body>,
    places: Arc<Semaphore>,
    /// Whether nobody could be reached at the last try, so that it is logged once.
    away: AtomicBool,
    in_flight: Gauge,
    refused: Count,
    failed: Count,
}

impl Forwarder {
    /// One without connections; they are made when they are needed.
    #[must_use]
    pub fn new(options: ForwardOptions, metrics: &ForwardMetrics) -> Self {
        let labels = vec![("role", options.role)];
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(KEEP_ALIVE)
            .pool_max_idle_per_host(KEPT)
            .pool_timer(TokioTimer::new())
            .build(Connect::new());
        Self(Arc::new(Inner {
            client,
            places: Arc::new(Semaphore::new(options.places)),
            away: AtomicBool::new(false),
            in_flight: metrics.in_flight.get_or_create_owned(&labels),
            refused: metrics.refused.get_or_create_owned(&labels),
            failed: metrics.failed.get_or_create_owned(&labels),
            options,
        }))
    }

    /// Answers with what a process with the role answers, or with a problem when none does.
    pub async fn forward(&self, request: Request) -> Response {
        match self.0.try_forward(request).await {
            Ok(response) => response,
            Err(error) => HttpError(error).into_response(),
        }
    }
}

/// The routes that a process without the role `auth` hands over.
pub fn auth_routes(auth: Forwarder) -> Router {
    Router::new()
        .route("/v1/auth/{*rest}", any(handle))
        .route("/.well-known/jwks.json", any(handle))
        .with_state(auth)
}

/// What a process without the role `api` hands over: whatever it does not serve itself, the web client at `/` included.
pub fn api_routes(api: Forwarder) -> Router {
    Router::new().route("/", any(handle)).route("/{*rest}", any(handle)).with_state(api)
}

async fn handle(State(forwarder): State<Forwarder>, request: Request) -> Response {
    // Sockets are held by whoever upgrades them. That is no other process.
    if request.uri().path() == SOCKETS {
        return fallback().await.into_response();
    }
    if request.method() == Method::CONNECT {
        return method_not_allowed().await.into_response();
    }
    forwarder.forward(request).await
}

impl Inner {
    async fn try_forward(&self, request: Request) -> Result<Response, ChatError> {
        if headers::came_from_us(request.headers()) {
            tracing::error!(
                role = self.options.role,
                "requests go in a circle: the URL must name other processes"
            );
            return Err(ChatError::new(ErrorCode::Internal, "a request was handed on twice; it was logged"));
        }
        let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() else {
            self.refused.inc();
            return Err(ChatError::overloaded(retry_after_ms()));
        };
        let place = Place::new(permit, &self.in_flight);
        let activity = Activity::new(self.options.idle);
        let outgoing = self.outgoing(request, &activity)?;
        let answered = tokio::select! {
            answered = self.client.request(outgoing) => answered.map_err(|error| self.failed(&error)),
            () = activity.ceased() => {
                self.failed.inc();
                tracing::debug!(role = self.options.role, "no answer in time");
                Err(unanswered())
            }
        };
        let answer = answered?;
        if self.away.swap(false, Ordering::Relaxed) {
            tracing::info!(role = self.options.role, to = %self.options.to, "reached again");
        }
        Ok(incoming(answer, activity, place))
    }

    fn outgoing(&self, request: Request, activity: &Activity) -> Result<Request, ChatError> {
        let (mut parts, body) = request.into_parts();
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical());
        let trusted = peer.is_some_and(|peer| self.options.trusted_proxies.contains(peer));
        headers::request(&mut parts.headers, &parts.uri, parts.version, peer, trusted);
        let mut uri = uri::Parts::default();
        uri.scheme = Some(uri::Scheme::HTTP);
        uri.authority = Some(self.options.to.clone());
        uri.path_and_query = parts.uri.path_and_query().cloned();
        parts.uri = Uri::from_parts(uri)
            .map_err(|_| ChatError::new(ErrorCode::Malformed, "the request has no path"))?;
        parts.version = Version::HTTP_11;
        parts.extensions.clear();
        Ok(Request::from_parts(parts, activity.watch(body)))
    }

    /// What to say when nobody answered.
    fn failed(&self, error: &ClientError) -> ChatError {
        if let Some(message) = is_too_slow(error) {
            // The client's fault, and nothing was done.
            return ChatError::new(ErrorCode::Malformed, message);
        }
        self.failed.inc();
        let source = std::error::Error::source(error).map(ToString::to_string);
        let Self { options: ForwardOptions { role, to, .. }, .. } = self;
        if !error.is_connect() {
            tracing::debug!(%error, source, role, "no whole answer");
            return unanswered();
        }
        if !self.away.swap(true, Ordering::Relaxed) {
            tracing::warn!(%error, source, role, %to, "cannot be reached");
        }
        ChatError {
            message: "this part of the server cannot be reached at the moment; nothing was done".into(),
            ..ChatError::overloaded(retry_after_ms())
        }
    }
}

/// The answer as the client gets it. Its place is free when the last byte was handed over.
fn incoming(answer: Response<Incoming>, activity: Activity, place: Place) -> Response {
    let (mut parts, body) = answer.into_parts();
    headers::response(&mut parts.headers, parts.status);
    parts.extensions.clear();
    parts.version = Version::HTTP_11;
    if parts.status == StatusCode::SWITCHING_PROTOCOLS {
        // Nobody asked for it.
        return HttpError(unanswered()).into_response();
    }
    Response::from_parts(parts, flow::pumped(body, activity, place))
}

/// It was sent, and nobody knows what became of it.
fn unanswered() -> ChatError {
    ChatError { retry_after_ms: Some(retry_after_ms()), ..ChatError::unknown_outcome() }
}

/// Spread out, so that not all come back at once.
fn retry_after_ms() -> u64 {
    rand::random_range(750..=1_750)
}

/// A request's place among those that are under way, given back when dropped.
struct Place {
    _permit: OwnedSemaphorePermit,
    in_flight: Gauge,
}

impl Place {
    fn new(permit: OwnedSemaphorePermit, in_flight: &Gauge) -> Self {
        in_flight.inc();
        Self { _permit: permit, in_flight: in_flight.clone() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.in_flight.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upstream_is_a_host_and_a_port() {
        for (url, expected) in [
            ("http://api:8080", Some("api:8080")),
            ("http://api:8080/", Some("api:8080")),
            ("http://[::1]:8080", Some("[::1]:8080")),
            ("http://api", Some("api")),
            ("https://api:8080", None),
            ("api:8080", None),
            ("http://api:8080/v1", None),
            ("http://api:8080/?a=b", None),
            ("http://me@api:8080", None),
            ("http://", None),
            ("", None),
        ] {
            let found = upstream(url).ok();
            assert_eq!(found.as_ref().map(uri::Authority::as_str), expected, "{url}");
        }
    }
}
