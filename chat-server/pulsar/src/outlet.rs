//! From the queue in front of a topic into Pulsar, in order, until Pulsar has it.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use chat_domain::bus::PublishError;
use parking_lot::Mutex;
use pulsar::{Producer, ProducerOptions, TokioExecutor, producer::Message};
use tokio::sync::mpsc;
use uuid::Uuid;

use super::{
    BusMetrics, Shared,
    link::{self, Link},
    pack::{Packer, Record},
    topics::Source,
};

/// A signal older than this says nothing any more.
const STALE: Duration = Duration::from_secs(10);

/// When each topic was last heard of.
pub(super) struct Progress {
    start: Instant,
    heard: Mutex<HashMap<Source, Arc<AtomicU64>>>,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), heard: Mutex::default() }
    }

    /// Where a topic's last sign of life is kept, in milliseconds since `start`.
    pub(super) fn of(&self, source: Source) -> Heard {
        Heard { start: self.start, at: Arc::clone(self.heard.lock().entry(source).or_default()) }
    }
}

/// When one topic was last heard of.
#[derive(Clone)]
pub(super) struct Heard {
    start: Instant,
    at: Arc<AtomicU64>,
}

impl Heard {
    pub(super) fn now(&self) {
        self.at.store(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn last(&self) -> Instant {
        self.start + Duration::from_millis(self.at.load(Ordering::Relaxed))
    }
}

/// A bounded queue in front of a topic.
#[derive(Clone)]
pub(super) struct Outlet {
    tx: mpsc::Sender<Record>,
    waiting: Arc<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// Those on their way included.
    records: AtomicUsize,
    bytes: AtomicUsize,
    max_bytes: usize,
}

impl Outlet {
    pub(super) fn spawn(shared: &Arc<Shared>, source: Source) -> Self {
        let (tx, rx) = mpsc::channel(shared.options.queue);
        let waiting = Arc::new(Waiting { max_bytes: shared.options.queue_bytes, ..Waiting::default() });
        let drain = Drain {
            publisher: shared.publisher,
            topic: shared.topics.name(source),
            heard: shared.progress.of(source),
            lossy: source == Source::Ephemeral,
            waiting: Arc::clone(&waiting),
            shared: Arc::clone(shared),
            producer: None,
        };
        tokio::spawn(shared.stop.clone().run_until_cancelled_owned(drain.run(rx)));
        Self { tx, waiting }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.records.load(Ordering::Acquire) == 0
    }

    /// Takes a record, if there is room.
    pub(super) fn push(&self, record: Record, metrics: &BusMetrics) -> Result<(), PublishError> {
        let size = record.size();
        let taken = if self.waiting.bytes.fetch_add(size, Ordering::AcqRel) + size > self.waiting.max_bytes {
            Err(PublishError::Full)
        } else {
            self.waiting.records.fetch_add(1, Ordering::AcqRel);
            self.tx.try_send(record).map_err(|error| {
                self.waiting.records.fetch_sub(1, Ordering::AcqRel);
                match error {
                    mpsc::error::TrySendError::Full(_) => PublishError::Full,
                    mpsc::error::TrySendError::Closed(_) => PublishError::Closed,
                }
            })
        };
        if taken.is_err() {
            self.waiting.bytes.fetch_sub(size, Ordering::AcqRel);
            metrics.dropped.inc();
        } else {
            metrics.queued.inc();
        }
        taken
    }
}

/// What empties an outlet.
struct Drain {
    shared: Arc<Shared>,
    publisher: Uuid,
    topic: String,
    heard: Heard,
    /// Whether a message may be lost rather than late.
    lossy: bool,
    waiting: Arc<Waiting>,
    /// On the link it was made on.
    producer: Option<(Arc<Link>, Producer<TokioExecutor>)>,
}

impl Drain {
    async fn run(mut self, mut rx: mpsc::Receiver<Record>) {
        let mut sent = Instant::now();
        for number in 0.. {
            // Silence is broken at slightly different times by different processes, so that mostly one of them does.
            let silence = self.shared.options.heartbeat.mul_f64(rand::random_range(0.75..1.5));
            let first = loop {
                let quiet_since = self.heard.last().max(sent);
                tokio::select! {
                    record = rx.recv() => match record {
                        Some(record) => break Some(record),
                        None => return,
                    },
                    () = tokio::time::sleep_until((quiet_since + silence).into()) => {
                        if self.heard.last() <= quiet_since {
                            break None;
                        }
                    }
                }
            };
            let mut pack = Packer::new(self.publisher, number);
            let (mut records, mut bytes) = (0, 0);
            let mut next = first;
            while let Some(record) = next {
                if !(self.lossy && record.age() > STALE) {
                    pack.push(&record);
                }
                records += 1;
                bytes += record.size();
                next = if pack.is_full() { None } else { rx.try_recv().ok() };
            }
            let taken = self.send_until_taken(pack.finish()).await;
            sent = Instant::now();
            let metrics = &self.shared.options.metrics;
            metrics.queued.dec_by(i64::try_from(records).unwrap_or(i64::MAX));
            let outcome = if taken { &metrics.published } else { &metrics.dropped };
            outcome.inc_by(records as u64);
            self.waiting.bytes.fetch_sub(bytes, Ordering::AcqRel);
            self.waiting.records.fetch_sub(records, Ordering::AcqRel);
        }
    }

    /// Whether Pulsar took it. A pack that Pulsar may have or not is sent again under the same number.
    async fn send_until_taken(&mut self, pack: Vec<u8>) -> bool {
        let since = Instant::now();
        let mut links = self.shared.links.clone();
        while !(self.lossy && since.elapsed() > STALE) {
            let waited = tokio::time::timeout(STALE, link::working(&mut links));
            let link = match waited.await {
                Ok(Some(link)) => link,
                Ok(None) => return false,
                Err(_) => continue,
            };
            let begun = Instant::now();
            match tokio::time::timeout(self.shared.options.request_timeout, self.send(&link, pack.clone()))
                .await
            {
                Ok(Ok(())) => {
                    self.shared.options.metrics.publish_seconds.observe(begun.elapsed().as_secs_f64());
                    return true;
                }
                Ok(Err(error)) => {
                    link.give_up(format_args!("{} cannot be published to: {error}", self.topic))
                }
                Err(_) => link.give_up(format_args!("{} gives no receipt", self.topic)),
            }
            self.producer = None;
        }
        false
    }

    async fn send(&mut self, link: &Arc<Link>, payload: Vec<u8>) -> Result<(), pulsar::Error> {
        let producer = match self.producer.take() {
            Some((on, producer)) if Arc::ptr_eq(&on, link) => producer,
            _ => {
                let options = ProducerOptions { block_queue_if_full: true, ..ProducerOptions::default() };
                Box::pin(link.publishing.producer().with_topic(&self.topic).with_options(options).build())
                    .await?
            }
        };
        let (_, producer) = self.producer.insert((Arc::clone(link), producer));
        let receipt = Box::pin(producer.send_non_blocking(Message { payload, ..Message::default() })).await?;
        receipt.await.map(drop)
    }
}
