//! The admin address: is the process alive, does it want traffic, how is it doing? And, for who has the token, the order
//! to drain.

mod drain;

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::IntoResponse,
    routing::{get, post},
};
use chat_domain::store::Store;
use chat_follow::clock::ClockIsRight;
use chat_gateway::Gateway;

use crate::metrics::Metrics;

/// A store that has not answered by then is not ready.
const STORE_DEADLINE: Duration = Duration::from_secs(2);

/// The content type of the OpenMetrics text format.
const OPENMETRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// What the admin address looks at.
#[derive(Clone)]
pub struct AdminState {
    /// Asked whether it answers.
    pub store: Arc<dyn Store>,
    /// Shown at `/metrics`, in the text format of OpenMetrics.
    pub metrics: Arc<Metrics>,
    /// Whether the process wants traffic; off while it starts and drains.
    pub ready: Arc<AtomicBool>,
    /// Compared with the store's.
    pub clock: ClockIsRight,
    /// File with the token for the order to drain; empty: it cannot be given.
    pub token_file: Arc<Path>,
    /// What can be drained; `None` in a process that holds no sockets.
    pub gateway: Option<Arc<Gateway>>,
}

/// The routes of the admin address.
pub fn router(state: AdminState) -> Router {
    let mut routes = Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/readyz/process", get(readyz_process))
        .route("/metrics", get(metrics));
    if !state.token_file.as_os_str().is_empty() {
        routes = routes.route("/drain", post(drain::drain));
    }
    routes.with_state(state)
}

async fn healthz() -> &'static str {
    "alive\n"
}

async fn readyz(State(state): State<AdminState>) -> (StatusCode, &'static str) {
    let process = of_process(&state);
    if process.0 != StatusCode::OK {
        return process;
    }
    match tokio::time::timeout(STORE_DEADLINE, state.store.check()).await {
        Ok(Ok(())) => (StatusCode::OK, "ready\n"),
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready: the store takes no appends");
            (StatusCode::SERVICE_UNAVAILABLE, "the store takes no appends\n")
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer in time\n"),
    }
}

/// Readiness of this process alone. When the store is away, no process is ready by [`readyz`]; a load balancer that then
/// has nobody left to send to (a Kubernetes Service does) would cut clients off from what still works: sockets stay
/// open, recent events are served from memory, and whoever asks is given the time to come back.
async fn readyz_process(State(state): State<AdminState>) -> (StatusCode, &'static str) {
    of_process(&state)
}

fn of_process(state: &AdminState) -> (StatusCode, &'static str) {
    if !state.ready.load(Ordering::Acquire) {
        (StatusCode::SERVICE_UNAVAILABLE, "draining\n")
    } else if !state.clock.get() {
        (StatusCode::SERVICE_UNAVAILABLE, "the clock is more than 10 minutes from the store's\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}

async fn metrics(State(state): State<AdminState>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, OPENMETRICS)], state.metrics.text())
}
