//! The kinds of events: everything that differs from one to the next, function by function. No match has a catch-all arm, so
//! that a new kind is answered for everywhere; and nothing outside of this file depends on which kinds there are.

use std::collections::BTreeSet;

use chat_protocol::{
    ChannelKind, ErrorCode, Event, EventBody, Millis, Reactions, Seq, UserId, rest::Message,
};
use serde::{Deserialize, Serialize};

use crate::{
    NewEvent, claims_name,
    decide::{ChannelFacts, Decision, State},
    name_claims,
    permission::{ChannelAction, Denial},
};

/// Kinds of reactions to one message, at most.
pub const MAX_REACTION_KINDS: usize = 20;
/// Reactions of one person to one message, at most.
pub const MAX_REACTIONS_PER_PERSON: usize = 10;
/// Reactions to one message, at most.
pub const MAX_REACTIONS: usize = 1_000;
/// Why an event was not committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// The channel does not exist (its first event must be [`EventBody::ChannelCreated`]).
    NoChannel,
    /// [`EventBody::ChannelCreated`] on a channel that exists.
    ChannelExists,
    /// Another public channel has this name (compared by [`crate::name_claims`]).
    NameTaken,
    /// Joining when already a member, leaving when not one, archiving what is archived, and the like.
    NoEffect,
    /// An edit or deletion of something that is not a message, or was deleted; or a reaction to it.
    NoTarget,
    /// The message has as many reactions as it may have: see [`MAX_REACTION_KINDS`], [`MAX_REACTIONS_PER_PERSON`] and
    /// [`MAX_REACTIONS`].
    TooManyReactions,
    /// The author may not do this, as the log stands.
    Denied(Denial),
}

impl Refusal {
    /// The cause, as clients get it.
    #[must_use]
    pub const fn code(self) -> ErrorCode {
        match self {
            Self::NoChannel | Self::NoTarget => ErrorCode::NotFound,
            Self::ChannelExists | Self::NameTaken | Self::NoEffect => ErrorCode::Conflict,
            Self::TooManyReactions => ErrorCode::TooManyReactions,
            Self::Denied(denial) => denial.code(),
        }
    }

    /// What was expected, for the developer of the client.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::NoChannel => "no such channel, or not yours to see",
            Self::ChannelExists => "the channel exists already",
            Self::NameTaken => "another public channel has this name",
            Self::NoEffect => "already in that state; nothing was changed",
            Self::NoTarget => "the target is not a message, or it is deleted",
            Self::TooManyReactions => {
                "too many reactions: a message takes 20 different ones, 10 of one person and 1,000 in all"
            }
            Self::Denied(denial) => denial.message(),
        }
    }
}

/// What must be known of a log to decide about some events.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Kind, archived and creator: what permissions depend on.
    pub rules: bool,
    /// Name and topic as well.
    pub row: bool,
    /// Whether these are members.
    pub members: BTreeSet<UserId>,
    /// Since when its newest member is one.
    pub newest: bool,
    /// Whether these positions are messages that stand, and whose.
    pub targets: BTreeSet<Seq>,
}

/// A message that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Who wrote it.
    pub by: UserId,
    /// Who reacted to it.
    pub reactions: Reactions,
}

impl Target {
    /// A message that was just written.
    #[must_use]
    pub const fn new(by: UserId) -> Self {
        Self { by, reactions: Reactions::new() }
    }
}

/// Adds a reaction, or takes it away. False when nothing was changed by it.
pub fn react(reactions: &mut Reactions, by: UserId, emoji: &str, removed: bool) -> bool {
    if !removed {
        return reactions.entry(emoji.to_owned()).or_default().insert(by);
    }
    let Some(users) = reactions.get_mut(emoji) else { return false };
    let changed = users.remove(&by);
    if users.is_empty() {
        reactions.remove(emoji);
    }
    changed
}

/// May this one be added, or taken back?
fn reaction(reactions: &Reactions, by: UserId, emoji: &str, removed: bool) -> Decision {
    let has = |users: &BTreeSet<UserId>| users.contains(&by);
    if reactions.get(emoji).is_some_and(has) != removed {
        return Decision::Refuse(Refusal::NoEffect);
    }
    let kinds = reactions.len() >= MAX_REACTION_KINDS && !reactions.contains_key(emoji);
    let own = reactions.values().filter(|users| has(users)).count() >= MAX_REACTIONS_PER_PERSON;
    let all = reactions.values().map(BTreeSet::len).sum::<usize>() >= MAX_REACTIONS;
    if !removed && (kinds || own || all) {
        return Decision::Refuse(Refusal::TooManyReactions);
    }
    Decision::Accept
}

