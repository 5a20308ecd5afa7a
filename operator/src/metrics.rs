//! Metrics of the operator.

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

/// Whose gateways. Not `namespace`, which Prometheus gives to what it scrapes: that is the operator's.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Chat {
    /// Namespace of the `ChatCluster`.
    pub chat_namespace: String,
    /// Name of the `ChatCluster`.
    pub chat: String,
}

/// A decision about the number of gateways that was carried out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Scaling {
    chat_namespace: String,
    chat: String,
    direction: &'static str,
    reason: &'static str,
}

/// A gateway that was drained.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Drain {
    chat_namespace: String,
    chat: String,
    outcome: &'static str,
}

impl Drain {
    fn of(chat: &Chat, in_time: bool) -> Self {
        let Chat { chat_namespace, chat } = chat.clone();
        Self { chat_namespace, chat, outcome: if in_time { "empty" } else { "deadline" } }
    }
}

/// All metrics of the operator.
pub struct Metrics {
    registry: Mutex<Registry>,
    reconciles: Family<Outcome, Counter<u64, AtomicU64>>,
    seconds: Histogram,
    writes: Family<Write, Counter<u64, AtomicU64>>,
    desired: Family<Chat, Gauge>,
    replicas: Family<Chat, Gauge>,
    leaving: Family<Chat, Gauge>,
    decisions: Family<Scaling, Counter<u64, AtomicU64>>,
    drains: Family<Drain, Counter<u64, AtomicU64>>,
    /// 1 while this process writes.
    pub leader: Gauge,
    /// Number of `ChatCluster`s that are watched.
    pub clusters: Gauge,
    /// Number of those that are ready.
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
        let of_chats = |registry: &mut Registry, name: &str, help: &str| {
            let gauges = Family::<Chat, Gauge>::default();
            registry.register(name, help, gauges.clone());
            gauges
        };
        let desired = of_chats(&mut registry, "scaling_desired_replicas", "Gateways that a chat needs now");
        let replicas = of_chats(&mut registry, "scaling_replicas", "Gateways that a chat is to have");
        let leaving = of_chats(&mut registry, "scaling_leaving", "Gateways of a chat that are being drained");
        let decisions = Family::<Scaling, Counter<u64, AtomicU64>>::default();
        let help = "Times that the number of a chat's gateways was changed, by direction and reason";
        registry.register("scaling_decisions", help, decisions.clone());
        let drains = Family::<Drain, Counter<u64, AtomicU64>>::default();
        let help = "Gateways that were drained to be taken away, by whether they were empty in time";
        registry.register("scaling_drains", help, drains.clone());
        let gauge = |registry: &mut Registry, name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        Self {
            reconciles,
            seconds,
            writes,
            desired,
            replicas,
            leaving,
            decisions,
            drains,
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

    /// How many gateways a chat needs, is to have, and how many of those leave.
    pub fn gateways(&self, chat: &Chat, desired: u32, replicas: u32, leaving: u32) {
        for (gauges, value) in
            [(&self.desired, desired), (&self.replicas, replicas), (&self.leaving, leaving)]
        {
            gauges.get_or_create(chat).set(value.into());
        }
        // From zero on: of a counter that begins with its first event Prometheus sees no increase.
        for in_time in [true, false] {
            drop(self.drains.get_or_create(&Drain::of(chat, in_time)));
        }
    }

    /// A decision other than to hold was written: [`ScalePlan::direction`] and [`Why::code`].
    ///
    /// [`ScalePlan::direction`]: crate::scaling::policy::ScalePlan::direction
    /// [`Why::code`]: crate::scaling::reason::Why::code
    pub fn scaled(&self, chat: &Chat, direction: &'static str, reason: &'static str) {
        let Chat { chat_namespace, chat } = chat.clone();
        self.decisions.get_or_create(&Scaling { chat_namespace, chat, direction, reason }).inc();
    }

    /// A gateway that was to go is empty, or its deadline has passed.
    pub fn drained(&self, chat: &Chat, in_time: bool) {
        self.drains.get_or_create(&Drain::of(chat, in_time)).inc();
    }

    /// A chat has no gateways to scale any more: it was deleted, or others decide.
    pub fn forget_gateways(&self, chat: &Chat) {
        for gauges in [&self.desired, &self.replicas, &self.leaving] {
            gauges.remove(chat);
        }
    }

    /// Something was done to a pod.
    pub fn wrote_pod(&self, verb: &'static str) {
        self.writes.get_or_create(&Write { kind: "Pod".into(), verb }).inc();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drains_count_from_zero_and_a_chat_that_is_gone_has_no_gateways() {
        let metrics = Metrics::default();
        let chat = Chat { chat_namespace: "n".into(), chat: "c".into() };
        metrics.gateways(&chat, 3, 2, 1);
        let text = metrics.text();
        for outcome in ["empty", "deadline"] {
            let zero =
                format!(r#"scaling_drains_total{{chat_namespace="n",chat="c",outcome="{outcome}"}} 0"#);
            assert!(text.contains(&zero), "{text}");
        }
        assert!(text.contains("scaling_desired_replicas{"), "{text}");
        metrics.forget_gateways(&chat);
        for gauge in ["desired_replicas", "replicas", "leaving"] {
            assert!(!metrics.text().contains(&format!("scaling_{gauge}{{")), "{}", metrics.text());
        }
    }
}
