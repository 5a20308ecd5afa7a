//! Metrics of the admin endpoint. Names follow its conventions: base units, `_total` for counters.

mod memory;
mod reasons;

use std::sync::atomic::AtomicU64;

use parking_lot::Mutex;
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

pub use reasons::{ByReason, Reason, Refused, SentAway};

/// All metrics of a process. Cheap to update from anywhere.
pub struct Metrics {
    registry: Mutex<Registry>,
    /// Sockets that are open now.
    pub connections: Gauge,
    /// Sockets that are taken at most.
    pub capacity: Gauge,
    /// 1 from the moment in which a drain begins; it ends with the process.
    pub draining: Gauge,
    /// Sockets that were asked to reconnect.
    pub sent_away: ByReason<SentAway>,
    /// Sockets that were welcomed.
    pub welcomes: Counter,
    /// Upgrades and hellos that were refused.
    pub refusals: ByReason<Refused>,
    /// Hellos that were said and not answered yet.
    pub hellos_waiting: Gauge,
    /// Hellos that had to wait for their turn at the store.
    pub hellos_throttled: Counter,
    /// From a hello to its welcome.
    pub hello_seconds: Histogram,
    /// Events that came from the bus and were passed to a channel's sockets.
    pub events: Counter,
    /// Event frames handed to sockets.
    pub deliveries: Counter,
    /// Sockets closed because they read too slowly.
    pub slow_consumers: Counter,
    /// Gaps in a channel's events that were repaired from the store.
    pub gap_repairs: Counter,
    /// Of those, the ones that only a digest showed: the last events of a log did not come.
    pub tail_repairs: Counter,
    /// Processes of the cluster that this one knows, itself included.
    pub cluster_processes: Gauge,
    /// `sync` commands answered from memory.
    pub syncs_from_memory: Counter,
    /// `sync` commands that had to read history from the store.
    pub syncs_from_store: Counter,
    /// Commands that were refused, of all kinds.
    pub command_errors: Counter,
    /// From a command's arrival to its ack.
    pub ack_seconds: Histogram,
    /// Batches that the owner of their channel, another process, appended.
    pub hop_forwarded: Counter,
    /// Batches that were handed to the owner of their channel and then written without it.
    pub hop_fell_back: Counter,
    /// Batches appended for other processes.
    pub hop_served: Counter,
    /// From handing a batch over to its answer.
    pub hop_seconds: Histogram,
}

impl Metrics {
    /// All metrics, at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("folkmoot");
        let counter = |registry: &mut Registry, name: &str, help: &str| {
            let counter = Counter::<u64, AtomicU64>::default();
            registry.register(name, help, counter.clone());
            counter
        };
        let connections = Gauge::default();
        registry.register("gateway_connections", "Sockets that are open now", connections.clone());
        let capacity = Gauge::default();
        registry.register("gateway_capacity", "Sockets that are taken at most", capacity.clone());
        let draining = Gauge::default();
        registry.register(
            "gateway_draining",
            "1 from the moment in which a drain begins, to the end of the process",
            draining.clone(),
        );
        let sent_away = ByReason::new();
        registry.register("gateway_sent_away", "Sockets that were asked to reconnect", sent_away.family());
        let refusals = ByReason::new();
        registry.register("gateway_refusals", "Upgrades and hellos that were refused", refusals.family());
        let hellos_waiting = Gauge::default();
        registry.register(
            "gateway_hellos_waiting",
            "Hellos that were said and not answered yet",
            hellos_waiting.clone(),
        );
        // 1 ms to 16 s, doubling.
        let hello_seconds = Histogram::new(std::iter::successors(Some(0.001), |b| Some(b * 2.0)).take(15));
        registry.register_with_unit(
            "gateway_hello",
            "From a hello to its welcome",
            Unit::Seconds,
            hello_seconds.clone(),
        );
        registry.register_collector(Box::new(memory::ProcessMemory));
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version that runs", build);
        let cluster_processes = Gauge::default();
        registry.register(
            "cluster_processes",
            "Processes of the cluster that this one knows, itself included",
            cluster_processes.clone(),
        );
        // 0.25 ms to 8 s, doubling.
        let ack_seconds = Histogram::new(std::iter::successors(Some(0.000_25), |b| Some(b * 2.0)).take(16));
        registry.register_with_unit(
            "gateway_ack",
            "From a command's arrival to its ack",
            Unit::Seconds,
            ack_seconds.clone(),
        );
        let hop_seconds = Histogram::new(std::iter::successors(Some(0.000_25), |b| Some(b * 2.0)).take(14));
        registry.register_with_unit(
            "hop",
            "From handing a batch to the owner of its channel to the answer",
            Unit::Seconds,
            hop_seconds.clone(),
        );
        Self {
            connections,
            capacity,
            draining,
            sent_away,
            refusals,
            hellos_waiting,
            hello_seconds,
            cluster_processes,
            ack_seconds,
            hop_seconds,
            hop_forwarded: counter(
                &mut registry,
                "hop_forwarded",
                "Batches that the owner of their channel appended",
            ),
            hop_fell_back: counter(
                &mut registry,
                "hop_fell_back",
                "Batches written without the owner of their channel, which had been asked",
            ),
            hop_served: counter(&mut registry, "hop_served", "Batches appended for other processes"),
            welcomes: counter(&mut registry, "gateway_welcomes", "Sockets that were welcomed"),
            hellos_throttled: counter(
                &mut registry,
                "gateway_hellos_throttled",
                "Hellos that had to wait for their turn at the store",
            ),
            events: counter(&mut registry, "gateway_events", "Events passed to their channel's sockets"),
            deliveries: counter(&mut registry, "gateway_deliveries", "Event frames handed to sockets"),
            slow_consumers: counter(
                &mut registry,
                "gateway_slow_consumers",
                "Sockets closed because they read too slowly",
            ),
            gap_repairs: counter(&mut registry, "gateway_gap_repairs", "Gaps repaired from the store"),
            tail_repairs: counter(
                &mut registry,
                "gateway_tail_repairs",
                "Ends of logs that did not come over the bus and were repaired from the store",
            ),
            syncs_from_memory: counter(
                &mut registry,
                "gateway_syncs_from_memory",
                "Syncs answered from memory",
            ),
            syncs_from_store: counter(
                &mut registry,
                "gateway_syncs_from_store",
                "Syncs that read history from the store",
            ),
            command_errors: counter(&mut registry, "gateway_command_errors", "Commands that were refused"),
            registry: Mutex::new(registry),
        }
    }

    /// Lets somebody add metrics of their own.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self.registry.lock());
    }

    /// The OpenMetrics text format.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        if let Err(error) = encode(&mut out, &self.registry.lock()) {
            tracing::error!(%error, "metrics cannot be encoded");
        }
        out
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
