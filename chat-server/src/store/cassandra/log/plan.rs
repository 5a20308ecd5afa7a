//! Which events of a call are to be committed on top of a given end of the log, and which are refused.
//!
//! The decisions hold if the batch is applied, since it is conditional on that end.

use std::collections::HashSet;

use chat_protocol::{ChannelId, ChannelKind, EventBody, Seq, UserId};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    Log,
    call::Call,
    codec::{channel_value, kind, missing, seq_key, text},
    error::LogError,
    names::Held,
    statements as cql,
    tail::Tail,
};
use crate::store::{Appended, Refusal, cassandra::cql::Value, name_key};

/// Targets of edits and deletions that are read at the same time.
const TARGETS_AT_ONCE: usize = 16;

/// What is to be done with the next events of a call.
#[derive(Default)]
pub(super) struct Plan {
    /// To be committed, with their positions.
    pub(super) placed: Vec<(usize, Seq)>,
    /// Refused, unless it turns out that they were committed before.
    pub(super) refused: Vec<(usize, Refusal)>,
    /// Names that are given up once this is committed.
    pub(super) released: Vec<Held>,
}

/// What the log has made of the channel, as far as decisions need it.
#[derive(Debug, Default)]
struct World {
    exists: bool,
    kind: Option<ChannelKind>,
    name: Option<String>,
    topic: String,
    archived: bool,
    /// Those among the users in question who are members.
    members: HashSet<UserId>,
    /// Those among the targets in question that are messages and not deleted.
    live: HashSet<Seq>,
}

#[derive(Debug, PartialEq, Eq)]
enum Decision {
    Accept,
    Refuse(Refusal),
    /// Accept it if no other channel has this name; then the old one is given up if it is another one.
    IfFree {
        name: String,
        old: Option<String>,
    },
}

impl Log {
    /// Decides as many of the open events as fit into one batch.
    pub(super) async fn plan(
        &self,
        channel: ChannelId,
        tail: &mut Tail,
        call: &mut Call,
    ) -> Result<Plan, LogError> {
        let considered: Vec<usize> = call.open().take(self.options.batch_events.max(1)).collect();
        let mut world = self.world(channel, tail, call, &considered).await?;
        let room = self.buckets.room(tail.head);
        let mut plan = Plan::default();
        let mut head = tail.head;
        let mut bytes = 0;
        for index in considered {
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
            bytes += item.json.len();
            if plan.placed.len() == room || (bytes > self.options.batch_bytes && !plan.placed.is_empty()) {
                break;
            }
            let refusal = match world.decide(&item.event.body) {
                Decision::Accept => None,
                Decision::Refuse(refusal) => Some(refusal),
                Decision::IfFree { name, old } => {
                    // A name that only changes its case is its own already.
                    let changes = old.as_ref() != Some(&name);
                    if changes && !self.reserve(channel, &name).await? {
                        Some(Refusal::NameTaken)
                    } else {
                        if let Some(old) = old.filter(|_| changes) {
                            plan.released.extend(self.held(channel, &old).await?);
                        }
                        None
                    }
                }
            };
            match refusal {
                Some(refusal) => plan.refused.push((index, refusal)),
                None => {
                    head += 1;
                    world.follow(head, &item.event.body);
                    plan.placed.push((index, head));
                }
            }
        }
        Ok(plan)
    }

    async fn world(
        &self,
        channel: ChannelId,
        tail: &mut Tail,
        call: &Call,
        considered: &[usize],
    ) -> Result<World, LogError> {
        let mut world = World { exists: tail.head > 0, ..World::default() };
        if !world.exists {
            return Ok(world);
        }
        let (mut row, mut users, mut targets) = (false, HashSet::new(), HashSet::new());
        for &index in considered {
            match &call.items[index].event.body {
                EventBody::MemberJoined { user } | EventBody::MemberLeft { user } => {
                    users.insert(*user);
                }
                EventBody::Edited { target, .. } | EventBody::Deleted { target } => {
                    targets.insert(*target);
                }
                EventBody::Renamed { .. } | EventBody::TopicChanged { .. } | EventBody::Archived { .. } => {
                    row = true;
                }
                EventBody::ChannelCreated { .. } | EventBody::Message { .. } | EventBody::Unknown => {}
            }
        }
        if row || !users.is_empty() || !targets.is_empty() {
            self.ensure_applied(channel, tail).await?;
        }
        if row {
            self.read_row(channel, &mut world).await?;
        }
        if !users.is_empty() {
            world.members = self.members_among(channel, users).await?;
        }
        let fates: Vec<_> = stream::iter(targets)
            .map(async |target| Ok::<_, LogError>((target, self.is_live_message(channel, target).await?)))
            .buffer_unordered(TARGETS_AT_ONCE)
            .try_collect()
            .await?;
        world.live = fates.into_iter().filter(|(_, live)| *live).map(|(target, _)| target).collect();
        Ok(world)
    }

