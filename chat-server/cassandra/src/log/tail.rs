//! Where a log ends: as read from Cassandra, and as remembered between appends.

use std::{
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
};

use chat_domain::store::{Counts, End};
use chat_log::{Effect, effect, rules_change};
use chat_protocol::{ChannelId, EventBody, Seq, UserId};
use lru::LruCache;
use parking_lot::Mutex;

use super::{
    Log,
    aside::Asides,
    call::has_projection,
    codec::{big, channel_value, number, opt_number, packed, unpacked},
    error::LogError,
    ids::Window,
    messages::Known,
    rules::Rules,
    statements as cql,
};
use crate::cql::{Row, Statement, Value};

/// The end of a log, exact as long as an append that is conditional on `head` succeeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tail {
    /// The last position, 0 when there is no log, and what was counted up to there.
    pub(super) end: End,
    /// The last event that has projections; 0 for none.
    pub(super) changed: Seq,
    /// The last message; 0 for none.
    pub(super) message: Seq,
    /// The last event that changed who may do what; 0 for none.
    pub(super) ruled: Seq,
    /// Who wrote the last messages without anybody in between, and the last message before them. `None`: not known.
    pub(super) run: Option<(UserId, Seq)>,
    /// The last event that is known to have its projections, and all before it.
    pub(super) applied: Seq,
    /// The last event that has something beside messages; 0 for none, `None`: not known.
    pub(super) aside: Option<Seq>,
}

/// Static columns of an open bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Statics {
    pub(super) end: End,
    pub(super) changed: Seq,
    pub(super) message: Seq,
    pub(super) ruled: Seq,
    /// `changed` as it was when the bucket was opened.
    pub(super) prior_changed: Seq,
    /// `None`: a server of 0.1.0 opened the bucket, and no newer one has written to it.
    pub(super) aside: Option<Seq>,
}

impl Statics {
    /// `None` when the row has none: nothing of the bucket exists.
    pub(super) fn read(row: &Row) -> Result<Option<Self>, LogError> {
        let Some(head) = opt_number(row, "head")? else { return Ok(None) };
        let changed = number(row, "changed")?;
        let counted = unpacked(row, "counted")?;
        // Null where a server of 0.1.0 opened the bucket and no newer one has written to it.
        let [n, d, m, from, seen, ruled, _] = counted.unwrap_or_default();
        Ok(Some(Self {
            end: End::read(head, seen, from, Counts { n, d, m }),
            changed,
            message: number(row, "message")?,
            // What it appended since may have changed who may do what, if anything that has projections did.
            ruled: if seen == head { ruled } else { ruled.max(changed) },
            prior_changed: number(row, "prior_changed")?,
            aside: counted.map(|[.., aside]| aside),
        }))
    }
}

impl Tail {
    /// What a bucket says about the end of the log, keeping what is known of the projections.
    pub(super) fn now_at(self, statics: Statics) -> Self {
        let Statics { end, changed, message, ruled, aside, .. } = statics;
        let run = self.run.filter(|_| message == self.message);
        Self { end, changed, message, ruled, run, applied: self.applied, aside }
    }

    /// Where it ends after this event as well.
    pub(super) fn after(mut self, by: UserId, body: &EventBody) -> Self {
        self.end = self.end.after(body);
        let seq = self.end.head;
        if has_projection(body) {
            self.changed = seq;
        }
        if rules_change(body) {
            self.ruled = seq;
        }
        if effect(body) == Effect::Aside {
            self.aside = Some(seq);
        }
        if matches!(body, EventBody::Message { .. }) {
            let before =
                self.run.filter(|(author, _)| *author == by).map_or(self.message, |(_, before)| before);
            self.run = Some((by, before));
            self.message = seq;
        }
        self
    }

    /// What the bucket says of it in the column `counted`.
    pub(super) fn counted(&self) -> Value {
        let End { head, from, counts: Counts { n, d, m } } = self.end;
        packed([n, d, m, from, head, self.ruled, self.aside.unwrap_or(0)])
    }

    /// Whether an author who had seen everything up to `seen` had read all messages of others.
    pub(super) fn had_read_all(&self, by: UserId, seen: Seq) -> bool {
        let before = self.run.filter(|(author, _)| *author == by).map_or(self.message, |(_, before)| before);
        seen >= before
    }
}

/// What is remembered of one channel.
#[derive(Default)]
pub(super) struct Remembered {
    /// `None`: to be read.
    pub(super) tail: Option<Tail>,
    /// Which older buckets client ids are looked up in.
    pub(super) window: Window,
    /// Who may do what.
    pub(super) rules: Rules,
    /// Messages that events were about.
    pub(super) messages: Known,
}

/// How far the channel's row says that it is.
struct Hints {
    /// The last event that has its projections.
    applied: Seq,
    /// The last event of which everything beside messages is written; `None`: the channel never had anything.
    written: Option<Seq>,
}

/// One channel's place among [`Tails`].
pub(super) struct Entry {
    /// Held while this process appends to the channel: its writers do not contend with each other.
    pub(super) state: tokio::sync::Mutex<Remembered>,
    /// The log ends in this bucket or in a later one; `UNKNOWN` before anything is known.
    bucket: AtomicI32,
    /// What is written after the answer.
    pub(super) asides: Asides,
}

const UNKNOWN: i32 = -1;

impl Default for Entry {
    fn default() -> Self {
        Self {
            state: tokio::sync::Mutex::default(),
            bucket: AtomicI32::new(UNKNOWN),
            asides: Asides::default(),
        }
    }
}

