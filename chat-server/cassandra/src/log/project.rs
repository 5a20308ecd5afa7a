//! What follows from events: channels, names, members, texts as they read now.
//!
//! Projections are written after the commit, with the event's position as their timestamp, so that doing it twice, late
//! or out of order changes nothing. The log says which events have them (`changed`), the channel's row how far they are
//! applied: whoever needs them and finds them behind applies the rest.

use chat_domain::store::{Counts, StoredEvent, name_key};
use chat_log::{Body, ChannelChange, Effect, effect};
use chat_protocol::{ChannelId, ChannelKind, EventBody, Millis, Seq, UserId};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    Log,
    call::has_projection,
    codec::{Damaged, big, channel_value, kind, kind_number, missing, opt_number},
    error::LogError,
    statements as cql,
    tail::Tail,
};
use crate::{
    cql::{Statement, Value},
    schema::PUBLIC_SHARD,
};

/// Users whose lists of channels are written at the same time.
const USERS_AT_ONCE: usize = 16;
/// Events that are read at once when catching up.
const SLICE: usize = 256;

/// A committed event that something follows from.
pub(super) struct Fact {
    pub(super) seq: Seq,
    pub(super) at: Millis,
    pub(super) by: UserId,
    pub(super) body: Body,
    /// What was counted up to it.
    pub(super) counts: Option<Counts>,
}

impl Log {
    /// Makes sure that all projections up to `tail.changed` are applied.
    pub(super) async fn ensure_applied(&self, channel: ChannelId, tail: &mut Tail) -> Result<(), LogError> {
        if tail.applied < tail.changed {
            let rows = self.cql.execute(cql::HINTS, vec![channel_value(channel)]).await?;
            let applied =
                rows.first().map(|row| opt_number(row, "applied")).transpose()?.flatten().unwrap_or(0);
            self.catch_up(channel, applied, tail.changed).await?;
            tail.applied = tail.changed;
        }
        Ok(())
    }

    /// Applies what follows from the events after `applied` up to `changed`, reading only buckets that have such events.
    async fn catch_up(&self, channel: ChannelId, applied: Seq, changed: Seq) -> Result<(), LogError> {
        let mut buckets = Vec::new();
        let mut last = changed;
        while last > applied {
            let bucket = self.buckets.of(last);
            let statics = self.statics(cql::STATICS_SETTLED, channel, bucket).await?;
            buckets.push(bucket);
            last = statics.ok_or_else(|| missing("prior_changed"))?.prior_changed;
        }
        for bucket in buckets.into_iter().rev() {
            let mut after = applied.max(self.buckets.start(bucket) - 1);
            let end = changed.min(self.buckets.end(bucket));
            while after < end {
                let events = self.events(channel, after, SLICE).await?;
                after = events.last().ok_or_else(|| Damaged(format!("an event after {after}")))?.seq;
                let mut facts = Vec::new();
                for event in events.into_iter().filter(|event| event.seq <= end) {
                    let StoredEvent { seq, at, by, counts, .. } = event;
                    let body: EventBody = serde_json::from_str(&event.body)?;
                    if has_projection(&body) {
                        facts.push(Fact { seq, at, by, body: body.into(), counts });
                    }
                }
                self.apply(channel, facts).await?;
            }
        }
        Ok(())
    }