/// What one event changes in the projections that stores keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect<'a> {
    /// Nothing but that it stands in the log.
    None,
    /// The channel's row.
    Channel(ChannelChange<'a>),
    /// The user is a member as of this position.
    Joined(UserId),
    /// The user is no member any more.
    Left(UserId),
    /// A message reads differently.
    Edited {
        /// Position of the message.
        target: Seq,
        /// Its new text.
        text: &'a str,
    },
    /// A message and its edits are scrubbed.
    Deleted {
        /// Position of the message.
        target: Seq,
    },
    /// Something beside messages, which nobody waits for: a store that projects after the commit answers before it has.
    Aside,
}

/// What one event changes in the channel's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChannelChange<'a> {
    /// It is there.
    Created {
        /// Who may see and join it.
        kind: ChannelKind,
        /// Its name, if it has one.
        name: Option<&'a str>,
        /// What it is about.
        topic: &'a str,
    },
    /// It has another name.
    Renamed(&'a str),
    /// It has another topic.
    Topic(&'a str),
    /// It is archived, or brought back.
    Archived(bool),
}

/// The number of a kind in stores. Numbers are for ever. Queries and partial indexes have 1 and 2 as literals.
#[must_use]
pub const fn kind_number(body: &EventBody) -> u8 {
    match body {
        EventBody::Unknown => 0,
        EventBody::Message { .. } => 1,
        EventBody::Edited { .. } => 2,
        EventBody::Deleted { .. } => 3,
        EventBody::ChannelCreated { .. } => 4,
        EventBody::MemberJoined { .. } => 5,
        EventBody::MemberLeft { .. } => 6,
        EventBody::Renamed { .. } => 7,
        EventBody::TopicChanged { .. } => 8,
        EventBody::Archived { .. } => 9,
        EventBody::Reaction { .. } => 10,
    }
}

/// The message that an event is about.
#[must_use]
pub const fn target(body: &EventBody) -> Option<Seq> {
    match body {
        EventBody::Edited { target, .. }
        | EventBody::Deleted { target }
        | EventBody::Reaction { target, .. } => Some(*target),
        EventBody::ChannelCreated { .. }
        | EventBody::Message { .. }
        | EventBody::MemberJoined { .. }
        | EventBody::MemberLeft { .. }
        | EventBody::Renamed { .. }
        | EventBody::TopicChanged { .. }
        | EventBody::Archived { .. }
        | EventBody::Unknown => None,
    }
}

/// What follows from an event.
#[must_use]
pub fn effect(body: &EventBody) -> Effect<'_> {
    match body {
        EventBody::ChannelCreated { channel_kind, name, topic } => {
            Effect::Channel(ChannelChange::Created { kind: *channel_kind, name: name.as_deref(), topic })
        }
        EventBody::Message { .. } | EventBody::Unknown => Effect::None,
        EventBody::Edited { target, text, .. } => Effect::Edited { target: *target, text },
        EventBody::Deleted { target } => Effect::Deleted { target: *target },
        EventBody::Reaction { .. } => Effect::Aside,
        EventBody::MemberJoined { user } => Effect::Joined(*user),
        EventBody::MemberLeft { user } => Effect::Left(*user),
        EventBody::Renamed { name } => Effect::Channel(ChannelChange::Renamed(name)),
        EventBody::TopicChanged { topic } => Effect::Channel(ChannelChange::Topic(topic)),
        EventBody::Archived { archived } => Effect::Channel(ChannelChange::Archived(*archived)),
    }
}

/// Whether an event changes who may do what: what was remembered for decisions before it may not hold after it.
#[must_use]
pub const fn rules_change(body: &EventBody) -> bool {
    match body {
        EventBody::ChannelCreated { .. }
        | EventBody::MemberJoined { .. }
        | EventBody::MemberLeft { .. }
        | EventBody::Archived { .. }
        // Nobody knows what a newer version's kind does.
        | EventBody::Unknown => true,
        EventBody::Message { .. }
        | EventBody::Edited { .. }
        | EventBody::Deleted { .. }
        | EventBody::Reaction { .. }
        | EventBody::Renamed { .. }
        | EventBody::TopicChanged { .. } => false,
    }
}

/// Who came (true) or went (false) by an event.
#[must_use]
pub fn membership_change(body: &EventBody) -> Option<(UserId, bool)> {
    match effect(body) {
        Effect::Joined(user) => Some((user, true)),
        Effect::Left(user) => Some((user, false)),
        Effect::None
        | Effect::Channel(_)
        | Effect::Edited { .. }
        | Effect::Deleted { .. }
        | Effect::Aside => None,
    }
}

/// How an event moves what is unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Not at all.
    Not,
    /// It is a message; whether it stands.
    Message {
        /// It was not deleted since.
        stands: bool,
    },
    /// It deletes a message.
    Deletion,
}

