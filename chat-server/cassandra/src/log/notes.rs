//! Notes of which channels are written to, so that consumers find them: each batch needs one of the current or the previous
//! hour, and it is written before the batch. See `follow`.

use std::{num::NonZeroUsize, sync::Arc};

use chat_protocol::ChannelId;
use lru::LruCache;
use parking_lot::Mutex;

use super::{Log, codec::channel_value, error::LogError};
use crate::{
    cql::{Statement, Value},
    hours::{Hours, shard_of},
};

const NOTE: Statement = Statement::write("INSERT INTO channel_hours (hour, shard, channel) VALUES (?, ?, ?)");
pub(crate) const LIST: Statement =
    Statement::write("INSERT INTO all_channels (shard, channel) VALUES (?, ?)");

/// What this process has noted. Purely a cache: what is forgotten is noted again.
pub(super) struct Notes {
    pub(super) hours: Arc<Hours>,
    pub(super) shards: u32,
    noted: Mutex<LruCache<ChannelId, i64>>,
}

impl Notes {
    pub(super) fn new(hours: Arc<Hours>, shards: u32, channels: NonZeroUsize) -> Self {
        Self { hours, shards, noted: Mutex::new(LruCache::new(channels)) }
    }

    pub(super) fn clear(&self) {
        self.noted.lock().clear();
    }
}

impl Log {
    /// To be called before a batch; `is_new` when the channel has no log yet. Costs nothing but once in two hours.
    pub(super) async fn note(&self, channel: ChannelId, is_new: bool) -> Result<(), LogError> {
        let Notes { hours, shards, noted } = &self.notes;
        let hour = hours.writing();
        if noted.lock().get(&channel).is_some_and(|noted| noted + 1 >= hour) {
            return Ok(());
        }
        let shard = Value::Int(shard_of(channel, *shards).cast_signed());
        let note = self.cql.execute(NOTE, vec![Value::BigInt(hour), shard.clone(), channel_value(channel)]);
        if is_new {
            tokio::try_join!(note, self.cql.execute(LIST, vec![shard, channel_value(channel)]))?;
        } else {
            note.await?;
        }
        noted.lock().put(channel, hour);
        Ok(())
    }

    /// To be called when an append has ended. A process that stood still between the note and the batch may have written
    /// to a log whose hour is final by now.
    pub(super) async fn note_again(&self, channel: ChannelId) {
        if let Err(error) = self.note(channel, false).await {
            tracing::warn!(%channel, %error, "a channel that was written to is not noted for consumers");
        }
    }
}
