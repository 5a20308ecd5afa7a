//! What follows from events that nobody waits for ([`Effect::Aside`]): written after the answer, several events at a time.
//!
//! The log says which event is the last that has something beside messages (`aside` of the open bucket), the channel's row
//! up to where that is written: whoever finds it behind knows what is lacking, and takes over from a writer that died. The
//! channel's row says so from before the first such event on, so that a channel without any costs nobody a read. Each write
//! has the event's position as its timestamp: doing it twice, late or out of order changes nothing.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chat_log::{Body, Effect, effect, target};
use chat_protocol::{ChannelId, Event, EventBody, Seq};
use parking_lot::Mutex;
use tokio::time::sleep;

use super::{
    Log,
    codec::{big, channel_value, opt_number},
    error::LogError,
    project::Fact,
    statements as cql,
    tail::Entry,
};
use crate::cql::{Statement, Value};

/// How long events are gathered before they are written.
const GATHERED: Duration = Duration::from_millis(50);
/// Events that may wait to be written. Of more it is only remembered that there are some: they are read from the log.
const WAITING: usize = 4_096;
/// How often a write is tried, with pauses of a second and more.
const TRIES: u32 = 8;
/// Events that are read at once when catching up.
const SLICE: usize = 256;
/// Statements in one batch.
const BATCH: usize = 64;

/// Stores one reaction.
const REACT: Statement = Statement::write(
    "INSERT INTO reactions (channel, bucket, target, emoji, user, seq) VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ?",
);
/// One that was taken back.
const UNREACT: Statement = Statement::write(
    "DELETE FROM reactions USING TIMESTAMP ? WHERE channel = ? AND bucket = ? AND target = ? AND emoji = ? AND user = ?",
);

/// What one process still has to write for a channel.
#[derive(Default)]
pub(super) struct Asides(Mutex<State>);

#[derive(Default)]
struct State {
    /// Up to here everything is written, at least. `None`: not known.
    written: Option<Seq>,
    waiting: Vec<Batch>,
    /// Somebody is at it.
    writing: bool,
}

/// Events that were committed together.
struct Batch {
    /// The last event before them that has something beside messages.
    before: Seq,
    facts: Vec<Fact>,
}

impl Batch {
    fn last(&self) -> Seq {
        self.facts.last().map_or(self.before, |fact| fact.seq)
    }
}

impl Asides {
    fn written(&self) -> Option<Seq> {
        self.0.lock().written
    }

    /// What was read or written.
    pub(super) fn learn(&self, written: Seq) {
        let mut state = self.0.lock();
        state.written = state.written.max(Some(written));
    }

    /// True when the caller is to write.
    fn push(&self, batch: Batch) -> bool {
        let mut state = self.0.lock();
        let waiting: usize = state.waiting.iter().map(|batch| batch.facts.len()).sum();
        let batch = if waiting + batch.facts.len() > WAITING {
            state.waiting.clear();
            Batch { before: batch.last(), facts: Vec::new() }
        } else {
            batch
        };
        state.waiting.push(batch);
        !std::mem::replace(&mut state.writing, true)
    }

    /// What waits; with nothing, nobody writes any more.
    fn take(&self) -> Vec<Batch> {
        let mut state = self.0.lock();
        state.writing = !state.waiting.is_empty();
        std::mem::take(&mut state.waiting)
    }

    /// Who reads next finds it behind.
    fn give_up(&self) {
        *self.0.lock() = State::default();
    }
}

impl Log {
    /// Up to where everything beside messages is written; `None` when the channel never had anything.
    pub(super) async fn written_asides(&self, channel: ChannelId) -> Result<Option<Seq>, LogError> {
        let rows = self.cql.execute(cql::HINTS, vec![channel_value(channel)]).await?;
        Ok(rows.first().map(|row| opt_number(row, "aside")).transpose()?.flatten())
    }

    /// Before the first event of a channel that has something beside messages.
    pub(super) async fn begin_asides(&self, channel: ChannelId, entry: &Entry) -> Result<(), LogError> {
        if entry.asides.written().is_some() {
            return Ok(());
        }
        let written = match self.written_asides(channel).await? {
            Some(written) => written,
            None => {
                self.cql.execute(cql::SET_ASIDE, vec![big(1), big(0), channel_value(channel)]).await?;
                0
            }
        };
        entry.asides.learn(written);
        Ok(())
    }

    /// The last event that has something beside messages, for a log whose last bucket does not say: a server of 0.1.0 opened
    /// it. Such a server appends none.
    pub(super) async fn last_aside(&self, channel: ChannelId, bucket: i32) -> Result<Seq, LogError> {
        let Some(written) = self.written_asides(channel).await? else { return Ok(0) };
        for bucket in (self.buckets.of(written.max(1))..bucket).rev() {
            let statics = self.statics(cql::STATICS, channel, bucket).await?;
            if let Some(aside) = statics.and_then(|statics| statics.aside) {
                return Ok(aside.max(written));
            }
        }
        Ok(written)
    }

