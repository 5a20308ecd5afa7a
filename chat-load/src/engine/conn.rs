//! One connection: a user's device, over all the sockets it has one after the other.

use std::collections::VecDeque;

use uuid::Uuid;

use super::socket::Socket;
use crate::{client_id::Kind, history::Cursor};

/// Sends of one socket that the server takes before it has acked the first.
pub(crate) const MAX_IN_FLIGHT: usize = 32;

/// Where a connection stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// It has no socket and waits: for its first turn, after a failure, or on purpose.
    Down {
        /// Churn dropped it: the server is not to blame for what it misses.
        deliberate: bool,
    },
    /// It has a socket that is not welcomed yet.
    Setup,
    /// It is welcomed.
    Live,
    /// The server will not have it.
    Dead,
}

/// How a gap of a channel is being closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sync {
    /// Nothing was asked for.
    Idle,
    /// Something is missing; it has a moment to come by itself.
    Armed,
    /// `sync` is not answered yet, or not completely.
    Asked,
    /// The events are being read over REST.
    Paging,
}

/// One channel of a connection.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Number of the channel in the worker's table.
    pub(crate) channel: u32,
    pub(crate) cursor: Cursor,
    pub(crate) sync: Sync,
    /// `sync`s that are not answered: when one is late, another is sent, and both may be answered.
    pub(crate) asked: u32,
    /// The head in the last `welcome`: what is not above it was not delivered live.
    pub(crate) welcome_head: u64,
}

/// A message that is to be acked.
#[derive(Debug, Clone)]
pub(crate) struct Send {
    pub(crate) id: Uuid,
    pub(crate) channel: u32,
    pub(crate) index: u32,
    pub(crate) kind: Kind,
    pub(crate) due_us: u64,
    /// When it was first handed to a socket; 0 before.
    pub(crate) first_us: u64,
    /// When it was last handed to one.
    pub(crate) sent_us: u64,
    /// How often it was handed to a socket.
    pub(crate) tries: u32,
    /// Its socket was dropped on purpose while it was in flight: its ack is not measured.
    pub(crate) interrupted: bool,
}

/// One simulated client: its socket, if it has one, and what it knows.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) link: Link,
    pub(crate) socket: Option<Box<Socket>>,
    /// Which gateway its next socket goes to.
    pub(crate) gateway: usize,
    /// Number of its socket, over time.
    pub(crate) generation: u32,
    /// Failed attempts since it was last welcomed.
    pub(crate) attempts: u32,
    /// How often it lost a socket that was welcomed, and not on purpose.
    pub(crate) lost: u32,
    pub(crate) welcomed: bool,
    pub(crate) slots: Vec<Slot>,
    pub(crate) outbox: VecDeque<Send>,
    pub(crate) in_flight: Vec<Send>,
    /// The server asked to send nothing before this.
    pub(crate) hold_us: u64,
    pub(crate) acks_armed: bool,
    /// From a `reconnect` frame: how long to stay away.
    pub(crate) come_back_ms: Option<u64>,
}

impl Conn {
    pub(crate) const fn new(gateway: usize) -> Self {
        Self {
            link: Link::Down { deliberate: false },
            socket: None,
            gateway,
            generation: 0,
            attempts: 0,
            lost: 0,
            welcomed: false,
            slots: Vec::new(),
            outbox: VecDeque::new(),
            in_flight: Vec::new(),
            hold_us: 0,
            acks_armed: false,
            come_back_ms: None,
        }
    }

    /// The slot of a channel.
    pub(crate) fn slot_of(&self, channel: u32) -> Option<usize> {
        // People are in tens of channels, not thousands.
        self.slots.iter().position(|slot| slot.channel == channel)
    }

    /// Adds a channel that the connection has everything of up to `base`; where it stands.
    pub(crate) fn join(&mut self, channel: u32, base: u64) -> usize {
        self.slots.push(Slot {
            channel,
            cursor: Cursor::new(base),
            sync: Sync::Idle,
            asked: 0,
            welcome_head: base,
        });
        self.slots.len() - 1
    }
}
