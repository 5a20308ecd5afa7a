//! What sockets need of the store when they come back, all at once: each thing is read once for all who want it, and no
//! more than so much at a time.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use chat_domain::{
    chat::{Chat, ChatError, Flights, event_json},
    store::{End, Membership},
};
use chat_protocol::{ChannelId, Seq, UserId, limits};
use futures_util::FutureExt as _;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::Semaphore;

use super::wire;

/// Users whose channels are read at once; the others wait, at most for as long as a socket may take to say hello.
const WELCOMES: usize = 64;

type Ends = Arc<HashMap<ChannelId, End>>;
/// Which log, after which position, and where it was known to end.
type SyncKey = (ChannelId, Seq, Option<Seq>);

/// Events after a position.
pub(super) struct SyncRead {
    /// Encoded; `None` when there are too many.
    pub(super) frames: Option<Vec<Bytes>>,
    /// The last of them.
    pub(super) head: Seq,
}

pub(super) struct Reads {
    welcomes: Semaphore,
    /// Counts those who had to wait for their turn.
    throttled: Counter,
    ends: Flights<ChannelId, Result<Ends, ChatError>>,
    syncs: Flights<SyncKey, Result<Arc<SyncRead>, ChatError>>,
}

impl Reads {
    pub(super) fn new(throttled: Counter) -> Self {
        Self {
            welcomes: Semaphore::new(WELCOMES),
            throttled,
            ends: Flights::default(),
            syncs: Flights::default(),
        }
    }

    /// A user's channels.
    pub(super) async fn memberships(&self, chat: &Chat, user: UserId) -> Result<Vec<Membership>, ChatError> {
        let _turn = match self.welcomes.try_acquire() {
            Ok(turn) => Ok(turn),
            Err(_) => {
                self.throttled.inc();
                // Never closed.
                self.welcomes.acquire().await
            }
        };
        chat.memberships(user).await
    }

    /// Where logs end. The caller must have subscribed to them before: then whoever began a read that this one joins
    /// had so, too, and what was handed out since is known to the hub.
    pub(super) async fn ends(
        &self,
        chat: &Arc<Chat>,
        channels: &[ChannelId],
    ) -> Result<HashMap<ChannelId, End>, ChatError> {
        let read = |channels: Vec<ChannelId>| {
            let chat = Arc::clone(chat);
            async move { Ok(Arc::new(chat.ends(&channels).await?.into_iter().collect())) }.boxed()
        };
        let mut ends = HashMap::with_capacity(channels.len());
        for read in self.ends.join_all(channels, read).await {
            let read: Ends = read?;
            ends.extend(channels.iter().filter_map(|channel| Some((*channel, *read.get(channel)?))));
        }
        Ok(ends)
    }

    /// The events of a log after a position. `known` is where the log ends as far as was handed out: a read that began
    /// when it ended there has at least that.
    pub(super) async fn sync(
        &self,
        chat: &Arc<Chat>,
        channel: ChannelId,
        after: Seq,
        known: Option<Seq>,
    ) -> Result<Arc<SyncRead>, ChatError> {
        let read = || {
            let chat = Arc::clone(chat);
            async move { read_sync(&chat, channel, after).await.map(Arc::new) }.boxed()
        };
        self.syncs.join((channel, after, known), read).await
    }
}

async fn read_sync(chat: &Chat, channel: ChannelId, after: Seq) -> Result<SyncRead, ChatError> {
    let head = chat.head(channel).await?;
    if head.saturating_sub(after) > limits::MAX_SYNC_EVENTS {
        return Ok(SyncRead { frames: None, head });
    }
    if after >= head {
        // Beyond it: of a log that is no more. The answer says where this one ends.
        return Ok(SyncRead { frames: Some(Vec::new()), head });
    }
    let limit = usize::try_from(limits::MAX_SYNC_EVENTS).unwrap_or(usize::MAX);
    let events = chat.log_after(channel, after, limit).await?;
    // More may have been committed since the head was read: then those are sent as well.
    let head = events.last().map_or(head, |event| event.seq);
    let frames = events.iter().map(|event| wire::text_frame(event_json(event, true).as_bytes()));
    Ok(SyncRead { frames: Some(frames.collect()), head })
}
