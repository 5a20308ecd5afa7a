//! What the processes of a run say to each other, a line of JSON each.

use std::{collections::HashMap, path::PathBuf};

use chat_protocol::ChannelId;
use serde::{Deserialize, Serialize};

use crate::{
    engine::Every,
    history::{Ack, Receipt},
    intervals::ByTime,
};

/// What a worker is to do; its first line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Assignment {
    pub(super) process: u8,
    /// Its accounts, one socket each.
    pub(super) tokens: PathBuf,
    pub(super) gateways: Vec<String>,
    pub(super) api: String,
    /// Microseconds of all processes count from this time, in microseconds since the epoch of Unix.
    pub(super) began_unix_us: u64,
    pub(super) tag: u32,
    pub(super) crowd: ChannelId,
    pub(super) watchers: u32,
    pub(super) watched_by_each: u32,
    pub(super) source_addresses: u8,
    /// File for what it found.
    pub(super) findings: PathBuf,
}

/// What a worker is to do from then on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub(super) enum Order {
    /// Messages are due in this span.
    Load { start_us: u64, end_us: u64, rate: f64, first: u64, crowd: Option<Every>, toggle: Option<Every> },
    /// The logs end there: report when all is received.
    Settle { heads: HashMap<ChannelId, u64> },
    /// Close all sockets and write what was found.
    Stop,
}

/// How a worker is, several times a second.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Beat {
    pub(super) at_us: u64,
    pub(super) live: u32,
    pub(super) welcomed: u32,
    pub(super) dead: u32,
    pub(super) last_welcome_us: u64,
    pub(super) sent: u64,
    pub(super) answered: u64,
    pub(super) received: u64,
    pub(super) resumed: u64,
    pub(super) settled: bool,
}

/// What a worker found.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Found {
    pub(super) by_time: ByTime,
    pub(super) acks: Vec<Ack>,
    pub(super) receipts: Vec<Receipt>,
    pub(super) unacked: u64,
    pub(super) refused: u64,
    pub(super) lost_sockets: u64,
    pub(super) resent: u64,
    pub(super) gaps: u64,
    pub(super) recovered: u64,
    pub(super) paged: u64,
    pub(super) presence_changes: u64,
    pub(super) trouble: std::collections::BTreeMap<String, u64>,
    pub(super) violations: std::collections::BTreeMap<String, u64>,
}

impl Found {
    pub(super) fn merge(&mut self, other: Self) {
        self.by_time.merge(&other.by_time);
        self.acks.extend(other.acks);
        self.receipts.extend(other.receipts);
        self.unacked += other.unacked;
        self.refused += other.refused;
        self.lost_sockets += other.lost_sockets;
        self.resent += other.resent;
        self.gaps += other.gaps;
        self.recovered += other.recovered;
        self.paged += other.paged;
        self.presence_changes += other.presence_changes;
        for (what, n) in other.trouble {
            *self.trouble.entry(what).or_default() += n;
        }
        for (what, n) in other.violations {
            *self.violations.entry(what).or_default() += n;
        }
    }
}
