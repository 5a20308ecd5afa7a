//! The channels' logs, read over REST on a thread of their own: while the run goes on for sockets whose `sync`
//! did not recover, and at the end for the comparison.

use std::{
    collections::{BTreeMap, HashMap},
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
};

use chat_protocol::{ChannelId, Event, EventBody};
use mio::Waker;
use parking_lot::Mutex;
use tokio::{
    runtime::Runtime,
    sync::{Semaphore, mpsc as queue},
    task::JoinSet,
};

use crate::{
    client_id::{Kind, RunTag},
    engine::{Command, Outcome, PageRequest, Plan},
    event_head::EventHead,
    history::{
        ChannelLog, LogEntry, Replay,
        record::{Record, RecordedEvent},
    },
    message::message_text,
    reads::{self, Reads},
    rest::{Rest, RestError},
};

/// Logs read at once.
const AT_ONCE: usize = 4;
const QUEUE: usize = 4096;

/// Logs that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The machine gives no thread or the like.
    #[error("failed to start a thread for REST requests")]
    Runtime(#[source] io::Error),
    /// The server did not give them.
    #[error("failed to read the logs from the server")]
    Rest(#[from] RestError),
}

/// Reads the logs of channels over REST, on a thread of its own.
pub(crate) struct LogReader {
    runtime: Runtime,
    rest: Rest,
    plan: Arc<Plan>,
    requests: queue::Sender<PageRequest>,
    inbox: Mutex<Option<queue::Receiver<PageRequest>>>,
    /// Identities for the recorded run, when one is kept.
    recorded: Mutex<Vec<RecordedEvent>>,
    altered: AtomicU64,
    /// Each log as far as it was read.
    replays: Mutex<HashMap<ChannelId, Replay>>,
    /// Events that could not stand where they stand, in words.
    misplaced: Mutex<BTreeMap<String, u64>>,
    reads: Mutex<Arc<Mutex<Reads>>>,
}

impl LogReader {
    pub(crate) fn start(plan: &Arc<Plan>) -> Result<Self, LogsError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("rest")
            .enable_all()
            .build()
            .map_err(LogsError::Runtime)?;
        let (requests, inbox) = queue::channel(QUEUE);
        Ok(Self {
            runtime,
            rest: Rest::new(&plan.api.host)?,
            plan: Arc::clone(plan),
            requests,
            inbox: Mutex::new(Some(inbox)),
            recorded: Mutex::default(),
            altered: AtomicU64::new(0),
            replays: Mutex::default(),
            misplaced: Mutex::default(),
            reads: Mutex::default(),
        })
    }

    /// Where workers ask for events.
    pub(crate) fn requests(&self) -> queue::Sender<PageRequest> {
        self.requests.clone()
    }

    /// Begins to answer the workers.
    pub(crate) fn serve(&self, workers: Vec<(mpsc::SyncSender<Command>, Arc<Waker>)>) {
        let inbox = self.inbox.lock().take();
        let Some(mut inbox) = inbox else { return };
        let (rest, plan) = (self.rest.clone(), Arc::clone(&self.plan));
        let workers = Arc::new(workers);
        self.runtime.spawn(async move {
            let slots = Arc::new(Semaphore::new(AT_ONCE));
            while let Some(request) = inbox.recv().await {
                let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
                let (rest, plan, workers) = (rest.clone(), Arc::clone(&plan), Arc::clone(&workers));
                tokio::spawn(async move {
                    let token = &plan.accounts[request.account].token;
                    let events = rest.events(request.channel, token, request.after).await.ok();
                    let PageRequest { conn, generation, slot: channel_slot, .. } = request;
                    let (commands, waker) = &workers[request.worker];
                    // Workers take commands all the time and never wait for this thread.
                    if commands.send(Command::Page { conn, generation, slot: channel_slot, events }).is_ok() {
                        let _ = waker.wake();
                    }
                    drop(slot);
                });
            }
        });
    }

    /// Begins to read recent history, as often as the options say.
    pub(crate) fn read_along(&self) {
        *self.reads.lock() = reads::start(&self.runtime, &self.rest, &self.plan);
    }

    /// What was read along, so far.
    pub(crate) fn take_reads(&self) -> Reads {
        let reads = Arc::clone(&self.reads.lock());
        std::mem::take(&mut *reads.lock())
    }

    /// Reads what is missing of the logs of all channels in which connections are.
    pub(crate) fn read(
        &self,
        plan: &Plan,
        logs: &mut HashMap<ChannelId, ChannelLog>,
    ) -> Result<(), LogsError> {
        let mut readers = HashMap::new();
        for account in plan.accounts.iter().take(plan.options.connections as usize) {
            for channel in &account.channels {
                readers.entry(*channel).or_insert_with(|| account.token.clone());
            }
        }
        let keep = plan.history.is_some();
        self.runtime.block_on(async {
            let slots = Arc::new(Semaphore::new(AT_ONCE));
            let mut reading = JoinSet::new();
            for (channel, token) in readers {
                let after =
                    logs.get(&channel).and_then(|log| log.entries.last()).map_or(0, |entry| entry.seq);
                let (rest, slots) = (self.rest.clone(), Arc::clone(&slots));
                reading.spawn(async move {
                    let _slot = slots.acquire_owned().await;
                    rest.events(channel, &token, after).await.map(|events| (channel, events))
                });
            }
            while let Some(read) = reading.join_next().await {
                let Ok(read) = read else { continue };
                let (channel, events) = read?;
                let log = logs.entry(channel).or_default();
                log.entries.extend(events.iter().map(entry));
                let altered = events.iter().filter(|e| is_altered(e, plan.tag, plan.options.size)).count();
                self.altered.fetch_add(altered as u64, Ordering::Relaxed);
                self.replay(channel, &events);
                if keep {
                    let mut recorded = self.recorded.lock();
                    recorded.extend(events.iter().map(identity));
                }
            }
            Ok(())
        })
    }

    fn replay(&self, channel: ChannelId, events: &[Event]) {
        let mut replays = self.replays.lock();
        let replay = replays.entry(channel).or_default();
        for event in events {
            if let Some(refusal) = replay.follow(event) {
                let what = format!("an event of the log should have been refused: {refusal:?}");
                *self.misplaced.lock().entry(what).or_default() += 1;
            }
        }
    }

    /// Events of the logs that could not stand where they stand, and how many of each kind.
    pub(crate) fn misplaced(&self) -> BTreeMap<String, u64> {
        self.misplaced.lock().clone()
    }

    /// How many messages of this run have another text in the log than was sent.
    pub(crate) fn altered(&self) -> u64 {
        self.altered.load(Ordering::Relaxed)
    }
}

