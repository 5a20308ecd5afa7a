//! What goes into a channel's log together, and the wait for it.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::sync::oneshot;

use super::ChatError;
use crate::store::{Appended, NewEvent};

/// Units that may wait for one channel's next batch.
pub(super) const QUEUED_PER_CHANNEL: usize = 1_024;
/// Events that one batch carries at most; a single larger unit still goes as one.
pub(super) const BATCH_EVENTS: usize = 128;
/// How long a unit waits for the batch before it; longer than an owner is waited for (`cluster.owner_timeout_ms`). A
/// store that hangs keeps those waiting that it has taken, not those behind them: they are asked to come back.
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
    pub(super) origin: Origin,
}

/// How a unit came here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// From a caller in this process.
    Own,
    /// From another process, which writes it by itself when it waits no longer.
    Other,
    /// From a caller in this process; another may have committed it already, and may have died before it answered anybody.
    InDoubt,
}

impl Unit {
    pub(super) fn new(events: Vec<NewEvent>, origin: Origin) -> (Self, Submitted) {
        let (answer, receiver) = oneshot::channel();
        let decided = Arc::new(AtomicBool::new(false));
        (
            Self { events, answer, decided: Arc::clone(&decided), origin },
            Submitted { answer: receiver, decided },
        )
    }

    /// Decides that a batch takes it; false when nobody needs it written here any more.
    pub(super) fn decide(&self) -> bool {
        // Otherwise its caller has gone, and got the answer that nothing was done.
        let undecided = !self.decided.swap(true, Ordering::AcqRel);
        undecided && !(self.origin == Origin::Other && self.answer.is_closed())
    }
}

/// A unit on its way; waiting for it is up to the caller.
pub(super) struct Submitted {
    pub(super) answer: oneshot::Receiver<Answer>,
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

/// Takes the next batch off a queue, of `most` units at most.
pub(super) fn next_batch(queue: &mut VecDeque<Unit>, most: usize) -> Vec<Unit> {
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
