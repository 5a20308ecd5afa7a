//! The frames of `GET /v1/ws`: JSON text, distinguished by `type`. Unknown fields are ignored.

use serde::{Deserialize, Serialize};

use crate::{ChannelId, ClientId, ErrorCode, Event, FileId, Generation, Millis, Seq, SessionId, UserId};

/// What a client sends. Every command may carry an `id`; the `ack` or `error` that answers it repeats it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum ClientFrame {
    /// The first frame, within 10 seconds of the upgrade.
    Hello {
        /// An access token from `/v1/auth/login` or `/v1/auth/refresh`.
        token: String,
        /// Name and version of the client, for operators' eyes; at most 64 characters are kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client: Option<String>,
    },
    /// Appends a message. Answered by `ack` after the commit, or `error`.
    Send {
        /// Makes the send idempotent for 24 hours.
        id: ClientId,
        /// The channel to send to.
        channel: ChannelId,
        /// Text of the message, as Markdown source.
        text: String,
        /// Files uploaded to the same channel before.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        files: Vec<FileId>,
        /// The last seq of the channel that the sender had seen when they wrote this. If nobody else has written since,
        /// their read marker moves to the message. Left out by bots, for scheduled messages, and when an earlier
        /// send is repeated later.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seen: Option<Seq>,
    },
    /// Gives one's own message a new text. Answered by `ack` or `error`.
    Edit {
        /// Makes the edit idempotent for 24 hours.
        id: ClientId,
        /// The message's channel.
        channel: ChannelId,
        /// The message's seq.
        target: Seq,
        /// The new Markdown source.
        text: String,
    },
    /// Deletes a message and scrubs its text. Answered by `ack` or `error`.
    Delete {
        /// Makes the deletion idempotent for 24 hours.
        id: ClientId,
        /// The message's channel.
        channel: ChannelId,
        /// The message's seq.
        target: Seq,
    },
    /// Reacts to a message with an emoji, or takes one's reaction back. Answered by `ack` or `error`.
    React {
        /// Makes the reaction idempotent for 24 hours.
        id: ClientId,
        /// The message's channel.
        channel: ChannelId,
        /// The message's seq.
        target: Seq,
        /// With what: an emoji, at most 64 bytes; no words and no white space.
        emoji: String,
        /// Take it back.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        removed: bool,
    },
    /// Moves the read marker forward; it never goes back. All devices of the user get a `read` frame.
    Read {
        /// Names the command in an `error`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<ClientId>,
        /// The channel whose marker moves.
        channel: ChannelId,
        /// The last seq that was seen.
        seq: Seq,
    },
    /// The user is typing: at most one every 3 seconds is passed on.
    Typing {
        /// Names the command in an `error`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<ClientId>,
        /// The channel in which the user types.
        channel: ChannelId,
    },
    /// Replaces the list of users whose presence this socket gets. Answered by a `presence` with all of them.
    Watch {
        /// Names the command in an `error`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<ClientId>,
        /// At most [`crate::limits::MAX_WATCHED_USERS`].
        users: Vec<UserId>,
    },
    /// Asks for the events after `after`. Answered by those events, then `synced`.
    Sync {
        /// Names the command in the `synced` or `error`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<ClientId>,
        /// The channel to catch up with.
        channel: ChannelId,
        /// The last seq that the client has.
        after: Seq,
    },
    /// Answered by `pong`. For clients that cannot send WebSocket pings.
    Ping {
        /// Repeated in the `pong`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<ClientId>,
    },
}

impl ClientFrame {
    /// The `type` of every frame, in the order of the variants.
    pub const TYPES: [&str; 10] =
        ["hello", "send", "edit", "delete", "react", "read", "typing", "watch", "sync", "ping"];

    /// The command's id, which its answer repeats.
    #[must_use]
    pub const fn id(&self) -> Option<ClientId> {
        match self {
            Self::Hello { .. } => None,
            Self::Send { id, .. }
            | Self::Edit { id, .. }
            | Self::Delete { id, .. }
            | Self::React { id, .. } => Some(*id),
            Self::Read { id, .. }
            | Self::Typing { id, .. }
            | Self::Watch { id, .. }
            | Self::Sync { id, .. }
            | Self::Ping { id } => *id,
        }
    }