    /// Applies what follows from these events, which are in order and follow on what is applied, and notes that it is.
    pub(super) async fn apply(&self, channel: ChannelId, facts: Vec<Fact>) -> Result<(), LogError> {
        let Some(last) = facts.last().map(|fact| fact.seq) else { return Ok(()) };
        let mut members = Vec::new();
        let mut users = Vec::new();
        for fact in facts {
            match effect(&fact.body) {
                Effect::None | Effect::Aside => {}
                Effect::Joined(user) => {
                    let (user, seq) = (Value::Uuid(user.0), big(fact.seq));
                    let id = channel_value(channel);
                    members.push((cql::ADD_MEMBER, vec![id.clone(), user.clone(), seq.clone(), seq.clone()]));
                    users.push(match fact.counts {
                        Some(Counts { n, d, m }) => {
                            let [n, d, m] = [n, d, m].map(big);
                            let read = [seq.clone(), seq.clone(), seq.clone(), n, d, m, seq];
                            (cql::ADD_COUNTED_CHANNEL, [&[user, id], &read[..]].concat())
                        }
                        None => (cql::ADD_CHANNEL, vec![user, id, seq.clone(), seq.clone(), seq]),
                    });
                }
                Effect::Left(user) => {
                    let (user, seq, id) = (Value::Uuid(user.0), big(fact.seq), channel_value(channel));
                    members.push((cql::REMOVE_MEMBER, vec![seq.clone(), id.clone(), user.clone()]));
                    users.push((cql::REMOVE_CHANNEL, vec![seq, user, id]));
                }
                Effect::Edited { target, text } => {
                    self.edit(channel, target, fact.seq, fact.at, text).await?;
                }
                Effect::Deleted { target } => self.delete(channel, target).await?,
                Effect::Channel(change) => self.apply_to_row(channel, &fact, change).await?,
            }
        }
        if !members.is_empty() {
            self.cql.batch(members).await?;
        }
        stream::iter(users)
            .map(|(statement, values)| self.cql.execute(statement, values))
            .buffer_unordered(USERS_AT_ONCE)
            .try_for_each(async |_| Ok(()))
            .await?;
        self.cql.execute(cql::SET_APPLIED, vec![big(last), big(last), channel_value(channel)]).await?;
        Ok(())
    }

    async fn apply_to_row(
        &self,
        channel: ChannelId,
        fact: &Fact,
        change: ChannelChange<'_>,
    ) -> Result<(), LogError> {
        let (seq, id) = (big(fact.seq), channel_value(channel));
        match change {
            ChannelChange::Created { kind, name, topic } => {
                let values = vec![
                    id.clone(),
                    Value::TinyInt(kind_number(kind)),
                    Value::Text(topic.to_owned()),
                    Value::Uuid(fact.by.0),
                    big(fact.at),
                    seq.clone(),
                ];
                let mut row: Vec<(Statement, Vec<Value>)> = vec![(cql::CREATE_CHANNEL, values)];
                if let Some(name) = name {
                    row.push((cql::SET_NAME, vec![seq, Value::Text(name.to_owned()), id]));
                }
                self.cql.batch(row).await?;
                if let Some(name) = name.filter(|_| kind == ChannelKind::Public) {
                    self.list(channel, name, fact.seq).await?;
                }
            }
            ChannelChange::Renamed(name) => {
                let rows = self.cql.execute(cql::CHANNEL, vec![id.clone()]).await?;
                let row = rows.first().ok_or_else(|| missing("a channel"))?;
                let public =
                    kind(row.tinyint("kind").ok_or_else(|| missing("kind"))?)? == ChannelKind::Public;
                if public {
                    // The row's name comes last: until it says so, the old entry can be found by it.
                    self.list(channel, name, fact.seq).await?;
                    let old = row.text("name").map(name_key).filter(|old| *old != name_key(name));
                    if let Some(old) = old {
                        let values =
                            vec![seq.clone(), Value::TinyInt(PUBLIC_SHARD), Value::Text(old), id.clone()];
                        self.cql.execute(cql::UNLIST_CHANNEL, values).await?;
                    }
                }
                self.cql.execute(cql::SET_NAME, vec![seq, Value::Text(name.to_owned()), id]).await?;
            }
            ChannelChange::Topic(topic) => {
                self.cql.execute(cql::SET_TOPIC, vec![seq, Value::Text(topic.to_owned()), id]).await?;
            }
            ChannelChange::Archived(archived) => {
                self.cql.execute(cql::SET_ARCHIVED, vec![seq, Value::Bool(archived), id]).await?;
            }
        }
        Ok(())
    }

    async fn list(&self, channel: ChannelId, name: &str, seq: Seq) -> Result<(), LogError> {
        let name = Value::Text(name_key(name));
        let values = vec![Value::TinyInt(PUBLIC_SHARD), name, channel_value(channel), big(seq)];
        self.cql.execute(cql::LIST_CHANNEL, values).await?;
        Ok(())
    }
}
