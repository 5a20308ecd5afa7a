//! Refusals, counted and in the audit log: of people who may not do what they tried, of those who try too often, and of those who
//! store too much.

use std::{
    fmt,
    net::IpAddr,
    sync::{Arc, LazyLock, OnceLock},
    time::{Duration, Instant},
};

use axum::{
    extract::{FromRequestParts as _, Request},
    middleware::Next,
    response::Response,
};
use chat_protocol::{ErrorCode, UserId};
use http::StatusCode;
use parking_lot::Mutex;
use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use super::ClientAddress;

/// Lines in a second; of more it is only said how many there were.
const LINES: u32 = 20;
/// Longest path that is written, in bytes.
const MAX_PATH: usize = 200;

/// Stays with a request; whoever learns who sent it says so here.
#[derive(Clone, Default)]
pub struct Caller(Arc<OnceLock<UserId>>);

impl Caller {
    /// It is this person.
    pub fn is(&self, user: UserId) {
        // The first one who looks is believed; nobody else looks.
        let _ = self.0.set(user);
    }
}

/// Looks at each answer.
pub(super) async fn audit(request: Request, next: Next) -> Response {
    let caller = Caller::default();
    let (mut parts, body) = request.into_parts();
    parts.extensions.insert(caller.clone());
    let address = ClientAddress::from_request_parts(&mut parts, &()).await.map(|address| address.0).ok();
    let (method, uri) = (parts.method.clone(), parts.uri.clone());
    let response = next.run(Request::from_parts(parts, body)).await;
    let code = match response.status() {
        StatusCode::FORBIDDEN => ErrorCode::Forbidden,
        StatusCode::TOO_MANY_REQUESTS => ErrorCode::RateLimited,
        StatusCode::INSUFFICIENT_STORAGE => ErrorCode::NoSpace,
        _ => return response,
    };
    refused(code, caller.0.get().copied(), address, &format!("{method} {}", uri.path()));
    response
}

/// Counts it, and writes a line, when the code is one of those that are written down.
pub fn refused(code: ErrorCode, user: Option<UserId>, address: Option<IpAddr>, what: &str) {
    let reason = match code {
        ErrorCode::Forbidden => "forbidden",
        ErrorCode::RateLimited => "rate_limited",
        ErrorCode::NoSpace => "no_space",
        _ => return,
    };
    COUNTED.get_or_create(&[("reason", reason)]).inc();
    let Some(left_out) = PACE.lock().line(Instant::now()) else { return };
    let what = what.get(..MAX_PATH).unwrap_or(what);
    let (user, address) = (Shown(user), Shown(address));
    tracing::info!(target: "audit", %user, %address, what, code = code.title(), left_out, "refused");
}

/// Makes what was counted in this process part of a registry.
pub fn register_refusals(registry: &mut Registry) {
    for reason in ["forbidden", "rate_limited", "no_space"] {
        drop(COUNTED.get_or_create(&[("reason", reason)]));
    }
    registry.register(
        "refused",
        "Requests and commands that their sender may not make, or not so often, or that there is no room for",
        COUNTED.clone(),
    );
}

/// Of the process, as all metrics are; who refuses is in many places.
static COUNTED: LazyLock<Family<[(&str, &str); 1], Counter>> = LazyLock::new(Family::default);

static PACE: Mutex<Pace> = Mutex::new(Pace { began: None, lines: 0, left_out: 0 });

struct Pace {
    began: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl Pace {
    /// Whether there may be another line, and how many were left out since the one before.
    fn line(&mut self, now: Instant) -> Option<u64> {
        if self.began.is_none_or(|began| now.duration_since(began) >= Duration::from_secs(1)) {
            (self.began, self.lines) = (Some(now), 0);
        }
        if self.lines == LINES {
            self.left_out += 1;
            return None;
        }
        self.lines += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

struct Shown<T>(Option<T>);

impl<T: fmt::Display> fmt::Display for Shown<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(shown) => shown.fmt(f),
            None => f.write_str("-"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_refusals_in_a_second_the_rest_is_counted() {
        let mut pace = Pace { began: None, lines: 0, left_out: 0 };
        let began = Instant::now();
        let lines = (0..100).filter(|_| pace.line(began).is_some()).count();
        assert_eq!(lines, 20);
        assert_eq!(pace.line(began + Duration::from_secs(1)), Some(80));
        assert_eq!(pace.line(began + Duration::from_secs(1)), Some(0));
    }
}