/// Where the logs end.
pub(crate) fn heads(logs: &HashMap<ChannelId, ChannelLog>) -> HashMap<ChannelId, u64> {
    logs.iter().map(|(c, log)| (*c, log.entries.last().map_or(0, |entry| entry.seq))).collect()
}

/// What stands for the log of a broadcaster that has none: all that it acked, in the order of its numbers.
pub(crate) fn from_acks(outcome: &Outcome) -> HashMap<ChannelId, ChannelLog> {
    let mut logs: HashMap<ChannelId, ChannelLog> = HashMap::new();
    for ack in &outcome.acks {
        let head = EventHead {
            channel: crate::event_head::text(ack.channel.0),
            seq: ack.seq,
            at: 0,
            by: [0; 36],
            id: Some(crate::event_head::text(ack.id)),
        };
        let entry = LogEntry { seq: ack.seq, fingerprint: head.fingerprint(), id: Some(ack.id) };
        logs.entry(ack.channel).or_default().entries.push(entry);
    }
    for receipt in &outcome.receipts {
        logs.entry(receipt.channel).or_default();
    }
    for (channel, log) in &mut logs {
        log.entries.sort_unstable_by_key(|entry| entry.seq);
        // What was there before this run is nobody's business.
        let bases = outcome.receipts.iter().filter(|r| r.channel == *channel).map(|r| r.cursor.base());
        let before = bases.min().unwrap_or_default();
        let filler = (1..=before).map(|seq| LogEntry { seq, fingerprint: 0, id: None });
        log.entries = filler.chain(log.entries.iter().copied()).collect();
    }
    logs
}

/// Appends the logs to the recorded run, when one is kept.
pub(crate) fn record(plan: &Plan, reader: &LogReader) {
    let recorded = std::mem::take(&mut *reader.recorded.lock());
    for event in recorded {
        plan.record(|| Record::Log { event });
    }
}

pub(crate) fn entry(event: &Event) -> LogEntry {
    LogEntry {
        seq: event.seq,
        fingerprint: EventHead::from(event).fingerprint(),
        id: event.id.map(|id| id.0),
    }
}

pub(crate) const fn identity(event: &Event) -> RecordedEvent {
    RecordedEvent { channel: event.channel, seq: event.seq, at: event.at, by: event.by, id: event.id }
}

fn is_altered(event: &Event, tag: RunTag, size: u32) -> bool {
    let Some(id) = event.id.and_then(|id| tag.decode(id.0)) else { return false };
    match &event.body {
        EventBody::Message { text, .. } => {
            matches!(id.kind, Kind::Measured | Kind::Unmeasured) && *text != message_text(id.index, size)
        }
        _ => true,
    }
}
