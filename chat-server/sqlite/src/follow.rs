//! [`FollowStore`]: rows of `events` are numbered in the order of their commits, so one number says what a consumer has had.

use async_trait::async_trait;
use chat_domain::opaque::Opaque;
use chat_domain::store::{
    LogStore as _, StoreError,
    follow::{Checkpoint, FollowStore, Move, Place, Step},
};
use chat_protocol::{ChannelId, Millis, Seq};
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    JobError, SqliteStore,
    codec::{channel_id, int, limit, uint},
};

/// Rows that one step looks at.
const ROWS: usize = 1_000;

/// The last row that a walk has looked at.
#[derive(Debug, Clone, Copy)]
pub(super) struct SqlitePlace {
    row: u64,
    /// The position as it stands in the table; `None`: not there.
    stored: Option<u64>,
}

fn position(db: &Connection, consumer: &str) -> Result<Option<u64>, JobError> {
    let mut query = db.prepare_cached("SELECT position FROM consumers WHERE name = ?1")?;
    Ok(query.query_row([consumer], |row| uint(row, 0)).optional()?)
}

/// The last event of a channel that stands in a row up to this one. Positions and rows of a log ascend together, and a log
/// has no holes, so it is found by halving.
fn last_up_to(db: &Connection, channel: ChannelId, row: u64) -> Result<Seq, JobError> {
    let mut query = db.prepare_cached("SELECT row FROM log WHERE channel = ?1 AND seq = ?2")?;
    let mut head = db.prepare_cached("SELECT head FROM channels WHERE id = ?1")?;
    let key = channel.0.as_bytes();
    let (mut had, mut beyond) = (0, head.query_row([key], |row| uint(row, 0)).optional()?.unwrap_or(0) + 1);
    while beyond - had > 1 {
        let seq = had + (beyond - had) / 2;
        let at: Option<u64> = query.query_row(params![key, int(seq)], |row| uint(row, 0)).optional()?;
        if at.is_some_and(|at| at <= row) {
            had = seq;
        } else {
            beyond = seq;
        }
    }
    Ok(had)
}

#[async_trait]
impl FollowStore for SqliteStore {
    fn shards(&self) -> u32 {
        1
    }

    fn shard_of(&self, _channel: ChannelId) -> u32 {
        0
    }

    fn walks_save(&self) -> bool {
        true
    }

    async fn walk(&self, consumer: &str, _shard: u32, at: Option<Place>) -> Result<Step, StoreError> {
        let consumer = consumer.to_owned();
        self.read(move |db| {
            let at = match at.as_ref().and_then(|place| place.0.get::<SqlitePlace>()) {
                Some(place) => *place,
                None => {
                    let stored = position(db, &consumer)?;
                    SqlitePlace { row: stored.unwrap_or(0), stored }
                }
            };
            let mut query =
                db.prepare_cached("SELECT row, channel FROM events WHERE row > ?1 ORDER BY row LIMIT ?2")?;
            let rows = query
                .query_map(params![int(at.row), limit(ROWS)], |row| Ok((uint(row, 0)?, channel_id(row, 1)?)))?
                .collect::<Result<Vec<_>, _>>()?;
            let Some(&(last, _)) = rows.last() else {
                return Ok(Step { channels: Vec::new(), settled: true, reached: None, next: None });
            };
            let full = rows.len() == ROWS;
            let mut channels: Vec<ChannelId> = rows.into_iter().map(|(_, channel)| channel).collect();
            channels.sort_unstable();
            channels.dedup();
            let checkpoint = |position| Checkpoint { position, whole: 0 };
            let way = Move { from: at.stored.map(checkpoint), to: checkpoint(last) };
            let next = SqlitePlace { row: last, stored: Some(last) };
            Ok(Step {
                channels,
                settled: true,
                reached: Some(way),
                next: full.then_some(Place(Opaque::new(next))),
            })
        })
        .await
    }

