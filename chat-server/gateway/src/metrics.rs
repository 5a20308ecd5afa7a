//! What a gateway counts. Names follow OpenMetrics' conventions: base units, `_total` for counters.

mod reasons;

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

pub use reasons::{ByReason, Reason, Refused, SentAway};

/// The counters of a process that holds sockets, or follows the bus for REST.
pub struct GatewayMetrics {
    /// Sockets whose hello was accepted and that are open now.
    pub connections: Gauge,
    /// Sockets whose hello was not accepted yet.
    pub strangers: Gauge,
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
    /// Sockets closed because their user opened more than one may have.
    pub pushed_out: Counter,
    /// Gaps in a channel's events that were repaired from the store.
    pub gap_repairs: Counter,
    /// Of those, the ones that only a digest showed: the last events of a log did not come.
    pub tail_repairs: Counter,
    /// `sync` commands answered from memory.
    pub syncs_from_memory: Counter,
    /// `sync` commands that had to read history from the store.
    pub syncs_from_store: Counter,
    /// Commands that were refused, of all kinds.
    pub command_errors: Counter,
    /// From a command's arrival to its ack.
    pub ack_seconds: Histogram,
}

impl Default for GatewayMetrics {
    fn default() -> Self {
        Self {
            connections: Gauge::default(),
            strangers: Gauge::default(),
            capacity: Gauge::default(),
            draining: Gauge::default(),
            sent_away: ByReason::new(),
            welcomes: Counter::default(),
            refusals: ByReason::new(),
            hellos_waiting: Gauge::default(),
            hellos_throttled: Counter::default(),
            // 1 ms to 16 s, doubling.
            hello_seconds: Histogram::new(std::iter::successors(Some(0.001), |b| Some(b * 2.0)).take(15)),
            events: Counter::default(),
            deliveries: Counter::default(),
            slow_consumers: Counter::default(),
            pushed_out: Counter::default(),
            gap_repairs: Counter::default(),
            tail_repairs: Counter::default(),
            syncs_from_memory: Counter::default(),
            syncs_from_store: Counter::default(),
            command_errors: Counter::default(),
            // 0.25 ms to 8 s, doubling.
            ack_seconds: Histogram::new(std::iter::successors(Some(0.000_25), |b| Some(b * 2.0)).take(16)),
        }
    }
}

impl GatewayMetrics {
    /// Makes them part of a registry.
    pub fn register(&self, registry: &mut Registry) {
        let gauges = [
            ("gateway_connections", "Sockets that are open now and have said hello", &self.connections),
            ("gateway_strangers", "Sockets whose hello was not accepted yet", &self.strangers),
            ("gateway_capacity", "Sockets that are taken at most", &self.capacity),
            (
                "gateway_draining",
                "1 from the moment in which a drain begins, to the end of the process",
                &self.draining,
            ),
            ("gateway_hellos_waiting", "Hellos that were said and not answered yet", &self.hellos_waiting),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.clone());
        }
        registry.register(
            "gateway_sent_away",
            "Sockets that were asked to reconnect",
            self.sent_away.family(),
        );
        registry.register(
            "gateway_refusals",
            "Upgrades and hellos that were refused",
            self.refusals.family(),
        );
        let histograms = [
            ("gateway_hello", "From a hello to its welcome", &self.hello_seconds),
            ("gateway_ack", "From a command's arrival to its ack", &self.ack_seconds),
        ];
        for (name, help, histogram) in histograms {
            registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
        }
        let counters = [
            ("gateway_welcomes", "Sockets that were welcomed", &self.welcomes),
            (
                "gateway_hellos_throttled",
                "Hellos that had to wait for their turn at the store",
                &self.hellos_throttled,
            ),
            ("gateway_events", "Events passed to their channel's sockets", &self.events),
            ("gateway_deliveries", "Event frames handed to sockets", &self.deliveries),
            ("gateway_slow_consumers", "Sockets closed because they read too slowly", &self.slow_consumers),
            (
                "gateway_pushed_out",
                "Sockets closed because their user opened more than one may have",
                &self.pushed_out,
            ),
            ("gateway_gap_repairs", "Gaps repaired from the store", &self.gap_repairs),
            (
                "gateway_tail_repairs",
                "Ends of logs that did not come over the bus and were repaired from the store",
                &self.tail_repairs,
            ),
            ("gateway_syncs_from_memory", "Syncs answered from memory", &self.syncs_from_memory),
            ("gateway_syncs_from_store", "Syncs that read history from the store", &self.syncs_from_store),
            ("gateway_command_errors", "Commands that were refused", &self.command_errors),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
    }
}
