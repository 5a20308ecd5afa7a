//! The result of a run, as one JSON object.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{histogram::Quantiles, intervals::Worst, reconnects::Reconnects};

/// What a run found. Times are counted from when a message was due, not from when it was sent, so a stalled
/// server cannot hide behind messages that were never sent (no coordinated omission).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Sockets that were welcomed when the load began.
    pub connections: u32,
    /// Messages that were due and handed to a socket.
    pub sent: u64,
    /// Messages that were acked.
    pub acked: u64,
    /// Events that receivers have, of those they were owed.
    pub delivered: u64,
    /// Events that receivers were owed: for each, those after the head in its first `welcome`.
    pub expected: u64,
    /// Lost events, see [`crate::history::Verdict::lost`].
    pub lost: u64,
    /// Events that came twice, see [`crate::history::Verdict::duplicated`].
    pub duplicated: u64,
    /// Events in the wrong order, see [`crate::history::Verdict::out_of_order`].
    pub out_of_order: u64,
    /// Welcomes after the first one of a connection.
    pub resumed: u64,
    /// From due to acked. Sends that churn cut off on purpose are left out.
    pub ack_ms: Option<Quantiles>,
    /// From due to received, over all receivers. What a socket recovered after a `welcome` is left out: it
    /// was not there.
    pub delivery_ms: Option<Quantiles>,
    /// The worst five seconds of deliveries. What a socket recovered after a `welcome` is in here, from due to received as all
    /// the rest, unless churn keeps some away on purpose.
    #[serde(default)]
    pub delivery_worst: Option<Worst>,
    /// From a watched user's coming (`hello` sent) or going (TCP closed) to a watcher's hearing of it.
    pub presence_ms: Option<Quantiles>,
    /// CPU time of the server in the measured window (user and system, all threads) by events received in it.
    pub server_cpu_us_per_delivery: Option<f64>,
    /// Growth of the server's resident memory from before the first connect until all are connected and
    /// quiet, by connections. It holds what the server keeps for a socket, not what the kernel does.
    pub server_rss_bytes_per_connection: Option<f64>,
    /// How clients came back whose sockets the server took away.
    #[serde(default)]
    pub reconnects: Reconnects,
    /// How sends fared, try by try.
    #[serde(default)]
    pub sends: Sends,
    /// Measurements that no bar reads.
    pub details: Details,
}

/// How the measured sends fared. A send is tried by handing it to a socket; it is tried again when that socket is lost, when
/// the server refuses it for the moment, and when no answer comes for 5 s. What churn cut off on purpose is left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sends {
    /// How many tries there were.
    pub tries: u64,
    /// Tries that were acked within 500 ms.
    pub prompt_tries: u64,
    /// Their share in percent; none without tries.
    pub prompt_percent: Option<f64>,
    /// The share in percent of the messages that were acked within 500 ms of when they were due, waiting for a socket
    /// included; none without messages.
    pub prompt_from_due_percent: Option<f64>,
    /// The most tries that an acked message took.
    pub most_tries: u32,
    /// Messages of the whole run that were refused for good, or not acked by its end however often they were tried.
    pub not_acked: u64,
}

/// What explains the numbers above.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Details {
    /// Length of the measured window in seconds.
    pub window_seconds: f64,
    /// Event frames received in it.
    pub window_deliveries: u64,
    /// CPU time of the server in it, in seconds.
    pub server_cpu_seconds: Option<f64>,
    /// Connects a second: TCP, upgrade, `hello`, `welcome`; over all first connects.
    pub connects_per_second: f64,
    /// CPU time of the server by connect, in microseconds.
    pub server_cpu_us_per_connect: Option<f64>,
    /// Resident memory of the server before the first connect, in bytes.
    pub server_rss_before: Option<u64>,
    /// The same when all are connected.
    pub server_rss_connected: Option<u64>,
    /// The same at the end of the measured window.
    pub server_rss_loaded: Option<u64>,
    /// CPU time of this program in the window, in seconds.
    pub generator_cpu_seconds: Option<f64>,
    /// Messages that were neither acked nor refused before the end.
    pub unacked: u64,
    /// Messages that were refused for good.
    pub refused: u64,
    /// From the first try of a send to its ack, over all sends, those that churn cut off too.
    pub through_ms: Option<Quantiles>,
    /// The longest that a watcher was wrong about a watched user without a break, from the user's coming or going or the
    /// watcher's own.
    pub presence_wrong_ms: f64,
    /// Messages that were sent more than once with the same id.
    pub resent: u64,
    /// Sockets that were dropped on purpose.
    pub dropped: u64,
    /// Gaps in the live stream that had to be asked for.
    pub gaps: u64,
    /// `sync`s that recovered.
    pub recovered: u64,
    /// `sync`s that did not, whose events were read over REST.
    pub paged: u64,
    /// Connections that were not welcomed, or not any more.
    pub missing_connections: u32,
    /// Connections that the server closed for good.
    pub dead_connections: u32,
    /// Presence changes that the watchers should have heard of.
    pub presence_changes: u64,
    /// How often a watcher heard of one.
    pub presence_heard: u64,
    /// Why sockets ended and commands were refused, and how often.
    pub trouble: BTreeMap<String, u64>,
    /// Broken promises besides loss, doubling and order, and how often.
    pub violations: BTreeMap<String, u64>,
    /// The first few findings of the comparison with the logs.
    pub findings: Vec<String>,
    /// Bars that were given and missed, in words.
    #[serde(default)]
    pub missed: Vec<String>,
}

impl Report {
    /// Whether the server kept every promise, met every bar that was given, and answered at all.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost == 0
            && self.duplicated == 0
            && self.out_of_order == 0
            && self.details.violations.is_empty()
            && self.details.missed.is_empty()
            && self.connections > 0
            && (self.sent == 0 || self.acked > 0)
    }
}
