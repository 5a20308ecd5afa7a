//! The bus between processes: Apache Pulsar.
//!
//! ```text
//! publish ─┬─▶ own subscribers, at once (events)
//!          └─▶ outlet (a bounded queue per partition) ─▶ pack ─▶ Pulsar ─▶ reading ─▶ subscribers
//! ```
//! A `link` is one connected client. The client may hang after a broker went away (streamnative/pulsar-rs #100, #153,
//! #189), and when it reconnects by itself it does not go on where it was. So it is not trusted with either: `reading`
//! and `outlet` watch their progress, and when there is none the whole link is thrown away and another one built, on
//! which they go on from the last message handled and the first one not taken. Subscribers are asked to repair from the
//! store then.

mod auth;
pub mod config;
mod link;
mod metrics;
mod outlet;
mod pack;
mod provision;
mod reading;
mod subscription;
mod topics;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chat_domain::bus::{Bus, BusMessage, Position, PublishError, Subscription};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::subscription::PulsarPosition;
use self::{
    link::Links,
    outlet::{Outlet, Progress},
    pack::Record,
    reading::{Item, Reading},
    subscription::PulsarSubscription,
    topics::{Source, Topics},
};
pub use self::{
    metrics::BusMetrics,
    provision::{ProvisionError, ProvisionOptions, provision},
};
use crate::config::PulsarConfig;

/// How long [`PulsarBus::connect`] waits for the first connection before it goes on without.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long [`Bus::flush`] waits.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// How often `flush` looks.
const FLUSH_LOOK: Duration = Duration::from_millis(5);

/// Where Pulsar is, and timeouts for it.
#[derive(Debug, Clone)]
pub struct PulsarOptions {
    /// `pulsar://host:port`, or `pulsar+ssl://host:port` for TLS.
    pub url: String,
    /// Name of Pulsar's tenant.
    pub tenant: String,
    /// The namespace in it.
    pub namespace: String,
    /// File with the token; empty: no authentication. Read again for every connection.
    pub token_file: PathBuf,
    /// PEM file with the authorities that the brokers' certificates are checked against, besides the public ones; empty:
    /// those alone.
    pub ca_file: PathBuf,
    /// A partition on which nobody said anything for this long gets a heartbeat.
    pub heartbeat: Duration,
    /// A partition from which nothing came for this long, heartbeats included, makes the link suspect: it is built anew.
    pub stall_after: Duration,
    /// How long the broker may take for one answer.
    pub request_timeout: Duration,
    /// Messages kept for a slow subscriber before it starts to miss some.
    pub capacity: usize,
    /// Messages that may wait in front of one partition.
    pub queue: usize,
    /// Bytes that may wait in front of one partition.
    pub queue_bytes: usize,
    /// Where to count.
    pub metrics: BusMetrics,
}

impl Default for PulsarOptions {
    fn default() -> Self {
        Self {
            url: "pulsar://127.0.0.1:6650".into(),
            tenant: "public".into(),
            namespace: "folkmoot".into(),
            token_file: PathBuf::new(),
            ca_file: PathBuf::new(),
            heartbeat: Duration::from_secs(1),
            stall_after: Duration::from_secs(5),
            request_timeout: Duration::from_secs(5),
            capacity: 8 * 1024,
            queue: 4 * 1024,
            queue_bytes: 16 * 1024 * 1024,
            metrics: BusMetrics::default(),
        }
    }
}

impl PulsarOptions {
    /// Options from the configuration.
    #[must_use]
    pub fn of(config: &PulsarConfig) -> Self {
        Self {
            url: config.url.clone(),
            tenant: config.tenant.clone(),
            namespace: config.namespace.clone(),
            token_file: config.token_file.clone(),
            ca_file: config.ca_file.clone(),
            ..Self::default()
        }
    }
}

/// The bus cannot be used as it is set up.
#[derive(Debug, thiserror::Error)]
pub enum PulsarError {
    /// The address is none.
    #[error("not an address of Pulsar: {0}; it looks like pulsar://host:port or pulsar+ssl://host:port")]
    Url(String),
    /// A file cannot be read.
    #[error("failed to read {}", path.display())]
    File {
        /// Path of the file.
        path: PathBuf,
        /// What the operating system reported.
        source: std::io::Error,
    },
}

/// A bus over Pulsar. Its tasks end when it is dropped.
pub struct PulsarBus {
    shared: Arc<Shared>,
    reading: Arc<Reading>,
}

