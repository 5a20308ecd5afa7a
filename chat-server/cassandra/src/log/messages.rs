//! Messages as they read now: a page of them, and those that events are about.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use chat_log::{Target, count::stands, react};
use chat_protocol::{ChannelId, EventBody, Reactions, Seq, UserId, rest::Message};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    Log,
    codec::{big, channel_value, limit, message, missing, number, opt_number, seq_key, text, uuid},
    error::LogError,
    statements as cql,
    tail::{Statics, Tail},
};
use crate::cql::{Statement, Value};

/// Events that are read at once to find messages among them, when there are few.
const MIXED_SLICE: usize = 256;
/// Messages that events are about and that are read at the same time.
const TARGETS_AT_ONCE: usize = 16;
/// Reactions that are read at once.
const REACTIONS_AT_ONCE: usize = 5_000;
/// Reactions to the messages of a bucket, from one to another.
const REACTIONS: Statement = Statement::read(
    "SELECT target, emoji, user FROM reactions WHERE channel = ? AND bucket = ? AND target >= ? AND target <= ?",
);
/// Messages of one channel that are remembered: the newest ones.
const KNOWN: usize = 64;

/// What is remembered of messages that events were about, and of those written since, so that more events about them cost no
/// read. Good at one end of the log only.
#[derive(Debug, Default)]
pub(super) struct Known {
    head: Seq,
    targets: HashMap<Seq, Target>,
}

impl Known {
    /// What is known at this end of the log.
    pub(super) fn take(&mut self, head: Seq) -> HashMap<Seq, Target> {
        let targets = std::mem::take(&mut self.targets);
        if self.head == head { targets } else { HashMap::new() }
    }

    /// Remembers what is known at this end of the log.
    pub(super) fn keep(&mut self, head: Seq, mut targets: HashMap<Seq, Target>) {
        if targets.len() > 2 * KNOWN {
            let mut seqs: Vec<Seq> = targets.keys().copied().collect();
            let (_, &mut oldest, _) = seqs.select_nth_unstable_by(KNOWN - 1, |a, b| b.cmp(a));
            targets.retain(|seq, _| *seq >= oldest);
        }
        *self = Self { head, targets };
    }
}

impl Log {
    /// Adds those of these positions that are messages and not deleted, as of this end of the log.
    pub(super) async fn read_messages(
        &self,
        channel: ChannelId,
        tail: &mut Tail,
        positions: Vec<Seq>,
        targets: &mut HashMap<Seq, Target>,
    ) -> Result<(), LogError> {
        if positions.is_empty() {
            return Ok(());
        }
        self.ensure_applied(channel, tail).await?;
        let found = stream::iter(positions)
            .map(async |target| Ok::<_, LogError>((target, self.author_of_message(channel, target).await?)))
            .buffer_unordered(TARGETS_AT_ONCE)
            .try_collect::<Vec<_>>();
        let (found, written) = tokio::try_join!(found, self.written_asides(channel))?;
        let mut found: BTreeMap<Seq, Target> =
            found.into_iter().filter_map(|(target, by)| Some((target, Target::new(by?)))).collect();
        let reactions = found.iter_mut().map(|(seq, target)| (*seq, &mut target.reactions)).collect();
        self.add_reactions(channel, written, reactions).await?;
        targets.extend(found);
        Ok(())
    }

