//! [`LogStore`]: the logs.

use async_trait::async_trait;
use chat_log::fold;
use chat_protocol::{ChannelId, ClientId, EventBody, Millis, Seq, UserId, rest::Message};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    SqliteStore, append,
    codec::{self, EVENT_COLUMNS, int, limit, stored_event, uint},
    job::JobError,
};
use crate::store::{Commit, End, LogStore, NewEvent, StoreError, StoredEvent};

#[async_trait]
impl LogStore for SqliteStore {
    async fn commit(&self, channel: ChannelId, events: Vec<NewEvent>) -> Result<Commit, StoreError> {
        self.write(move |db| append::append(db, channel, &events)).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        // An empty transaction: it goes through the writer's queue and thread, and touches no disk.
        self.write(|_| Ok(())).await
    }

    async fn events(
        &self,
        channel: ChannelId,
        after: Seq,
        most: usize,
    ) -> Result<Vec<StoredEvent>, StoreError> {
        self.read(move |db| {
            let mut query = db.prepare_cached(&format!(
                "SELECT {EVENT_COLUMNS} FROM events WHERE channel = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3"
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
        self.read(move |db| append::committed_as(db, channel, by, id)).await
    }

    async fn event(&self, channel: ChannelId, seq: Seq) -> Result<Option<StoredEvent>, StoreError> {
        self.read(move |db| {
            let mut query = db.prepare_cached(&format!(
                "SELECT {EVENT_COLUMNS} FROM events WHERE channel = ?1 AND seq = ?2"
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
        self.read(move |db| {
            let mut query = db.prepare_cached(&format!(
                "SELECT {EVENT_COLUMNS} FROM events WHERE channel = ?1 AND kind = 1 AND seq < ?2
                 ORDER BY seq DESC LIMIT ?3"
            ))?;
            let rows = query.query_map(params![channel.0.as_bytes(), int(before), limit(most)], |row| {
                stored_event(channel, row)
            })?;
            rows.map(|event| as_it_reads_now(db, &event?)).collect()
        })
        .await
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

/// Applies the newest edit. A deletion is in the message's own body already.
fn as_it_reads_now(db: &Connection, event: &StoredEvent) -> Result<Message, JobError> {
    let StoredEvent { channel, seq, .. } = *event;
    let newest: Option<(Millis, String)> = db
        .prepare_cached(
            "SELECT at, body FROM events WHERE channel = ?1 AND target = ?2 AND kind = 2
             ORDER BY seq DESC LIMIT 1",
        )?
        .query_row(params![channel.0.as_bytes(), int(seq)], |row| Ok((uint(row, 0)?, row.get(1)?)))
        .optional()?;
    let edit = match newest {
        Some((at, body)) => match serde_json::from_str(&body)? {
            EventBody::Edited { text, .. } => Some(fold::Edit { at, text }),
            _ => None,
        },
        None => None,
    };
    fold::message(event.parsed()?, edit)
        .ok_or_else(|| format!("failed to read a message at {seq} of {channel}: it is another event").into())
}