/// What the bus's parts have in common.
struct Shared {
    options: PulsarOptions,
    topics: Topics,
    /// This life of this process.
    publisher: Uuid,
    links: Links,
    progress: Progress,
    /// Of the topic of events, as far as is known; 1 before the first connection.
    partitions: AtomicU32,
    outlets: Mutex<HashMap<Source, Outlet>>,
    stop: CancellationToken,
}

impl Shared {
    /// The queue in front of a topic, made when it is first needed.
    fn outlet(self: &Arc<Self>, source: Source) -> Outlet {
        let mut outlets = self.outlets.lock();
        outlets.entry(source).or_insert_with(|| Outlet::spawn(self, source)).clone()
    }

    /// Opens an outlet to every topic, so that none lacks heartbeats.
    async fn follow_links(self: Arc<Self>) {
        let mut links = self.links.clone();
        while let Some(link) = link::working(&mut links).await {
            self.partitions.store(link.partitions, Ordering::Relaxed);
            for source in topics::sources(link.partitions) {
                self.outlet(source);
            }
            link.broken().await;
        }
    }
}

impl PulsarBus {
    /// Connects, waiting a bounded time: without a broker the process starts all the same, serves its own sockets, and
    /// goes on trying. The topics must be there, see [`provision`].
    ///
    /// # Errors
    /// When the address or a file is no good.
    pub async fn connect(options: PulsarOptions) -> Result<Self, PulsarError> {
        link::check(&options).await?;
        let (links_tx, links) = watch::channel(None);
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            topics: Topics::of(&options),
            publisher: Uuid::new_v4(),
            progress: Progress::new(),
            partitions: AtomicU32::new(1),
            outlets: Mutex::default(),
            stop: stop.clone(),
            links,
            options,
        });
        let reading = Arc::new(Reading::new(Arc::clone(&shared), Some(shared.publisher), None));
        tokio::spawn(link::supervise(shared.options.clone(), links_tx, stop.clone()));
        let (ready, mut is_ready) = watch::channel(false);
        tokio::spawn(stop.clone().run_until_cancelled_owned(Arc::clone(&reading).run(ready)));
        tokio::spawn(stop.run_until_cancelled_owned(Arc::clone(&shared).follow_links()));
        if tokio::time::timeout(CONNECT_TIMEOUT, is_ready.wait_for(|ready| *ready)).await.is_err() {
            tracing::warn!(url = shared.options.url, "pulsar does not answer yet, starting without it");
        }
        Ok(Self { shared, reading })
    }
}

impl Drop for PulsarBus {
    fn drop(&mut self) {
        self.shared.stop.cancel();
    }
}

#[async_trait]
impl Bus for PulsarBus {
    async fn publish(&self, message: BusMessage) -> Result<(), PublishError> {
        let source = topics::source(&message, self.shared.partitions.load(Ordering::Relaxed));
        let record = Record::of(&message);
        if matches!(message, BusMessage::Event(_)) {
            // Whoever is here need not wait for the broker. What comes back of it is dropped.
            self.reading.hand_out(Item::Message(message));
        }
        match record {
            Some(record) => self.shared.outlet(source).push(record, &self.shared.options.metrics),
            None => Ok(()),
        }
    }

    fn subscribe(&self) -> Box<dyn Subscription> {
        Box::new(PulsarSubscription::new(&self.reading, None))
    }

    fn subscribe_from(&self, position: &Position) -> Box<dyn Subscription> {
        let start = position.0.get::<PulsarPosition>().cloned().unwrap_or_default();
        let nowhere = start.0.is_empty();
        // Its own readers, which bring what this process published, too: at that position it had not come back yet.
        let reading = Arc::new(Reading::new(Arc::clone(&self.shared), None, Some(start)));
        let stop = self.shared.stop.child_token();
        let subscription = PulsarSubscription::new(&reading, Some(stop.clone().drop_guard()));
        if nowhere {
            reading.hand_out(Item::Missed(0));
        }
        let (ready, _) = watch::channel(false);
        tokio::spawn(stop.run_until_cancelled_owned(reading.run(ready)));
        Box::new(subscription)
    }

    async fn flush(&self) {
        let empty = async {
            while self.shared.outlets.lock().values().any(|outlet| !outlet.is_empty()) {
                tokio::time::sleep(FLUSH_LOOK).await;
            }
        };
        if tokio::time::timeout(FLUSH_TIMEOUT, empty).await.is_err() {
            tracing::warn!("not everything was published before the end; receivers repair it from the store");
        }
    }
}
