//! [`LogStore`]: the logs.

use async_trait::async_trait;
use chat_protocol::{ChannelId, ClientId, EventBody, Millis, Seq, UserId, rest::Message};
use rusqlite::{Connection, OptionalExtension, params};

use super::{
    SqliteStore, append,
    codec::{EVENT_COLUMNS, int, limit, stored_event, uint},
    job::JobError,
};
use crate::store::{Appended, LogStore, NewEvent, StoreError, StoredEvent};

#[async_trait]
impl LogStore for SqliteStore {
    async fn append(&self, channel: ChannelId, events: Vec<NewEvent>) -> Result<Vec<Appended>, StoreError> {
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

    async fn heads(&self, channels: &[ChannelId]) -> Result<Vec<(ChannelId, Seq)>, StoreError> {
        let channels = channels.to_vec();
        self.read(move |db| {
            let mut query = db.prepare_cached("SELECT head FROM channels WHERE id = ?1")?;
            let mut heads = Vec::with_capacity(channels.len());
            for channel in channels {
                let head = query.query_row([channel.0.as_bytes()], |row| uint(row, 0)).optional()?;
                heads.extend(head.map(|head| (channel, head)));
            }
            Ok(heads)
        })
        .await
    }
}

/// Applies the newest edit. A deletion is in the message's own body already.
fn as_it_reads_now(db: &Connection, event: &StoredEvent) -> Result<Message, JobError> {
    let EventBody::Message { text, files, deleted } = serde_json::from_str(&event.body)? else {
        return Err(format!("expected a message at {} of {}", event.seq, event.channel).into());
    };
    let StoredEvent { channel, seq, at, by, id, .. } = *event;
    let mut message = Message { channel, seq, at, by, id, text, files, edited_at: None, deleted };
    if deleted {
        return Ok(message);
    }
    let newest_edit = db
        .prepare_cached(
            "SELECT at, body FROM events WHERE channel = ?1 AND target = ?2 AND kind = 2
             ORDER BY seq DESC LIMIT 1",
        )?
        .query_row(params![channel.0.as_bytes(), int(seq)], |row| {
            Ok((uint(row, 0)?, row.get::<_, String>(1)?))
        })
        .optional()?;
    if let Some((edited_at, body)) = newest_edit
        && let EventBody::Edited { text, .. } = serde_json::from_str(&body)?
    {
        message.text = text;
        message.edited_at = Some(edited_at);
    }
    Ok(message)
}
