//! Group commit: concurrent commands to one channel become one append, and what was committed goes to the bus
//! in order of its position.
//!
//! A channel with something to commit has one task that takes whatever has gathered, appends it as one batch,
//! publishes, answers, and looks again. An idle channel costs nothing. Channels that another process owns go by
//! `handover` first.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chat_log::permission::Denial;
use chat_protocol::ChannelId;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use super::{
    AuthVersions, ChatError, Owners, directory::Directory, encode::event_json, handover::Outgoing,
    heads::RecentHeads,
};
use crate::{
    bus::{Bus, BusMessage, CommittedEvent},
    store::{Appended, Commit, End, GenerationRow, NewEvent, Refusal, Store, StoredEvent},
};

/// Units that may wait for one channel's next batch.
const QUEUED_PER_CHANNEL: usize = 1_024;
/// Events that one batch carries at most; a single larger unit still goes as one.
pub(super) const BATCH_EVENTS: usize = 128;
/// How long a unit waits for the batch before it; longer than an owner is waited for (`cluster.owner_timeout_ms`). A
/// store that hangs keeps those waiting that it has taken, not those behind them: they are told to come back.
const QUEUED_FOR: Duration = Duration::from_millis(750);
/// How long a caller waits before the outcome counts as unknown.
const DEADLINE: Duration = Duration::from_secs(10);

pub(super) type Answer = Result<Vec<Appended>, ChatError>;

/// Events that are appended together.
pub(super) struct Unit {
    pub(super) events: Vec<NewEvent>,
    pub(super) answer: oneshot::Sender<Answer>,
    /// Set by whoever decides about it first: the batch that takes it, or the caller who waits no longer.
    decided: Arc<AtomicBool>,
    origin: Origin,
}

/// How a unit came here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// From a caller in this process.
    Own,
    /// From another process, which writes it by itself when it waits no longer.
    Other,
    /// From a caller in this process; another may have committed it already, and may have died before it told anybody.
    InDoubt,
}

impl Unit {
    fn new(events: Vec<NewEvent>, origin: Origin) -> (Self, Submitted) {
        let (answer, receiver) = oneshot::channel();
        let decided = Arc::new(AtomicBool::new(false));
        (
            Self { events, answer, decided: Arc::clone(&decided), origin },
            Submitted { answer: receiver, decided },
        )
    }

    /// Decides that a batch takes it; false when nobody needs it written here any more.
    pub(super) fn decide(&self) -> bool {
        // Otherwise its caller has gone, and was told that nothing was done.
        let undecided = !self.decided.swap(true, Ordering::AcqRel);
        undecided && !(self.origin == Origin::Other && self.answer.is_closed())
    }
}

/// The logs of all channels that this process appends to.
pub(super) struct ChannelLogs {
    writer: Arc<Writer>,
    outgoing: Arc<Outgoing>,
}

/// Appends what this process writes itself.
pub(super) struct Writer {
    store: Arc<dyn Store>,
    bus: Arc<dyn Bus>,
    directory: Arc<Directory>,
    heads: Arc<RecentHeads>,
    auth_versions: Arc<AuthVersions>,
    generation: Arc<watch::Sender<Option<GenerationRow>>>,
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
        auth_versions: Arc<AuthVersions>,
        generation: Arc<watch::Sender<Option<GenerationRow>>>,
    ) -> Self {
        let (queues, own) = (Mutex::default(), Arc::clone(&directory));
        let writer =
            Arc::new(Writer { store, bus, directory: own, heads, auth_versions, generation, queues });
        Self { outgoing: Outgoing::new(Arc::clone(&writer), directory), writer }
    }

    /// See [`Outgoing::set_owners`].
    pub(super) fn set_owners(&self, owners: Arc<dyn Owners>) {
        self.outgoing.set_owners(owners);
    }

    /// Queues events that are to be appended as one unit. What is submitted first is committed first.
    ///
    /// # Errors
    /// `overloaded` when too much waits for this channel already; nothing was queued then.
    pub(super) fn submit(&self, channel: ChannelId, events: Vec<NewEvent>) -> Result<Submitted, ChatError> {
        let (unit, submitted) = Unit::new(events, Origin::Own);
        self.outgoing.submit(channel, unit)?;
        Ok(submitted)
    }

    /// Queues events that another process handed over; this process writes them, whoever it thinks owns the channel.
    /// They are left out when the answer is dropped before their turn comes.
    ///
    /// # Errors
    /// As [`ChannelLogs::submit`].
    pub(super) fn take_over(
        &self,
        channel: ChannelId,
        events: Vec<NewEvent>,
    ) -> Result<Submitted, ChatError> {
        let (unit, submitted) = Unit::new(events, Origin::Other);
        self.writer.submit(channel, unit)?;
        Ok(submitted)
    }
}