    /// Adds who reacted to messages, and answers which reaction in the log is the last. `written` was read before: what is
    /// written since may be read as well, what was not written then is taken from the log.
    async fn add_reactions(
        &self,
        channel: ChannelId,
        written: Option<Seq>,
        mut messages: BTreeMap<Seq, &mut Reactions>,
    ) -> Result<Seq, LogError> {
        let Some(written) = written else { return Ok(0) };
        let mut ranges: BTreeMap<i32, (Seq, Seq)> = BTreeMap::new();
        for &seq in messages.keys() {
            ranges.entry(self.buckets.of(seq)).or_insert((seq, seq)).1 = seq;
        }
        for (bucket, (first, last)) in ranges {
            let values = vec![channel_value(channel), Value::Int(bucket), big(first), big(last)];
            let mut from = None;
            loop {
                let page = self.cql.page(REACTIONS, values.clone(), REACTIONS_AT_ONCE, from).await?;
                for row in &page.rows {
                    if let Some(reactions) = messages.get_mut(&number(row, "target")?) {
                        react(reactions, UserId(uuid(row, "user")?), text(row, "emoji")?, false);
                    }
                }
                from = page.next;
                if from.is_none() {
                    break;
                }
            }
        }
        let last = match self.last_statics(channel, &self.tails.entry(channel)).await? {
            None => 0,
            Some(Statics { aside: Some(last), .. }) => last,
            Some(Statics { end, .. }) => self.last_aside(channel, self.buckets.next(end.head)).await?,
        };
        for event in self.unwritten_asides(channel, written, last).await? {
            if let EventBody::Reaction { target, emoji, removed } = event.body
                && let Some(reactions) = messages.get_mut(&target)
            {
                react(reactions, event.by, &emoji, removed);
            }
        }
        Ok(last)
    }

    /// Of a message that is not deleted.
    async fn author_of_message(&self, channel: ChannelId, target: Seq) -> Result<Option<UserId>, LogError> {
        let bucket = Value::Int(self.buckets.of(target));
        let rows = self.cql.execute(cql::FATE, vec![channel_value(channel), bucket, seq_key(target)]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let stands = stands(&serde_json::from_str(text(row, "body")?)?);
        Ok(if stands { Some(UserId(uuid(row, "author")?)) } else { None })
    }

    pub(super) async fn messages(
        self: &Arc<Self>,
        channel: ChannelId,
        before: Seq,
        most: usize,
    ) -> Result<Vec<Message>, LogError> {
        let page = self.texts(channel, before, most);
        let (mut messages, written) = tokio::try_join!(page, self.written_asides(channel))?;
        let standing = messages.iter_mut().filter(|message| !message.deleted);
        let reactions = standing.map(|message| (message.seq, &mut message.reactions)).collect();
        let last = self.add_reactions(channel, written, reactions).await?;
        // Who was to write them may be gone.
        self.write_asides(channel, &self.tails.entry(channel), last, Vec::new());
        Ok(messages)
    }

    async fn texts(&self, channel: ChannelId, before: Seq, most: usize) -> Result<Vec<Message>, LogError> {
        let mut messages = Vec::new();
        let mut before = before;
        let mut slice = most;
        let mut within_log = false;
        while messages.len() < most && before > 1 {
            let bucket = self.buckets.of(before - 1);
            let values = vec![channel_value(channel), Value::Int(bucket), seq_key(before), limit(slice)];
            let rows = self.cql.execute(cql::EVENTS_BEFORE, values).await?;
            let Some(last) = rows.last() else {
                if within_log {
                    break;
                }
                // Beyond the end of the log, or where there is none.
                within_log = true;
                before = self.read_end(channel).await?.map_or(0, |end| before.min(end.head + 1));
                continue;
            };
            within_log = true;
            for row in &rows {
                messages.extend(message(channel, row)?.filter(|_| messages.len() < most));
            }
            before = number(last, "seq")?;
            if rows.len() < slice || before == self.buckets.start(bucket) {
                // The rest of the messages lies in older buckets; those between have none.
                let prior = opt_number(last, "prior_message")?.ok_or_else(|| missing("prior_message"))?;
                before = prior.saturating_add(1);
            }
            // Few of these were messages: look at more at once.
            slice = slice.max(MIXED_SLICE);
        }
        Ok(messages)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_remembered_at_one_end_of_the_log() {
        let mut known = Known::default();
        let by = UserId::new();
        let targets = |seqs: std::ops::RangeInclusive<Seq>| seqs.map(|seq| (seq, Target::new(by))).collect();
        known.keep(200, targets(1..=200));
        let kept = known.take(200);
        assert_eq!(kept.len(), KNOWN);
        assert!((137..=200).all(|seq| kept.contains_key(&seq)));
        assert!(known.take(200).is_empty(), "they were taken");
        known.keep(200, targets(1..=3));
        assert!(known.take(201).is_empty(), "somebody wrote in between");
    }
}
