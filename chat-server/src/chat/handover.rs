//! Sends of channels that another process owns are handed to it, one batch at a time per channel.
//!
//! **Order.** What one caller submits to a channel first is committed first, whatever the owner does. A channel's
//! sends take one of two ways: right to the writer, while this process writes them itself, or through a queue here
//! whose only task has one batch on its way at a time. While that queue exists everything joins it, and before its
//! first batch leaves this process everything that the writer took earlier is settled; so no send overtakes
//! another by a change of the owner. A batch that the owner did not answer for is written by this process with
//! the same ids before the next one starts. Should the owner write it late nevertheless, it finds the ids taken: an
//! event of a batch is written only when those before it are, so even the two of them together keep the order.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, OnceLock},
};

use async_trait::async_trait;
use chat_protocol::{ChannelId, ClientId};
use parking_lot::Mutex;

use super::{
    ChatError,
    directory::Directory,
    log::{Answer, Unit, Writer, next_batch},
};
use crate::store::{Appended, NewEvent};

/// Units that may wait for one channel's next batch.
const QUEUED_PER_CHANNEL: usize = 1_024;

/// Knows which process writes a channel's events.
pub trait Owners: Send + Sync + 'static {
    /// The other process that owns the channel; `None` when this one does, or the other cannot be reached now.
    fn remote(&self, channel: ChannelId) -> Option<Arc<dyn Remote>>;
}

/// Another process that takes appends.
#[async_trait]
pub trait Remote: Send + Sync + 'static {
    /// Appends as [`crate::store::LogStore::append`] does, and publishes what was committed. Answers within a
    /// bounded time. All events have an id.
    async fn append(&self, channel: ChannelId, events: &[NewEvent]) -> Result<Vec<Appended>, HandOverError>;
}

/// Why the owner did not append.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandOverError {
    /// It has too much to do for this channel, and nothing was done. Writing beside it would only slow it further.
    #[error("owner is busy, expected to be free again in {retry_after_ms} ms")]
    Busy {
        /// When to try again.
        retry_after_ms: u64,
    },
    /// It could not, and nothing was done.
    #[error("owner did not append")]
    NotDone,
    /// It did not say in time, or does not know.
    #[error("owner may or may not have appended")]
    InDoubt,
}

/// The way of all units into a log.
pub(super) struct Outgoing {
    writer: Arc<Writer>,
    directory: Arc<Directory>,
    owners: OnceLock<Arc<dyn Owners>>,
    /// A channel is in here exactly while a task hands over for it.
    queues: Mutex<HashMap<ChannelId, VecDeque<Unit>>>,
}

impl Outgoing {
    pub(super) fn new(writer: Arc<Writer>, directory: Arc<Directory>) -> Arc<Self> {
        Arc::new(Self { writer, directory, owners: OnceLock::new(), queues: Mutex::default() })
    }

    /// From now on others may own channels. Only the first call counts.
    pub(super) fn set_owners(&self, owners: Arc<dyn Owners>) {
        if self.owners.set(owners).is_err() {
            tracing::warn!("owners of channels were set twice; the first ones stay");
        }
    }

    /// Queues a unit behind all that were queued for its channel before.
    ///
    /// # Errors
    /// Too much waits already; nothing was queued.
    pub(super) fn submit(self: &Arc<Self>, channel: ChannelId, unit: Unit) -> Result<(), ChatError> {
        let Some(owners) = self.owners.get() else { return self.writer.submit(channel, unit) };
        let mut queues = self.queues.lock();
        if let Some(queue) = queues.get_mut(&channel) {
            if queue.len() >= QUEUED_PER_CHANNEL {
                return Err(ChatError::overloaded(250));
            }
            queue.push_back(unit);
            return Ok(());
        }
        if owners.remote(channel).is_none() {
            drop(queues);
            return self.writer.submit(channel, unit);
        }
        queues.insert(channel, VecDeque::from([unit]));
        drop(queues);
        tokio::spawn(Arc::clone(self).run(channel, Arc::clone(owners)));
        Ok(())
    }

    async fn run(self: Arc<Self>, channel: ChannelId, owners: Arc<dyn Owners>) {
        // What the writer took of this process earlier comes first.
        self.writer.settled(channel).await;
        while let Some(remote) = owners.remote(channel) {
            let batch = self.take(channel);
            if batch.is_empty() {
                return;
            }
            self.hand_over(channel, batch, &*remote).await;
        }
        // This process is the one to write now. Under the lock, so that nothing overtakes what waits here.
        let mut queues = self.queues.lock();
        for unit in queues.remove(&channel).into_iter().flatten() {
            self.writer.submit_or_answer(channel, unit);
        }
    }

    /// The next batch; when there is none, nothing waits from here on.
    fn take(&self, channel: ChannelId) -> Vec<Unit> {
        let mut queues = self.queues.lock();
        let Some(queue) = queues.get_mut(&channel) else { return Vec::new() };
        let batch = next_batch(queue, usize::MAX);
        if batch.is_empty() {
            queues.remove(&channel);
        }
        batch
    }

    async fn hand_over(&self, channel: ChannelId, batch: Vec<Unit>, remote: &dyn Remote) {
        let mut waiting = Vec::with_capacity(batch.len());
        let mut events = Vec::with_capacity(batch.len());
        for mut unit in batch {
            waiting.push((unit.events.len(), unit.answer));
            events.append(&mut unit.events);
        }
        for event in &mut events {
            // Whoever writes it, and however often it is tried: it is there once.
            event.id.get_or_insert_with(ClientId::new);
        }
        let answer = match remote.append(channel, &events).await {
            Ok(outcomes) => {
                for (event, outcome) in events.iter().zip(&outcomes) {
                    if let Appended::New { .. } = outcome {
                        // Not left to the bus: it may be slower than the answer.
                        self.directory.observe(channel, &event.body);
                    }
                }
                Ok(outcomes)
            }
            Err(HandOverError::Busy { retry_after_ms }) => Err(ChatError::overloaded(retry_after_ms)),
            Err(HandOverError::NotDone) => self.writer.write(channel, events, false).await,
            Err(HandOverError::InDoubt) => self.writer.write(channel, events, true).await,
        };
        answer_each(waiting, answer);
    }
}

/// Gives each unit its part of the batch's answer.
fn answer_each(waiting: Vec<(usize, tokio::sync::oneshot::Sender<Answer>)>, answer: Answer) {
    match answer {
        Ok(outcomes) => {
            let mut outcomes = outcomes.into_iter();
            for (count, sender) in waiting {
                // The caller may have gone; what was committed stays committed.
                drop(sender.send(Ok(outcomes.by_ref().take(count).collect())));
            }
        }
        Err(error) => {
            for (_, sender) in waiting {
                drop(sender.send(Err(error.clone())));
            }
        }
    }
}
