//! What follows from an event outside of the log: the projections that stores keep.

use chat_protocol::{ChannelKind, EventBody, Seq, UserId};

/// What one event changes in the projections.
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
        /// The message.
        target: Seq,
        /// Its new text.
        text: &'a str,
    },
    /// A message and its edits are scrubbed.
    Deleted {
        /// The message.
        target: Seq,
    },
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
        EventBody::MemberJoined { user } => Effect::Joined(*user),
        EventBody::MemberLeft { user } => Effect::Left(*user),
        EventBody::Renamed { name } => Effect::Channel(ChannelChange::Renamed(name)),
        EventBody::TopicChanged { topic } => Effect::Channel(ChannelChange::Topic(topic)),
        EventBody::Archived { archived } => Effect::Channel(ChannelChange::Archived(*archived)),
    }
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
    }
}

/// The message that an event is about.
#[must_use]
pub const fn target(body: &EventBody) -> Option<Seq> {
    match body {
        EventBody::Edited { target, .. } | EventBody::Deleted { target } => Some(*target),
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
        | EventBody::Renamed { .. }
        | EventBody::TopicChanged { .. } => false,
    }
}

/// Who came (true) or went (false) by an event.
#[must_use]
pub const fn membership_change(body: &EventBody) -> Option<(UserId, bool)> {
    match body {
        EventBody::MemberJoined { user } => Some((*user, true)),
        EventBody::MemberLeft { user } => Some((*user, false)),
        EventBody::ChannelCreated { .. }
        | EventBody::Message { .. }
        | EventBody::Edited { .. }
        | EventBody::Deleted { .. }
        | EventBody::Renamed { .. }
        | EventBody::TopicChanged { .. }
        | EventBody::Archived { .. }
        | EventBody::Unknown => None,
    }
}
