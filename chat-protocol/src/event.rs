//! The events of a channel's log, and what a message reads like after them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{ChannelId, ClientId, FileId, Millis, Seq, UserId};

/// One event of a channel's log, as committed. Its identity is `(channel, seq)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Event {
    /// The log it belongs to.
    pub channel: ChannelId,
    /// Its position: dense, from 1.
    pub seq: Seq,
    /// When it was committed, in milliseconds since the Unix epoch.
    pub at: Millis,
    /// Who did it.
    pub by: UserId,
    /// The client id it was sent with, when it was sent by a client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<ClientId>,
    /// What the event did.
    #[serde(flatten)]
    pub body: EventBody,
}

/// What happened, by `kind`. Clients ignore kinds that they do not know: threads (`reply_to` on a
/// message) and `pin` come next. A deleted message or edit has its text scrubbed to `""`
/// and `deleted: true`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum EventBody {
    /// The first event of every channel.
    ChannelCreated {
        /// Who may see and join it.
        channel_kind: ChannelKind,
        /// Its name; direct and group channels have none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// What it is about.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        topic: String,
    },
    /// A new message.
    Message {
        /// Markdown source, at most [`crate::limits::MAX_TEXT_BYTES`]; empty only when files are attached
        /// or it was deleted.
        text: String,
        /// Files attached to the message.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        files: Vec<FileRef>,
        /// Deleted since: the text and files are gone from the store.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        deleted: bool,
    },
    /// A message got a new text.
    Edited {
        /// The message's seq.
        target: Seq,
        /// The new Markdown source.
        text: String,
        /// The message was deleted since: the text is gone from the store.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        deleted: bool,
    },
    /// A message was deleted: its text, its list of files and its edits' texts are gone from the log.
    Deleted {
        /// The message's seq.
        target: Seq,
    },
    /// Somebody reacted to a message, or took their reaction back.
    Reaction {
        /// The message's seq.
        target: Seq,
        /// With what: an emoji, at most 64 bytes.
        emoji: String,
        /// It is taken back, not added.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        removed: bool,
    },
    /// A member came.
    MemberJoined {
        /// Who; differs from `by` when they were added.
        user: UserId,
    },
    /// A member went.
    MemberLeft {
        /// Who; differs from `by` when they were removed.
        user: UserId,
    },
    /// The channel has a new name.
    Renamed {
        /// The new name.
        name: String,
    },
    /// The channel has a new topic.
    TopicChanged {
        /// The new topic.
        topic: String,
    },
    /// The channel was archived (read-only) or brought back.
    Archived {
        /// Whether it is archived now.
        archived: bool,
    },
    /// A kind this version does not know. Never sent.
    #[serde(other)]
    Unknown,
}

/// A message as it reads now: edits and deletion applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Message {
    /// The channel of the message.
    pub channel: ChannelId,
    /// Its position in the channel's log.
    pub seq: Seq,
    /// When it was sent.
    pub at: Millis,
    /// Who sent it.
    pub by: UserId,
    /// The client id it was sent with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<ClientId>,
    /// Markdown source; empty when deleted.
    pub text: String,
    /// Files attached to the message.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileRef>,
    /// When it was last edited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited_at: Option<Millis>,
    /// It was deleted; its text is gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// Who reacted, by emoji; absent when nobody did. At most 20 kinds and 1,000 reactions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[cfg_attr(feature = "schema", schema(inline))]
    pub reactions: Reactions,
}

/// Who reacted to a message, by emoji. No emoji has nobody.
pub type Reactions = BTreeMap<String, BTreeSet<UserId>>;

/// Who may see and join a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum ChannelKind {
    /// Every member of the organisation may read and join it; guests only when added.
    Public,
    /// Only its members see it.
    Private,
    /// Two people (or one, to themselves). The same two always share the same one.
    Direct,
    /// A few people. The same few always share the same one.
    Group,
}

impl ChannelKind {
    /// Whether membership is fixed and the channel has no name: direct and group channels.
    #[must_use]
    pub const fn is_direct(self) -> bool {
        matches!(self, Self::Direct | Self::Group)
    }
}

