//! Everything that only reads a log.
//!
//! At `LOCAL_QUORUM`: whatever was acknowledged is at a quorum of the nodes, so it is seen. What is seen beyond that has
//! been decided and its writer only has no answer yet.

use chat_domain::store::{End, StoredEvent};
use chat_protocol::{ChannelId, ClientId, Millis, Seq, UserId};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use uuid::Uuid;

use super::{
    Log,
    call::key,
    codec::{channel_value, limit, seq_key, stored_event},
    error::LogError,
    statements as cql,
};
use crate::cql::Value;

/// Logs whose ends are read at the same time by one caller.
const HEADS_AT_ONCE: usize = 32;

impl Log {
    /// Asks what an append would ask: whether a quorum of the nodes agrees on something.
    pub(super) async fn check(&self) -> Result<(), LogError> {
        self.statics(cql::STATICS_SETTLED, ChannelId(Uuid::nil()), 0).await.map(drop)
    }

    pub(super) async fn events(
        &self,
        channel: ChannelId,
        after: Seq,
        most: usize,
    ) -> Result<Vec<StoredEvent>, LogError> {
        let mut events: Vec<StoredEvent> = Vec::new();
        let mut after = after;
        while events.len() < most && after < Seq::MAX {
            let bucket = self.buckets.next(after);
            let left = most - events.len();
            let values = vec![channel_value(channel), Value::Int(bucket), seq_key(after), limit(left)];
            let rows = self.cql.execute(cql::EVENTS_AFTER, values).await?;
            for row in &rows {
                events.push(stored_event(channel, row)?);
            }
            match events.last() {
                // The bucket was read to its end, and it is full: the log may go on in the next one.
                Some(last) if last.seq > after && last.seq == self.buckets.end(bucket) => after = last.seq,
                _ => break,
            }
        }
        Ok(events)
    }

    pub(super) async fn event(&self, channel: ChannelId, seq: Seq) -> Result<Option<StoredEvent>, LogError> {
        let bucket = self.buckets.of(seq);
        let values = vec![channel_value(channel), Value::Int(bucket), seq_key(seq)];
        let rows = self.cql.execute(cql::EVENT_AT, values).await?;
        rows.first().map(|row| stored_event(channel, row)).transpose()
    }

    pub(super) async fn ends(&self, channels: &[ChannelId]) -> Result<Vec<(ChannelId, End)>, LogError> {
        let found: Vec<_> = stream::iter(channels.to_vec())
            .map(async |channel| Ok::<_, LogError>((channel, self.read_end(channel).await?)))
            .buffered(HEADS_AT_ONCE)
            .try_collect()
            .await?;
        Ok(found.into_iter().filter_map(|(channel, end)| Some((channel, end?))).collect())
    }

    pub(super) async fn committed_as(
        &self,
        channel: ChannelId,
        by: UserId,
        id: ClientId,
    ) -> Result<Option<(Seq, Millis)>, LogError> {
        let Some(End { head, .. }) = self.read_end(channel).await? else { return Ok(None) };
        let keys = [key(by, id.0)];
        let mut bucket = self.buckets.of(head);
        // Whoever asks may have got the answer that the outcome is unknown: what is under way is finished first. That may
        // fill the bucket, never more than one.
        while let Some(statics) = self.statics(cql::STATICS_SETTLED, channel, bucket).await? {
            if let Some(&(_, seq, at)) = self.used_in(channel, bucket, &keys).await?.first() {
                return Ok(Some((seq, at)));
            }
            if statics.end.head < self.buckets.end(bucket) {
                break;
            }
            bucket += 1;
        }
        let mut window = super::ids::Window::default();
        let found = self.used_before(channel, bucket, &mut window, &keys).await?;
        Ok(found.first().map(|&(_, seq, at)| (seq, at)))
    }
}
