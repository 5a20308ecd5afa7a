//! One call of append: what each of its events has come to so far.

use std::collections::HashMap;

use chat_domain::store::{Appended, Commit, Counts, End, NewEvent, Refusal};
use chat_log::{Effect, effect};
use chat_protocol::{EventBody, Millis, Seq, UserId};
use uuid::Uuid;

use super::{commit::Placed, ids::Key, markers::Own, tail::Tail};

/// What an event is de-duplicated by.
pub(super) fn key(by: UserId, id: Uuid) -> Key {
    let mut key = [0; 32];
    key[..16].copy_from_slice(by.0.as_bytes());
    key[16..].copy_from_slice(id.as_bytes());
    key
}

/// One event of a call.
pub(super) struct Item {
    pub(super) event: NewEvent,
    /// An event without a client id has a random one here, so that an unknown outcome can be settled.
    pub(super) key: Key,
    /// Positions at which it was written without learning what became of it.
    tried: Vec<Seq>,
    outcome: Option<Appended>,
    /// What was counted up to it, when its author's read marker moves to it.
    read: Option<Counts>,
}

impl Item {
    /// Whether it may stand in the log already.
    pub(super) fn may_be_there(&self) -> bool {
        self.event.id.is_some() || self.was_tried()
    }

    /// Whether it was written without learning what became of it.
    pub(super) fn was_tried(&self) -> bool {
        !self.tried.is_empty()
    }

    /// Whether it is known what became of it.
    pub(super) fn is_decided(&self) -> bool {
        self.outcome.is_some()
    }
}

/// The events of a call, in order.
pub(super) struct Call {
    pub(super) items: Vec<Item>,
    /// The bucket of a batch that was sent and not answered.
    unsettled: Option<i32>,
    /// Batches that were settled for want of an answer.
    unanswered: u32,
    /// Where the log ended before the first event of this call that is new.
    before: Option<End>,
}

impl Call {
    pub(super) fn new(events: Vec<NewEvent>) -> Self {
        let mut items = Vec::with_capacity(events.len());
        for event in events {
            let id = event.id.map_or_else(Uuid::new_v4, |id| id.0);
            items.push(Item { key: key(event.by, id), event, tried: Vec::new(), outcome: None, read: None });
        }
        Self { items, unsettled: None, unanswered: 0, before: None }
    }

    /// Events that nothing is known of yet.
    pub(super) fn open(&self) -> impl Iterator<Item = usize> {
        (0..self.items.len()).filter(|&i| self.items[i].outcome.is_none())
    }

    pub(super) fn is_done(&self) -> bool {
        self.open().next().is_none()
    }

    /// Whether an error leaves open what was committed.
    pub(super) fn is_in_doubt(&self) -> bool {
        self.items.iter().any(|item| item.was_tried() || matches!(item.outcome, Some(Appended::New { .. })))
    }

    /// The outcome of an earlier event of this call with the same client id, if it has one that counts.
    pub(super) fn repeats(&self, index: usize) -> Option<Appended> {
        let own = &self.items[index];
        own.event.id?;
        self.items[..index].iter().filter(|item| item.key == own.key).find_map(|item| match item.outcome? {
            Appended::New { seq } => Some(Appended::Duplicate { seq, at: item.event.at }),
            duplicate @ Appended::Duplicate { .. } => Some(duplicate),
            Appended::Refused(_) => None,
        })
    }

    pub(super) fn committed(&mut self, index: usize, seq: Seq) {
        self.items[index].outcome = Some(Appended::New { seq });
    }

    /// A batch is committed on top of this.
    pub(super) fn committed_on(&mut self, tail: Tail, placed: &Placed) {
        self.before.get_or_insert(tail.end);
        let mut tail = tail;
        for &(index, seq) in placed {
            self.committed(index, seq);
            let item = &mut self.items[index];
            let NewEvent { by, seen, .. } = item.event;
            let had_read = seen.is_some_and(|seen| tail.had_read_all(by, seen));
            tail = tail.after(by, &item.event.body);
            item.read = had_read.then_some(tail.end.counts);
        }
    }

    /// Unless it has another outcome already.
    pub(super) fn refused(&mut self, index: usize, refusal: Refusal) {
        self.items[index].outcome.get_or_insert(Appended::Refused(refusal));
    }

    pub(super) fn duplicate(&mut self, index: usize, seq: Seq, at: Millis) {
        self.items[index].outcome = Some(Appended::Duplicate { seq, at });
    }

    /// Its key stands in the log with this position and time: by an attempt of this call, or by an earlier one. (Two
    /// processes that are handed the very same event, with its time, may both take it for theirs; so it may be published
    /// twice, with one position.)
    pub(super) fn found(&mut self, index: usize, seq: Seq, at: Millis) {
        let item = &self.items[index];
        if item.event.at == at && item.tried.contains(&seq) {
            self.committed(index, seq);
        } else {
            self.duplicate(index, seq, at);
        }
    }

    /// A batch with these is being sent to a bucket.
    pub(super) fn sending(&mut self, bucket: i32, placed: &Placed) {
        self.unsettled = Some(bucket);
        for &(index, seq) in placed {
            self.items[index].tried.push(seq);
        }
    }

    /// It is known what became of the batch that was sent last.
    pub(super) fn answered(&mut self, placed: &Placed) {
        self.unsettled = None;
        for &(index, _) in placed {
            self.items[index].tried.pop();
        }
    }

    /// The bucket of the batch that was sent last, while it is not known what became of it.
    pub(super) fn unsettled(&self) -> Option<i32> {
        self.unsettled
    }

    /// It was looked up what became of it.
    pub(super) fn settled(&mut self) {
        self.unsettled = None;
        self.unanswered += 1;
    }

    /// How many batches were settled for want of an answer.
    pub(super) fn unanswered(&self) -> u32 {
        self.unanswered
    }

    /// Whether any event is one that others follow from.
    pub(super) fn has_projections(&self) -> bool {
        self.items.iter().any(|item| has_projection(&item.event.body))
    }

    /// What each author has written, and how far they have read by it.
    pub(super) fn own_messages(&self) -> HashMap<UserId, Own> {
        let mut last: HashMap<UserId, Own> = HashMap::new();
        for item in &self.items {
            if let Some(Appended::New { seq }) = item.outcome
                && is_message(&item.event.body)
            {
                let own = last.entry(item.event.by).or_default();
                own.seq = seq;
                own.read = item.read.map(|counts| (seq, counts)).or(own.read);
            }
        }
        last
    }

    /// One outcome for each event; all must have one.
    pub(super) fn into_commit(self) -> Commit {
        let moved = |item: &Item| match item.outcome {
            Some(Appended::New { seq }) if item.read.is_some() && is_message(&item.event.body) => Some(seq),
            _ => None,
        };
        let read = self.items.iter().filter_map(moved).collect();
        let outcomes = self.items.into_iter().filter_map(|item| item.outcome).collect();
        Commit { outcomes, before: self.before, read }
    }
}

fn is_message(body: &EventBody) -> bool {
    matches!(body, EventBody::Message { .. })
}

/// Whether something follows from such an event that must be done before it is answered.
pub(super) fn has_projection(body: &EventBody) -> bool {
    !matches!(effect(body), Effect::None | Effect::Aside)
}
