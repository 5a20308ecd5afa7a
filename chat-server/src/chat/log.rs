//! Group commit: concurrent commands to one channel become one append, and what was committed goes to the bus
//! in order of its position.
//!
//! A channel with something to commit has one task that takes whatever has gathered, appends it as one batch,
//! publishes, answers, and looks again. An idle channel costs nothing.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chat_protocol::ChannelId;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::{ChatError, directory::Directory, encode::event_json, heads::RecentHeads};
use crate::{
    bus::{Bus, BusMessage, CommittedEvent},
    store::{Appended, NewEvent, Store, StoredEvent},
};

/// Units that may wait for one channel's next batch.
const QUEUED_PER_CHANNEL: usize = 1_024;
/// Events that one batch carries at most; a single larger unit still goes as one.
const BATCH_EVENTS: usize = 128;
/// How long a unit waits for the batch before it. A store that hangs keeps those waiting that it has taken, not those
/// behind them: they are told to come back.
const QUEUED_FOR: Duration = Duration::from_millis(750);
/// How long a caller waits before the outcome counts as unknown.
const DEADLINE: Duration = Duration::from_secs(10);

type Answer = Result<Vec<Appended>, ChatError>;

struct Unit {
    events: Vec<NewEvent>,
    answer: oneshot::Sender<Answer>,
    /// Set by whoever decides about it first: the batch that takes it, or the caller who waits no longer.
    decided: Arc<AtomicBool>,
}

/// The logs of all channels that this process writes to.
pub(super) struct ChannelLogs {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    directory: Arc<Directory>,
    heads: Arc<RecentHeads>,
    /// A channel is in here exactly while a task commits for it.
    queues: Mutex<HashMap<ChannelId, VecDeque<Unit>>>,
}

/// A unit on its way; waiting for it is up to the caller.
pub(super) struct Submitted {
    answer: oneshot::Receiver<Answer>,
    decided: Arc<AtomicBool>,
}

impl Submitted {
    /// Waits for the commit, for a bounded time.
    pub(super) async fn outcome(mut self) -> Answer {
        if let Ok(answered) = tokio::time::timeout(QUEUED_FOR, &mut self.answer).await {
            return answered.unwrap_or_else(|_| Err(ChatError::unknown_outcome()));
        }
        if !self.decided.swap(true, Ordering::AcqRel) {
            return Err(ChatError::overloaded(rand::random_range(500..=1_500)));
        }
        match tokio::time::timeout(DEADLINE - QUEUED_FOR, self.answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) | Err(_) => Err(ChatError::unknown_outcome()),
        }
    }
}

impl ChannelLogs {
    pub(super) fn new(
        store: Arc<dyn Store>,
        bus: Arc<dyn Bus>,
        directory: Arc<Directory>,
        heads: Arc<RecentHeads>,
    ) -> Self {
        Self { shared: Arc::new(Shared { store, bus, directory, heads, queues: Mutex::default() }) }
    }

    /// Queues events that are to be appended as one unit. What is submitted first is committed first.
    ///
    /// # Errors
    /// `overloaded` when too much waits for this channel already; nothing was queued then.
    pub(super) fn submit(&self, channel: ChannelId, events: Vec<NewEvent>) -> Result<Submitted, ChatError> {
        let (answer, receiver) = oneshot::channel();
        let decided = Arc::new(AtomicBool::new(false));
        let unit = Unit { events, answer, decided: Arc::clone(&decided) };
        let mut queues = self.shared.queues.lock();
        if let Some(queue) = queues.get_mut(&channel) {
            if queue.len() >= QUEUED_PER_CHANNEL {
                return Err(ChatError::overloaded(250));
            }
            queue.push_back(unit);
        } else {
            queues.insert(channel, VecDeque::new());
            drop(queues);
            unit.decided.store(true, Ordering::Release);
            tokio::spawn(Arc::clone(&self.shared).run(channel, unit));
        }
        Ok(Submitted { answer: receiver, decided })
    }
}

impl Shared {
    async fn run(self: Arc<Self>, channel: ChannelId, first: Unit) {
        let mut units = vec![first];
        while !units.is_empty() {
            self.commit(channel, units).await;
            units = self.take(channel);
        }
    }

    /// The next batch; when there is none, the channel is idle from here on.
    fn take(&self, channel: ChannelId) -> Vec<Unit> {
        let mut queues = self.queues.lock();
        let Some(queue) = queues.get_mut(&channel) else { return Vec::new() };
        let mut units = Vec::new();
        let mut events = 0;
        while let Some(unit) = queue.front() {
            if !units.is_empty() && events + unit.events.len() > BATCH_EVENTS {
                break;
            }
            let Some(unit) = queue.pop_front() else { break };
            // Otherwise its caller has gone, and was told that nothing was done.
            if !unit.decided.swap(true, Ordering::AcqRel) {
                events += unit.events.len();
                units.push(unit);
            }
        }
        if units.is_empty() {
            queues.remove(&channel);
        }
        units
    }

    async fn commit(&self, channel: ChannelId, units: Vec<Unit>) {
        let batch: Vec<NewEvent> = units.iter().flat_map(|unit| unit.events.iter().cloned()).collect();
        let appended = match self.store.append(channel, batch).await {
            Ok(appended) => appended,
            Err(error) => {
                let error = ChatError::from(error);
                for unit in units {
                    drop(unit.answer.send(Err(error.clone())));
                }
                return;
            }
        };
        let last = appended.iter().rev().find_map(|outcome| match outcome {
            Appended::New { seq } => Some(*seq),
            _ => None,
        });
        if let Some(head) = last {
            self.heads.note(channel, head);
        }
        let mut outcomes = appended.into_iter();
        for unit in units {
            let own: Vec<Appended> = outcomes.by_ref().take(unit.events.len()).collect();
            for (event, outcome) in unit.events.into_iter().zip(&own) {
                if let Appended::New { seq } = outcome {
                    self.publish(channel, *seq, event).await;
                }
            }
            // The caller may have gone; what was committed stays committed.
            drop(unit.answer.send(Ok(own)));
        }
    }

    async fn publish(&self, channel: ChannelId, seq: u64, event: NewEvent) {
        self.directory.observe(channel, &event.body);
        let body = match serde_json::to_string(&event.body) {
            Ok(body) => Arc::from(body),
            Err(error) => {
                tracing::error!(%channel, seq, %error, "committed event cannot be encoded");
                return;
            }
        };
        let stored = StoredEvent { channel, seq, at: event.at, by: event.by, id: event.id, body };
        let json = event_json(&stored, true).into();
        let message = BusMessage::Event(Arc::new(CommittedEvent { channel, seq, body: event.body, json }));
        if let Err(error) = self.bus.publish(message).await {
            // Not the sender's trouble: the event is committed, and receivers repair the gap from the store.
            tracing::warn!(%channel, seq, %error, "committed event was not published");
        }
    }
}