    /// At least one of every type, for people who write a client.
    #[cfg(feature = "schema")]
    #[must_use]
    pub fn examples() -> Vec<Self> {
        use crate::examples::{ADA, COMMAND, GENERAL, GRACE, PLAN};
        let id = Some(COMMAND);
        vec![
            Self::Hello { token: "eyJ…".into(), client: Some("example/1.0".into()) },
            Self::Send {
                id: COMMAND,
                channel: GENERAL,
                text: "Shall we meet at **three**?".into(),
                files: vec![],
                seen: Some(41),
            },
            Self::Send {
                id: COMMAND,
                channel: GENERAL,
                text: "The plan".into(),
                files: vec![PLAN],
                seen: None,
            },
            Self::Edit {
                id: COMMAND,
                channel: GENERAL,
                target: 42,
                text: "Shall we meet at **four**?".into(),
            },
            Self::Delete { id: COMMAND, channel: GENERAL, target: 42 },
            Self::React { id: COMMAND, channel: GENERAL, target: 41, emoji: "👍".into(), removed: false },
            Self::Read { id: None, channel: GENERAL, seq: 42 },
            Self::Typing { id: None, channel: GENERAL },
            Self::Watch { id: None, users: vec![ADA, GRACE] },
            Self::Sync { id, channel: GENERAL, after: 38 },
            Self::Ping { id },
        ]
    }
}

/// What the server sends. Clients ignore types that they do not know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum ServerFrame {
    /// Answers `hello`. From here on the socket gets every event of every channel that the user is in.
    Welcome {
        /// Who the token says this is.
        user: UserId,
        /// The session; revoking it closes the socket.
        session: SessionId,
        /// Names the gateway, for operators' eyes.
        gateway: String,
        /// The server's clock.
        now: Millis,
        /// Say something (a `ping` will do) at least this often, in milliseconds.
        heartbeat_ms: u64,
        /// The life of the server's store. When it is another one than before, the server was restored from a backup:
        /// the client drops its cursors and reads again. Servers before 0.2.0 do not say it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        generation: Option<Generation>,
        /// The user's channels: where each log ends and how far the user has read. What a client lacks
        /// of a log it asks for with `sync`.
        channels: Vec<ChannelState>,
    },
    /// The command was committed in the system of record.
    Ack {
        /// The command's id.
        id: ClientId,
        /// The log it was appended to.
        channel: ChannelId,
        /// The event's position; for a resend, the first one's.
        seq: Seq,
        /// When it was committed.
        at: Millis,
        /// An earlier send with the same id did it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        duplicate: bool,
    },
    /// The command was refused. Nothing was done, unless `code` is `unavailable`: then nobody knows, and the
    /// client resends with the same id.
    Error {
        /// The command's id, when it had one that could be read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<ClientId>,
        /// Code of the cause.
        code: ErrorCode,
        /// What was expected, for developers' eyes.
        message: String,
        /// Whether the same command may succeed later.
        retryable: bool,
        /// When to try again, in milliseconds from now.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    /// An event of a channel's log: live ones in order, and those that `sync` asked for. A client drops what
    /// it has (by channel and seq) and asks for what it lacks.
    Event(Event),
    /// Ends the answer to `sync`.
    Synced {
        /// The command's id.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<ClientId>,
        /// The channel that was asked for.
        channel: ChannelId,
        /// Where the log ended when this was answered. Before the client's `after` it means what another generation in
        /// `welcome` means: the server was restored from a backup.
        head: Seq,
        /// True: every event after `after` up to `head` was sent before this frame. False: none was; read
        /// them from `/v1/channels/{id}/events`. Never partly.
        recovered: bool,
    },
    /// Presence of watched users that changed, or of all after `watch`.
    Presence {
        /// Who and how.
        users: Vec<UserPresence>,
    },
    /// Somebody is typing. Show it for 5 seconds.
    Typing {
        /// The channel in which somebody types.
        channel: ChannelId,
        /// The user who types.
        user: UserId,
    },
    /// The user's read marker moved, on this or another device.
    Read {
        /// The channel whose marker moved.
        channel: ChannelId,
        /// The last seq that was seen.
        seq: Seq,
        /// Messages of others after it that still stand, when the server knew; absent from a server of 0.1.0.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unread: Option<u64>,
        /// The position up to which `unread` counts, which may be before or behind the last event that this socket got.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        head: Option<Seq>,
    },
    /// The answer to `ping`.
    Pong {
        /// The ping's id.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<ClientId>,
    },
    /// This server is going away: finish, and reconnect after about this long. A close with 1012 follows.
    Reconnect {
        /// In milliseconds from now; already spread over clients.
        after_ms: u64,
    },
    /// A type this version does not know. Never sent.
    #[serde(other)]
    Unknown,
}

