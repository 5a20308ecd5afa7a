//! The realtime bus carries, the store remembers: what is lost here is repaired from the log.
//! `local` is the in-process implementation.

pub mod local;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chat_protocol::{ChannelId, EventBody, PresenceStatus, Seq, SessionId, UserId};

/// A committed event, encoded once.
#[derive(Debug)]
pub struct CommittedEvent {
    /// Its log.
    pub channel: ChannelId,
    /// Its position.
    pub seq: Seq,
    /// What happened, for those on the way who must know (membership changes, channel settings).
    pub body: EventBody,
    /// The server frame `{"type":"event",…}`, as every client gets it.
    pub json: Bytes,
}

/// Something short-lived. Losing one is harmless.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// Somebody is typing.
    Typing {
        /// Where.
        channel: ChannelId,
        /// Who.
        user: UserId,
    },
    /// A read marker moved.
    Read {
        /// Whose.
        user: UserId,
        /// Where.
        channel: ChannelId,
        /// To where.
        seq: Seq,
    },
    /// A session was revoked: its sockets must go.
    SessionRevoked {
        /// Which.
        session: SessionId,
    },
    /// A user came to or left a gateway.
    Presence {
        /// The gateway that says so.
        gateway: Arc<str>,
        /// Who.
        user: UserId,
        /// How.
        status: PresenceStatus,
    },
}

/// What travels.
#[derive(Debug, Clone)]
pub enum BusMessage {
    /// Durable elsewhere; in order per channel.
    Event(Arc<CommittedEvent>),
    /// Ephemeral.
    Signal(Signal),
}

/// The bus did not take or give a message.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BusError {
    /// This subscriber was too slow and missed this many messages; it goes on with what follows.
    #[error("missed {0} messages")]
    Missed(u64),
    /// The bus is gone.
    #[error("bus is closed")]
    Closed,
}

/// Publishes to and subscribes for everything.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Sends to every subscriber, this process's included. Messages of one publisher to one channel arrive in
    /// order.
    async fn publish(&self, message: BusMessage) -> Result<(), BusError>;

    /// Everything published from now on.
    fn subscribe(&self) -> Box<dyn Subscription>;
}

/// One subscriber's end.
#[async_trait]
pub trait Subscription: Send + 'static {
    /// The next message. [`BusError::Missed`] is not the end: repair from the store and go on.
    async fn next(&mut self) -> Result<BusMessage, BusError>;

    /// The next message if there is one already.
    fn try_next(&mut self) -> Option<Result<BusMessage, BusError>>;
}
