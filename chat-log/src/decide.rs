//! May an event happen, given what the log says up to its head?
//!
//! The caller loads what [`needs`] names into a [`State`], asks [`State::decide`] for one event after the other, and
//! lets [`State::apply`] follow each that is accepted. The decisions hold if the append is conditional on the head that the
//! state belongs to.

use std::collections::{BTreeSet, HashMap, HashSet};

use chat_protocol::{ChannelKind, EventBody, Seq, UserId, rest::Role};

use crate::{
    NewEvent, Refusal, name_key,
    permission::{ChannelAction, ChannelView, Denial, allow},
};

/// What must be known of a log to decide about some events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Kind, archived and creator: what permissions depend on.
    pub rules: bool,
    /// Name and topic as well.
    pub row: bool,
    /// Whether these are members.
    pub members: BTreeSet<UserId>,
    /// Whether these positions are messages that stand, and whose.
    pub targets: BTreeSet<Seq>,
}

/// What must be known to decide about one event of a log that exists.
#[must_use]
pub fn needs(event: &NewEvent) -> Needs {
    needs_for(std::iter::once(event))
}

/// What must be known to decide about these events of a log that exists.
#[must_use]
pub fn needs_for<'a>(events: impl IntoIterator<Item = &'a NewEvent>) -> Needs {
    let mut needs = Needs::default();
    for event in events {
        if event.authority.is_some() && !matches!(*event.body, EventBody::ChannelCreated { .. }) {
            needs.rules = true;
            needs.members.insert(event.by);
        }
        match &*event.body {
            EventBody::MemberJoined { user } | EventBody::MemberLeft { user } => {
                needs.members.insert(*user);
            }
            EventBody::Edited { target, .. } | EventBody::Deleted { target } => {
                needs.targets.insert(*target);
            }
            EventBody::Renamed { .. } | EventBody::TopicChanged { .. } | EventBody::Archived { .. } => {
                (needs.rules, needs.row) = (true, true);
            }
            EventBody::ChannelCreated { .. } | EventBody::Message { .. } | EventBody::Unknown => {}
        }
    }
    needs
}

/// A channel without anything that depends on who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelFacts {
    /// Who may see and join it.
    pub kind: ChannelKind,
    /// Its name, for public and private channels.
    pub name: Option<String>,
    /// What it is about.
    pub topic: String,
    /// Read-only.
    pub archived: bool,
    /// Who made it.
    pub created_by: UserId,
}

/// A message that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Who wrote it.
    pub by: UserId,
}

/// What is known of a log at its head. What is needed and not in here counts as not there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Whether the log has a first event.
    pub exists: bool,
    /// The channel.
    pub channel: Option<ChannelFacts>,
    /// Those among the users in question who are members.
    pub members: HashSet<UserId>,
    /// Those among the positions in question that are messages and not deleted.
    pub targets: HashMap<Seq, Target>,
}

/// What is to become of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is appended.
    Accept,
    /// It is appended if no other channel has the name `key`; else it is [`Refusal::NameTaken`].
    AcceptIfFree {
        /// See [`name_key`].
        key: String,
        /// The key that the channel gives up by it, when it is another one.
        gives_up: Option<String>,
    },
    /// It is not.
    Refuse(Refusal),
}

impl State {
    /// Decides about one event, on top of everything that was applied.
    #[must_use]
    pub fn decide(&self, event: &NewEvent) -> Decision {
        let body = &*event.body;
        if let EventBody::ChannelCreated { channel_kind, name, .. } = body {
            return match name {
                _ if self.exists => Decision::Refuse(Refusal::ChannelExists),
                Some(name) if !channel_kind.is_direct() => {
                    Decision::AcceptIfFree { key: name_key(name), gives_up: None }
                }
                _ => Decision::Accept,
            };
        }
        if !self.exists {
            return Decision::Refuse(Refusal::NoChannel);
        }
        if let Some(authority) = event.authority
            && let Err(denial) = self.allowed(authority.role, event.by, body)
        {
            return Decision::Refuse(Refusal::Denied(denial));
        }
        self.effective(body)
    }

