//! `GET /v1/ws`: from an HTTP request to a socket (RFC 6455 §4.2).

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse as _, Response},
};
use base64::Engine as _;
use chat_domain::chat::ChatError;
use chat_http::{
    Guest, HttpError,
    connection::{Seat, Stream},
};
use chat_protocol::{ErrorCode, SUBPROTOCOL};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use hyper::upgrade::Upgraded;
use hyper_util::{rt::TokioIo, server::conn::auto::upgrade::downcast};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_util::sync::CancellationToken;

use super::{Gateway, conn::Conn, reader::Reader, session};
use crate::metrics::{GatewayMetrics, Refused};

/// Answers an upgrade request.
pub(super) async fn upgrade(State(gateway): State<Arc<Gateway>>, mut request: Request) -> Response {
    let key = match check(&gateway, &request) {
        Ok(key) => key,
        Err((why, error)) => {
            gateway.metrics.refusals.inc(why);
            let too_old = error.code == ErrorCode::Malformed;
            let mut response = HttpError(error).into_response();
            if too_old {
                // §4.4: say which version is spoken.
                response.headers_mut().insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            }
            return response;
        }
    };
    if gateway.is_full() {
        gateway.metrics.refusals.inc(Refused::Capacity);
        return HttpError(full()).into_response();
    }
    // A socket has no place among those of people before its hello: until then it is a stranger's.
    let guest = request.extensions_mut().remove::<Guest>();
    let stranger = Stranger::new(guest, &gateway.metrics);
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        // Bounded, or a client that does not read the answer would keep its place, and a drain waiting for it.
        let upgraded = match tokio::time::timeout(gateway.options.hello_timeout, upgraded).await {
            Ok(Ok(upgraded)) => upgraded,
            Ok(Err(error)) => {
                tracing::debug!(%error, "upgrade was not completed");
                return;
            }
            Err(_) => {
                tracing::debug!("upgrade was not completed in time");
                return;
            }
        };
        let Some((stream, early)) = take_apart(upgraded) else {
            tracing::error!("upgraded connection is not one that http_server serves");
            return;
        };
        let conn = Conn::new(gateway.next_id(), stream, gateway.options.max_queued_bytes, gateway.started);
        session::run(gateway, conn, Reader::new(&early), stranger).await;
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    match HeaderValue::from_str(&derive_accept_key(key.as_bytes())) {
        Ok(accept) => headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept),
        Err(_) => {
            let bad = ChatError::new(ErrorCode::Malformed, "bad Sec-WebSocket-Key");
            return HttpError(bad).into_response();
        }
    };
    response
}

/// The bare stream, and what the client sent behind its request. Copied, and in a function of its own: a reference to
/// hyper's read buffer would keep all 8 KiB of it for the socket's whole life.
fn take_apart(upgraded: Upgraded) -> Option<(TcpStream, Vec<u8>)> {
    let parts = downcast::<TokioIo<Stream>>(upgraded).ok()?;
    Some((parts.io.into_inner().into_tcp(), parts.read_buf.to_vec()))
}

/// The request's key, when all is as §4.2.1 wants it.
fn check(gateway: &Gateway, request: &Request) -> Result<HeaderValue, (Refused, ChatError)> {
    let headers = request.headers();
    let malformed = |message: &str| (Refused::Malformed, ChatError::new(ErrorCode::Malformed, message));
    if gateway.is_draining() {
        let error = ChatError {
            message: "this server is going away; try again".into(),
            ..ChatError::overloaded(1_000)
        };
        return Err((Refused::Draining, error));
    }
    let upgrades = has_token(headers, &header::CONNECTION, "upgrade")
        && has_token(headers, &header::UPGRADE, "websocket")
        && request.version() == Version::HTTP_11
        // What answers GET answers HEAD, too.
        && request.method() == Method::GET;
    if !upgrades {
        return Err(malformed("not an HTTP/1.1 WebSocket upgrade request (RFC 6455)"));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(malformed("Sec-WebSocket-Version must be 13"));
    }
    if !has_token(headers, &header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
        return Err(malformed(&format!("Sec-WebSocket-Protocol must be {SUBPROTOCOL}")));
    }
    if !origin_allowed(headers, &gateway.options.allowed_origins) {
        let error = ChatError::forbidden("this Origin is not on the server's allow-list");
        return Err((Refused::Malformed, error));
    }
    let mut keys = headers.get_all(header::SEC_WEBSOCKET_KEY).iter();
    match (keys.next(), keys.next()) {
        (Some(key), None) if is_key(key) => Ok(key.clone()),
        _ => Err(malformed("there must be one Sec-WebSocket-Key header with 16 bytes in base64")),
    }
}

/// Whether it is 16 bytes in base64 (§4.2.1).
fn is_key(key: &HeaderValue) -> bool {
    base64::engine::general_purpose::STANDARD.decode(key.as_bytes()).is_ok_and(|key| key.len() == 16)
}

/// Of a gateway that has as many sockets as it takes.
pub(super) fn full() -> ChatError {
    ChatError::overloaded(5_000)
}

/// A socket before its hello is accepted.
pub(super) struct Stranger {
    guest: Option<Guest>,
    metrics: Arc<GatewayMetrics>,
}

impl Stranger {
    fn new(guest: Option<Guest>, metrics: &Arc<GatewayMetrics>) -> Self {
        metrics.strangers.inc();
        Self { guest, metrics: Arc::clone(metrics) }
    }

    /// It is a person's from now on, and holds what is returned to its end.
    pub(super) fn seat(mut self) -> Option<Seat> {
        self.guest.take().map(Guest::seat)
    }

    /// Cancelled when it has to go for another one.
    pub(super) fn away(&self) -> CancellationToken {
        self.guest.as_ref().map(Guest::away).unwrap_or_default()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.metrics.strangers.dec();
    }
}

/// Browsers say where a page came from; a page of another site must not use its visitor's credentials. Clients
/// that are no browsers send no Origin.
fn origin_allowed(headers: &HeaderMap, allowed: &[String]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    let own = headers.get(header::HOST).and_then(|host| host.to_str().ok()).is_some_and(|host| {
        origin.split_once("://").is_some_and(|(_, origin_host)| origin_host.eq_ignore_ascii_case(host))
    });
    own || allowed.iter().any(|a| a == "*" || a.eq_ignore_ascii_case(origin))
}

fn has_token(headers: &HeaderMap, name: &header::HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|part| part.trim().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_16_bytes_in_base64() {
        for (key, expected) in [
            ("dGhlIHNhbXBsZSBub25jZQ==", true),
            ("AAAAAAAAAAAAAAAAAAAAAA==", true),
            ("dGhlIHNhbXBsZSBub25jZQ", false),
            ("dGhlIHNhbXBsZSBub25j", false),
            ("dGhlIHNhbXBsZSBub25jZWFi", false),
            ("not base64 at all!", false),
            ("", false),
        ] {
            assert_eq!(is_key(&HeaderValue::from_static(key)), expected, "{key:?}");
        }
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        let headers = |origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("chat.example:8080"));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_str(origin).expect("a value"));
            }
            headers
        };
        let allowed = ["https://app.example".to_owned()];
        for (origin, expected) in [
            (None, true),
            (Some("http://chat.example:8080"), true),
            (Some("https://app.example"), true),
            (Some("https://evil.example"), false),
            (Some("null"), false),
            (Some("http://chat.example"), false),
        ] {
            assert_eq!(origin_allowed(&headers(origin), &allowed), expected, "{origin:?}");
        }
        assert!(origin_allowed(&headers(Some("https://any.example")), &["*".to_owned()]));
    }
}
