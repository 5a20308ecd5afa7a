//! What a store gives to those who follow its logs: which channels may have events that a consumer has not had, and how
//! far each consumer has come.
//!
//! Channels lie in shards, so that several processes can share the work. A consumer has a [`Checkpoint`] in each shard:
//! up to there it has had every channel's events. What lies beyond is found by a walk, step by step. The embedded store
//! has one shard, and its checkpoint is the number of the last row; Cassandra's is the last hour whose list of channels is
//! final and was worked off.

use async_trait::async_trait;
use chat_protocol::{ChannelId, Millis, Seq};

use super::{LogStore, StoreError};
use crate::opaque::Opaque;

/// Up to where a consumer has had all events of a shard, except for channels that are noted as behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last row, or the last hour, that was worked off.
    pub position: u64,
    /// Which list of all channels the last walk through all of them was made by; 0 where there is no such list.
    pub whole: u64,
}

/// A checkpoint on its way. It moves only from where it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Move {
    /// As it stands in the store; `None`: the consumer has none in this shard.
    pub from: Option<Checkpoint>,
    /// As it shall stand.
    pub to: Checkpoint,
}

/// Where a walk goes on. Good for the store that made it.
#[derive(Debug, Clone)]
pub struct Place(pub Opaque);

/// A part of a walk.
#[derive(Debug, Clone)]
pub struct Step {
    /// Channels that may have events which the consumer has not had. Some may come twice in one walk.
    pub channels: Vec<ChannelId>,
    /// Whether these are compared with [`FollowStore::head`] that is settled. The checkpoint will pass them, so their
    /// cursors are saved before it does.
    pub settled: bool,
    /// How the checkpoint moves once every channel of this step and of those before was had, or noted as behind.
    pub reached: Option<Move>,
    /// The next step; `None`: the walk has ended.
    pub next: Option<Place>,
}

/// The part of a store that consumers of the logs are fed from.
#[async_trait]
pub trait FollowStore: LogStore {
    /// How many shards there are; the same for all processes of a store, for ever.
    fn shards(&self) -> u32;

    /// The shard of a channel, below [`FollowStore::shards`].
    fn shard_of(&self, channel: ChannelId) -> u32;

    /// Whether only walks save how far a consumer has come, for they cost next to nothing: they are made as often as cursors
    /// are saved elsewhere.
    fn walks_save(&self) -> bool;

    /// The next step of a walk through what a consumer may lack of a shard; the first one for `None`.
    async fn walk(&self, consumer: &str, shard: u32, at: Option<Place>) -> Result<Step, StoreError>;

    /// Moves a checkpoint. False when another process has moved it: nothing was done.
    async fn move_checkpoint(&self, consumer: &str, shard: u32, way: Move) -> Result<bool, StoreError>;

    /// The last position of a log; 0 when there is none. `settled`: writes that are under way are decided first, so that
    /// what stands beyond it was appended later.
    async fn head(&self, channel: ChannelId, settled: bool) -> Result<Seq, StoreError>;

    /// The last event of a channel that a consumer has certainly had; 0 for none.
    async fn cursor(&self, consumer: &str, channel: ChannelId) -> Result<Seq, StoreError>;

    /// Moves a cursor that stands at `from`. False when it stands elsewhere: another process has moved it.
    async fn move_cursor(
        &self,
        consumer: &str,
        channel: ChannelId,
        from: Seq,
        to: Seq,
    ) -> Result<bool, StoreError>;

    /// Channels of a shard that a consumer could not have although its checkpoint may be past them.
    async fn behind(&self, consumer: &str, shard: u32) -> Result<Vec<ChannelId>, StoreError>;

    /// Notes that a consumer has had a channel only up to `handled`, and must still have it up to `until` at least.
    async fn set_behind(
        &self,
        consumer: &str,
        channel: ChannelId,
        handled: Seq,
        until: Seq,
    ) -> Result<(), StoreError>;

    /// The consumer has had the channel up to `handled`: it is behind no more, unless it must go further than that.
    async fn clear_behind(&self, consumer: &str, channel: ChannelId, handled: Seq) -> Result<(), StoreError>;

    /// Does a piece of what must be done once before new consumers are complete, such as listing the channels that an
    /// older version made. True when there is more to do. To be called by one process, from time to time.
    async fn prepare(&self) -> Result<bool, StoreError>;

    /// A process of a version that leaves no notes for consumers lives: what it writes must be looked for.
    async fn older_version_lives(&self) -> Result<(), StoreError>;

    /// The store's own clock, where it has one.
    async fn clock(&self) -> Result<Option<Millis>, StoreError>;
}
