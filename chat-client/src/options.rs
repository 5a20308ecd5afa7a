//! How a client behaves.

use std::{collections::HashMap, time::Duration};

use chat_protocol::{ChannelId, Generation, Seq};

use crate::Backoff;

/// Where to begin in a channel of which no cursor is given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Start {
    /// With what happens from now on. In a channel that one joined while away: with what is unread, at most
    /// the last 1,000 events. After a restore of the server ([`crate::Update::Restored`]): with the last 1,000 events.
    #[default]
    Head,
    /// With the first event.
    Beginning,
}

/// How a [`crate::Client`] behaves. The default suits a person's client.
#[derive(Debug, Clone)]
pub struct Options {
    /// The last seq that was seen of each channel: events begin after it.
    pub cursors: HashMap<ChannelId, Seq>,
    /// The life of the server's store that `cursors` are of, see [`crate::Updates::generation`]. `None` when it is not known.
    pub generation: Option<Generation>,
    /// Where to begin in the other channels.
    pub start: Start,
    /// Name and version for operators' eyes.
    pub client_name: String,
    /// How long to wait between tries to connect.
    pub backoff: Backoff,
    /// Longest time for TCP, TLS and the upgrade together, and again for the answer to `hello`.
    pub open_deadline: Duration,
    /// How long [`crate::Client::connect`] waits for the first welcome before it gives up.
    pub first_welcome_deadline: Duration,
    /// Longest wait for the answer to a command before the connection counts as dead.
    pub answer_deadline: Duration,
    /// A connection counts as dead when nothing was heard for this long; `None` means twice the server's
    /// heartbeat.
    pub dead_after: Option<Duration>,
    /// A connection that held this long makes the next backoff start anew.
    pub settled_after: Duration,
    /// Most updates that wait for the consumer. Events beyond it are not kept: they are asked for again when
    /// there is room.
    pub max_updates: usize,
    /// Most sends, edits and deletions that wait for their answer; one more waits for a place.
    pub max_outbox: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cursors: HashMap::new(),
            generation: None,
            start: Start::Head,
            client_name: concat!("chat-client/", env!("CARGO_PKG_VERSION")).to_owned(),
            backoff: Backoff::DEFAULT,
            open_deadline: Duration::from_secs(10),
            first_welcome_deadline: Duration::from_secs(30),
            answer_deadline: Duration::from_secs(15),
            dead_after: None,
            settled_after: Duration::from_secs(30),
            max_updates: 1024,
            max_outbox: 256,
        }
    }
}
