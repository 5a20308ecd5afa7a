//! The address that the kubelet and Prometheus ask.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use tokio::net::TcpListener;

use crate::{controller::Controller, live::Live, metrics::Metrics};

/// What is asked about.
#[derive(Clone)]
pub struct HealthState {
    /// Ready once every watch is up to date.
    pub live: Arc<Live>,
    /// Shown at `/metrics`, in the text format of OpenMetrics.
    pub metrics: Arc<Metrics>,
    /// Alive while its reconciles come to an end.
    pub controller: Arc<Controller>,
}

/// Serves `/healthz`, `/readyz` and `/metrics` on a listener, for ever.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, state: HealthState) -> io::Result<()> {
    axum::serve(listener, router(state)).await
}

/// Listens. `[::]` is all addresses of both families, also where there is no IPv6.
///
/// # Errors
/// When the address cannot be had.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error)
            if address == SocketAddr::from((Ipv6Addr::UNSPECIFIED, address.port()))
                && error.kind() != io::ErrorKind::AddrInUse =>
        {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        done => done,
    }
}

fn router(state: HealthState) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(state)
}

async fn healthz(State(state): State<HealthState>) -> (StatusCode, &'static str) {
    if state.controller.is_stuck() {
        (StatusCode::SERVICE_UNAVAILABLE, "a reconcile does not come to an end\n")
    } else {
        (StatusCode::OK, "alive\n")
    }
}

async fn readyz(State(state): State<HealthState>) -> (StatusCode, &'static str) {
    if state.live.is_synced() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not everything that is there has been seen yet\n")
    }
}

async fn metrics(State(state): State<HealthState>) -> impl IntoResponse {
    let clusters = state.live.clusters();
    let ready = clusters.iter().filter(|cluster| crate::controller::status::is_ready(cluster)).count();
    state.metrics.clusters.set(i64::try_from(clusters.len()).unwrap_or(i64::MAX));
    state.metrics.ready.set(i64::try_from(ready).unwrap_or(i64::MAX));
    (
        [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")],
        state.metrics.text(),
    )
}
