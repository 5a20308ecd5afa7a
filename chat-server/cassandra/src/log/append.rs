//! One call of append, from its events to what became of each.

use std::{sync::Arc, time::Duration};

use chat_domain::store::{Commit, NewEvent, Refusal, StoreError};
use chat_log::{Effect, effect, rules_change};
use chat_protocol::{ChannelId, Seq};
use rand::RngExt as _;
use tokio::time::{Instant, sleep, timeout_at};

use super::{
    Log,
    call::{Call, has_projection},
    commit::Verdict,
    error::LogError,
    ids::{Key, Window},
    plan::Plan,
    project::Fact,
    statements as cql,
    tail::{Entry, Remembered, Tail},
};
use crate::cql::CqlError;

/// The longest pause between two rounds, reached by doubling.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// How often projections that could not be written are tried again in the background, with pauses of a second and more.
const LATER: u32 = 8;

/// What one round has come to.
enum Round {
    /// It went on.
    Progress,
    /// Another process got there first.
    Stale,
    /// There was no answer.
    Unanswered(CqlError),
}

impl Log {
    pub(super) async fn append(
        self: Arc<Self>,
        channel: ChannelId,
        events: Vec<NewEvent>,
    ) -> Result<Commit, StoreError> {
        let mut call = Call::new(events);
        if call.is_done() {
            return Ok(Commit::default());
        }
        let deadline = Instant::now() + self.options.deadline;
        let entry = self.tails.entry(channel);
        let Ok(mut state) = timeout_at(deadline, entry.state.lock()).await else {
            return Err(LogError::Late.into());
        };
        let appended = self.rounds(channel, &entry, &mut state, &mut call, deadline).await;
        self.note_again(channel).await;
        self.markers.note(channel, call.own_messages());
        if let Err(error) = appended {
            // What is remembered may be why it failed.
            state.tail = None;
            return Err(if call.is_in_doubt() {
                StoreError::UnknownOutcome(Some(Box::new(error)))
            } else {
                error.into()
            });
        }
        if let Some(tail) = state.tail.as_mut().filter(|tail| tail.applied < tail.changed)
            && call.has_projections()
        {
            // The events are committed, whatever becomes of this.
            let applied = timeout_at(deadline, self.ensure_applied(channel, tail)).await;
            if !matches!(applied, Ok(Ok(()))) {
                tracing::warn!(%channel, changed = tail.changed, "projections are behind their log, trying later");
                tokio::spawn(Arc::clone(&self).apply_later(channel, *tail));
            }
        }
        Ok(call.into_commit())
    }