/// How an event moves what is unread. Bodies are as they stand in the store: scrubbed where deleted.
#[must_use]
pub const fn counted(body: &EventBody) -> Counted {
    match body {
        EventBody::Message { deleted, .. } => Counted::Message { stands: !*deleted },
        EventBody::Deleted { .. } => Counted::Deletion,
        EventBody::ChannelCreated { .. }
        | EventBody::Edited { .. }
        | EventBody::Reaction { .. }
        | EventBody::MemberJoined { .. }
        | EventBody::MemberLeft { .. }
        | EventBody::Renamed { .. }
        | EventBody::TopicChanged { .. }
        | EventBody::Archived { .. }
        | EventBody::Unknown => Counted::Not,
    }
}

/// What stands in the place of a body once its message is deleted; `None` for kinds that hold no text of a message.
#[must_use]
pub fn scrub(body: &EventBody) -> Option<EventBody> {
    match *body {
        EventBody::Message { .. } => {
            Some(EventBody::Message { text: String::new(), files: Vec::new(), deleted: true })
        }
        EventBody::Edited { target, .. } => {
            Some(EventBody::Edited { target, text: String::new(), deleted: true })
        }
        EventBody::ChannelCreated { .. }
        | EventBody::Deleted { .. }
        | EventBody::Reaction { .. }
        | EventBody::MemberJoined { .. }
        | EventBody::MemberLeft { .. }
        | EventBody::Renamed { .. }
        | EventBody::TopicChanged { .. }
        | EventBody::Archived { .. }
        | EventBody::Unknown => None,
    }
}

/// Adds what must be known to decide about an event of a log that exists, permissions apart.
pub(crate) fn need(body: &EventBody, needs: &mut Needs) {
    match body {
        EventBody::MemberJoined { user } | EventBody::MemberLeft { user } => {
            needs.members.insert(*user);
        }
        EventBody::Edited { target, .. }
        | EventBody::Deleted { target }
        | EventBody::Reaction { target, .. } => {
            needs.targets.insert(*target);
        }
        EventBody::Renamed { .. } | EventBody::TopicChanged { .. } | EventBody::Archived { .. } => {
            (needs.rules, needs.row) = (true, true);
        }
        EventBody::ChannelCreated { .. } | EventBody::Message { .. } | EventBody::Unknown => {}
    }
}

/// What the author must be allowed to do.
pub(crate) fn action(event: &NewEvent, state: &State) -> ChannelAction {
    let by = event.by;
    // What is no message is nobody's, and refused as such afterwards.
    let own = |target: &Seq| state.targets.get(target).is_none_or(|target| target.by == by);
    match &*event.body {
        EventBody::Message { .. } | EventBody::Reaction { .. } => ChannelAction::Post,
        EventBody::Edited { target, .. } => ChannelAction::Edit { own: own(target) },
        EventBody::Deleted { target } => ChannelAction::Delete { own: own(target) },
        EventBody::MemberJoined { user } if *user == by => ChannelAction::Join,
        EventBody::MemberJoined { .. } => ChannelAction::AddMembers,
        EventBody::MemberLeft { user } if *user == by => ChannelAction::Leave,
        EventBody::MemberLeft { .. } => ChannelAction::RemoveMember,
        EventBody::Renamed { .. } | EventBody::TopicChanged { .. } => ChannelAction::Describe,
        EventBody::Archived { .. } => ChannelAction::Archive,
        EventBody::ChannelCreated { .. } | EventBody::Unknown => ChannelAction::Read,
    }
}

/// Whether an event of a log that exists changes anything.
pub(crate) fn effective(event: &NewEvent, state: &State) -> Decision {
    let accept_if = |holds, refusal| if holds { Decision::Accept } else { Decision::Refuse(refusal) };
    let changes = |holds| accept_if(holds, Refusal::NoEffect);
    let channel = state.channel.as_ref();
    match &*event.body {
        EventBody::Message { .. } => Decision::Accept,
        EventBody::Edited { target, .. } | EventBody::Deleted { target } => {
            accept_if(state.targets.contains_key(target), Refusal::NoTarget)
        }
        EventBody::Reaction { target, emoji, removed } => match state.targets.get(target) {
            Some(target) => reaction(&target.reactions, event.by, emoji, *removed),
            None => Decision::Refuse(Refusal::NoTarget),
        },
        EventBody::MemberJoined { user } => changes(!state.members.contains(user)),
        EventBody::MemberLeft { user } => changes(state.members.contains(user)),
        EventBody::Renamed { name } => match channel.map(|channel| (channel.kind, &channel.name)) {
            Some((kind, Some(now))) if now != name && !kind.is_direct() => {
                let (mut claims, mut gives_up) = (name_claims(name), name_claims(now));
                // What both names claim is the channel's own already.
                let both: Vec<String> =
                    claims.iter().filter(|claim| gives_up.contains(claim)).cloned().collect();
                claims.retain(|claim| !both.contains(claim));
                gives_up.retain(|claim| !both.contains(claim));
                if claims.is_empty() && gives_up.is_empty() || !claims_name(kind) {
                    Decision::Accept
                } else {
                    Decision::AcceptIfFree { claims, gives_up }
                }
            }
            _ => Decision::Refuse(Refusal::NoEffect),
        },
        EventBody::TopicChanged { topic } => changes(channel.is_some_and(|channel| channel.topic != *topic)),
        EventBody::Archived { archived } => {
            changes(channel.is_some_and(|channel| channel.archived != *archived))
        }
        EventBody::ChannelCreated { .. } | EventBody::Unknown => Decision::Refuse(Refusal::NoEffect),
    }
}

