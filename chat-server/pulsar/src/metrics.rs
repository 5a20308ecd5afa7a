//! Metrics of the bus.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

/// The bus's metrics; clones share their values.
#[derive(Debug, Clone)]
pub struct BusMetrics {
    /// Messages that wait to be published.
    pub queued: Gauge,
    /// Whether there is a connection: 1 or 0.
    pub connected: Gauge,
    /// Messages that Pulsar has taken.
    pub published: Counter,
    /// Messages that were not published, because too many waited or they were too old.
    pub dropped: Counter,
    /// Messages that came, without this process's own events.
    pub received: Counter,
    /// Times that the connection was given up and built anew.
    pub rebuilds: Counter,
    /// Times that subscribers were asked to repair from the store.
    pub missed: Counter,
    /// From a pack's sending to Pulsar's receipt.
    pub publish_seconds: Histogram,
    /// From a pack's sending to its arrival here, by the clocks of both.
    pub lag_seconds: Histogram,
}

impl Default for BusMetrics {
    fn default() -> Self {
        // 0.5 ms to 16 s, doubling.
        let seconds = || Histogram::new(std::iter::successors(Some(0.000_5), |b| Some(b * 2.0)).take(16));
        Self {
            queued: Gauge::default(),
            connected: Gauge::default(),
            published: Counter::default(),
            dropped: Counter::default(),
            received: Counter::default(),
            rebuilds: Counter::default(),
            missed: Counter::default(),
            publish_seconds: seconds(),
            lag_seconds: seconds(),
        }
    }
}

impl BusMetrics {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let mut counter = |name: &str, help: &str, counter: &Counter<u64, AtomicU64>| {
            registry.register(name, help, counter.clone());
        };
        counter("bus_published", "Messages that the bus has taken", &self.published);
        counter("bus_dropped", "Messages that were not published", &self.dropped);
        counter("bus_received", "Messages that came", &self.received);
        counter("bus_rebuilds", "Times that the connection to the bus was built anew", &self.rebuilds);
        counter("bus_missed", "Times that subscribers had to repair from the store", &self.missed);
        registry.register("bus_queued", "Messages that wait to be published", self.queued.clone());
        registry.register(
            "bus_connected",
            "Whether there is a connection to the bus",
            self.connected.clone(),
        );
        let mut histogram = |name: &str, help: &str, histogram: &Histogram| {
            registry.register_with_unit(name, help, Unit::Seconds, histogram.clone());
        };
        histogram("bus_publish", "From sending to the bus's receipt", &self.publish_seconds);
        histogram("bus_lag", "From sending to arrival, by the clocks of both processes", &self.lag_seconds);
    }
}