    async fn rounds(
        self: &Arc<Self>,
        channel: ChannelId,
        entry: &Arc<Entry>,
        state: &mut Remembered,
        call: &mut Call,
        deadline: Instant,
    ) -> Result<(), LogError> {
        let mut pause = Duration::from_millis(1);
        let mut trouble = None;
        while !call.is_done() {
            let Ok(round) = timeout_at(deadline, self.round(channel, entry, state, call)).await else {
                // It may have ended after all events had their outcome.
                return if call.is_done() { Ok(()) } else { Err(trouble.unwrap_or(LogError::Late)) };
            };
            match round {
                Ok(Round::Progress) => {
                    pause = Duration::from_millis(1);
                    continue;
                }
                Ok(Round::Stale) => {}
                Ok(Round::Unanswered(error)) => trouble = Some(error.into()),
                // As long as something is in doubt there is no answer to give, so it is tried to the end.
                Err(error) if error.is_transient() && call.is_in_doubt() => trouble = Some(error),
                Err(error) => return Err(error),
            }
            // Others who were too late as well should not come back all at once.
            let jittered = pause.mul_f64(rand::rng().random_range(0.5..1.5));
            if timeout_at(deadline, sleep(jittered)).await.is_err() {
                return Err(trouble.unwrap_or(LogError::Late));
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        Ok(())
    }

    async fn round(
        self: &Arc<Self>,
        channel: ChannelId,
        entry: &Arc<Entry>,
        state: &mut Remembered,
        call: &mut Call,
    ) -> Result<Round, LogError> {
        let open = call.open().count();
        if let Some(bucket) = call.unsettled() {
            self.settle(channel, bucket, state, call).await?;
        }
        let mut tail = match state.tail {
            Some(tail) => tail,
            None => self.first_tail(channel, entry, call).await?,
        };
        let bucket = self.buckets.next(tail.end.head);
        if tail.aside.is_none() {
            tail.aside = Some(self.last_aside(channel, bucket).await?);
        }
        self.find_resent(channel, bucket, &mut state.window, call).await?;
        let plan = self.plan(channel, &mut tail, call, state).await?;
        if plan.placed.is_empty() {
            // A refusal is no write, so no condition shows that the log still ends where it was decided: it may have
            // been remembered, and what is refused may stand behind it.
            let statics = match plan.refused.as_slice() {
                [] => None,
                _ => self.statics(cql::STATICS_SETTLED, channel, bucket).await?,
            };
            if let Some(statics) = statics.filter(|statics| statics.end.head != tail.end.head) {
                state.tail = Some(tail.now_at(statics));
                return Ok(Round::Stale);
            }
            state.tail = (tail.end.head > 0).then_some(tail);
            state.messages.keep(tail.end.head, plan.messages);
            self.refuse(channel, bucket, &plan.refused, call).await?;
            return Ok(Round::Progress);
        }
        self.note(channel, tail.end.head == 0).await?;
        if plan.placed.iter().any(|&(index, _)| effect(&call.items[index].event.body) == Effect::Aside) {
            self.begin_asides(channel, entry).await?;
        }
        // From here until the answer, everything is in doubt, also when this future is dropped.
        state.tail = None;
        call.sending(bucket, &plan.placed);
        match self.commit(channel, tail, call, &plan.placed).await {
            Ok(Verdict::Applied(after)) => {
                self.metrics.applied.inc();
                call.answered(&plan.placed);
                state.tail = Some(after);
                self.committed(channel, entry, tail, state, call, plan).await?;
            }
            Ok(Verdict::Found { statics, used }) => {
                let why = if used.is_empty() { &self.metrics.stale } else { &self.metrics.duplicate };
                why.inc();
                call.answered(&plan.placed);
                state.tail = statics.map(|statics| tail.now_at(statics));
                for (index, _) in plan.placed {
                    let own = used.iter().find(|(key, ..)| *key == call.items[index].key);
                    if let Some(&(_, seq, at)) = own {
                        call.found(index, seq, at);
                    }
                }
            }
            Ok(Verdict::Unanswered(error)) => {
                self.metrics.unanswered.inc();
                return Ok(Round::Unanswered(error));
            }
            Err(error) => {
                self.metrics.failed.inc();
                // It was not done.
                call.answered(&plan.placed);
                state.tail = Some(tail).filter(|tail| tail.end.head > 0);
                return Err(error);
            }
        }
        Ok(if call.open().count() < open { Round::Progress } else { Round::Stale })
    }

    /// Reads the end of a log that nothing is remembered of. If its last writer died between an event and what follows
    /// from it, that is done now.
    async fn first_tail(
        self: &Arc<Self>,
        channel: ChannelId,
        entry: &Arc<Entry>,
        call: &Call,
    ) -> Result<Tail, LogError> {
        let tail = self.read_tail(channel, entry).await?;
        self.write_asides(channel, entry, tail.aside.unwrap_or(0), Vec::new());
        if tail.applied < tail.changed && !call.has_projections() {
            tokio::spawn(Arc::clone(self).apply_later(channel, tail));
        }
        Ok(tail)
    }

    /// Finds out what became of batches that were not answered. The serial read finishes what is under way; should a
    /// batch still arrive after it, then it finds another head or meets the next attempt's client ids.
    async fn settle(
        &self,
        channel: ChannelId,
        bucket: i32,
        state: &mut Remembered,
        call: &mut Call,
    ) -> Result<(), LogError> {
        let statics = self.statics(cql::STATICS_SETTLED, channel, bucket).await?;
        let tried: Vec<usize> = call.open().filter(|&index| call.items[index].was_tried()).collect();
        self.look_up(channel, bucket, &tried, call).await?;
        // A batch is committed whole or not at all.
        let committed = tried.iter().any(|&index| call.items[index].is_decided());
        let outcome = if committed { &self.metrics.settled_committed } else { &self.metrics.settled_not };
        outcome.inc();
        call.settled();
        state.tail = statics.map(|statics| Tail::default().now_at(statics));
        Ok(())
    }

    /// Events whose client ids were used in older buckets are duplicates.
    async fn find_resent(
        &self,
        channel: ChannelId,
        bucket: i32,
        window: &mut Window,
        call: &mut Call,
    ) -> Result<(), LogError> {
        let resent: Vec<usize> = call.open().filter(|&index| call.items[index].may_be_there()).collect();
        let keys: Vec<Key> = resent.iter().map(|&index| call.items[index].key).collect();
        for (i, seq, at) in self.used_before(channel, bucket, window, &keys).await? {
            call.found(resent[i], seq, at);
        }
        Ok(())
    }

    /// What is refused may have been committed before, when it was not refused.
    async fn refuse(
        &self,
        channel: ChannelId,
        bucket: i32,
        refused: &[(usize, Refusal)],
        call: &mut Call,
    ) -> Result<(), LogError> {
        let doubtful: Vec<usize> = refused.iter().map(|&(index, _)| index).collect();
        let doubtful: Vec<usize> =
            doubtful.into_iter().filter(|&index| call.items[index].may_be_there()).collect();
        self.look_up(channel, bucket, &doubtful, call).await?;
        for &(index, refusal) in refused {
            call.refused(index, refusal);
        }
        Ok(())
    }

    async fn look_up(
        &self,
        channel: ChannelId,
        bucket: i32,
        indices: &[usize],
        call: &mut Call,
    ) -> Result<(), LogError> {
        let keys: Vec<Key> = indices.iter().map(|&index| call.items[index].key).collect();
        for (i, seq, at) in self.used_in(channel, bucket, &keys).await? {
            call.found(indices[i], seq, at);
        }
        Ok(())
    }

    /// What is to be done once a batch is committed on top of `before`.
    async fn committed(
        self: &Arc<Self>,
        channel: ChannelId,
        entry: &Arc<Entry>,
        before: Tail,
        state: &mut Remembered,
        call: &mut Call,
        plan: Plan,
    ) -> Result<(), LogError> {
        let bucket = self.buckets.next(before.end.head);
        entry.ends_at_or_after(bucket);
        if self.buckets.opens(before.end.head) && bucket > 0 {
            self.hint(channel, bucket);
        }
        let (mut facts, mut asides) = (Vec::new(), Vec::new());
        call.committed_on(before, &plan.placed);
        let mut counts = before.end.counts;
        for &(index, seq) in &plan.placed {
            let NewEvent { at, by, ref body, .. } = call.items[index].event;
            counts = counts.after(body);
            if rules_change(body) {
                state.rules.follow(seq, body);
            }
            let fact = || Fact { seq, at, by, body: body.clone(), counts: Some(counts) };
            if effect(body) == Effect::Aside {
                asides.push(fact());
            } else if has_projection(body) {
                facts.push(fact());
            }
        }
        state.messages.keep(before.end.head + plan.placed.len() as Seq, plan.messages);
        self.write_asides(channel, entry, before.aside.unwrap_or(0), asides);
        // An error does not matter here: it is tried once more before the call is answered.
        if let Some(last) = facts.last().map(|fact| fact.seq)
            && before.applied == before.changed
            && self.apply(channel, facts).await.is_ok()
            && let Some(tail) = &mut state.tail
        {
            tail.applied = last;
        }
        for held in plan.released {
            self.release(channel, held).await;
        }
        self.refuse(channel, bucket, &plan.refused, call).await
    }

    /// Tries for a while what did not work at once. Whoever decides something on top of it tries it as well.
    async fn apply_later(self: Arc<Self>, channel: ChannelId, mut tail: Tail) {
        for attempt in 0..LATER {
            match self.ensure_applied(channel, &mut tail).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::debug!(%channel, attempt, %error, "projections are still behind their log")
                }
            }
            sleep(Duration::from_secs(1 << attempt)).await;
        }
        tracing::warn!(%channel, "projections stay behind their log until the next event that changes the channel");
    }
}
