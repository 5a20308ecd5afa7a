//! What the operator tells Prometheus.

use std::{sync::atomic::AtomicU64, time::Duration};

use parking_lot::Mutex;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use crate::kinds::ChildKind;

/// How a reconcile ended.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Write {
    kind: String,
    verb: &'static str,
}

/// All metrics of the operator.
pub struct Metrics {
    registry: Mutex<Registry>,
    reconciles: Family<Outcome, Counter<u64, AtomicU64>>,
    seconds: Histogram,
    writes: Family<Write, Counter<u64, AtomicU64>>,
    /// 1 while this process writes.
    pub leader: Gauge,
    /// Those that are watched.
    pub clusters: Gauge,
    /// Of those, the ones that are ready.
    pub ready: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("folkmoot_operator");
        let reconciles = Family::<Outcome, Counter<u64, AtomicU64>>::default();
        registry.register("reconciles", "Reconciles, by how they ended", reconciles.clone());
        // 1 ms to 32 s, doubling.
        let seconds = Histogram::new(std::iter::successors(Some(0.001), |bound| Some(bound * 2.0)).take(16));
        registry.register_with_unit("reconcile", "How long a reconcile took", Unit::Seconds, seconds.clone());
        let writes = Family::<Write, Counter<u64, AtomicU64>>::default();
        registry.register("writes", "Writes to the API server, by kind of object and verb", writes.clone());
        let gauge = |registry: &mut Registry, name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        Self {
            reconciles,
            seconds,
            writes,
            leader: gauge(&mut registry, "leader", "1 while this process is the one that writes"),
            clusters: gauge(&mut registry, "chatclusters", "ChatClusters that are watched"),
            ready: gauge(&mut registry, "chatclusters_ready", "Of those, the ones that are ready"),
            registry: Mutex::new(registry),
        }
    }
}

impl Metrics {
    /// A reconcile has ended.
    pub fn reconciled(&self, outcome: &'static str, took: Duration) {
        self.reconciles.get_or_create(&Outcome { outcome }).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    /// Something was written.
    pub fn wrote(&self, kind: ChildKind, verb: &'static str) {
        self.writes.get_or_create(&Write { kind: format!("{kind:?}"), verb }).inc();
    }

    /// A status was written.
    pub fn wrote_status(&self) {
        self.writes.get_or_create(&Write { kind: "ChatClusterStatus".into(), verb: "apply" }).inc();
    }

    /// The OpenMetrics text format.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &self.registry.lock()) {
            tracing::error!(%error, "metrics cannot be written as text");
        }
        text
    }
}
