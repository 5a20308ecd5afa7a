//! [`FollowStore`]: how consumers find every event, whoever wrote it and however its writer died.
//!
//! Before a batch the channel is noted in the list of the current hour (`log::notes`), so whatever is or will be committed
//! stands in a list that the writer could still reach. Two hours after its end an hour is final: no batch relies on it any
//! more. A consumer walks all hours behind its checkpoint; the final ones it compares by serial reads, which decide what
//! Cassandra has not decided yet, and the checkpoint passes them.
//!
//! All channels are walked when there is no checkpoint, when it is older than the lists, and when servers of 0.1.0, which
//! note nothing, may have written since: `fill` brings their channels into the list of all, and each time it has done so
//! checkpoints from before it count as too old.

use std::time::Duration;

use async_trait::async_trait;
use chat_domain::{
    clock::now_ms,
    opaque::Opaque,
    store::{
        StoreError,
        follow::{Checkpoint, FollowStore, Move, Place, Step},
    },
};
use chat_protocol::{ChannelId, Millis, Seq};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    CassandraStore,
    ask::Decided,
    codec::{damaged, number, opt_number, undone, unsure, uuid},
    cql::{PageState, Row, Statement, Value},
    hours::shard_of,
    log::notes::LIST,
};

/// Channels of one step.
const PAGE: usize = 500;
/// Rows that are listed at the same time by the walk through `channels`.
const AT_ONCE: usize = 16;

const HOUR: Statement = Statement::read("SELECT channel FROM channel_hours WHERE hour = ? AND shard = ?");
const ALL: Statement = Statement::read("SELECT channel FROM all_channels WHERE shard = ?");

const CHECKPOINT: Statement =
    Statement::read("SELECT hour, whole FROM checkpoints WHERE consumer = ? AND shard = ?");
const FIRST_CHECKPOINT: Statement = Statement::conditional(
    "UPDATE checkpoints SET hour = ?, whole = ? WHERE consumer = ? AND shard = ? IF hour = null",
);
const NEXT_CHECKPOINT: Statement = Statement::conditional(
    "UPDATE checkpoints SET hour = ?, whole = ? WHERE consumer = ? AND shard = ? IF hour = ? AND whole = ?",
);

const CURSOR: Statement = Statement::read("SELECT seq FROM cursors WHERE consumer = ? AND channel = ?");
const FIRST_CURSOR: Statement =
    Statement::conditional("UPDATE cursors SET seq = ? WHERE consumer = ? AND channel = ? IF seq = null");
const NEXT_CURSOR: Statement =
    Statement::conditional("UPDATE cursors SET seq = ? WHERE consumer = ? AND channel = ? IF seq = ?");

const BEHIND: Statement =
    Statement::read("SELECT channel FROM consumers_behind WHERE consumer = ? AND shard = ?");
/// Their timestamps are the positions: a removal removes only what it is far enough for.
const SET_BEHIND: Statement = Statement::write(
    "INSERT INTO consumers_behind (consumer, shard, channel, until) VALUES (?, ?, ?, ?) USING TIMESTAMP ?",
);
const CLEAR_BEHIND: Statement = Statement::write(
    "DELETE FROM consumers_behind USING TIMESTAMP ? WHERE consumer = ? AND shard = ? AND channel = ?",
);

const FILL: Statement =
    Statement::read("SELECT began, came_to, filled, done FROM following WHERE what = 'channels'");
const FILL_BEGINS: Statement =
    Statement::write("UPDATE following SET began = ?, came_to = ? WHERE what = 'channels'");
const FILL_GOES_ON: Statement = Statement::write("UPDATE following SET came_to = ? WHERE what = 'channels'");
/// `filled` is the beginning of the walk that has ended, `done` its end.
const FILL_ENDS: Statement =
    Statement::write("UPDATE following SET filled = ?, done = ? WHERE what = 'channels'");
const OLDER: Statement = Statement::read("SELECT older FROM following WHERE what = 'older'");
/// Its time is its timestamp.
const HEARD_OLDER: Statement =
    Statement::write("UPDATE following USING TIMESTAMP ? SET older = ? WHERE what = 'older'");
