//! Which events of a call are to be committed on top of a given end of the log, and which are refused.
//!
//! The decisions hold if the batch is applied, since it is conditional on that end.

use std::collections::{HashMap, HashSet};

use chat_domain::store::{Appended, Refusal};
use chat_log::{ChannelFacts, Decision, Needs, State, Target, needs_for};
use chat_protocol::{ChannelId, Seq, UserId};

use super::{
    Log,
    call::Call,
    codec::{channel_value, kind, missing, opt_number, text, uuid},
    error::LogError,
    names::Held,
    statements as cql,
    tail::{Remembered, Tail},
};
use crate::cql::Value;

/// What is to be done with the next events of a call.
#[derive(Default)]
pub(super) struct Plan {
    /// To be committed, with their positions.
    pub(super) placed: Vec<(usize, Seq)>,
    /// Refused, unless it turns out that they were committed before.
    pub(super) refused: Vec<(usize, Refusal)>,
    /// Names that are given up once this is committed.
    pub(super) released: Vec<Held>,
    /// What is known of messages after it.
    pub(super) messages: HashMap<Seq, Target>,
}

/// Events that belong together: as things were before them, and why all of them are refused. What does not fit into one batch
/// is decided in two.
#[derive(Default)]
struct Whole {
    began: Option<(usize, usize, Seq, State)>,
    refused: Option<Refusal>,
}

impl Log {
    /// Decides as many of the open events as fit into one batch.
    pub(super) async fn plan(
        &self,
        channel: ChannelId,
        tail: &mut Tail,
        call: &mut Call,
        known: &mut Remembered,
    ) -> Result<Plan, LogError> {
        let considered: Vec<usize> = call.open().take(self.options.batch_events.max(1)).collect();
        let needs = needs_for(considered.iter().map(|&index| &call.items[index].event));
        let about_messages = !needs.targets.is_empty();
        let mut state = self.state(channel, tail, needs, known).await?;
        let about_messages = about_messages || !state.targets.is_empty();
        let capacity = self.buckets.capacity(tail.end.head);
        let mut plan = Plan::default();
        let mut head = tail.end.head;
        let mut bytes = 0;
        let mut whole = Whole::default();
        for (n, &index) in considered.iter().enumerate() {
            if !call.items[index].event.with_previous {
                let next = considered.get(n + 1).filter(|next| call.items[**next].event.with_previous);
                whole = Whole {
                    began: next.map(|_| (plan.placed.len(), plan.released.len(), head, state.clone())),
                    refused: None,
                };
            }
            match call.repeats(index) {
                Some(Appended::Duplicate { seq, at }) => {
                    call.duplicate(index, seq, at);
                    continue;
                }
                // The first one is in this plan: what becomes of it decides about this one, afterwards.
                _ if plan.placed.iter().any(|&(first, _)| call.items[first].key == call.items[index].key) => {
                    continue;
                }
                _ => {}
            }
            let item = &call.items[index];
            bytes += item.event.body.json().len();
            if plan.placed.len() == capacity || (bytes > self.options.batch_bytes && !plan.placed.is_empty())
            {
                if item.event.with_previous
                    && let Some((placed, released, _, was)) = whole.began.take()
                    && placed > 0
                {
                    // Together in the next batch.
                    plan.placed.truncate(placed);
                    plan.released.truncate(released);
                    state = was;
                }
                break;
            }
            let refusal = match state.decide(&item.event) {
                _ if whole.refused.is_some() => whole.refused,
                Decision::Accept => None,
                Decision::Refuse(refusal) => Some(refusal),
                Decision::AcceptIfFree { claims, gives_up } => {
                    if self.reserve_all(channel, &claims).await? {
                        for old in gives_up {
                            plan.released.extend(self.held(channel, &old).await?);
                        }
                        None
                    } else {
                        Some(Refusal::NameTaken)
                    }
                }
            };
            match refusal {
                Some(refusal) => {
                    if refusal != Refusal::NoEffect
                        && let Some((placed, released, before, was)) = whole.began.take()
                    {
                        // A name that was reserved for it meanwhile is free again after its grace.
                        plan.refused.extend(plan.placed.drain(placed..).map(|(index, _)| (index, refusal)));
                        plan.released.truncate(released);
                        (head, state) = (before, was);
                        whole.refused = Some(refusal);
                    }
                    plan.refused.push((index, refusal));
                }
                None => {
                    head += 1;
                    state.apply(head, item.event.by, &item.event.body);
                    plan.placed.push((index, head));
                }
            }
        }
        // Where nothing is about messages, nothing is remembered of them.
        if about_messages {
            plan.messages = state.targets;
        }
        Ok(plan)
    }

    /// What the decisions need: from memory as far as that goes, and else from projections at the log's end.
    async fn state(
        &self,
        channel: ChannelId,
        tail: &mut Tail,
        needs: Needs,
        known: &mut Remembered,
    ) -> Result<State, LogError> {
        let mut state = State { exists: tail.end.head > 0, ..State::default() };
        if !state.exists {
            return Ok(state);
        }
        let rules = &mut known.rules;
        rules.hold_for(tail.ruled);
        let row = needs.row || (needs.rules && !rules.has_channel());
        let users = rules.unknown(needs.members.iter().copied());
        let targets = known.messages.take(tail.end.head);
        let unknown: Vec<Seq> = needs.targets.into_iter().filter(|seq| !targets.contains_key(seq)).collect();
        if row || needs.newest || !users.is_empty() {
            self.ensure_applied(channel, tail).await?;
        }
        let facts = if row { Some(self.read_row(channel).await?) } else { None };
        if let Some(facts) = &facts {
            rules.learn_channel(facts);
        }
        if !users.is_empty() {
            let members = self.members_among(channel, &users).await?;
            rules.learn_members(users, &members);
        }
        if needs.newest {
            state.newest = self.newest_member(channel).await?;
        }
        rules.fill(&mut state, needs.members);
        if facts.is_some() {
            state.channel = facts;
        }
        state.targets = targets;
        self.read_messages(channel, tail, unknown, &mut state.targets).await?;
        Ok(state)
    }

    async fn read_row(&self, channel: ChannelId) -> Result<ChannelFacts, LogError> {
        let rows = self.cql.execute(cql::CHANNEL, vec![channel_value(channel)]).await?;
        let row = rows.first().ok_or_else(|| missing("a channel"))?;
        Ok(ChannelFacts {
            kind: kind(row.tinyint("kind").ok_or_else(|| missing("kind"))?)?,
            name: row.text("name").map(str::to_owned),
            topic: text(row, "topic")?.to_owned(),
            archived: row.boolean("archived").unwrap_or(false),
            created_by: UserId(uuid(row, "created_by")?),
        })
    }

    async fn newest_member(&self, channel: ChannelId) -> Result<Seq, LogError> {
        let rows = self.cql.execute(cql::NEWEST_MEMBER, vec![channel_value(channel)]).await?;
        Ok(rows.first().map(|row| opt_number(row, "since")).transpose()?.flatten().unwrap_or(0))
    }

    async fn members_among(
        &self,
        channel: ChannelId,
        users: &HashSet<UserId>,
    ) -> Result<HashSet<UserId>, LogError> {
        let users = users.iter().map(|user| Value::Uuid(user.0)).collect();
        let rows =
            self.cql.execute(cql::MEMBERS_AMONG, vec![channel_value(channel), Value::List(users)]).await?;
        Ok(rows.iter().filter_map(|row| row.uuid("user").map(UserId)).collect())
    }
}
