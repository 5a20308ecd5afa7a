//! Updates from a client to its consumer.

use std::{collections::HashMap, time::Duration};

use chat_protocol::{
    ChannelId, ChannelState, CloseCode, Event, Generation, Seq, SessionId, UserId, UserPresence,
};
use tokio::sync::mpsc;

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// The connection changed. Only the newest is kept while the consumer is busy.
    State(ConnectionState),
    /// An event of a channel's log: each one once, in the order of its channel.
    Event(Event),
    /// The server was restored from a backup: what happened after the backup was made did not happen any more, and may come
    /// again otherwise. All logs begin anew: forget what is shown of them. The events that follow are those of the new
    /// logs, each once: from the first one with [`crate::Start::Beginning`], else the last 1,000 of each log and what
    /// comes after.
    Restored {
        /// The life of the store that begins; `None` from a server that names none.
        generation: Option<Generation>,
        /// Where each log begins: events follow after it.
        cursors: HashMap<ChannelId, Seq>,
    },
    /// Presence of watched users. News, not truth: dropped while the consumer is busy.
    Presence(Vec<UserPresence>),
    /// Somebody is typing; show it for 5 seconds. Dropped while the consumer is busy.
    Typing {
        /// The channel in which somebody types.
        channel: ChannelId,
        /// The user who types.
        user: UserId,
    },
    /// The user's read marker moved, here or on another device. Dropped while the consumer is busy.
    Read {
        /// The channel whose marker moved.
        channel: ChannelId,
        /// The last seq that was seen.
        seq: Seq,
        /// Messages of others after it that still stand, when the server knew.
        unread: Option<u64>,
        /// The position up to which that counts: messages of others after it are to be added, whether they come before this
        /// or behind it.
        head: Option<Seq>,
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
        /// The session of this connection.
        session: SessionId,
        /// The life of the server's store, as far as is known.
        generation: Option<Generation>,
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
    #[error("not signed in any more: the token is not valid")]
    SignedOut,
    /// The session was revoked, by logout or from another device: sign in again.
    #[error("the session was revoked")]
    SessionRevoked,
    /// The server closed the socket with a code that says not to come back.
    #[error("closed by the server with {}: {}", .0.code(), .0.reason())]
    Refused(CloseCode),
    /// The server refuses the upgrade for good.
    #[error("the server refused the WebSocket with status {0}")]
    UpgradeRefused(u16),
    /// New tokens could not be kept, and using them without keeping them would lose the session.
    #[error("failed to store the new tokens: {0}")]
    TokenStore(String),
}

/// The consumer's end of a client: what happened, in order.
#[derive(Debug)]
pub struct Updates {
    receiver: mpsc::Receiver<Update>,
    generation: Option<Generation>,
    cursors: HashMap<ChannelId, Seq>,
}

impl Updates {
    pub(crate) fn new(
        receiver: mpsc::Receiver<Update>,
        generation: Option<Generation>,
        cursors: HashMap<ChannelId, Seq>,
    ) -> Self {
        Self { receiver, generation, cursors }
    }

    /// The next update; `None` when the client has ended and all was read. Cancel-safe.
    pub async fn next(&mut self) -> Option<Update> {
        let update = self.receiver.recv().await?;
        match &update {
            Update::Event(event) => {
                self.cursors.insert(event.channel, event.seq);
            }
            Update::Restored { generation, cursors } => {
                self.generation = *generation;
                self.cursors.clone_from(cursors);
            }
            Update::State(ConnectionState::Connected { generation: Some(generation), .. }) => {
                self.generation = Some(*generation);
            }
            _ => {}
        }
        Some(update)
    }

    /// The life of the server's store that the cursors are of, as far as is known: keep it with them, and pass both to the
    /// next client.
    #[must_use]
    pub fn generation(&self) -> Option<Generation> {
        self.generation
    }

    /// The last seq handed out of each channel, beginning with the cursors that were passed in: pass them
    /// to the next client to go on where this one ended, with [`Updates::generation`].
    #[must_use]
    pub fn cursors(&self) -> &HashMap<ChannelId, Seq> {
        &self.cursors
    }
}
