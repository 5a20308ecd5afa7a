//! The sockets of a run, on a few threads with an epoll each.
//!
//! A worker owns its connections wholly: it opens them, sends what is due, keeps what arrives in their
//! cursors and resumes them. Workers share nothing but counters; latencies need no table, because a client id
//! says when its message was due ([`crate::client_id`]).

mod conn;
mod inbound;
mod presence;
mod resume;
mod sends;
mod socket;
mod timer;
mod worker;

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{self, BufWriter, Write},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
        mpsc,
    },
    thread::JoinHandle,
    time::Instant,
};

use chat_protocol::{ChannelId, Event, UserId};
use mio::Waker;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::{
    client_id::RunTag,
    histogram::Histogram,
    history::{Ack, Read, Receipt, record::Record},
    intervals::{ByTime, Intervals},
    options::{Options, Protocol, Target},
    timeline::Timeline,
    tokens::Account,
};

/// Commands that wait for a worker; it takes all of them at every turn of its loop.
const COMMAND_QUEUE: usize = 1024;

/// What all workers of a run know.
pub(crate) struct Plan {
    pub(crate) options: Options,
    /// Where sockets go; at least one.
    pub(crate) gateways: Vec<Target>,
    /// Where logs are read.
    pub(crate) api: Target,
    pub(crate) accounts: Vec<Account>,
    pub(crate) tag: RunTag,
    /// Microseconds are counted from here.
    pub(crate) epoch: Instant,
    /// Connections below this watch the presence of `targets`.
    pub(crate) watchers: u32,
    /// Connections that come and go for the watchers, right after those in number.
    pub(crate) targets: std::ops::Range<u32>,
    pub(crate) history: Option<Mutex<BufWriter<File>>>,
    /// What this process does of a run that several make together.
    pub(crate) share: Option<Share>,
}

/// The part of one process in a run of several.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    /// Number of the process, which its ids carry.
    pub(crate) process: u8,
    /// The channel whose messages have a schedule of their own.
    pub(crate) crowd: ChannelId,
    /// How many users each watcher watches.
    pub(crate) watched_by_each: u32,
}

impl Plan {
    pub(crate) fn now_us(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub(crate) fn is_bare(&self) -> bool {
        self.options.protocol == Protocol::Bare
    }

    pub(crate) fn account(&self, connection: u32) -> &Account {
        &self.accounts[connection as usize % self.accounts.len()]
    }

    /// Writes a line of the recorded run, when one is kept.
    pub(crate) fn record(&self, record: impl FnOnce() -> Record) {
        let Some(history) = &self.history else { return };
        let mut file = history.lock();
        let written = serde_json::to_writer(&mut *file, &record()).map_err(io::Error::from);
        if let Err(error) = written.and_then(|()| file.write_all(b"\n")) {
            // A full disk must not end the run: its own check does not need the file.
            eprintln!("chat-load: cannot write the history: {error}");
        }
    }
}

/// Counters that the progress line and the driver read while workers run.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Sockets that are welcomed right now.
    pub(crate) live: AtomicU32,
    /// Connections that were welcomed at least once.
    pub(crate) welcomed: AtomicU32,
    /// Connections that the server will not have.
    pub(crate) dead: AtomicU32,
    /// When the last first welcome came, in microseconds.
    pub(crate) last_welcome_us: AtomicU64,
    pub(crate) sent: AtomicU64,
    pub(crate) acked: AtomicU64,
    pub(crate) refused: AtomicU64,
    /// Event frames that came, whatever they were worth.
    pub(crate) received: AtomicU64,
    /// From when on no message is due, in microseconds.
    pub(crate) end_us: AtomicU64,
    pub(crate) resumed: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) presence: Mutex<HashMap<UserId, Expected>>,
    pub(crate) presence_changes: AtomicU64,
}

/// A change of presence that watchers should hear of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    pub(crate) online: bool,
    pub(crate) since_us: u64,
    /// Number of the change, over all users.
    pub(crate) change: u64,
}

/// Commands from the driver to a worker.
pub(crate) enum Command {
    /// All are connected: begin to send.
    Start(Schedule),
    /// Where the logs end: report when every receiver has got there.
    Heads(Arc<HashMap<ChannelId, u64>>),
    /// Events that were asked for over REST, or none when they could not be had.
    Page { conn: usize, generation: u32, slot: usize, events: Option<Vec<Event>> },
    /// No message is due from this time on.
    Until(u64),
    /// Close everything and report.
    Stop,
}

/// When messages are due, in microseconds from the epoch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    pub(crate) start_us: u64,
    /// From here on they are measured.
    pub(crate) window_us: u64,
    /// From here on none is due.
    pub(crate) end_us: u64,
    /// Messages a second, over all workers.
    pub(crate) rate: f64,
    /// Number of the first message.
    pub(crate) first: u64,
    /// How often a message goes to the crowd of a [`Share`], and when the first does.
    pub(crate) crowd: Option<Every>,
    /// How often one of the watched goes away.
    pub(crate) toggle: Option<Every>,
}

/// Times at even distances, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Every {
    /// The first of them.
    pub(crate) first_us: u64,
    /// From one to the next.
    pub(crate) every_us: u64,
}

