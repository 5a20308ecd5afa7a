//! Each member's own last message, and the read markers of those who wrote on top of what they had read: they follow the
//! messages, a moment later and off a send's path.

use std::{collections::HashMap, sync::Arc};

use chat_domain::store::Counts;
use chat_protocol::{ChannelId, Seq, UserId};
use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;

use super::{codec::big, statements as cql};
use crate::cql::{Cql, CqlError, Value};

/// Markers that wait. Beyond it, senders keep an unread mark on their own messages.
const WAITING: usize = 65_536;
/// Markers that are written at the same time.
const WRITTEN_AT_ONCE: usize = 16;

/// What somebody wrote.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Own {
    /// Their last message.
    pub(super) seq: Seq,
    /// How far their read marker moves by it, and what was counted up to there.
    pub(super) read: Option<(Seq, Counts)>,
}

impl Own {
    fn merge(&mut self, later: Self) {
        self.seq = self.seq.max(later.seq);
        let seq = |read: &Option<(Seq, Counts)>| read.map(|(seq, _)| seq);
        if seq(&later.read) > seq(&self.read) {
            self.read = later.read;
        }
    }
}

/// Markers on their way. Several of one user in one channel become one.
pub(super) struct Markers {
    cql: Arc<dyn Cql>,
    /// `None` while nothing is on its way: no task runs then.
    waiting: Mutex<Option<HashMap<(UserId, ChannelId), Own>>>,
}

impl Markers {
    pub(super) fn new(cql: Arc<dyn Cql>) -> Self {
        Self { cql, waiting: Mutex::new(None) }
    }

    pub(super) fn note(self: &Arc<Self>, channel: ChannelId, messages: HashMap<UserId, Own>) {
        if messages.is_empty() {
            return;
        }
        let mut waiting = self.waiting.lock();
        let idle = waiting.is_none();
        let markers = waiting.get_or_insert_default();
        for (user, own) in messages {
            if markers.len() < WAITING || markers.contains_key(&(user, channel)) {
                markers.entry((user, channel)).or_default().merge(own);
            }
        }
        drop(waiting);
        if idle {
            tokio::spawn(Arc::clone(self).write());
        }
    }

    /// Drops those that wait.
    pub(super) fn clear(&self) {
        if let Some(markers) = self.waiting.lock().as_mut() {
            markers.clear();
        }
    }

    async fn write(self: Arc<Self>) {
        while let Some(markers) = self.take() {
            stream::iter(markers)
                .for_each_concurrent(WRITTEN_AT_ONCE, async |((user, channel), own)| {
                    if let Err(error) = self.write_one(user, channel, own).await {
                        tracing::debug!(%user, %channel, %error, "sender's read marker was not moved");
                    }
                })
                .await;
        }
    }

    async fn write_one(&self, user: UserId, channel: ChannelId, own: Own) -> Result<(), CqlError> {
        let whose = [Value::Uuid(user.0), Value::Uuid(channel.0)];
        let (seq, moved) = (own.seq, own.read);
        if let Some((read, counts)) = moved.filter(|&(read, _)| read == seq) {
            let numbers = [seq, seq, read, read, counts.n, counts.d, counts.m].map(big);
            self.cql.execute(cql::MARK_OWN_AND_READ, [&numbers[..], &whose].concat()).await?;
            return Ok(());
        }
        if let Some((read, counts)) = moved {
            self.cql.execute(cql::MARK_READ, mark_read(read, counts, &whose)).await?;
        }
        self.cql.execute(cql::MARK_OWN, [&[big(seq), big(seq)], &whose[..]].concat()).await?;
        Ok(())
    }

    fn take(&self) -> Option<HashMap<(UserId, ChannelId), Own>> {
        let mut waiting = self.waiting.lock();
        let markers = waiting.as_mut().map(std::mem::take).filter(|markers| !markers.is_empty());
        if markers.is_none() {
            *waiting = None;
        }
        markers
    }
}

/// The values of [`cql::MARK_READ`]; `whose` is user and channel.
pub(crate) fn mark_read(seq: Seq, counts: Counts, whose: &[Value; 2]) -> Vec<Value> {
    let numbers = [seq, seq, seq, counts.n, counts.d, counts.m].map(big);
    [&numbers[..], whose].concat()
}
