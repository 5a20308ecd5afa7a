//! Sends of channels that another process owns are handed to it in batches.
//!
//! **Order.** What one user submits to a channel first is committed first, whatever the owner does. A channel's
//! sends take one of two ways: right to the writer, while this process writes them itself, or through a queue here
//! whose only task has a few batches on their way. While that queue exists everything joins it, and before its
//! first batch leaves this process everything that the writer took earlier is settled; so no send overtakes
//! another by a change of the owner. Batches under way beside each other have no author in common: what users send at
//! the same time has no order until it is committed, and need not wait for each other's answers. A batch that the owner
//! did not answer for is written by this process with the same ids before the next one of its authors starts. Should the
//! owner write it late nevertheless, it finds the ids taken: an event of a batch is written only when those before it
//! are, so even the two of them together keep the order.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, OnceLock},
};

use async_trait::async_trait;
use chat_protocol::{ChannelId, ClientId, UserId};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{
    ChatError,
    directory::Directory,
    unit::{Answer, BATCH_EVENTS, QUEUED_PER_CHANNEL, Unit},
    writer::Writer,
};
use crate::store::{Appended, NewEvent};

/// Batches of one channel that are under way to its owner at once.
const UNDER_WAY: usize = 8;

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
    queues: Mutex<HashMap<ChannelId, Queue>>,
}

/// What waits for one channel.
struct Queue {
    units: VecDeque<Unit>,
    /// Notified of each that joins.
    joined: Arc<Notify>,
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
            if queue.units.len() >= QUEUED_PER_CHANNEL {
                return Err(ChatError::overloaded(250));
            }
            queue.units.push_back(unit);
            queue.joined.notify_one();
            return Ok(());
        }
        if owners.remote(channel).is_none() {
            drop(queues);
            return self.writer.submit(channel, unit);
        }
        let joined = Arc::new(Notify::new());
        queues.insert(channel, Queue { units: VecDeque::from([unit]), joined: Arc::clone(&joined) });
        drop(queues);
        tokio::spawn(Arc::clone(self).run(channel, Arc::clone(owners), joined));
        Ok(())
    }

    async fn run(self: Arc<Self>, channel: ChannelId, owners: Arc<dyn Owners>, joined: Arc<Notify>) {
        // What the writer took of this process earlier comes first.
        self.writer.settled(channel).await;
        let (mut under_way, mut busy) = (FuturesUnordered::new(), HashSet::new());
        while let Some(remote) = owners.remote(channel) {
            let batch =
                if under_way.len() < UNDER_WAY { self.take(channel, &busy) } else { Taken::default() };
            if !batch.units.is_empty() {
                busy.extend(&batch.authors);
                let this = &self;
                under_way.push(async move {
                    this.hand_over(channel, batch.units, &*remote).await;
                    batch.authors
                });
                continue;
            }
            if under_way.is_empty() && self.is_idle(channel) {
                return;
            }
            tokio::select! {
                Some(authors) = under_way.next() => {
                    for author in &authors {
                        busy.remove(author);
                    }
                }
                () = joined.notified() => {}
            }
        }
        while under_way.next().await.is_some() {}
        // This process is the one to write now. Under the lock, so that nothing overtakes what waits here.
        let mut queues = self.queues.lock();
        for unit in queues.remove(&channel).into_iter().flat_map(|queue| queue.units) {
            self.writer.submit_or_answer(channel, unit);
        }
    }

    /// The next batch, of authors who are not busy.
    fn take(&self, channel: ChannelId, busy: &HashSet<UserId>) -> Taken {
        self.queues.lock().get_mut(&channel).map_or_else(Taken::default, |queue| take(&mut queue.units, busy))
    }

    /// Whether nothing waits; then nothing does from here on.
    fn is_idle(&self, channel: ChannelId) -> bool {
        let mut queues = self.queues.lock();
        let idle = queues.get(&channel).is_none_or(|queue| queue.units.is_empty());
        if idle {
            queues.remove(&channel);
        }
        idle
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

/// A batch, and who wrote it.
#[derive(Default)]
struct Taken {
    units: Vec<Unit>,
    authors: HashSet<UserId>,
}

/// Takes the next batch off a queue. Units of authors who are busy stay, and so does whatever those authors sent later.
fn take(queue: &mut VecDeque<Unit>, busy: &HashSet<UserId>) -> Taken {
    let (mut taken, mut events) = (Taken::default(), 0);
    let (mut stay, mut stays) = (VecDeque::with_capacity(queue.len()), HashSet::new());
    while let Some(unit) = queue.pop_front() {
        let authors = unit.events.iter().map(|event| event.by);
        let is_full = !taken.units.is_empty() && events + unit.events.len() > BATCH_EVENTS;
        if is_full || authors.clone().any(|by| busy.contains(&by) || stays.contains(&by)) {
            stays.extend(authors);
            stay.push_back(unit);
        } else if unit.decide() {
            events += unit.events.len();
            taken.authors.extend(authors);
            taken.units.push(unit);
        }
    }
    *queue = stay;
    taken
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