/// The only statement that goes through a whole table, a page at a time; see docs/cassandra.md.
const CHANNELS: Statement =
    Statement::read("SELECT id, token(id) AS place FROM channels WHERE token(id) >= ? LIMIT ?");

const CLOCK: Statement = Statement::read("SELECT toUnixTimestamp(now()) AS now FROM system.local");

/// How channels are listed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lists {
    pub(super) shards: u32,
    /// A checkpoint that is older counts as none.
    pub(super) kept: Duration,
}

/// Where a walk is.
#[derive(Debug, Clone)]
pub(super) struct CassandraPlace {
    /// The checkpoint as it stands.
    stored: Option<Checkpoint>,
    list: List,
    page: Option<PageState>,
    /// The last hour that was final when the walk began.
    last_final: i64,
    /// The last hour that there may be.
    last: i64,
    /// [`Fill::done`] when the walk began.
    filled: u64,
}

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    All,
    Hour(i64),
}

/// How far the list of all channels is complete.
#[derive(Debug, Clone, Copy, Default)]
struct Fill {
    began: Millis,
    token: i64,
    /// When the walk began that has ended last.
    filled: Millis,
    /// When it ended; 0: none has.
    done: Millis,
}

impl CassandraStore {
    fn shard_value(&self, channel: ChannelId) -> Value {
        Value::Int(shard_of(channel, self.lists.shards).cast_signed())
    }

    async fn fill(&self) -> Result<Fill, StoreError> {
        let Some(row) = self.row(FILL, Vec::new()).await? else { return Ok(Fill::default()) };
        let time = |column| Ok::<_, StoreError>(opt_number(&row, column)?.unwrap_or(0));
        Ok(Fill {
            began: time("began")?,
            token: row.bigint("came_to").unwrap_or(i64::MIN),
            filled: time("filled")?,
            done: time("done")?,
        })
    }

    /// When a server of 0.1.0 was last heard of; 0: never.
    async fn older_heard(&self) -> Result<Millis, StoreError> {
        let row = self.row(OLDER, Vec::new()).await?;
        Ok(row.map(|row| opt_number(&row, "older")).transpose()?.flatten().unwrap_or(0))
    }

    async fn checkpoint(&self, consumer: &str, shard: u32) -> Result<Option<Checkpoint>, StoreError> {
        let values = vec![Value::Text(consumer.into()), Value::Int(shard.cast_signed())];
        let row = self.row(CHECKPOINT, values).await?;
        row.map(|row| Ok(Checkpoint { position: number(&row, "hour")?, whole: number(&row, "whole")? }))
            .transpose()
    }

    async fn begin(&self, consumer: &str, shard: u32) -> Result<CassandraPlace, StoreError> {
        let last_final = self.hours.last_final(self.hours.reading());
        // Others may take their hour from a clock that is ahead.
        let last = self.hours.writing() + 1;
        let fill = self.fill().await?;
        let stored = self.checkpoint(consumer, shard).await?;
        let oldest = last_final - self.hours.in_time(self.lists.kept);
        let usable =
            stored.filter(|stored| fill.done > 0 && hour(*stored) >= oldest && stored.whole >= fill.done);
        let list = match usable {
            Some(stored) => List::Hour(hour(stored) + 1),
            None if fill.done > 0 => List::All,
            // What there is of lists is better than waiting; the checkpoint stays.
            None => List::Hour(last_final + 1),
        };
        Ok(CassandraPlace { stored, list, page: None, last_final, last, filled: fill.done })
    }
}

const fn hour(checkpoint: Checkpoint) -> i64 {
    checkpoint.position.cast_signed()
}

impl CassandraPlace {
    fn is_settled(&self) -> bool {
        match self.list {
            List::All => true,
            List::Hour(hour) => hour <= self.last_final,
        }
    }