    async fn read_row(&self, channel: ChannelId, world: &mut World) -> Result<(), LogError> {
        let rows = self.cql.execute(cql::CHANNEL, vec![channel_value(channel)]).await?;
        let row = rows.first().ok_or_else(|| missing("a channel"))?;
        world.kind = Some(kind(row.tinyint("kind").ok_or_else(|| missing("kind"))?)?);
        world.name = row.text("name").map(str::to_owned);
        world.topic = text(row, "topic")?.to_owned();
        world.archived = row.boolean("archived").unwrap_or(false);
        Ok(())
    }

    async fn members_among(
        &self,
        channel: ChannelId,
        users: HashSet<UserId>,
    ) -> Result<HashSet<UserId>, LogError> {
        let users = users.into_iter().map(|user| Value::Uuid(user.0)).collect();
        let rows =
            self.cql.execute(cql::MEMBERS_AMONG, vec![channel_value(channel), Value::List(users)]).await?;
        Ok(rows.iter().filter_map(|row| row.uuid("user").map(UserId)).collect())
    }

    async fn is_live_message(&self, channel: ChannelId, target: Seq) -> Result<bool, LogError> {
        let bucket = Value::Int(self.buckets.of(target));
        let rows = self.cql.execute(cql::FATE, vec![channel_value(channel), bucket, seq_key(target)]).await?;
        let Some(row) = rows.first() else { return Ok(false) };
        let body = serde_json::from_str(text(row, "body")?)?;
        Ok(matches!(body, EventBody::Message { deleted: false, .. }))
    }
}

impl World {
    fn decide(&self, body: &EventBody) -> Decision {
        let effect = |changes| if changes { Decision::Accept } else { Decision::Refuse(Refusal::NoEffect) };
        match body {
            EventBody::ChannelCreated { .. } if self.exists => Decision::Refuse(Refusal::ChannelExists),
            EventBody::ChannelCreated { channel_kind, name, .. } => match name {
                Some(name) if !channel_kind.is_direct() => {
                    Decision::IfFree { name: name_key(name), old: None }
                }
                _ => Decision::Accept,
            },
            _ if !self.exists => Decision::Refuse(Refusal::NoChannel),
            EventBody::Message { .. } => Decision::Accept,
            EventBody::Edited { target, .. } | EventBody::Deleted { target } => {
                if self.live.contains(target) {
                    Decision::Accept
                } else {
                    Decision::Refuse(Refusal::NoTarget)
                }
            }
            EventBody::MemberJoined { user } => effect(!self.members.contains(user)),
            EventBody::MemberLeft { user } => effect(self.members.contains(user)),
            EventBody::Renamed { name } => match &self.name {
                Some(now) if now != name && !self.kind.is_none_or(ChannelKind::is_direct) => {
                    Decision::IfFree { name: name_key(name), old: Some(name_key(now)) }
                }
                _ => Decision::Refuse(Refusal::NoEffect),
            },
            EventBody::TopicChanged { topic } => effect(self.topic != *topic),
            EventBody::Archived { archived } => effect(self.archived != *archived),
            EventBody::Unknown => Decision::Refuse(Refusal::NoEffect),
        }
    }

    /// What an accepted event changes for those after it.
    fn follow(&mut self, seq: Seq, body: &EventBody) {
        match body {
            EventBody::ChannelCreated { channel_kind, name, topic } => {
                *self = Self {
                    exists: true,
                    kind: Some(*channel_kind),
                    name: name.clone(),
                    topic: topic.clone(),
                    ..Self::default()
                };
            }
            EventBody::Message { .. } => {
                self.live.insert(seq);
            }
            EventBody::Deleted { target } => {
                self.live.remove(target);
            }
            EventBody::MemberJoined { user } => {
                self.members.insert(*user);
            }
            EventBody::MemberLeft { user } => {
                self.members.remove(user);
            }
            EventBody::Renamed { name } => self.name = Some(name.clone()),
            EventBody::TopicChanged { topic } => topic.clone_into(&mut self.topic),
            EventBody::Archived { archived } => self.archived = *archived,
            EventBody::Edited { .. } | EventBody::Unknown => {}
        }
    }
}