/// An attachment as shown with its message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct FileRef {
    /// The file; its content is at `/v1/files/{id}/content`.
    pub id: FileId,
    /// Its name on the sender's machine, without a path.
    pub name: String,
    /// Media type as sniffed from the content, never as claimed.
    pub media_type: String,
    /// Size in bytes.
    pub size: u64,
}

#[cfg(feature = "schema")]
impl Event {
    /// At least one of every kind, as one log, for people who write a client.
    #[must_use]
    pub fn examples() -> Vec<Self> {
        use crate::examples::{ADA, AT, COMMAND, GENERAL, GRACE, PLAN};
        let plan =
            FileRef { id: PLAN, name: "plan.pdf".into(), media_type: "application/pdf".into(), size: 48_213 };
        // What clients send has the id that they sent it with.
        let (sent, none) = (Some(COMMAND), None);
        let bodies = [
            (
                none,
                EventBody::ChannelCreated {
                    channel_kind: ChannelKind::Public,
                    name: Some("general".into()),
                    topic: "For everybody".into(),
                },
            ),
            (none, EventBody::MemberJoined { user: ADA }),
            (
                sent,
                EventBody::Message {
                    text: "Shall we meet at **three**?".into(),
                    files: vec![],
                    deleted: false,
                },
            ),
            (sent, EventBody::Message { text: "The plan".into(), files: vec![plan], deleted: false }),
            (
                sent,
                EventBody::Edited { target: 3, text: "Shall we meet at **four**?".into(), deleted: false },
            ),
            (sent, EventBody::Deleted { target: 4 }),
            (sent, EventBody::Reaction { target: 3, emoji: "👍".into(), removed: false }),
            (sent, EventBody::Reaction { target: 3, emoji: "👍".into(), removed: true }),
            (none, EventBody::Renamed { name: "lobby".into() }),
            (none, EventBody::TopicChanged { topic: "Come in".into() }),
            (none, EventBody::Archived { archived: true }),
            (none, EventBody::MemberLeft { user: GRACE }),
        ];
        let event = |(seq, (id, body))| Self { channel: GENERAL, seq, at: AT, by: ADA, id, body };
        (1..).zip(bodies).map(event).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "schema")]
    #[test]
    fn every_kind_has_an_example_that_is_read_as_it_is_written() {
        let mut shown = BTreeSet::new();
        for event in Event::examples() {
            let json = serde_json::to_value(&event).expect("serialises");
            assert_eq!(serde_json::from_value::<Event>(json.clone()).expect("is an event"), event);
            shown.insert(json["kind"].as_str().expect("has a kind").to_owned());
        }
        let mut kinds = crate::examples::tags::<EventBody>("kind");
        assert!(kinds.remove("unknown"), "the kind that is never sent");
        assert_eq!(shown, kinds);
    }

    #[test]
    fn kinds_of_the_future_are_ignored_not_refused() {
        let json = format!(
            r#"{{"channel":"{c}","seq":7,"at":1,"by":"{c}","kind":"dance","target":3,"emoji":"💃"}}"#,
            c = uuid::Uuid::nil()
        );
        let event: Event = serde_json::from_str(&json).expect("an unknown kind is readable");
        assert_eq!(event.body, EventBody::Unknown);
        assert_eq!(event.seq, 7);
    }

    #[test]
    fn an_event_is_one_flat_object() {
        let event = Event {
            channel: ChannelId(uuid::Uuid::nil()),
            seq: 2,
            at: 5,
            by: UserId(uuid::Uuid::nil()),
            id: None,
            body: EventBody::Message { text: "hi".into(), files: vec![], deleted: false },
        };
        let json = serde_json::to_string(&event).expect("serialises");
        let nil = uuid::Uuid::nil();
        assert_eq!(
            json,
            format!(r#"{{"channel":"{nil}","seq":2,"at":5,"by":"{nil}","kind":"message","text":"hi"}}"#)
        );
    }
}