    /// Whether the author may do it.
    fn allowed(&self, role: Role, by: UserId, body: &EventBody) -> Result<(), Denial> {
        let Some(channel) = &self.channel else { return Err(Denial::NotVisible) };
        let view = ChannelView {
            kind: channel.kind,
            archived: channel.archived,
            member: self.members.contains(&by),
            creator: channel.created_by == by,
        };
        // What is no message is nobody's, and refused as such afterwards.
        let own = |target: &Seq| self.targets.get(target).is_none_or(|target| target.by == by);
        let action = match body {
            EventBody::Message { .. } => ChannelAction::Post,
            EventBody::Edited { target, .. } => ChannelAction::Edit { own: own(target) },
            EventBody::Deleted { target } => ChannelAction::Delete { own: own(target) },
            EventBody::MemberJoined { user } if *user == by => ChannelAction::Join,
            EventBody::MemberJoined { .. } => ChannelAction::AddMembers,
            EventBody::MemberLeft { user } if *user == by => ChannelAction::Leave,
            EventBody::MemberLeft { .. } => ChannelAction::RemoveMember,
            EventBody::Renamed { .. } | EventBody::TopicChanged { .. } => ChannelAction::Describe,
            EventBody::Archived { .. } => ChannelAction::Archive,
            EventBody::ChannelCreated { .. } | EventBody::Unknown => ChannelAction::Read,
        };
        allow(role, &view, action)
    }

    /// Whether it changes anything.
    fn effective(&self, body: &EventBody) -> Decision {
        let accept_if = |holds, refusal| if holds { Decision::Accept } else { Decision::Refuse(refusal) };
        let changes = |holds| accept_if(holds, Refusal::NoEffect);
        let channel = self.channel.as_ref();
        match body {
            EventBody::Message { .. } => Decision::Accept,
            EventBody::Edited { target, .. } | EventBody::Deleted { target } => {
                accept_if(self.targets.contains_key(target), Refusal::NoTarget)
            }
            EventBody::MemberJoined { user } => changes(!self.members.contains(user)),
            EventBody::MemberLeft { user } => changes(self.members.contains(user)),
            EventBody::Renamed { name } => match channel.map(|channel| (channel.kind, &channel.name)) {
                Some((kind, Some(now))) if now != name && !kind.is_direct() => {
                    let (key, old) = (name_key(name), name_key(now));
                    // A name that only changes its case is the channel's own already.
                    if key == old {
                        Decision::Accept
                    } else {
                        Decision::AcceptIfFree { key, gives_up: Some(old) }
                    }
                }
                _ => Decision::Refuse(Refusal::NoEffect),
            },
            EventBody::TopicChanged { topic } => {
                changes(channel.is_some_and(|channel| channel.topic != *topic))
            }
            EventBody::Archived { archived } => {
                changes(channel.is_some_and(|channel| channel.archived != *archived))
            }
            EventBody::ChannelCreated { .. } | EventBody::Unknown => Decision::Refuse(Refusal::NoEffect),
        }
    }

    /// Follows an event of the log, whether or not it would be accepted today.
    pub fn apply(&mut self, seq: Seq, by: UserId, body: &EventBody) {
        self.exists = true;
        let channel = self.channel.as_mut();
        match body {
            EventBody::ChannelCreated { channel_kind, name, topic } => {
                self.channel = Some(ChannelFacts {
                    kind: *channel_kind,
                    name: name.clone(),
                    topic: topic.clone(),
                    archived: false,
                    created_by: by,
                });
            }
            // Also one that was deleted since: its deletion comes later in the log.
            EventBody::Message { .. } => {
                self.targets.insert(seq, Target { by });
            }
            EventBody::Deleted { target } => {
                self.targets.remove(target);
            }
            EventBody::MemberJoined { user } => {
                self.members.insert(*user);
            }
            EventBody::MemberLeft { user } => {
                self.members.remove(user);
            }
            EventBody::Renamed { name } => {
                if let Some(channel) = channel {
                    channel.name = Some(name.clone());
                }
            }
            EventBody::TopicChanged { topic } => {
                if let Some(channel) = channel {
                    topic.clone_into(&mut channel.topic);
                }
            }
            EventBody::Archived { archived } => {
                if let Some(channel) = channel {
                    channel.archived = *archived;
                }
            }
            EventBody::Edited { .. } | EventBody::Unknown => {}
        }
    }
}