/// Takes the next batch off a queue, of `most` units at most.
fn next_batch(queue: &mut VecDeque<Unit>, most: usize) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    let mut events = 0;
    for _ in 0..most {
        let Some(unit) = queue.front() else { break };
        if !units.is_empty() && events + unit.events.len() > BATCH_EVENTS {
            break;
        }
        let Some(unit) = queue.pop_front() else { break };
        if unit.decide() {
            events += unit.events.len();
            units.push(unit);
        }
    }
    units
}

impl Writer {
    /// Queues a unit.
    ///
    /// # Errors
    /// Too much waits already; nothing was queued.
    pub(super) fn submit(self: &Arc<Self>, channel: ChannelId, unit: Unit) -> Result<(), ChatError> {
        self.enqueue(channel, unit, QUEUED_PER_CHANNEL).map_err(|_| ChatError::overloaded(250))
    }

    /// Queues a unit whose caller waits already.
    pub(super) fn submit_or_answer(self: &Arc<Self>, channel: ChannelId, unit: Unit) {
        if let Err(unit) = self.enqueue(channel, unit, QUEUED_PER_CHANNEL) {
            drop(unit.answer.send(Err(ChatError::overloaded(250))));
        }
    }

    /// Waits until everything that was queued for a channel so far is settled.
    pub(super) async fn settled(self: &Arc<Self>, channel: ChannelId) {
        if self.queues.lock().contains_key(&channel) {
            // Nothing, behind all the rest; there is at most one of these per channel, so it needs no bound.
            let (nothing, submitted) = Unit::new(Vec::new(), Origin::Own);
            drop(self.enqueue(channel, nothing, usize::MAX));
            drop(submitted.answer.await);
        }
    }

    /// Writes what the channel's owner did not write, or, when `in_doubt`, did not say whether it did.
    pub(super) async fn write(
        self: &Arc<Self>,
        channel: ChannelId,
        events: Vec<NewEvent>,
        in_doubt: bool,
    ) -> Answer {
        let origin = if in_doubt { Origin::InDoubt } else { Origin::Own };
        let (unit, submitted) = Unit::new(events, origin);
        let answer = match self.submit(channel, unit) {
            Ok(()) => submitted.answer.await.unwrap_or_else(|_| Err(ChatError::unknown_outcome())),
            Err(full) => Err(full),
        };
        match answer {
            // That nothing was done here says nothing of the owner.
            Err(error) if in_doubt => {
                let retry_after_ms = error.retry_after_ms;
                Err(ChatError { retry_after_ms, ..ChatError::unknown_outcome() })
            }
            answer => answer,
        }
    }

    fn enqueue(self: &Arc<Self>, channel: ChannelId, unit: Unit, bound: usize) -> Result<(), Unit> {
        let mut queues = self.queues.lock();
        if let Some(queue) = queues.get_mut(&channel) {
            if queue.len() >= bound {
                return Err(unit);
            }
            queue.push_back(unit);
        } else {
            queues.insert(channel, VecDeque::from([unit]));
            drop(queues);
            tokio::spawn(Arc::clone(self).run(channel));
        }
        Ok(())
    }

    async fn run(self: Arc<Self>, channel: ChannelId) {
        loop {
            let waiting = self.waiting(channel);
            if waiting == 0 {
                return;
            }
            self.commit(channel, waiting).await;
        }
    }

