//! A run as JSON lines, to be looked at and checked again later.
//!
//! `chat-load --history FILE` writes it, `chat-load check FILE` reads it. Every line is one [`Record`].

use std::{collections::HashMap, io::BufRead};

use chat_protocol::{ChannelId, ClientId, UserId};
use serde::{Deserialize, Serialize};

use super::{Ack, ChannelLog, Cursor, LogEntry, Read, Receipt, Times, Verdict, verdict};
use crate::event_head::{EventHead, text};

/// One line of a recorded run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// A receiver was welcomed to a channel for the first time.
    Receiver {
        /// Number of the connection.
        receiver: u32,
        /// The channel that it receives.
        channel: ChannelId,
        /// The channel's head in the `welcome`.
        base: u64,
    },
    /// A receiver has a new socket.
    Reconnected {
        /// Number of the connection.
        receiver: u32,
    },
    /// An event came.
    Delivery {
        /// Number of the connection.
        receiver: u32,
        /// Whether missed events had been asked for and the answer was not complete.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        catching_up: bool,
        /// The event that came.
        #[serde(flatten)]
        event: RecordedEvent,
    },
    /// A send was acked.
    Ack {
        /// The log that the ack names.
        channel: ChannelId,
        /// The position that it names.
        seq: u64,
        /// The send's client id.
        id: ClientId,
        /// When it was sent and acked; none of an ack that came again.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        times: Option<Times>,
    },
    /// Events that were read over REST while the run went on.
    Read {
        /// The channel that was read.
        channel: ChannelId,
        /// Events after this position were asked for.
        after: u64,
        /// What came, in the order it came.
        events: Vec<RecordedEvent>,
    },
    /// An event of a channel's log as read at the end; lines of a channel are in the log's order.
    Log {
        /// The event that was read.
        #[serde(flatten)]
        event: RecordedEvent,
    },
}

/// The identity of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedEvent {
    /// The channel of the event.
    pub channel: ChannelId,
    /// Its position in the channel's log, from 1.
    pub seq: u64,
    /// When it was committed.
    pub at: u64,
    /// Who did it.
    pub by: UserId,
    /// The client id it was sent with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<ClientId>,
}

impl RecordedEvent {
    fn entry(&self) -> LogEntry {
        LogEntry { seq: self.seq, fingerprint: self.head().fingerprint(), id: self.id.map(|id| id.0) }
    }

    fn head(&self) -> EventHead {
        EventHead {
            channel: text(self.channel.0),
            seq: self.seq,
            at: self.at,
            by: text(self.by.0),
            id: self.id.map(|id| text(id.0)),
        }
    }
}

/// A recorded run that cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The file cannot be read.
    #[error("failed to read line {line}")]
    Read {
        /// Which line, from 1.
        line: usize,
        /// What the operating system reported.
        source: std::io::Error,
    },
    /// A line is not a record.
    #[error("line {line} is not a record")]
    Parse {
        /// Which line, from 1.
        line: usize,
        /// What the JSON parser reported.
        source: serde_json::Error,
    },
    /// A delivery to somebody who was never welcomed to the channel.
    #[error("line {line} is a delivery without a \"receiver\" record before it")]
    Stranger {
        /// Which line, from 1.
        line: usize,
    },
}

/// Checks a recorded run.
///
/// # Errors
/// When a line cannot be read as a [`Record`], or a delivery names a receiver that was not introduced.
pub fn replay(lines: impl BufRead) -> Result<Verdict, ReplayError> {
    let mut cursors: HashMap<u32, HashMap<ChannelId, Cursor>> = HashMap::new();
    let mut logs: HashMap<ChannelId, ChannelLog> = HashMap::new();
    let (mut acks, mut reads) = (Vec::new(), Vec::new());
    for (index, line) in lines.lines().enumerate() {
        let number = index + 1;
        let line = line.map_err(|source| ReplayError::Read { line: number, source })?;
        if line.trim().is_empty() {
            continue;
        }
        let record =
            serde_json::from_str(&line).map_err(|source| ReplayError::Parse { line: number, source })?;
        match record {
            Record::Receiver { receiver, channel, base } => {
                cursors.entry(receiver).or_default().entry(channel).or_insert_with(|| Cursor::new(base));
            }
            Record::Reconnected { receiver } => {
                cursors.entry(receiver).or_default().values_mut().for_each(Cursor::reconnected);
            }
            Record::Delivery { receiver, catching_up, event } => {
                let cursor = cursors
                    .get_mut(&receiver)
                    .and_then(|channels| channels.get_mut(&event.channel))
                    .ok_or(ReplayError::Stranger { line: number })?;
                cursor.observe(event.seq, event.head().fingerprint(), catching_up);
            }
            Record::Ack { channel, seq, id, times } => acks.push(Ack { channel, seq, id: id.0, times }),
            Record::Read { channel, after, events } => {
                let entries = events.iter().map(RecordedEvent::entry).collect();
                reads.push(Read { channel, after, entries });
            }
            Record::Log { event } => logs.entry(event.channel).or_default().entries.push(event.entry()),
        }
    }
    let receipts: Vec<Receipt> = cursors
        .into_iter()
        .flat_map(|(receiver, channels)| {
            channels.into_iter().map(move |(channel, cursor)| Receipt { receiver, channel, cursor })
        })
        .collect();
    Ok(verdict(&logs, &acks, &receipts, &reads))
}