impl Entry {
    fn bucket(&self) -> Option<i32> {
        Some(self.bucket.load(Ordering::Relaxed)).filter(|&bucket| bucket != UNKNOWN)
    }

    pub(super) fn ends_at_or_after(&self, bucket: i32) {
        self.bucket.fetch_max(bucket, Ordering::Relaxed);
    }
}

/// The channels that were used last. Purely a cache: what is forgotten is read again.
pub(super) struct Tails {
    entries: Mutex<LruCache<ChannelId, Arc<Entry>>>,
}

impl Tails {
    pub(super) fn new(channels: NonZeroUsize) -> Self {
        Self { entries: Mutex::new(LruCache::new(channels)) }
    }

    pub(super) fn clear(&self) {
        self.entries.lock().clear();
    }

    pub(super) fn entry(&self, channel: ChannelId) -> Arc<Entry> {
        let mut entries = self.entries.lock();
        Arc::clone(entries.get_or_insert(channel, Arc::default))
    }

    /// The same for one that only reads: it pushes nobody else's entry out.
    fn peek(&self, channel: ChannelId) -> Arc<Entry> {
        let known = self.entries.lock().peek(&channel).map(Arc::clone);
        known.unwrap_or_default()
    }
}

impl Log {
    /// Reads where a log ends. What is not yet at a quorum of the nodes may be missed: whoever appends on top of it gets
    /// an error.
    pub(super) async fn read_tail(&self, channel: ChannelId, entry: &Entry) -> Result<Tail, LogError> {
        let Hints { applied, written } = self.read_hints(channel, entry).await?;
        // Before the first event that has something beside messages, `written` is there.
        let none = Some(0).filter(|_| written.is_none());
        let tail = Tail { applied, aside: none, ..Tail::default() };
        let Some(statics) = self.last_statics(channel, entry).await? else { return Ok(tail) };
        let now = tail.now_at(statics);
        Ok(Tail { aside: now.aside.or(none), ..now })
    }

    /// Where a log ends; `None` when there is no log.
    pub(super) async fn read_end(&self, channel: ChannelId) -> Result<Option<End>, LogError> {
        Ok(self.last_statics(channel, &self.tails.entry(channel)).await?.map(|statics| statics.end))
    }

    /// The last position of a log, for one that walks through many; 0 when there is no log. `settled`: what is under way
    /// is finished first.
    pub(super) async fn followed_head(&self, channel: ChannelId, settled: bool) -> Result<Seq, LogError> {
        let seen = self.last_statics(channel, &self.tails.peek(channel)).await?;
        let mut head = seen.map_or(0, |statics| statics.end.head);
        if !settled {
            return Ok(head);
        }
        let mut bucket = self.buckets.of(head);
        // What is under way may fill the bucket and open the next one.
        while let Some(statics) = self.statics(cql::STATICS_SETTLED, channel, bucket).await? {
            head = statics.end.head;
            if head < self.buckets.end(bucket) {
                break;
            }
            bucket += 1;
        }
        Ok(head)
    }

    /// Walks on from where the log was last seen to end, while buckets are full.
    pub(super) async fn last_statics(
        &self,
        channel: ChannelId,
        entry: &Entry,
    ) -> Result<Option<Statics>, LogError> {
        let mut hinted = entry.bucket().is_none();
        if hinted {
            self.read_hints(channel, entry).await?;
        }
        let mut bucket = entry.bucket().unwrap_or(0);
        let mut last = None;
        while let Some(statics) = self.statics(cql::STATICS, channel, bucket).await? {
            last = Some(statics);
            entry.ends_at_or_after(bucket);
            if statics.end.head < self.buckets.end(bucket) {
                break;
            }
            if !hinted {
                // Others may have gone far since.
                self.read_hints(channel, entry).await?;
                hinted = true;
            }
            bucket = entry.bucket().unwrap_or(0).max(bucket + 1);
        }
        Ok(last)
    }

    /// Learns where the log ends at least; answers how far projections are applied.
    async fn read_hints(&self, channel: ChannelId, entry: &Entry) -> Result<Hints, LogError> {
        let rows = self.cql.execute(cql::HINTS, vec![channel_value(channel)]).await?;
        let hints = rows.first();
        entry.ends_at_or_after(hints.and_then(|row| row.int("bucket")).unwrap_or(0));
        let read =
            |column| Ok::<_, LogError>(hints.map(|row| opt_number(row, column)).transpose()?.flatten());
        let written = read("aside")?;
        if let Some(written) = written {
            entry.asides.learn(written);
        }
        Ok(Hints { applied: read("applied")?.unwrap_or(0), written })
    }

    /// The static columns of a bucket; `None` when it is not open.
    pub(super) async fn statics(
        &self,
        statement: Statement,
        channel: ChannelId,
        bucket: i32,
    ) -> Result<Option<Statics>, LogError> {
        let rows = self.cql.execute(statement, vec![channel_value(channel), Value::Int(bucket)]).await?;
        Ok(rows.first().map(Statics::read).transpose()?.flatten())
    }

    /// Leaves a hint for whoever reads the end of this log without remembering it.
    pub(super) fn hint(&self, channel: ChannelId, bucket: i32) {
        let cql = Arc::clone(&self.cql);
        let timestamp = big(u64::try_from(bucket).unwrap_or(0));
        tokio::spawn(async move {
            let values = vec![timestamp, Value::Int(bucket), channel_value(channel)];
            if let Err(error) = cql.execute(cql::SET_BUCKET, values).await {
                tracing::debug!(%channel, bucket, %error, "hint at the end of a log was not written");
            }
        });
    }
}