    /// Units that wait; when there is none, the channel is idle from here on.
    fn waiting(&self, channel: ChannelId) -> usize {
        let mut queues = self.queues.lock();
        let waiting = queues.get(&channel).map_or(0, VecDeque::len);
        if waiting == 0 {
            queues.remove(&channel);
        }
        waiting
    }

    /// The next batch, of the first so many units at most.
    fn take(&self, channel: ChannelId, units: usize) -> Vec<Unit> {
        self.queues.lock().get_mut(&channel).map_or_else(Vec::new, |queue| next_batch(queue, units))
    }

    /// Commits the next batch. What comes while the store has no room yet is in it.
    async fn commit(&self, channel: ChannelId, waiting: usize) {
        let (mut units, mut refused) = (None, HashSet::new());
        let mut take = || {
            let batch = units.insert(self.take(channel, usize::MAX));
            let events = batch.iter().flat_map(|unit| &unit.events);
            // At the last moment: who was demoted while this waited does nothing more with the role from before.
            let (current, outdated): (Vec<_>, Vec<_>) =
                events.enumerate().partition(|(_, event)| self.is_current(event));
            refused = outdated.into_iter().map(|(place, _)| place).collect();
            current.into_iter().map(|(_, event)| event.clone()).collect()
        };
        let commit = self.store.commit_when_there_is_room(channel, &mut take).await;
        // Without room, those are told who wait for as long as that was looked for.
        let units = units.unwrap_or_else(|| self.take(channel, waiting));
        let Commit { outcomes: appended, before } = match commit {
            Ok(commit) => commit,
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
        let mut places = 0..;
        let mut end = before;
        for unit in units {
            let denied = Appended::Refused(Refusal::Denied(Denial::RoleChanged));
            let own = places
                .by_ref()
                .take(unit.events.len())
                .map_while(|place| if refused.contains(&place) { Some(denied) } else { outcomes.next() });
            let mut own: Vec<Appended> = own.collect();
            // Another process may have committed it already, or may do so yet: it was not written here, which says nothing.
            let open = unit.origin == Origin::InDoubt && own.contains(&denied);
            if unit.origin == Origin::InDoubt {
                for (event, outcome) in unit.events.iter().zip(&mut own) {
                    *outcome = first_try(event, *outcome);
                }
            }
            for (event, outcome) in unit.events.into_iter().zip(&own) {
                if let Appended::New { seq } = outcome {
                    end = end.filter(|end| end.head + 1 == *seq).map(|end| end.after(&event.body));
                    self.publish(channel, *seq, event, end).await;
                }
            }
            // The caller may have gone; what was committed stays committed.
            drop(unit.answer.send(if open { Err(ChatError::unknown_outcome()) } else { Ok(own) }));
        }
    }

    /// Whether its author's role is still the one that the door checked, as far as this process knows.
    fn is_current(&self, event: &NewEvent) -> bool {
        let authority = event.authority;
        authority.is_none_or(|authority| self.auth_versions.accepts(event.by, authority.auth_version))
    }

    /// Hands a committed event to the bus; `end` is where the log ends with it, when that is known.
    async fn publish(&self, channel: ChannelId, seq: u64, event: NewEvent, end: Option<End>) {
        let NewEvent { by, id, at, body, .. } = event;
        self.directory.observe(channel, &body);
        let counts = end.map(|end| end.counts);
        let stored = StoredEvent { channel, seq, at, by, id, body: Arc::clone(body.json()), counts };
        let json = event_json(&stored, true).into();
        let generation = self.generation.borrow().map(|row| row.id);
        let event = CommittedEvent { channel, seq, body, json, end, generation };
        let message = BusMessage::Event(Arc::new(event));
        if let Err(error) = self.bus.publish(message).await {
            // Not the sender's trouble: the event is committed, and receivers repair the gap from the store.
            tracing::warn!(%channel, seq, %error, "committed event was not published");
        }
    }
}

/// What is a duplicate only of this very event's first try, by another process, is new to its sender; and it is
/// published once more, since whoever committed it may have died before it could.
fn first_try(event: &NewEvent, outcome: Appended) -> Appended {
    match outcome {
        // A client that sends again does so at another time.
        Appended::Duplicate { seq, at } if at == event.at => Appended::New { seq },
        outcome => outcome,
    }
}