    /// How the checkpoint moves when the list has been worked off.
    fn reached(&self) -> Option<Move> {
        let last_final = u64::try_from(self.last_final).unwrap_or(0);
        let to = match self.list {
            List::All => Checkpoint { position: last_final, whole: self.filled },
            List::Hour(hour) if hour == self.last_final => {
                Checkpoint { position: last_final, ..self.stored? }
            }
            List::Hour(_) => return None,
        };
        Some(Move { from: self.stored, to })
    }

    /// The list after this one, given that the checkpoint has moved as [`Self::reached`] says.
    fn after(&self) -> Option<Self> {
        let stored = self.reached().map(|way| way.to).or(self.stored);
        let list = match self.list {
            List::All => List::Hour(self.last_final + 1),
            List::Hour(hour) if hour < self.last => List::Hour(hour + 1),
            List::Hour(_) => return None,
        };
        Some(Self { stored, list, page: None, ..self.clone() })
    }
}

fn channel(row: &Row) -> Result<ChannelId, StoreError> {
    Ok(ChannelId(uuid(row, "channel")?))
}

#[async_trait]
impl FollowStore for CassandraStore {
    fn shards(&self) -> u32 {
        self.lists.shards
    }

    fn shard_of(&self, channel: ChannelId) -> u32 {
        shard_of(channel, self.lists.shards)
    }

    fn walks_save(&self) -> bool {
        false
    }

    async fn walk(&self, consumer: &str, shard: u32, at: Option<Place>) -> Result<Step, StoreError> {
        let mut at = match at.as_ref().and_then(|place| place.0.get::<CassandraPlace>()) {
            Some(place) => place.clone(),
            None => self.begin(consumer, shard).await?,
        };
        loop {
            let shard = Value::Int(shard.cast_signed());
            let (statement, values) = match at.list {
                List::All => (ALL, vec![shard]),
                List::Hour(hour) => (HOUR, vec![Value::BigInt(hour), shard]),
            };
            let page = self.cql.page(statement, values, PAGE, at.page.take()).await.map_err(undone)?;
            let channels = page.rows.iter().map(channel).collect::<Result<Vec<_>, _>>()?;
            let settled = at.is_settled();
            if page.next.is_some() {
                at.page = page.next;
                let next = Some(Place(Opaque::new(at)));
                return Ok(Step { channels, settled, reached: None, next });
            }
            let (reached, next) = (at.reached(), at.after());
            match next {
                // Nothing to do in this hour.
                Some(next) if channels.is_empty() && reached.is_none() => at = next,
                next => {
                    let next = next.map(|next| Place(Opaque::new(next)));
                    return Ok(Step { channels, settled, reached, next });
                }
            }
        }
    }

    async fn move_checkpoint(&self, consumer: &str, shard: u32, way: Move) -> Result<bool, StoreError> {
        let Checkpoint { position, whole } = way.to;
        let value = |number: u64| Value::BigInt(number.cast_signed());
        let mut values = vec![
            value(position),
            value(whole),
            Value::Text(consumer.into()),
            Value::Int(shard.cast_signed()),
        ];
        let statement = match way.from {
            None => FIRST_CHECKPOINT,
            Some(from) => {
                values.extend([value(from.position), value(from.whole)]);
                NEXT_CHECKPOINT
            }
        };
        let ours = |row: &Row| row.bigint("hour") == Some(position.cast_signed());
        Ok(matches!(self.decide(statement, values, ours).await?, Decided::Applied))
    }

    async fn head(&self, channel: ChannelId, settled: bool) -> Result<Seq, StoreError> {
        self.log.head_for_followers(channel, settled).await
    }

    async fn cursor(&self, consumer: &str, channel: ChannelId) -> Result<Seq, StoreError> {
        let row = self.row(CURSOR, vec![Value::Text(consumer.into()), Value::Uuid(channel.0)]).await?;
        Ok(row.map(|row| opt_number(&row, "seq")).transpose()?.flatten().unwrap_or(0))
    }

