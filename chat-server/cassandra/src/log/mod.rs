//! [`LogStore`] on Cassandra: the channels' logs.
//!
//! A log lies in partitions of a few thousand events, its buckets. An append is one conditional batch on the last one
//! (`commit`): the events, their client ids, and the new head if the head still is the expected one. So it is atomic and
//! linear whoever writes, and a timeout is settled by looking whether the client ids are there. What an event needs to
//! be accepted is decided beforehand (`plan`) from the projections, which are brought up to the log's end for it; the
//! condition on the head makes the decision hold; what is remembered of who may do what (`rules`) spares known senders the
//! read. `append` drives this; `project` writes what follows from the events, `aside` what follows and nobody waits for;
//! `tail` remembers where logs end, so that a warm append is one round trip; `ids` knows which client ids older buckets
//! hold; `names` reserves names of channels; `notes` lists the channel for consumers before a batch; `messages` and `read`
//! are what only reads.

mod append;
mod aside;
mod batch_timeout;
mod bucket;
mod call;
mod codec;
mod commit;
mod error;
mod ids;
pub(super) mod markers;
mod messages;
mod metrics;
mod names;
pub(super) mod notes;
mod plan;
mod project;
mod read;
mod rules;
mod scrub;
pub(super) mod statements;
mod tail;

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use async_trait::async_trait;
use chat_domain::store::{Commit, End, LogStore, NewEvent, StoreError, StoredEvent};
use chat_protocol::{ChannelId, ClientId, Millis, Seq, UserId, limits, rest::Message};
use prometheus_client::registry::Registry;

use self::{
    batch_timeout::BatchTimeout, bucket::Buckets, ids::FullBuckets, markers::Markers, metrics::LogMetrics,
    notes::Notes, tail::Tails,
};
use super::{CassandraStore, cql::Cql, hours::Hours};

/// Clocks of processes that write to one log are expected to be closer than this.
const CLOCK_MARGIN: Duration = Duration::from_secs(60 * 60);

/// How logs are kept. The default is right for a server.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Events in one partition. Part of the format: every process of a keyspace must use the same, for ever.
    pub bucket: Seq,
    /// How long an append may take before its outcome counts as unknown.
    pub deadline: Duration,
    /// Events in one batch.
    pub batch_events: usize,
    /// Bytes of events in one batch; a single larger event still goes as one.
    pub batch_bytes: usize,
    /// Channels whose ends are remembered.
    pub channels: NonZeroUsize,
    /// Bytes for remembering client ids of full buckets.
    pub id_bytes: usize,
    /// For how long a client id is remembered.
    pub idempotency: Duration,
    /// How long a name that its channel does not have stays reserved for it. Longer than `deadline`.
    pub name_grace: Duration,
    /// The time by which channels that are written to are listed for consumers. Part of the format, as `bucket` is.
    pub hour: Duration,
    /// In how many parts channels are listed. Part of the format, as `bucket` is.
    pub shards: u32,
    /// How old a consumer's checkpoint may be before it walks all channels: less than the lists are kept.
    pub lists_kept: Duration,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            bucket: 2_048,
            deadline: Duration::from_secs(8),
            batch_events: 128,
            batch_bytes: 256 * 1024,
            channels: NonZeroUsize::new(50_000).unwrap_or(NonZeroUsize::MIN),
            id_bytes: 64 * 1024 * 1024,
            idempotency: Duration::from_millis(limits::IDEMPOTENCY_WINDOW_MS),
            name_grace: Duration::from_secs(60),
            hour: Duration::from_hours(1),
            shards: 64,
            lists_kept: Duration::from_hours(6 * 24),
        }
    }
}

impl LogOptions {
    /// A little longer than promised, since clocks differ.
    fn ids_kept(&self) -> Duration {
        self.idempotency + CLOCK_MARGIN
    }

    fn ids_kept_ms(&self) -> Millis {
        Millis::try_from(self.ids_kept().as_millis()).unwrap_or(Millis::MAX)
    }
}

/// The logs of a keyspace.
pub(super) struct Log {
    cql: Arc<dyn Cql>,
    options: LogOptions,
    buckets: Buckets,
    tails: Tails,
    full_buckets: FullBuckets,
    markers: Arc<Markers>,
    metrics: LogMetrics,
    batch_timeout: BatchTimeout,
    notes: Notes,
}

impl Log {
    pub(super) fn new(cql: Arc<dyn Cql>, options: LogOptions, hours: Arc<Hours>) -> Self {
        let buckets = Buckets::new(options.bucket);
        let bytes_each =
            usize::try_from(buckets.size()).unwrap_or(usize::MAX).saturating_mul(size_of::<u64>());
        let full_buckets = NonZeroUsize::new(options.id_bytes / bytes_each).unwrap_or(NonZeroUsize::MIN);
        Self {
            buckets,
            tails: Tails::new(options.channels),
            full_buckets: FullBuckets::new(full_buckets),
            markers: Arc::new(Markers::new(Arc::clone(&cql))),
            metrics: LogMetrics::new(),
            batch_timeout: BatchTimeout::new(),
            notes: Notes::new(hours, options.shards, options.channels),
            cql,
            options,
        }
    }

    /// The last position of a log, for one that walks through many; 0 when there is no log. `settled`: what is under way
    /// is finished first.
    pub(super) async fn head_for_followers(
        &self,
        channel: ChannelId,
        settled: bool,
    ) -> Result<Seq, StoreError> {
        Ok(self.followed_head(channel, settled).await?)
    }

    /// Forgets all that is remembered of logs: the store was restored, and they are others.
    pub(super) fn forget(&self) {
        self.tails.clear();
        self.full_buckets.clear();
        self.markers.clear();
        self.notes.clear();
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
    }
}

#[async_trait]
impl LogStore for CassandraStore {
    async fn commit(&self, channel: ChannelId, events: Vec<NewEvent>) -> Result<Commit, StoreError> {
        // A task of its own: a caller that goes away does not leave an append half settled.
        let append = Arc::clone(&self.log).append(channel, events);
        tokio::spawn(append).await.map_err(|gone| StoreError::UnknownOutcome(Some(gone.into())))?
    }

    async fn check(&self) -> Result<(), StoreError> {
        Ok(self.log.check().await?)
    }

    async fn events(
        &self,
        channel: ChannelId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        Ok(self.log.events(channel, after, limit).await?)
    }

    async fn committed_as(
        &self,
        channel: ChannelId,
        by: UserId,
        id: ClientId,
    ) -> Result<Option<(Seq, Millis)>, StoreError> {
        Ok(self.log.committed_as(channel, by, id).await?)
    }

    async fn event(&self, channel: ChannelId, seq: Seq) -> Result<Option<StoredEvent>, StoreError> {
        Ok(self.log.event(channel, seq).await?)
    }

    async fn messages(
        &self,
        channel: ChannelId,
        before: Seq,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        Ok(self.log.messages(channel, before, limit).await?)
    }

    async fn ends(&self, channels: &[ChannelId]) -> Result<Vec<(ChannelId, End)>, StoreError> {
        Ok(self.log.ends(channels).await?)
    }
}