/// What an event changes for the decisions after it.
pub(crate) fn follow(state: &mut State, seq: Seq, by: UserId, body: &EventBody) {
    let channel = state.channel.as_mut();
    match body {
        EventBody::ChannelCreated { channel_kind, name, topic } => {
            state.channel = Some(ChannelFacts {
                kind: *channel_kind,
                name: name.clone(),
                topic: topic.clone(),
                archived: false,
                created_by: by,
            });
        }
        // Also one that was deleted since: its deletion comes later in the log.
        EventBody::Message { .. } => {
            state.targets.insert(seq, Target::new(by));
        }
        EventBody::Deleted { target } => {
            state.targets.remove(target);
        }
        EventBody::Reaction { target, emoji, removed } => {
            if let Some(target) = state.targets.get_mut(target) {
                react(&mut target.reactions, by, emoji, *removed);
            }
        }
        EventBody::MemberJoined { user } => {
            state.newest = state.newest.max(seq);
            state.members.insert(*user);
        }
        EventBody::MemberLeft { user } => {
            state.members.remove(user);
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

/// The newest edit of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// When it was committed.
    pub at: Millis,
    /// The text since.
    pub text: String,
}

/// The message that an event wrote, as it stands in the store, with its newest edit; `None` for other kinds of events.
#[must_use]
pub fn message(event: Event, edit: Option<Edit>) -> Option<Message> {
    let Event { channel, seq, at, by, id, body } = event;
    let EventBody::Message { text, files, deleted } = body else { return None };
    let reactions = Reactions::new();
    let mut message = Message { channel, seq, at, by, id, text, files, edited_at: None, deleted, reactions };
    if let Some(edit) = edit {
        apply_edit(&mut message, edit);
    }
    Some(message)
}

/// What an event changes in the message that it is about.
pub(crate) fn change(message: &mut Message, event: Event) {
    match event.body {
        EventBody::Edited { text, .. } => apply_edit(message, Edit { at: event.at, text }),
        EventBody::Deleted { .. } => {
            message.text.clear();
            message.files.clear();
            message.edited_at = None;
            message.deleted = true;
            message.reactions.clear();
        }
        EventBody::Reaction { emoji, removed, .. } => {
            if !message.deleted {
                react(&mut message.reactions, event.by, &emoji, removed);
            }
        }
        EventBody::ChannelCreated { .. }
        | EventBody::Message { .. }
        | EventBody::MemberJoined { .. }
        | EventBody::MemberLeft { .. }
        | EventBody::Renamed { .. }
        | EventBody::TopicChanged { .. }
        | EventBody::Archived { .. }
        | EventBody::Unknown => {}
    }
}

fn apply_edit(message: &mut Message, edit: Edit) {
    if !message.deleted {
        message.text = edit.text;
        message.edited_at = Some(edit.at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_a_thousand_reactions_at_most() {
        let mut reactions = Reactions::new();
        for n in 0..MAX_REACTIONS {
            let (by, emoji) = (UserId::new(), if n % 2 == 0 { "👍" } else { "🎉" });
            assert_eq!(reaction(&reactions, by, emoji, false), Decision::Accept);
            assert!(react(&mut reactions, by, emoji, false));
        }
        let last = *reactions["👍"].first().expect("somebody reacted");
        assert_eq!(
            reaction(&reactions, UserId::new(), "👍", false),
            Decision::Refuse(Refusal::TooManyReactions)
        );
        assert_eq!(reaction(&reactions, last, "👍", true), Decision::Accept, "one can be taken back");
        assert!(react(&mut reactions, last, "👍", true));
        assert_eq!(reaction(&reactions, UserId::new(), "👍", false), Decision::Accept);
    }
}
