//! [`LogStore`]: the logs.

use std::sync::atomic::Ordering;

use async_trait::async_trait;
use chat_domain::store::{Commit, End, LogStore, NewEvent, StoreError, StoredEvent};
use chat_protocol::{ChannelId, ClientId, Millis, Seq, UserId, rest::Message};
use rusqlite::{OptionalExtension, params};

use super::{
    SqliteStore, append,
    codec::{self, EVENT_COLUMNS, int, limit, stored_event},
    project, tail, writer,
};

#[async_trait]
impl LogStore for SqliteStore {
    async fn commit(&self, channel: ChannelId, events: Vec<NewEvent>) -> Result<Commit, StoreError> {
        self.write(move |db| append::append(db, channel, &events)).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        if self.failing.load(Ordering::Acquire) {
            // The disk is full, say: whether it still is shows when something is written.
            self.write(writer::probe).await
        } else {
            // An empty transaction: it goes through the writer's queue and thread, and touches no disk.
            self.write(|_| Ok(())).await
        }
    }

    async fn events(
        &self,
        channel: ChannelId,
        after: Seq,
        most: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.read(move |db| {
            let mut query = db.prepare_cached(&format!(
                "SELECT {EVENT_COLUMNS} FROM log WHERE channel = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3"
            ))?;
            let rows = query.query_map(params![channel.0.as_bytes(), int(after), limit(most)], |row| {
                stored_event(channel, row)
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    async fn committed_as(
        &self,
        channel: ChannelId,
        by: UserId,
        id: ClientId,
    ) -> Result<Option<(Seq, Millis)>, StoreError> {
        self.read(move |db| Ok(tail::committed_as(db, channel, by, id)?)).await
    }

    async fn event(&self, channel: ChannelId, seq: Seq) -> Result<Option<StoredEvent>, StoreError> {
        self.read(move |db| {
            let mut query = db.prepare_cached(&format!(
                "SELECT {EVENT_COLUMNS} FROM log WHERE channel = ?1 AND seq = ?2"
            ))?;
            let row =
                query.query_row(params![channel.0.as_bytes(), int(seq)], |row| stored_event(channel, row));
            Ok(row.optional()?)
        })
        .await
    }

    async fn messages(
        &self,
        channel: ChannelId,
        before: Seq,
        most: usize,
    ) -> Result<Vec<Message>, StoreError> {
        self.read(move |db| project::messages(db, channel, before, most)).await
    }

    async fn ends(&self, channels: &[ChannelId]) -> Result<Vec<(ChannelId, End)>, StoreError> {
        let channels = channels.to_vec();
        self.read(move |db| {
            let mut query =
                db.prepare_cached("SELECT head, seen, n_from, n, d, m FROM channels WHERE id = ?1")?;
            let mut ends = Vec::with_capacity(channels.len());
            for channel in channels {
                let end = query.query_row([channel.0.as_bytes()], |row| codec::end(row, 0)).optional()?;
                ends.extend(end.map(|end| (channel, end)));
            }
            Ok(ends)
        })
        .await
    }
}
