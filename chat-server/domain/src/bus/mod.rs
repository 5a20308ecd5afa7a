//! The realtime bus carries, the store remembers: what is lost here is repaired from the log.
//! `local` is the in-process implementation.

pub mod local;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use chat_log::{Body, count::End};
use chat_protocol::{ChannelId, Generation, Seq, SessionId, UserId};
use serde::{Deserialize, Serialize};

use crate::opaque::Opaque;

/// A committed event, encoded once.
#[derive(Debug)]
pub struct CommittedEvent {
    /// The channel whose log it is in.
    pub channel: ChannelId,
    /// Its position in the log.
    pub seq: Seq,
    /// What happened, for those on the way who must know (membership changes, channel settings).
    pub body: Body,
    /// The server frame `{"type":"event",…}`, as every client gets it.
    pub json: Bytes,
    /// Where its log ended with it; `None` when its publisher did not say (a server of 0.1.0).
    pub end: Option<End>,
    /// The generation of the store that it was committed to; `None` from a process of 0.1.0.
    pub generation: Option<Generation>,
    /// Its author, when their read marker moves to it.
    pub reader: Option<UserId>,
}

/// What a process of the cluster says of itself every few seconds: that it lives, where it can be reached, who is at it
/// and how far the logs go that it wrote lately.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest {
    /// The process's name, unique in the cluster.
    pub node: Arc<str>,
    /// When it started, in milliseconds since the Unix epoch: another epoch is another life.
    pub epoch: u64,
    /// Where other processes of the cluster reach it (`host:port`); `None` when it takes no appends for others.
    pub address: Option<Arc<str>>,
    /// Whether it holds sockets and will go on doing so: it may own channels.
    pub owner: bool,
    /// How many users are at it.
    pub online: u32,
    /// Of the set of these users, in any order; equal sets have equal checksums.
    pub checksum: u64,
    /// The last positions of logs that it wrote to in the last seconds.
    pub heads: Vec<(ChannelId, Seq)>,
    /// Whether it notes channels for consumers of the logs and runs some. Version 0.1.0 does not.
    #[serde(default)]
    pub follows: bool,
    /// The generation of the store that it works on; `None` from a process of 0.1.0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
}

/// Something short-lived. Losing one is harmless.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Signal {
    /// A process lives.
    Digest(Arc<Digest>),
    /// A process stops in good order: it is gone as of now.
    Gone {
        /// Name of the process.
        node: Arc<str>,
        /// Its life, see [`Digest::epoch`].
        epoch: u64,
    },
    /// Who is at a gateway, in parts; asked for by [`Signal::OnlineWanted`].
    Online {
        /// Name of the gateway.
        node: Arc<str>,
        /// Its life, see [`Digest::epoch`].
        epoch: u64,
        /// Which part, from 0. Parts are published in order; [`Signal::Presence`] between them is newer than all of
        /// them.
        part: u32,
        /// Of how many.
        parts: u32,
        /// Users with sockets there.
        users: Vec<UserId>,
    },
    /// Somebody's picture of who is at a gateway does not match its digest.
    OnlineWanted {
        /// The gateway that is to answer.
        node: Arc<str>,
    },
    /// Somebody is typing.
    Typing {
        /// The channel in which somebody types.
        channel: ChannelId,
        /// The user who types.
        user: UserId,
    },
    /// A read marker moved.
    Read {
        /// The user whose marker moved.
        user: UserId,
        /// The channel whose marker moved.
        channel: ChannelId,
        /// The last position that was seen.
        seq: Seq,
        /// Messages of others after it, when that was known.
        #[serde(default)]
        unread: Option<u64>,
        /// The position up to which that counts.
        #[serde(default)]
        head: Option<Seq>,
        /// The life of the store, see [`CommittedEvent::generation`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        generation: Option<Generation>,
    },
    /// A session was revoked: its sockets must go.
    SessionRevoked {
        /// Id of the session.
        session: SessionId,
    },
    /// The role of somebody changed, or their account was closed or opened: tokens with a lower version are not accepted any
    /// more, and their sockets must go.
    AuthVersion {
        /// Id of the account.
        user: UserId,
        /// The lowest version that is accepted.
        version: u64,
    },
    /// Logins and registrations that a process let pass, for the others to count as well: the limits hold for all
    /// processes together.
    Attempts {
        /// The process that counted them already.
        origin: u64,
        /// What was counted.
        attempts: Vec<Attempt>,
    },
    /// Users came to and left a gateway.
    Presence {
        /// The gateway that says so.
        gateway: Arc<str>,
        /// Its life, see [`Digest::epoch`].
        epoch: u64,
        /// Users who came.
        online: Vec<UserId>,
        /// Who left; nobody is in both.
        offline: Vec<UserId>,
    },
}

/// One use of a limited way in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The limit that it counts against.
    pub limit: Limited,
    /// Hash of the account or address.
    pub key: u64,
}

/// Ways in that are limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limited {
    /// Logins to an account.
    LoginAccount,
    /// Logins from an address.
    LoginAddress,
    /// New accounts from an address.
    RegisterAddress,
}

/// What the bus carries.
#[derive(Debug, Clone)]
pub enum BusMessage {
    /// Durable elsewhere; in order per channel.
    Event(Arc<CommittedEvent>),
    /// Short-lived: losing one is harmless.
    Signal(Signal),
}

/// A message was not taken. What was committed stays committed: receivers see the gap and repair it.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PublishError {
    /// Too many wait already.
    #[error("too many messages wait to be published")]
    Full,
    /// The bus is gone.
    #[error("bus is closed")]
    Closed,
}

/// A message did not come.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BusError {
    /// This subscriber missed this many messages, 0 when nobody knows how many, if any: it was too slow, or the bus
    /// was away. It goes on with what follows.
    #[error("missed {0} messages")]
    Missed(u64),
    /// The bus is gone.
    #[error("bus is closed")]
    Closed,
}

/// How far a subscriber has come. Good for the bus that made it, for as long as that keeps what follows.
#[derive(Debug, Clone)]
pub struct Position(pub Opaque);

/// Publishes to and subscribes for everything.
#[async_trait]
pub trait Bus: Send + Sync + 'static {
    /// Sends to every subscriber, this process's included, and waits for none of them. Events of one publisher to one
    /// channel arrive in order, each at least once, and so do its signals, as far as they arrive.
    ///
    /// A process's own signals come back by the way that everybody's take: that it hears its own digests says that the
    /// bus carries.
    ///
    /// # Errors
    /// When the message was not taken; this process's subscribers may have got it.
    async fn publish(&self, message: BusMessage) -> Result<(), PublishError>;

    /// Everything published from now on.
    fn subscribe(&self) -> Box<dyn Subscription>;

    /// Every event that follows a position, some before it perhaps, and then everything as it comes. Begins with
    /// [`BusError::Missed`] when the bus does not have all of them any more.
    fn subscribe_from(&self, position: &Position) -> Box<dyn Subscription>;

    /// Waits, for a bounded time, until what was published has left this process.
    async fn flush(&self) {}
}

/// One subscriber's end.
#[async_trait]
pub trait Subscription: Send + 'static {
    /// The next message. [`BusError::Missed`] is not the end: repair from the store and go on.
    async fn next(&mut self) -> Result<BusMessage, BusError>;

    /// The next message if there is one already.
    fn try_next(&mut self) -> Option<Result<BusMessage, BusError>>;

    /// How far this subscriber has come: what [`Bus::subscribe_from`] takes.
    fn position(&self) -> Position;
}