impl Schedule {
    /// When message `n` (of all workers) is due; none when that is after the end.
    pub(crate) fn due_us(&self, n: u64) -> Option<u64> {
        if self.rate <= 0.0 {
            return None;
        }
        let n = n.saturating_sub(self.first);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "microseconds of a run")]
        let due = self.start_us + (n as f64 * 1e6 / self.rate) as u64;
        (due < self.end_us).then_some(due)
    }
}

/// Events to be read over REST for a socket whose `sync` did not recover.
pub(crate) struct PageRequest {
    pub(crate) worker: usize,
    pub(crate) conn: usize,
    pub(crate) generation: u32,
    pub(crate) slot: usize,
    pub(crate) channel: ChannelId,
    pub(crate) account: usize,
    pub(crate) after: u64,
}

/// What a worker found.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) ack: Histogram,
    pub(crate) delivery: Histogram,
    /// Deliveries by when they came, what sockets caught up with too.
    pub(crate) intervals: Intervals,
    /// What a [`Share`] measures.
    pub(crate) by_time: ByTime,
    pub(crate) presence: Histogram,
    pub(crate) acks: Vec<Ack>,
    pub(crate) receipts: Vec<Receipt>,
    pub(crate) reads: Vec<Read>,
    /// Sends that were never answered.
    pub(crate) unacked: u64,
    /// What happened when.
    pub(crate) timeline: Option<Timeline>,
    /// From the first try of a send to its ack, of all sends.
    pub(crate) through: Histogram,
    /// Sends of which nobody but the server knows what became: dropped by it or sent again.
    pub(crate) resent: u64,
    /// Tries of the measured sends, and those that were acked promptly.
    pub(crate) tries: u64,
    pub(crate) prompt_tries: u64,
    /// Measured sends, and those that were acked promptly after they were due.
    pub(crate) measured: u64,
    pub(crate) prompt: u64,
    pub(crate) most_tries: u32,
    /// Clients that lost a socket, the most that one of them did, and all of these losses.
    pub(crate) losers: u64,
    pub(crate) most_lost: u32,
    pub(crate) lost_sockets: u64,
    pub(crate) gaps: u64,
    pub(crate) recovered: u64,
    pub(crate) paged: u64,
    /// Why sockets ended that should not have, and how often.
    pub(crate) trouble: BTreeMap<String, u64>,
    /// Broken promises that the comparison with the logs does not show.
    pub(crate) violations: BTreeMap<String, u64>,
}

impl Outcome {
    pub(crate) fn merge(&mut self, other: Self) {
        self.ack.merge(&other.ack);
        self.delivery.merge(&other.delivery);
        self.intervals.merge(&other.intervals);
        self.by_time.merge(&other.by_time);
        self.presence.merge(&other.presence);
        self.acks.extend(other.acks);
        self.receipts.extend(other.receipts);
        self.reads.extend(other.reads);
        self.through.merge(&other.through);
        match (&mut self.timeline, other.timeline) {
            (Some(mine), Some(other)) => mine.merge(other),
            (mine, other) => *mine = mine.take().or(other),
        }
        self.unacked += other.unacked;
        self.resent += other.resent;
        self.tries += other.tries;
        self.prompt_tries += other.prompt_tries;
        self.measured += other.measured;
        self.prompt += other.prompt;
        self.most_tries = self.most_tries.max(other.most_tries);
        self.losers += other.losers;
        self.most_lost = self.most_lost.max(other.most_lost);
        self.lost_sockets += other.lost_sockets;
        self.gaps += other.gaps;
        self.recovered += other.recovered;
        self.paged += other.paged;
        for (what, n) in other.trouble {
            *self.trouble.entry(what).or_default() += n;
        }
        for (what, n) in other.violations {
            *self.violations.entry(what).or_default() += n;
        }
    }
}

/// A running worker.
pub(crate) struct Handle {
    commands: mpsc::SyncSender<Command>,
    pub(crate) waker: Arc<Waker>,
    /// How many cursors are not at their log's head; `u64::MAX` before the heads are known.
    pub(crate) behind: Arc<AtomicU64>,
    thread: JoinHandle<io::Result<Outcome>>,
}

impl Handle {
    pub(crate) fn send(&self, command: Command) {
        // A worker that has ended says why when it is joined.
        if self.commands.send(command).is_ok() {
            let _ = self.waker.wake();
        }
    }

    pub(crate) fn sender(&self) -> (mpsc::SyncSender<Command>, Arc<Waker>) {
        (self.commands.clone(), Arc::clone(&self.waker))
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.behind.load(Ordering::Relaxed) == 0
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    pub(crate) fn join(self) -> io::Result<Outcome> {
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("a worker panicked")))
    }
}

/// Starts the worker that holds the connections `n` with `n % workers == id`.
pub(crate) fn spawn(
    id: u8,
    plan: &Arc<Plan>,
    shared: &Arc<Shared>,
    pages: tokio::sync::mpsc::Sender<PageRequest>,
) -> io::Result<Handle> {
    let (commands, inbox) = mpsc::sync_channel(COMMAND_QUEUE);
    let behind = Arc::new(AtomicU64::new(u64::MAX));
    let mut worker =
        worker::Worker::new(id, Arc::clone(plan), Arc::clone(shared), inbox, pages, Arc::clone(&behind))?;
    let waker = worker.waker();
    let thread = std::thread::Builder::new().name(format!("sockets-{id}")).spawn(move || worker.run())?;
    Ok(Handle { commands, waker, behind, thread })
}
