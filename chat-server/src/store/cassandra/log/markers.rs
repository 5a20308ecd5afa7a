//! Who writes has read what they wrote: their read markers follow their messages, a moment later and off a send's path.

use std::{collections::HashMap, sync::Arc};

use chat_protocol::{ChannelId, Seq, UserId};
use futures_util::{StreamExt as _, stream};
use parking_lot::Mutex;

use super::{codec::big, statements as cql};
use crate::store::cassandra::cql::{Cql, Value};

/// Markers that wait. Beyond it, senders keep an unread mark on their own messages.
const WAITING: usize = 65_536;
/// Markers that are written at the same time.
const WRITTEN_AT_ONCE: usize = 16;

/// Markers on their way. Several of one user in one channel become one.
pub(super) struct Markers {
    cql: Arc<dyn Cql>,
    /// `None` while nothing is on its way: no task runs then.
    waiting: Mutex<Option<HashMap<(UserId, ChannelId), Seq>>>,
}

impl Markers {
    pub(super) fn new(cql: Arc<dyn Cql>) -> Self {
        Self { cql, waiting: Mutex::new(None) }
    }

    pub(super) fn note(self: &Arc<Self>, channel: ChannelId, messages: HashMap<UserId, Seq>) {
        if messages.is_empty() {
            return;
        }
        let mut waiting = self.waiting.lock();
        let idle = waiting.is_none();
        let markers = waiting.get_or_insert_default();
        for (user, seq) in messages {
            if markers.len() < WAITING || markers.contains_key(&(user, channel)) {
                let marker = markers.entry((user, channel)).or_insert(seq);
                *marker = seq.max(*marker);
            }
        }
        drop(waiting);
        if idle {
            tokio::spawn(Arc::clone(self).write());
        }
    }

    async fn write(self: Arc<Self>) {
        while let Some(markers) = self.take() {
            stream::iter(markers)
                .for_each_concurrent(WRITTEN_AT_ONCE, async |((user, channel), seq)| {
                    let values = vec![big(seq), big(seq), Value::Uuid(user.0), Value::Uuid(channel.0)];
                    if let Err(error) = self.cql.execute(cql::MARK_READ, values).await {
                        tracing::debug!(%user, %channel, %error, "sender's read marker was not moved");
                    }
                })
                .await;
        }
    }

    fn take(&self) -> Option<HashMap<(UserId, ChannelId), Seq>> {
        let mut waiting = self.waiting.lock();
        let markers = waiting.as_mut().map(std::mem::take).filter(|markers| !markers.is_empty());
        if markers.is_none() {
            *waiting = None;
        }
        markers
    }
}