#[cfg(feature = "schema")]
impl ServerFrame {
    /// At least one of every type, and an event of every kind, for people who write a client.
    #[must_use]
    pub fn examples() -> Vec<Self> {
        use crate::examples::{ADA, AT, COMMAND, GENERAL, GRACE, LIFE, SESSION};
        let mut frames = vec![
            Self::Welcome {
                user: ADA,
                session: SESSION,
                gateway: "gateway-0".into(),
                now: AT,
                heartbeat_ms: 30_000,
                generation: Some(LIFE),
                channels: vec![ChannelState { channel: GENERAL, head: 42, read: 40, unread: Some(2) }],
            },
            Self::Ack { id: COMMAND, channel: GENERAL, seq: 42, at: AT, duplicate: false },
            Self::Ack { id: COMMAND, channel: GENERAL, seq: 42, at: AT, duplicate: true },
            Self::Error {
                id: Some(COMMAND),
                code: ErrorCode::RateLimited,
                message: "too many requests; try again in 250 ms".into(),
                retryable: true,
                retry_after_ms: Some(250),
            },
            Self::Error {
                id: None,
                code: ErrorCode::Malformed,
                message: "not a JSON object with a type".into(),
                retryable: false,
                retry_after_ms: None,
            },
            Self::Synced { id: Some(COMMAND), channel: GENERAL, head: 42, recovered: true },
            Self::Presence {
                users: vec![
                    UserPresence { user: ADA, status: PresenceStatus::Online },
                    UserPresence { user: GRACE, status: PresenceStatus::Offline },
                ],
            },
            Self::Typing { channel: GENERAL, user: GRACE },
            Self::Read { channel: GENERAL, seq: 42, unread: Some(0), head: Some(42) },
            Self::Pong { id: Some(COMMAND) },
            Self::Reconnect { after_ms: 4_200 },
        ];
        frames.extend(Event::examples().into_iter().map(Self::Event));
        frames
    }
}

/// Where a log ends and how far the user has read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ChannelState {
    /// The channel it describes.
    pub channel: ChannelId,
    /// The last event's seq.
    pub head: Seq,
    /// The last seq the user has seen.
    pub read: Seq,
    /// Messages of others in between that still stand: of the newest 1,000 events exactly, of older ones without
    /// looking for deleted ones and one's own. Joins, topics, edits and deletions do not count. Absent when it takes longer to
    /// find out than a welcome may (ask for the channel), and from a server of 0.1.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<u64>,
}

/// One user's presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct UserPresence {
    /// The user it describes.
    pub user: UserId,
    /// Status of the user.
    pub status: PresenceStatus,
}

/// Whether a user can be reached right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum PresenceStatus {
    /// At least one socket.
    Online,
    /// The user has no socket.
    Offline,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_a_client_is_named() {
        let error = serde_json::from_str::<ClientFrame>(r#"{"type":"dance"}"#).expect_err("is not a type");
        let names: Vec<String> = ClientFrame::TYPES.iter().map(|name| format!("`{name}`")).collect();
        let message = error.to_string();
        assert!(
            message.starts_with(&format!("unknown variant `dance`, expected one of {}", names.join(", "))),
            "{message}"
        );
    }

    #[cfg(feature = "schema")]
    #[test]
    fn every_frame_has_an_example_that_is_read_as_it_is_written() {
        use std::collections::BTreeSet;

        fn types<T>(examples: Vec<T>) -> BTreeSet<String>
        where
            T: Serialize + for<'de> Deserialize<'de> + PartialEq + std::fmt::Debug,
        {
            let mut shown = BTreeSet::new();
            for example in examples {
                let json = serde_json::to_value(&example).expect("serialises");
                assert_eq!(serde_json::from_value::<T>(json.clone()).expect("is a frame"), example);
                shown.insert(json["type"].as_str().expect("has a type").to_owned());
            }
            shown
        }

        assert_eq!(types(ClientFrame::examples()), ClientFrame::TYPES.map(str::to_owned).into());
        let mut server = crate::examples::tags::<ServerFrame>("type");
        assert!(server.remove("unknown"), "the type that is never sent");
        assert_eq!(types(ServerFrame::examples()), server);
    }

    #[cfg(feature = "schema")]
    #[test]
    fn the_id_of_a_command_is_the_one_that_was_sent() {
        for frame in ClientFrame::examples() {
            let json = serde_json::to_value(&frame).expect("serialises");
            assert_eq!(serde_json::to_value(frame.id()).expect("serialises"), json["id"], "{json}");
        }
    }
}
