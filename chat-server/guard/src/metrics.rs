//! Metrics of the guard.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use chat_domain::store::class::Class;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, counter::Counter, family::Family, gauge::ConstGauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::{
    breaker::BreakerState,
    budget::{CLASSES, Dependency, index},
    gate::Gate,
};

/// Why a call was sent away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// The store does not answer.
    BreakerOpen,
    /// Too many wait.
    QueueFull,
    /// It waited for as long as it may.
    Waited,
}

impl Reason {
    const ALL: [Self; 3] = [Self::BreakerOpen, Self::QueueFull, Self::Waited];

    const fn name(self) -> &'static str {
        match self {
            Self::BreakerOpen => "breaker_open",
            Self::QueueFull => "queue_full",
            Self::Waited => "waited",
        }
    }

    /// When to come back, spread out so that not all come back at once.
    pub(super) fn retry_after_ms(self) -> u64 {
        match self {
            Self::BreakerOpen => rand::random_range(750..=1_750),
            Self::QueueFull | Self::Waited => rand::random_range(400..=1_200),
        }
    }
}

type Labels = Vec<(&'static str, &'static str)>;
type Count = Counter<u64, AtomicU64>;

/// Counters and histograms. What is the case at the moment is read from the gate when it is asked for.
pub(super) struct GuardMetrics {
    refused: Family<Labels, Count>,
    latency: Family<Labels, Histogram>,
    /// The families' members, looked up once.
    refused_of: [[Count; 3]; CLASSES],
    latency_of: [Histogram; CLASSES],
}

impl GuardMetrics {
    pub(super) fn new() -> Self {
        let refused = Family::<Labels, Count>::default();
        let latency = Family::<Labels, Histogram>::new_with_constructor(|| {
            // 0.5 ms to 8 s, doubling.
            Histogram::new(std::iter::successors(Some(0.000_5), |b| Some(b * 2.0)).take(15))
        });
        let refused_of = Class::ALL.map(|class| {
            Reason::ALL.map(|reason| {
                refused.get_or_create(&vec![("class", class.name()), ("reason", reason.name())]).clone()
            })
        });
        let latency_of =
            Class::ALL.map(|class| latency.get_or_create(&vec![("class", class.name())]).clone());
        Self { refused, latency, refused_of, latency_of }
    }

    pub(super) fn refused(&self, class: Class, reason: Reason) {
        self.refused_of[index(class)][reason as usize].inc();
    }

    pub(super) fn took(&self, class: Class, took: Duration) {
        self.latency_of[index(class)].observe(took.as_secs_f64());
    }
}

/// Makes a gate's metrics part of a registry.
pub(super) fn register(gate: &Arc<Gate>, registry: &mut Registry) {
    let metrics = gate.metrics();
    registry.register(
        "store_refused",
        "Calls that were not let through to the store",
        metrics.refused.clone(),
    );
    registry.register_with_unit(
        "store_call",
        "Calls that were let through to the store",
        Unit::Seconds,
        metrics.latency.clone(),
    );
    registry.register_collector(Box::new(Now(Arc::clone(gate))));
}

/// What is the case at the moment.
struct Now(Arc<Gate>);

impl std::fmt::Debug for Now {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Now")
    }
}

impl Collector for Now {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let loads = Class::ALL.map(|class| (class, self.0.load(class)));
        let mut gauges = |name: &str, help: &str, values: &mut dyn Iterator<Item = (Labels, f64)>| {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (labels, value) in values {
                ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
            }
            Ok(())
        };
        let class = |class: Class| vec![("class", class.name())];
        gauges(
            "store_in_flight",
            "Calls under way",
            &mut loads.iter().map(|(c, l)| (class(*c), f64::from(l.in_flight))),
        )?;
        gauges(
            "store_limit",
            "Calls that may be under way at once",
            &mut loads.iter().map(|(c, l)| (class(*c), l.limit)),
        )?;
        #[expect(clippy::cast_precision_loss, reason = "queues are bounded by thousands")]
        gauges(
            "store_queued",
            "Calls that wait for a place",
            &mut loads.iter().map(|(c, l)| (class(*c), l.queued as f64)),
        )?;
        gauges(
            "store_breaker",
            "0: closed, 1: half-open, 2: open",
            &mut Dependency::ALL.iter().map(|dependency| {
                let value = match self.0.breaker(*dependency) {
                    BreakerState::Closed => 0.0,
                    BreakerState::HalfOpen => 1.0,
                    BreakerState::Open => 2.0,
                };
                (vec![("dependency", dependency.name())], value)
            }),
        )
    }
}
