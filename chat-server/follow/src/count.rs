//! A consumer that counts the events of each channel: an example of one that doubles nothing, since what it writes stands
//! together with its position and is written on condition of that.

use async_trait::async_trait;
use chat_domain::store::StoredEvent;
use chat_protocol::{ChannelId, Seq};

use super::{Consumer, ConsumerError};

/// What is known of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// The last event that was counted.
    pub position: Seq,
    /// How many were.
    pub events: u64,
}

/// Where counts are kept.
#[async_trait]
pub trait Counts: Send + Sync + 'static {
    /// A channel's count; the default when it has none.
    async fn get(&self, channel: ChannelId) -> Result<Count, ConsumerError>;

    /// Replaces a channel's count if it still is `from`, durably. False when it is not: nothing was done.
    async fn put(&self, channel: ChannelId, from: Count, to: Count) -> Result<bool, ConsumerError>;
}

/// A consumer that counts the events it gets.
pub struct EventCounter<C> {
    counts: C,
}

impl<C: Counts> EventCounter<C> {
    /// Keeps them there.
    pub const fn new(counts: C) -> Self {
        Self { counts }
    }
}

#[async_trait]
impl<C: Counts> Consumer for EventCounter<C> {
    fn name(&self) -> &'static str {
        "count"
    }

    async fn handle(&self, channel: ChannelId, events: &[StoredEvent]) -> Result<(), ConsumerError> {
        let from = self.counts.get(channel).await?;
        // Events that come again are those up to the position.
        let new = events.iter().filter(|event| event.seq > from.position);
        let to = new.fold(from, |count, event| Count { position: event.seq, events: count.events + 1 });
        if to == from || self.counts.put(channel, from, to).await? {
            Ok(())
        } else {
            Err("another process counts the same channel".into())
        }
    }
}
