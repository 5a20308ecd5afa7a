//! What a client tells its consumer.

use std::{collections::HashMap, time::Duration};

use chat_protocol::{ChannelId, ChannelState, CloseCode, Event, Seq, SessionId, UserId, UserPresence};
use tokio::sync::mpsc;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// The connection changed. Only the newest is kept while the consumer is busy.
    State(ConnectionState),
    /// An event of a channel's log: each one once, in the order of its channel.
    Event(Event),
    /// Presence of watched users. News, not truth: dropped while the consumer is busy.
    Presence(Vec<UserPresence>),
    /// Somebody is typing; show it for 5 seconds. Dropped while the consumer is busy.
    Typing {
        /// Where.
        channel: ChannelId,
        /// Who.
        user: UserId,
    },
    /// The user's read marker moved, here or on another device. Dropped while the consumer is busy.
    Read {
        /// Which channel.
        channel: ChannelId,
        /// The last seq that was seen.
        seq: Seq,
        /// Messages of others after it that still stand, when the server knew.
        unread: Option<u64>,
    },
}

/// Whether a client is connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionState {
    /// Trying to connect.
    Connecting,
    /// Welcomed by the server.
    Connected {
        /// Who this is.
        user: UserId,
        /// The session.
        session: SessionId,
        /// The channels, as they were at the welcome.
        channels: Vec<ChannelState>,
    },
    /// Not connected; the next try follows by itself.
    Waiting {
        /// For this long.
        retry_in: Duration,
        /// What happened, for a person.
        reason: String,
    },
    /// It is over.
    Ended(End),
}

/// Why a client does not come back by itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// The user of the SDK closed it.
    #[error("the client was closed")]
    Closed,
    /// The token is not accepted and no other can be had: sign in again.
    #[error("not signed in any more: expected a valid token")]
    SignedOut,
    /// The session was revoked, by logout or from another device: sign in again.
    #[error("the session was revoked")]
    SessionRevoked,
    /// The server closed the socket with a code that says not to come back.
    #[error("closed by the server with {}: {}", .0.code(), .0.reason())]
    Refused(CloseCode),
    /// The server refuses the upgrade for good.
    #[error("expected the server to accept a WebSocket, got status {0}")]
    UpgradeRefused(u16),
    /// New tokens could not be kept, and using them without keeping them would lose the session.
    #[error("expected to store the new tokens: {0}")]
    TokenStore(String),
}

/// The consumer's end of a client: what happened, in order.
#[derive(Debug)]
pub struct Updates {
    receiver: mpsc::Receiver<Update>,
    cursors: HashMap<ChannelId, Seq>,
}

impl Updates {
    pub(crate) fn new(receiver: mpsc::Receiver<Update>, cursors: HashMap<ChannelId, Seq>) -> Self {
        Self { receiver, cursors }
    }

    /// The next update; `None` when the client has ended and all was read. Cancel-safe.
    pub async fn next(&mut self) -> Option<Update> {
        let update = self.receiver.recv().await?;
        if let Update::Event(event) = &update {
            self.cursors.insert(event.channel, event.seq);
        }
        Some(update)
    }

    /// The last seq handed out of each channel, beginning with the cursors that were passed in: pass them
    /// to the next client to go on where this one ended.
    #[must_use]
    pub fn cursors(&self) -> &HashMap<ChannelId, Seq> {
        &self.cursors
    }
}
