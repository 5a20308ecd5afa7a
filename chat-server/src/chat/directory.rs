//! What decisions about channels need, kept in memory: a send must not cost a read each time.
//!
//! Every commit of this process, and every event that the bus brings from others, passes through
//! [`Directory::observe`] before anybody is answered, so what is kept is never older than the last event seen.

use std::num::NonZeroUsize;

use chat_protocol::{ChannelId, ChannelKind, EventBody, UserId};
use lru::LruCache;
use parking_lot::Mutex;

use super::ChatError;
use crate::store::Store;

const CHANNELS: NonZeroUsize = NonZeroUsize::new(20_000).expect("not zero");
const MEMBERS: NonZeroUsize = NonZeroUsize::new(200_000).expect("not zero");

/// What decisions need of a channel.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChannelMeta {
    pub kind: ChannelKind,
    pub archived: bool,
    pub created_by: UserId,
}

struct Caches {
    /// Counts forgettings. A read that began before one must not be kept: it may be of the state before.
    epoch: u64,
    channels: LruCache<ChannelId, ChannelMeta>,
    members: LruCache<(ChannelId, UserId), ()>,
}

pub(super) struct Directory {
    caches: Mutex<Caches>,
}

impl Directory {
    pub(super) fn new() -> Self {
        Self {
            caches: Mutex::new(Caches {
                epoch: 0,
                channels: LruCache::new(CHANNELS),
                members: LruCache::new(MEMBERS),
            }),
        }
    }

    pub(super) async fn channel(&self, store: &dyn Store, id: ChannelId) -> Result<ChannelMeta, ChatError> {
        let epoch = {
            let mut caches = self.caches.lock();
            if let Some(meta) = caches.channels.get(&id) {
                return Ok(*meta);
            }
            caches.epoch
        };
        let row = store.channel(id).await?.ok_or_else(|| ChatError::not_found("channel"))?;
        let meta = ChannelMeta { kind: row.kind, archived: row.archived, created_by: row.created_by };
        let mut caches = self.caches.lock();
        if caches.epoch == epoch {
            caches.channels.put(id, meta);
        }
        Ok(meta)
    }

    pub(super) async fn is_member(
        &self,
        store: &dyn Store,
        channel: ChannelId,
        user: UserId,
    ) -> Result<bool, ChatError> {
        let epoch = {
            let mut caches = self.caches.lock();
            if caches.members.get(&(channel, user)).is_some() {
                return Ok(true);
            }
            caches.epoch
        };
        // Only membership is kept: that somebody is not a member is asked again each time.
        let member = store.membership(channel, user).await?.is_some();
        let mut caches = self.caches.lock();
        if member && caches.epoch == epoch {
            caches.members.put((channel, user), ());
        }
        Ok(member)
    }

    /// Forgets what an event outdates.
    pub(super) fn observe(&self, channel: ChannelId, body: &EventBody) {
        match body {
            EventBody::MemberLeft { user } => {
                let mut caches = self.caches.lock();
                caches.epoch += 1;
                caches.members.pop(&(channel, *user));
            }
            EventBody::Archived { .. } | EventBody::ChannelCreated { .. } | EventBody::Unknown => {
                let mut caches = self.caches.lock();
                caches.epoch += 1;
                caches.channels.pop(&channel);
            }
            EventBody::Message { .. }
            | EventBody::Edited { .. }
            | EventBody::Deleted { .. }
            | EventBody::MemberJoined { .. }
            | EventBody::Renamed { .. }
            | EventBody::TopicChanged { .. } => {}
        }
    }
}