    async fn move_cursor(
        &self,
        consumer: &str,
        channel: ChannelId,
        from: Seq,
        to: Seq,
    ) -> Result<bool, StoreError> {
        let value = |seq: Seq| Value::BigInt(seq.cast_signed());
        let mut values = vec![value(to), Value::Text(consumer.into()), Value::Uuid(channel.0)];
        let statement = if from == 0 {
            FIRST_CURSOR
        } else {
            values.push(value(from));
            NEXT_CURSOR
        };
        let ours = |row: &Row| row.bigint("seq") == Some(to.cast_signed());
        Ok(matches!(self.decide(statement, values, ours).await?, Decided::Applied))
    }

    async fn behind(&self, consumer: &str, shard: u32) -> Result<Vec<ChannelId>, StoreError> {
        let values = vec![Value::Text(consumer.into()), Value::Int(shard.cast_signed())];
        self.all(BEHIND, values).await?.iter().map(channel).collect()
    }

    async fn set_behind(
        &self,
        consumer: &str,
        channel: ChannelId,
        _handled: Seq,
        until: Seq,
    ) -> Result<(), StoreError> {
        let until = Value::BigInt(until.cast_signed());
        let shard = self.shard_value(channel);
        let values = vec![Value::Text(consumer.into()), shard, Value::Uuid(channel.0), until.clone(), until];
        self.write(SET_BEHIND, values).await
    }

    async fn clear_behind(&self, consumer: &str, channel: ChannelId, handled: Seq) -> Result<(), StoreError> {
        let (handled, shard) = (Value::BigInt(handled.cast_signed()), self.shard_value(channel));
        let values = vec![handled, Value::Text(consumer.into()), shard, Value::Uuid(channel.0)];
        self.write(CLEAR_BEHIND, values).await
    }

    async fn prepare(&self) -> Result<bool, StoreError> {
        let mut fill = self.fill().await?;
        let now = now_ms();
        if fill.began <= fill.filled {
            let hour = u64::try_from(self.hours.length()).unwrap_or(0);
            // A server of 0.1.0 may have made channels until then, two hours being enough for what it had under way.
            let complete = fill.done > 0 && fill.filled >= self.older_heard().await?.saturating_add(2 * hour);
            if complete || fill.done > 0 && now < fill.filled.saturating_add(hour) {
                return Ok(false);
            }
            fill = Fill { began: now.max(fill.filled + 1), token: i64::MIN, ..fill };
            let values = vec![Value::BigInt(fill.began.cast_signed()), Value::BigInt(fill.token)];
            self.write(FILL_BEGINS, values).await?;
        }
        let limit = i32::try_from(PAGE).unwrap_or(i32::MAX);
        let rows = self.rows(CHANNELS, vec![Value::BigInt(fill.token), Value::Int(limit)]).await?;
        let ids = rows.iter().map(|row| uuid(row, "id").map(ChannelId)).collect::<Result<Vec<_>, _>>()?;
        stream::iter(ids)
            .map(|id| self.write(LIST, vec![self.shard_value(id), Value::Uuid(id.0)]))
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        let last =
            rows.last().map(|row| row.bigint("place").ok_or_else(|| damaged("a token"))).transpose()?;
        match last.filter(|_| rows.len() == PAGE) {
            // The last one again: others may have the same token.
            Some(token) if token > fill.token => {
                self.write(FILL_GOES_ON, vec![Value::BigInt(token)]).await?;
                Ok(true)
            }
            Some(token) => Err(damaged(format!("fewer than {PAGE} channels with the token {token}"))),
            None => {
                // Walks that begin from now on see all of them.
                let done = Value::BigInt(now_ms().cast_signed());
                self.write(FILL_ENDS, vec![Value::BigInt(fill.began.cast_signed()), done]).await?;
                Ok(false)
            }
        }
    }

    async fn older_version_lives(&self) -> Result<(), StoreError> {
        let now = Value::BigInt(now_ms().cast_signed());
        self.write(HEARD_OLDER, vec![now.clone(), now]).await
    }

    async fn clock(&self) -> Result<Option<Millis>, StoreError> {
        let rows = self.cql.execute(CLOCK, Vec::new()).await.map_err(unsure)?;
        let row = rows.first().ok_or_else(|| damaged("a row with the time"))?;
        let now = number(row, "now")?;
        self.hours.measured(now);
        Ok(Some(now))
    }
}
