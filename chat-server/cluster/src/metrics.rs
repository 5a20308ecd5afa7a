//! What a process counts of the others, and of the sends that it hands to a channel's owner.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

/// The counters of a process among the others of its cluster.
pub struct ClusterMetrics {
    /// Processes of the cluster that this one knows, itself included.
    pub processes: Gauge,
    /// Batches that the owner of their channel, another process, appended.
    pub hop_forwarded: Counter,
    /// Batches that were handed to the owner of their channel and then written without it.
    pub hop_fell_back: Counter,
    /// Batches appended for other processes.
    pub hop_served: Counter,
    /// From handing a batch over to its answer.
    pub hop_seconds: Histogram,
}

impl Default for ClusterMetrics {
    fn default() -> Self {
        Self {
            processes: Gauge::default(),
            hop_forwarded: Counter::default(),
            hop_fell_back: Counter::default(),
            hop_served: Counter::default(),
            // 0.25 ms to 2 s, doubling.
            hop_seconds: Histogram::new(std::iter::successors(Some(0.000_25), |b| Some(b * 2.0)).take(14)),
        }
    }
}

impl ClusterMetrics {
    /// Makes them part of a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "cluster_processes",
            "Processes of the cluster that this one knows, itself included",
            self.processes.clone(),
        );
        registry.register_with_unit(
            "hop",
            "From handing a batch to the owner of its channel to the answer",
            Unit::Seconds,
            self.hop_seconds.clone(),
        );
        let counters = [
            ("hop_forwarded", "Batches that the owner of their channel appended", &self.hop_forwarded),
            (
                "hop_fell_back",
                "Batches written without the owner of their channel, which had been asked",
                &self.hop_fell_back,
            ),
            ("hop_served", "Batches appended for other processes", &self.hop_served),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.clone());
        }
    }
}