    /// The events after `written`, up to `last`, that have something beside messages, in order.
    pub(super) async fn unwritten_asides(
        &self,
        channel: ChannelId,
        written: Seq,
        last: Seq,
    ) -> Result<Vec<Event>, LogError> {
        let (mut after, mut unwritten) = (written, Vec::new());
        while after < last {
            let (events, end) = self.asides_after(channel, after, last).await?;
            unwritten.extend(events);
            after = end;
        }
        Ok(unwritten)
    }

    /// Writes in the background what follows from these events, which come after the event at `before`, and from those
    /// before them that nobody has written yet.
    pub(super) fn write_asides(
        self: &Arc<Self>,
        channel: ChannelId,
        entry: &Arc<Entry>,
        before: Seq,
        facts: Vec<Fact>,
    ) {
        let behind = entry.asides.written().unwrap_or(0) < before;
        if (behind || !facts.is_empty()) && entry.asides.push(Batch { before, facts }) {
            tokio::spawn(Arc::clone(self).keep_writing(channel, Arc::clone(entry)));
        }
    }

    async fn keep_writing(self: Arc<Self>, channel: ChannelId, entry: Arc<Entry>) {
        let mut tries = 0;
        loop {
            sleep(GATHERED).await;
            let batches = entry.asides.take();
            let Some(last) = batches.last().map(Batch::last) else { return };
            while let Err(error) = self.write_batches(channel, &entry, &batches, last).await {
                tries += 1;
                if tries == TRIES {
                    tracing::warn!(%channel, %error, "what is beside messages stays behind until the log is written to again");
                    return entry.asides.give_up();
                }
                sleep(Duration::from_secs(1 << tries.min(6))).await;
            }
            tries = 0;
        }
    }

    async fn write_batches(
        &self,
        channel: ChannelId,
        entry: &Entry,
        batches: &[Batch],
        last: Seq,
    ) -> Result<(), LogError> {
        let mut written = entry.asides.written().unwrap_or(0);
        // Each batch follows on the one before it.
        let reached =
            batches.iter().try_fold(written, |at, batch| (batch.before <= at).then(|| batch.last().max(at)));
        if reached.is_some() {
            self.write_facts(channel, batches.iter().flat_map(|batch| &batch.facts)).await?;
        } else {
            // Other processes write as well.
            written = self.written_asides(channel).await?.unwrap_or(0);
            self.catch_up_asides(channel, written, last).await?;
        }
        if last > written {
            self.cql.execute(cql::SET_ASIDE, vec![big(last), big(last), channel_value(channel)]).await?;
        }
        entry.asides.learn(last);
        Ok(())
    }

    /// Writes what the log has after `written` up to `last`.
    async fn catch_up_asides(&self, channel: ChannelId, written: Seq, last: Seq) -> Result<(), LogError> {
        let mut after = written;
        while after < last {
            let (events, end) = self.asides_after(channel, after, last).await?;
            let fact =
                |Event { seq, at, by, body, .. }| Fact { seq, at, by, body: Body::from(body), counts: None };
            self.write_facts(channel, &events.into_iter().map(fact).collect::<Vec<_>>()).await?;
            after = end;
        }
        Ok(())
    }

    /// Some of the events after a position, up to `last`, that have something beside messages; and how far that is.
    async fn asides_after(
        &self,
        channel: ChannelId,
        after: Seq,
        last: Seq,
    ) -> Result<(Vec<Event>, Seq), LogError> {
        let events = self.events(channel, after, SLICE).await?;
        let end = events.last().map_or(last, |event| event.seq);
        let mut asides = Vec::new();
        for event in events.iter().filter(|event| event.seq <= last) {
            asides.extend(Some(event.parsed()?).filter(|event| effect(&event.body) == Effect::Aside));
        }
        Ok((asides, end))
    }

    async fn write_facts(
        &self,
        channel: ChannelId,
        facts: impl IntoIterator<Item = &Fact>,
    ) -> Result<(), LogError> {
        let mut partitions: BTreeMap<i32, Vec<(Statement, Vec<Value>)>> = BTreeMap::new();
        for fact in facts {
            let bucket = self.buckets.of(target(&fact.body).unwrap_or(fact.seq));
            partitions.entry(bucket).or_default().extend(beside(channel, bucket, fact));
        }
        for statements in partitions.values().flat_map(|statements| statements.chunks(BATCH)) {
            self.cql.batch(statements.to_vec()).await?;
        }
        Ok(())
    }
}

/// What is written for an event, into the partition of this bucket of the message that it is about.
fn beside(channel: ChannelId, bucket: i32, fact: &Fact) -> Option<(Statement, Vec<Value>)> {
    let EventBody::Reaction { target, ref emoji, removed } = *fact.body else { return None };
    let key = [big(target), Value::Text(emoji.clone()), Value::Uuid(fact.by.0)];
    let (seq, partition) = (big(fact.seq), [channel_value(channel), Value::Int(bucket)]);
    Some(if removed {
        (UNREACT, [&[seq][..], &partition, &key].concat())
    } else {
        (REACT, [&partition[..], &key, &[seq.clone(), seq]].concat())
    })
}
