//! May an event happen, given what the log says up to its head?
//!
//! The caller loads what [`needs`] names into a [`State`], asks [`State::decide`] for one event after the other, and
//! lets [`State::apply`] follow each that is accepted. The decisions hold if the append is conditional on the head that the
//! state belongs to.

use std::collections::{HashMap, HashSet};

use chat_protocol::{ChannelKind, EventBody, Seq, UserId, rest::Role};

use crate::{
    NewEvent,
    kind::{Needs, Refusal, Target, action, effective, follow, need},
    name_claims,
    permission::{ChannelView, Denial, allow},
};

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
        needs.newest |= event.nobody_since.is_some();
        need(&event.body, &mut needs);
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
    /// Whether it is archived, that is, read-only.
    pub archived: bool,
    /// Who made it.
    pub created_by: UserId,
}

/// What is known of a log at its head. What is needed and not in here counts as not there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// Whether the log has a first event.
    pub exists: bool,
    /// The channel's settings; `None` when they are not needed or not there.
    pub channel: Option<ChannelFacts>,
    /// Those among the users in question who are members.
    pub members: HashSet<UserId>,
    /// The position with which the last one of all members became one; 0 for none, or when it is not needed.
    pub newest: Seq,
    /// Those among the positions in question that are messages and not deleted.
    pub targets: HashMap<Seq, Target>,
}

/// Whether channels of this kind have their names to themselves. Only public ones: that a private one is called something must
/// not show to those who may not know of it.
#[must_use]
pub const fn claims_name(kind: ChannelKind) -> bool {
    matches!(kind, ChannelKind::Public)
}

/// What is to become of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// It is appended.
    Accept,
    /// It is appended if no other public channel has any of `claims`; else it is [`Refusal::NameTaken`].
    AcceptIfFree {
        /// What the channel claims that it did not before, see [`name_claims`].
        claims: Vec<String>,
        /// What it gives up by it.
        gives_up: Vec<String>,
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
                Some(name) if claims_name(*channel_kind) => {
                    Decision::AcceptIfFree { claims: name_claims(name), gives_up: Vec::new() }
                }
                _ => Decision::Accept,
            };
        }
        if !self.exists {
            return Decision::Refuse(Refusal::NoChannel);
        }
        if let Some(authority) = event.authority
            && let Err(denial) = self.allowed(authority.role, event)
        {
            return Decision::Refuse(Refusal::Denied(denial));
        }
        match effective(event, self) {
            // What has no effect says nothing of the channel.
            Decision::Accept if event.nobody_since.is_some_and(|seq| self.newest > seq) => {
                Decision::Refuse(Refusal::Denied(Denial::NotVisible))
            }
            decision => decision,
        }
    }

    /// Whether the author may do it.
    fn allowed(&self, role: Role, event: &NewEvent) -> Result<(), Denial> {
        let Some(channel) = &self.channel else { return Err(Denial::NotVisible) };
        let view = ChannelView {
            kind: channel.kind,
            archived: channel.archived,
            member: self.members.contains(&event.by),
            creator: channel.created_by == event.by,
        };
        allow(role, &view, action(event, self))
    }

    /// Follows an event of the log, whether or not it would be accepted today.
    pub fn apply(&mut self, seq: Seq, by: UserId, body: &EventBody) {
        self.exists = true;
        follow(self, seq, by, body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rename_claims_what_is_new_and_gives_up_what_is_gone() {
        let by = UserId(uuid::Uuid::from_u128(1));
        for (now, name, claims, gives_up) in [
            ("General", "general", vec![" w general"], vec![" w General"]),
            ("generaI", "general", vec!["general"], vec!["generai"]),
            ("plans", "ideas", vec!["ideas", " w ideas"], vec!["plans", " w plans"]),
            (
                "plans",
                "pl\u{e4}ne",
                vec!["pl\u{e4}ne", " w pla\u{308}ne", " f pl\u{e4}ne"],
                vec!["plans", " w plans"],
            ),
        ] {
            let channel = ChannelFacts {
                kind: ChannelKind::Public,
                name: Some(now.to_owned()),
                topic: String::new(),
                archived: false,
                created_by: by,
            };
            let state = State { exists: true, channel: Some(channel), ..State::default() };
            let rename = NewEvent::of_server(by, 1, EventBody::Renamed { name: name.to_owned() });
            let owned = |claims: Vec<&str>| claims.into_iter().map(str::to_owned).collect();
            let expected = Decision::AcceptIfFree { claims: owned(claims), gives_up: owned(gives_up) };
            assert_eq!(state.decide(&rename), expected, "{now:?} {name:?}");
        }
    }

    #[test]
    fn another_form_of_the_same_name_is_the_channel_s_own() {
        let by = UserId(uuid::Uuid::from_u128(1));
        let channel = ChannelFacts {
            kind: ChannelKind::Public,
            name: Some("caf\u{e9}".to_owned()),
            topic: String::new(),
            archived: false,
            created_by: by,
        };
        let state = State { exists: true, channel: Some(channel), ..State::default() };
        let rename = NewEvent::of_server(by, 1, EventBody::Renamed { name: "cafe\u{301}".to_owned() });
        assert_eq!(state.decide(&rename), Decision::Accept);
    }
}
