//! What becomes of conditional batches, counted.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

type Labels = Vec<(&'static str, &'static str)>;
type Count = Counter<u64, AtomicU64>;

/// Counters of one store.
pub(super) struct LogMetrics {
    batches: Family<Labels, Count>,
    settled: Family<Labels, Count>,
    /// Batches that were committed.
    pub(super) applied: Count,
    /// Not committed: another process wrote first.
    pub(super) stale: Count,
    /// Not committed: a client id in it was used before.
    pub(super) duplicate: Count,
    /// Not answered: nobody knows.
    pub(super) unanswered: Count,
    /// Refused; nothing was done.
    pub(super) failed: Count,
    /// Batches that were not answered, of which it was found out later what became of them: committed,
    pub(super) settled_committed: Count,
    /// Batches that were not answered and, as was found out later, not committed.
    pub(super) settled_not: Count,
}

impl LogMetrics {
    pub(super) fn new() -> Self {
        let (batches, settled) = (Family::<Labels, Count>::default(), Family::<Labels, Count>::default());
        let of = |family: &Family<Labels, Count>, outcome| {
            family.get_or_create(&vec![("outcome", outcome)]).clone()
        };
        Self {
            applied: of(&batches, "applied"),
            stale: of(&batches, "stale"),
            duplicate: of(&batches, "duplicate"),
            unanswered: of(&batches, "unanswered"),
            failed: of(&batches, "failed"),
            settled_committed: of(&settled, "committed"),
            settled_not: of(&settled, "not_committed"),
            batches,
            settled,
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "log_batches",
            "Conditional batches that were sent to append to logs, by what was answered",
            self.batches.clone(),
        );
        registry.register(
            "log_settled",
            "Batches that were not answered, by what was found out of them",
            self.settled.clone(),
        );
    }
}
