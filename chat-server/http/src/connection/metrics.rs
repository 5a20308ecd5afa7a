//! What is counted of connections, and the lines in the log that say whom it was.

use std::{
    net::IpAddr,
    sync::atomic::AtomicU64,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// One line for each reason in this time; what came between is a number in the next one.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Why a connection was closed, or a request refused, before anybody looked at what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closed {
    /// Its address has as many strangers as one may have, and it was the oldest of them.
    AddressFull,
    /// There are as many strangers as there may be.
    StrangersFull,
    /// Its person has as many connections as one may have.
    PersonFull,
    /// There are as many connections of people as there may be.
    PeopleFull,
    /// Its address has as many bodies of requests under way as strangers may have, and this one was the oldest.
    BodiesFull,
    /// No descriptor was left to accept the next one with.
    OpenFiles,
    /// No whole request came in time.
    NoRequest,
    /// It was not used any more.
    Idle,
    /// The body of a request came too slowly.
    SlowBody,
    /// The answer was read too slowly.
    SlowReader,
    /// Nothing of one of its answers was taken. Unless it is a proxy's, it ends.
    Untaken,
    /// It sent much that was no request: pings, settings, empty frames.
    Overhead,
    /// A request without exactly one good `Host`.
    Host,
}

impl Closed {
    const ALL: [Self; 13] = [
        Self::AddressFull,
        Self::StrangersFull,
        Self::PersonFull,
        Self::PeopleFull,
        Self::BodiesFull,
        Self::OpenFiles,
        Self::NoRequest,
        Self::Idle,
        Self::SlowBody,
        Self::SlowReader,
        Self::Untaken,
        Self::Overhead,
        Self::Host,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::AddressFull => "address_full",
            Self::StrangersFull => "strangers_full",
            Self::PersonFull => "person_full",
            Self::PeopleFull => "people_full",
            Self::BodiesFull => "bodies_full",
            Self::OpenFiles => "open_files",
            Self::NoRequest => "no_request",
            Self::Idle => "idle",
            Self::SlowBody => "slow_body",
            Self::SlowReader => "slow_reader",
            Self::Untaken => "untaken",
            Self::Overhead => "overhead",
            Self::Host => "host",
        }
    }

    /// Whether an operator should see it: an idle connection that is closed is nothing.
    const fn is_logged(self) -> bool {
        !matches!(self, Self::Idle)
    }
}

type Labels = Vec<(&'static str, &'static str)>;
type Count = Counter<u64, AtomicU64>;

/// The counters of one listener.
pub struct ConnectionMetrics {
    pub(super) strangers: Gauge,
    pub(super) people: Gauge,
    pub(super) requests: Gauge,
    pub(super) downloads: Gauge,
    pub(super) page_bytes: Gauge,
    pub(super) waiting: Gauge,
    closed: Family<Labels, Count>,
    counts: Vec<Count>,
    /// When a line was last written, and how many there would have been since.
    logged: Mutex<[(Option<Instant>, u64); Closed::ALL.len()]>,
}

impl Default for ConnectionMetrics {
    fn default() -> Self {
        let closed = Family::<Labels, Count>::default();
        let counts = Closed::ALL
            .iter()
            .map(|reason| closed.get_or_create(&vec![("reason", reason.name())]).clone())
            .collect();
        Self {
            strangers: Gauge::default(),
            people: Gauge::default(),
            requests: Gauge::default(),
            downloads: Gauge::default(),
            page_bytes: Gauge::default(),
            waiting: Gauge::default(),
            closed,
            counts,
            logged: Mutex::new([(None, 0); Closed::ALL.len()]),
        }
    }
}

impl ConnectionMetrics {
    /// Makes them part of a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "http_strangers",
            "Connections and sockets that have shown no valid token yet",
            self.strangers.clone(),
        );
        registry.register(
            "http_people",
            "Connections, without sockets, of people who have shown a valid token, and of proxies",
            self.people.clone(),
        );
        registry.register(
            "http_requests",
            "Requests of people, without downloads, whose answer was not taken yet",
            self.requests.clone(),
        );
        registry.register(
            "http_downloads",
            "Downloads of people that were not taken to their end yet",
            self.downloads.clone(),
        );
        registry.register(
            "http_page_bytes",
            "Bytes of pages that are made, or were not taken yet",
            self.page_bytes.clone(),
        );
        registry.register(
            "http_waiting",
            "Requests of people that wait until their earlier ones are taken",
            self.waiting.clone(),
        );
        registry.register(
            "http_closed",
            "Connections that were closed and requests that were refused for what they were not, by reason",
            self.closed.clone(),
        );
    }

    /// Counts one, and says in the log whose it was, now and then.
    pub fn closed(&self, reason: Closed, address: IpAddr) {
        let Some(at) = Closed::ALL.iter().position(|known| *known == reason) else { return };
        if let Some(count) = self.counts.get(at) {
            count.inc();
        }
        if !reason.is_logged() {
            return;
        }
        let more = {
            let mut logged = self.logged.lock();
            let Some((last, since)) = logged.get_mut(at) else { return };
            if last.is_some_and(|last| last.elapsed() < LOG_EVERY) {
                *since += 1;
                return;
            }
            *last = Some(Instant::now());
            std::mem::take(since)
        };
        tracing::warn!(%address, reason = reason.name(), more, "connection closed");
    }
}