    async fn move_checkpoint(&self, consumer: &str, _shard: u32, way: Move) -> Result<bool, StoreError> {
        let consumer = consumer.to_owned();
        self.write(move |db| {
            let to = int(way.to.position);
            let moved = match way.from {
                None => db
                    .prepare_cached(
                        "INSERT INTO consumers (name, position) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                    )?
                    .execute(params![consumer, to])?,
                Some(from) => db
                    .prepare_cached("UPDATE consumers SET position = ?2 WHERE name = ?1 AND position = ?3")?
                    .execute(params![consumer, to, int(from.position)])?,
            };
            Ok(moved > 0)
        })
        .await
    }

    async fn head(&self, channel: ChannelId, _settled: bool) -> Result<Seq, StoreError> {
        Ok(self.heads(&[channel]).await?.first().map_or(0, |(_, head)| *head))
    }

    async fn cursor(&self, consumer: &str, channel: ChannelId) -> Result<Seq, StoreError> {
        let consumer = consumer.to_owned();
        self.read(move |db| {
            let mut behind =
                db.prepare_cached("SELECT seq FROM consumers_behind WHERE name = ?1 AND channel = ?2")?;
            let behind = behind.query_row(params![consumer, channel.0.as_bytes()], |row| uint(row, 0));
            match behind.optional()? {
                Some(seq) => Ok(seq),
                None => last_up_to(db, channel, position(db, &consumer)?.unwrap_or(0)),
            }
        })
        .await
    }

    /// Only of a channel that is behind there is something to write: of the others the checkpoint says it.
    async fn move_cursor(
        &self,
        consumer: &str,
        channel: ChannelId,
        from: Seq,
        to: Seq,
    ) -> Result<bool, StoreError> {
        let name = consumer.to_owned();
        let is_behind = self
            .read(move |db| {
                let mut query =
                    db.prepare_cached("SELECT 1 FROM consumers_behind WHERE name = ?1 AND channel = ?2")?;
                Ok(query.exists(params![name, channel.0.as_bytes()])?)
            })
            .await?;
        if !is_behind {
            return Ok(true);
        }
        let name = consumer.to_owned();
        self.write(move |db| {
            let mut update = db.prepare_cached(
                "UPDATE consumers_behind SET seq = ?4 WHERE name = ?1 AND channel = ?2 AND seq = ?3",
            )?;
            Ok(update.execute(params![name, channel.0.as_bytes(), int(from), int(to)])? > 0)
        })
        .await
    }

    async fn behind(&self, consumer: &str, _shard: u32) -> Result<Vec<ChannelId>, StoreError> {
        let consumer = consumer.to_owned();
        self.read(move |db| {
            let mut query = db.prepare_cached("SELECT channel FROM consumers_behind WHERE name = ?1")?;
            let rows = query.query_map([consumer], |row| channel_id(row, 0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn set_behind(
        &self,
        consumer: &str,
        channel: ChannelId,
        handled: Seq,
        until: Seq,
    ) -> Result<(), StoreError> {
        let consumer = consumer.to_owned();
        self.write(move |db| {
            db.prepare_cached(
                "INSERT INTO consumers_behind (name, channel, seq, until) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET seq = max(seq, excluded.seq), until = max(until, excluded.until)",
            )?
            .execute(params![consumer, channel.0.as_bytes(), int(handled), int(until)])?;
            Ok(())
        })
        .await
    }

    async fn clear_behind(&self, consumer: &str, channel: ChannelId, handled: Seq) -> Result<(), StoreError> {
        let consumer = consumer.to_owned();
        self.write(move |db| {
            db.prepare_cached(
                "DELETE FROM consumers_behind WHERE name = ?1 AND channel = ?2 AND until <= ?3",
            )?
            .execute(params![consumer, channel.0.as_bytes(), int(handled)])?;
            Ok(())
        })
        .await
    }

    async fn prepare(&self) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn older_version_lives(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn clock(&self) -> Result<Option<Millis>, StoreError> {
        Ok(None)
    }
}
