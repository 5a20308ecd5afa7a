//! Group commit: concurrent commands to one channel become one append, and what was committed goes to the bus
//! in order of its position.
//!
//! A channel with something to commit has one task that takes whatever has gathered, appends it as one batch,
//! publishes, answers, and looks again. An idle channel costs nothing.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use chat_log::permission::Denial;
use chat_protocol::{ChannelId, UserId};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::{
    AuthVersions, ChatError,
    directory::Directory,
    encode::event_json,
    heads::RecentHeads,
    unit::{Answer, Origin, QUEUED_PER_CHANNEL, Unit, next_batch},
};
use crate::{
    bus::{Bus, BusMessage, CommittedEvent},
    store::{Appended, Commit, End, GenerationRow, NewEvent, Refusal, Store, StoredEvent},
};

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

impl Writer {
    pub(super) fn new(
        store: Arc<dyn Store>,
        bus: Arc<dyn Bus>,
        directory: Arc<Directory>,
        heads: Arc<RecentHeads>,
        auth_versions: Arc<AuthVersions>,
        generation: Arc<watch::Sender<Option<GenerationRow>>>,
    ) -> Arc<Self> {
        let queues = Mutex::default();
        Arc::new(Self { store, bus, directory, heads, auth_versions, generation, queues })
    }

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
        // Without room, those get the answer who waited for as long as that was looked for.
        let units = units.unwrap_or_else(|| self.take(channel, waiting));
        let Commit { outcomes: appended, before, read } = match commit {
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
                    let reader = read.contains(seq).then_some(event.by);
                    self.publish(channel, *seq, event, end, reader).await;
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

    /// Hands a committed event to the bus; `end` is where the log ends with it, when that is known, `reader` whose read marker
    /// moves to it.
    async fn publish(
        &self,
        channel: ChannelId,
        seq: u64,
        event: NewEvent,
        end: Option<End>,
        reader: Option<UserId>,
    ) {
        let NewEvent { by, id, at, body, .. } = event;
        self.directory.observe(channel, &body);
        let counts = end.map(|end| end.counts);
        let stored = StoredEvent { channel, seq, at, by, id, body: Arc::clone(body.json()), counts };
        let json = event_json(&stored, true).into();
        let generation = self.generation.borrow().map(|row| row.id);
        let event = CommittedEvent { channel, seq, body, json, end, generation, reader };
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
