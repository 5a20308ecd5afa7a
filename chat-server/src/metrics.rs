//! The metrics of the admin endpoint: one registry, to which each part adds its own. Names follow OpenMetrics' conventions:
//! base units, `_total` for counters.

mod memory;

use parking_lot::Mutex;
use prometheus_client::{encoding::text::encode, metrics::info::Info, registry::Registry};

/// All metrics of a process.
pub struct Metrics {
    registry: Mutex<Registry>,
}

impl Metrics {
    /// A registry with what every process shows: its version and its memory.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("folkmoot");
        registry.register_collector(Box::new(memory::ProcessMemory));
        let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The version that runs", build);
        Self { registry: Mutex::new(registry) }
    }

    /// Lets a part add its metrics.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self.registry.lock());
    }

    /// The OpenMetrics text format.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        if let Err(error) = encode(&mut out, &self.registry.lock()) {
            tracing::error!(%error, "failed to encode the metrics");
        }
        out
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
