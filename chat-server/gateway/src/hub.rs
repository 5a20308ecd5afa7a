//! Fan-out: from the bus to the sockets, per channel in order of position, gaps repaired from the store.
//!
//! Each channel has at most one fan-out running. It takes all events that gathered, hands them to every socket
//! in one go, and looks again; so a channel under load is written in larger pieces instead of falling behind.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use chat_domain::{
    bus::CommittedEvent,
    chat::{Chat, RecentEvents, are_strangers, event_json},
    store::{End, StoredEvent},
};
use chat_protocol::{ChannelId, EventBody, Generation, Seq, UserId};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Semaphore;

use super::{
    GatewayOptions,
    conn::Conn,
    recent::Recent,
    sockets::{Pieces, Snapshot},
    wire,
};
use crate::metrics::GatewayMetrics;

/// Channels up to this size are served right on the bus task; larger ones get a task of their own.
const INLINE_SOCKETS: usize = 64;
/// Pieces of a large channel's sockets that are served before its task lets others run.
const SLICE: usize = 2;
/// Events read at once when a gap is repaired.
const REPAIR_PAGE: usize = 500;
/// Channels whose gaps are read at once.
const REPAIRS: usize = 32;
/// A repair that finds nothing more for this long believes that there is nothing.
const REPAIR_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two readings of a log that give nothing, from and to.
const REPAIR_BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));
/// A channel without sockets is forgotten after this many seconds.
const FORGET_AFTER_SECONDS: u64 = 300;
/// A channel that was read over REST within this long is kept up with as one that sockets are in.
const READ_LATELY: Duration = Duration::from_secs(300);
/// Channels that no socket is in and whose recent events are kept, all in all.
const KEPT_FOR_READING: usize = 50_000;

type Sockets = Pieces<Arc<Conn>>;

struct Channel {
    state: Mutex<ChannelState>,
}

struct ChannelState {
    /// The last position handed out; unknown until the first event or [`Hub::learn_end`].
    head: Option<Seq>,
    /// What is counted up to `head`, when that is known: its own `head` is the same.
    end: Option<End>,
    recent: Recent,
    sockets: Sockets,
    /// Encoded, handed to `recent` already, waiting for the running fan-out.
    pending: Vec<Bytes>,
    fanning: bool,
    /// While a repair runs: the highest position known to exist.
    repairing: Option<Seq>,
    used: Instant,
    /// When somebody last read it other than over a socket.
    read: Option<Instant>,
    /// When an event was last handed out.
    active: Instant,
    /// It is of a generation of the store that is over: nothing more is handed out.
    over: bool,
}

impl ChannelState {
    /// Whether a gap hurts anybody: without sockets and readers, what is kept may as well begin anew behind it.
    fn is_wanted(&self) -> bool {
        !self.sockets.is_empty() || self.read.is_some_and(|at| at.elapsed() < READ_LATELY)
    }
}

/// How much of a log is in memory.
pub(super) enum InMemory {
    /// All that was asked for, up to `head`.
    All { frames: Vec<Bytes>, head: Seq },
    /// Less than was asked for.
    No,
}

/// All channels that this gateway's sockets are in.
pub(super) struct Hub {
    channels: RwLock<HashMap<ChannelId, Arc<Channel>>>,
    /// The generation of the store that the channels' positions are of. Locked before `channels`.
    generation: RwLock<Option<Generation>>,
    /// Counts departures from channels, so that a subscription made from an older reading is noticed.
    departures: AtomicU64,
    recent_events: usize,
    recent_bytes: usize,
    recent_of_all: bool,
    recent_bytes_used: AtomicUsize,
    /// Repairs that read the store at once: after a loss, all channels want to.
    reads: Semaphore,
    chat: Arc<Chat>,
    metrics: Arc<GatewayMetrics>,
}

impl Hub {
    pub(super) fn new(chat: Arc<Chat>, metrics: Arc<GatewayMetrics>, options: &GatewayOptions) -> Arc<Self> {
        Arc::new(Self {
            channels: RwLock::default(),
            generation: RwLock::new(chat.generation()),
            departures: AtomicU64::new(0),
            recent_events: options.recent_events,
            recent_bytes: options.recent_bytes,
            recent_of_all: options.recent_of_all,
            recent_bytes_used: AtomicUsize::new(0),
            reads: Semaphore::new(REPAIRS),
            chat,
            metrics,
        })
    }

    /// The generation of the store that all positions here are of.
    pub(super) fn generation(&self) -> Option<Generation> {
        *self.generation.read()
    }

    /// Positions are of this generation from now on. If they were of another one, all channels are forgotten, with those
    /// who are subscribed, and the answer is true.
    pub(super) fn begin(&self, generation: Option<Generation>) -> bool {
        let mut current = self.generation.write();
        let before = std::mem::replace(&mut *current, generation);
        if !are_strangers(before, generation) {
            return false;
        }
        for (_, channel) in self.channels.write().drain() {
            let mut state = channel.state.lock();
            state.over = true;
            self.recent_bytes_used.fetch_sub(state.recent.bytes(), Ordering::Relaxed);
        }
        true
    }

    pub(super) fn departures(&self) -> u64 {
        self.departures.load(Ordering::Acquire)
    }

    /// From now on the socket gets the channel's events. Answers where the log ended with the last one handed out so far,
    /// when that is known: what the socket's client lacks up to there it must ask for.
    pub(super) fn subscribe(&self, id: ChannelId, conn: &Arc<Conn>) -> Option<End> {
        let channel = self.channel_or_new(id);
        let mut state = channel.state.lock();
        state.used = Instant::now();
        if state.sockets.insert(conn.id, Arc::clone(conn)) {
            conn.places.lock().subscribe(id);
        }
        state.end
    }

    pub(super) fn unsubscribe(&self, id: ChannelId, conn: &Conn) {
        conn.places.lock().unsubscribe(id);
        self.remove_socket(id, conn);
    }

    pub(super) fn unsubscribe_all(&self, conn: &Conn) {
        let channels = conn.places.lock().unsubscribe_all();
        for id in channels {
            self.remove_socket(id, conn);
        }
    }

    fn remove_socket(&self, id: ChannelId, conn: &Conn) {
        if let Some(channel) = self.channel(id) {
            let mut state = channel.state.lock();
            state.sockets.remove(conn.id);
            state.used = Instant::now();
        }
    }

    /// Takes where a log ends, read from the store after the subscription. Answers the later of that and what was handed
    /// out meanwhile; what is counted up to there may not be known then.
    pub(super) fn learn_end(&self, id: ChannelId, end: End) -> End {
        let channel = self.channel_or_new(id);
        let mut state = channel.state.lock();
        match *state.head.get_or_insert(end.head) {
            head if head == end.head => state.end = Some(end),
            head if head > end.head => return state.end.unwrap_or(End::begun_anew(head)),
            _ => {}
        }
        end
    }

    /// The last position handed out, when it is known.
    pub(super) fn head(&self, id: ChannelId) -> Option<Seq> {
        self.channel(id)?.state.lock().head
    }

    /// The events after a position, when memory has them all.
    pub(super) fn in_memory(&self, id: ChannelId, after: Seq) -> InMemory {
        let Some(channel) = self.channel(id) else { return InMemory::No };
        let state = channel.state.lock();
        match state.head {
            Some(head) if after == head => InMemory::All { frames: Vec::new(), head },
            // Either this gateway is behind, or the client's cursor is of a log that a backup has replaced: the store knows.
            Some(head) if after > head => InMemory::No,
            Some(head) => {
                state.recent.after(after).map_or(InMemory::No, |frames| InMemory::All { frames, head })
            }
            None => InMemory::No,
        }
    }

    /// An event from the bus.
    pub(super) fn deliver(self: &Arc<Self>, event: &CommittedEvent) {
        let channel = {
            // Not only before: in between, positions may become others.
            let generation = self.generation.read();
            if are_strangers(*generation, event.generation) {
                return;
            }
            self.channel(event.channel).or_else(|| self.kept_for_reading(event.channel))
        };
        let Some(channel) = channel else { return };
        let mut state = channel.state.lock();
        if state.over {
            return;
        }
        let wanted = state.is_wanted();
        match (state.head, &mut state.repairing) {
            (Some(head), _) if event.seq <= head => return,
            (_, Some(target)) => {
                // The repair reads it from the store, in its turn.
                *target = (*target).max(event.seq);
                return;
            }
            (Some(head), None) if wanted && event.seq > head + 1 => {
                state.repairing = Some(event.seq);
                drop(state);
                tokio::spawn(Arc::clone(self).repair(event.channel, channel));
                return;
            }
            _ => {}
        }
        let frame = wire::text_frame(&event.json);
        self.accept(&channel, state, event, frame);
    }

    /// Whether a log goes further than what was handed out of it, and nobody is about to repair that.
    pub(super) fn lacks(&self, id: ChannelId, head: Seq) -> bool {
        self.channel(id).is_some_and(|channel| {
            let state = channel.state.lock();
            state.repairing.is_none() && state.head.is_some_and(|known| known < head)
        })
    }

    /// Something of the bus was missed: every channel may have a gap.
    pub(super) fn repair_all(self: &Arc<Self>) {
        self.repair_those(|_| true);
    }

    /// Channels with events in the last while may lack their tail.
    pub(super) fn repair_active(self: &Arc<Self>, within: Duration) {
        self.repair_those(|state| state.active.elapsed() <= within);
    }

    /// A log goes at least that far: reads what is missing. False when nothing is, or it is read already.
    pub(super) fn repair_to(self: &Arc<Self>, id: ChannelId, head: Seq) -> bool {
        let Some(channel) = self.channel(id) else { return false };
        let mut state = channel.state.lock();
        if state.repairing.is_none() && state.head.is_some_and(|known| known < head) {
            state.repairing = Some(head);
            drop(state);
            tokio::spawn(Arc::clone(self).repair(id, channel));
            return true;
        }
        false
    }

    fn repair_those(self: &Arc<Self>, wanted: impl Fn(&ChannelState) -> bool) {
        let channels: Vec<(ChannelId, Arc<Channel>)> =
            self.channels.read().iter().map(|(id, channel)| (*id, Arc::clone(channel))).collect();
        for (id, channel) in channels {
            let mut state = channel.state.lock();
            if !wanted(&state) {
                continue;
            }
            if !state.is_wanted() && state.repairing.is_none() {
                // Not worth a read.
                let before = state.recent.bytes();
                (state.head, state.end, state.recent) = (None, None, Recent::default());
                drop(state);
                self.account(before, 0);
            } else if let (Some(head), None) = (state.head, state.repairing) {
                state.repairing = Some(head);
                drop(state);
                tokio::spawn(Arc::clone(self).repair(id, channel));
            }
        }
    }

    /// Passes something short-lived to a channel's sockets, except those of one user.
    pub(super) fn signal(&self, id: ChannelId, frame: &Bytes, except: UserId) {
        let Some(channel) = self.channel(id) else { return };
        let sockets = channel.state.lock().sockets.snapshot();
        for conn in sockets.iter() {
            if conn.actor().is_some_and(|actor| actor.user != except) {
                conn.push_ephemeral(frame);
            }
        }
    }

    /// A user left a channel: their sockets get nothing more of it.
    pub(super) fn depart(&self, id: ChannelId, conns: &[Arc<Conn>]) {
        self.departures.fetch_add(1, Ordering::AcqRel);
        for conn in conns {
            self.unsubscribe(id, conn);
        }
    }

    /// Forgets channels that nobody has been in for a while.
    pub(super) fn forget_idle(&self) {
        let idle = |channel: &Channel| {
            let state = channel.state.lock();
            let forget = state.sockets.is_empty()
                && !state.fanning
                && state.repairing.is_none()
                && (if self.recent_of_all { state.used.max(state.active) } else { state.used })
                    .elapsed()
                    .as_secs()
                    >= FORGET_AFTER_SECONDS;
            forget.then(|| state.recent.bytes())
        };
        self.channels.write().retain(|_, channel| {
            // Somebody who holds a reference may be about to subscribe.
            if Arc::strong_count(channel) > 1 {
                return true;
            }
            idle(channel).is_none_or(|bytes| {
                self.recent_bytes_used.fetch_sub(bytes, Ordering::Relaxed);
                false
            })
        });
    }

    fn channel(&self, id: ChannelId) -> Option<Arc<Channel>> {
        self.channels.read().get(&id).cloned()
    }

    /// A channel that no socket is in, when its recent events are kept nevertheless.
    fn kept_for_reading(&self, id: ChannelId) -> Option<Arc<Channel>> {
        let kept = self.recent_of_all && self.channels.read().len() < KEPT_FOR_READING;
        kept.then(|| self.channel_or_new(id))
    }

    fn channel_or_new(&self, id: ChannelId) -> Arc<Channel> {
        if let Some(channel) = self.channel(id) {
            return channel;
        }
        let new = || {
            Arc::new(Channel {
                state: Mutex::new(ChannelState {
                    head: None,
                    end: None,
                    recent: Recent::default(),
                    sockets: Sockets::default(),
                    pending: Vec::new(),
                    fanning: false,
                    repairing: None,
                    used: Instant::now(),
                    read: None,
                    active: Instant::now(),
                    over: false,
                }),
            })
        };
        Arc::clone(self.channels.write().entry(id).or_insert_with(new))
    }

    /// Takes an event that follows the head, and sees to it that a fan-out runs.
    fn accept(
        self: &Arc<Self>,
        channel: &Arc<Channel>,
        mut state: parking_lot::MutexGuard<'_, ChannelState>,
        event: &CommittedEvent,
        frame: Bytes,
    ) {
        state.head = Some(event.seq);
        state.end = event.end;
        state.active = Instant::now();
        let before = state.recent.bytes();
        state.recent.add(event, frame.clone());
        while state.recent.len() > self.recent_events {
            state.recent.drop_oldest();
        }
        let used = self.account(before, state.recent.bytes());
        if used > self.recent_bytes {
            // Whoever writes pays: this channel keeps half of what it had.
            let (before, keep) = (state.recent.bytes(), state.recent.len() / 2);
            while state.recent.len() > keep {
                state.recent.drop_oldest();
            }
            self.account(before, state.recent.bytes());
        }
        self.metrics.events.inc();
        state.pending.push(frame);
        if state.fanning {
            return;
        }
        state.fanning = true;
        let inline = state.sockets.len() <= INLINE_SOCKETS;
        drop(state);
        if inline {
            while let Some((frames, sockets)) = next_round(channel) {
                self.hand_out(&frames, sockets.iter());
            }
        } else {
            tokio::spawn(Arc::clone(self).fan_out(Arc::clone(channel)));
        }
    }

    fn account(&self, before: usize, after: usize) -> usize {
        if after >= before {
            self.recent_bytes_used.fetch_add(after - before, Ordering::Relaxed) + after - before
        } else {
            self.recent_bytes_used.fetch_sub(before - after, Ordering::Relaxed) - (before - after)
        }
    }

    async fn fan_out(self: Arc<Self>, channel: Arc<Channel>) {
        while let Some((frames, sockets)) = next_round(&channel) {
            for (at, piece) in sockets.pieces().enumerate() {
                if at > 0 && at % SLICE == 0 {
                    tokio::task::yield_now().await;
                }
                self.hand_out(&frames, piece);
            }
            tokio::task::yield_now().await;
        }
    }

    fn hand_out<'a>(&self, frames: &[Bytes], sockets: impl Iterator<Item = &'a Arc<Conn>>) {
        let (mut handed, mut slow) = (0, 0);
        for conn in sockets {
            handed += frames.len() as u64;
            if conn.push(frames) {
                slow += 1;
            }
        }
        self.metrics.deliveries.inc_by(handed);
        if slow > 0 {
            self.metrics.slow_consumers.inc_by(slow);
        }
    }

    /// Reads what is missing from the store and hands it out in order, until nothing is missing.
    async fn repair(self: Arc<Self>, id: ChannelId, channel: Arc<Channel>) {
        self.metrics.gap_repairs.inc();
        let (mut backoff, mut progress) = (REPAIR_BACKOFF.0, Instant::now());
        loop {
            let after = {
                let state = channel.state.lock();
                let Some(after) = state.head.filter(|_| !state.over) else { return };
                after
            };
            let page = {
                // Never closed.
                let _turn = self.reads.acquire().await;
                self.chat.log_after(id, after, REPAIR_PAGE).await
            };
            match page {
                Ok(events) => {
                    let full = events.len() == REPAIR_PAGE;
                    if !events.is_empty() {
                        (backoff, progress) = (REPAIR_BACKOFF.0, Instant::now());
                    }
                    for stored in &events {
                        let (mut event, frame) = decoded(stored);
                        let state = channel.state.lock();
                        if state.over {
                            return;
                        }
                        // As long as counting goes on from where it was; else it is read again when somebody needs it.
                        let follows = state.end.map(|end| end.after(&event.body));
                        event.end =
                            follows.filter(|end| end.head == event.seq && Some(end.counts) == stored.counts);
                        self.chat.observe(&event);
                        self.accept(&channel, state, &event, frame);
                    }
                    let mut state = channel.state.lock();
                    let caught_up = state.head >= state.repairing;
                    if caught_up && !full {
                        state.repairing = None;
                        return;
                    }
                    if events.is_empty() && progress.elapsed() >= REPAIR_TIMEOUT {
                        tracing::warn!(channel = %id, after, "the store has nothing of a gap");
                        state.repairing = None;
                        return;
                    }
                    if !events.is_empty() {
                        continue;
                    }
                }
                Err(error) => {
                    tracing::warn!(channel = %id, %error, "gap could not be repaired yet");
                    progress = Instant::now();
                }
            }
            tokio::time::sleep(backoff).await;
            backoff = (backoff * 2).min(REPAIR_BACKOFF.1);
        }
    }
}

impl RecentEvents for Hub {
    fn after(&self, channel: ChannelId, after: Seq) -> Option<Vec<Bytes>> {
        match self.in_memory(channel, after) {
            InMemory::All { frames, .. } => Some(frames.iter().map(json_of).collect()),
            InMemory::No => None,
        }
    }

    fn is_read(&self, channel: ChannelId) {
        if let Some(channel) = self.channel(channel).or_else(|| self.kept_for_reading(channel)) {
            channel.state.lock().read = Some(Instant::now());
        }
    }

    fn was_read(&self, channel: ChannelId, events: &[StoredEvent]) {
        let (Some(channel), Some(last)) = (self.channel(channel), events.last()) else { return };
        let mut state = channel.state.lock();
        if state.over {
            return;
        }
        let before = state.recent.bytes();
        let is_all = state.head.map_or(state.sockets.is_empty(), |head| head == last.seq);
        if state.recent.len() == 0 && is_all {
            // The log may go on by now. Then the next event from the bus shows a gap, which is repaired.
            let (event, frame) = decoded(last);
            (state.head, state.end) = (Some(event.seq), None);
            state.recent.add(&event, frame);
        }
        for event in events.iter().rev() {
            if !state.recent.adjoins(event.seq) {
                continue;
            }
            let used = self.recent_bytes_used.load(Ordering::Relaxed) + state.recent.bytes() - before;
            let (event, frame) = decoded(event);
            let is_full = state.recent.len() >= self.recent_events || used + frame.len() > self.recent_bytes;
            if is_full || !state.recent.add_before(&event, frame) {
                break;
            }
        }
        self.account(before, state.recent.bytes());
    }

    fn tail(&self, channel: ChannelId) -> Vec<Bytes> {
        let frames = self.channel(channel).map(|channel| channel.state.lock().recent.all());
        frames.unwrap_or_default().iter().map(json_of).collect()
    }
}

fn json_of(frame: &Bytes) -> Bytes {
    frame.slice_ref(wire::payload(frame))
}

/// The events and sockets of the next round; when there is nothing, the fan-out has ended.
fn next_round(channel: &Channel) -> Option<(Vec<Bytes>, Snapshot<Arc<Conn>>)> {
    let mut state = channel.state.lock();
    if state.pending.is_empty() {
        state.fanning = false;
        state.pending = Vec::new();
        return None;
    }
    Some((std::mem::take(&mut state.pending), state.sockets.snapshot()))
}

/// An event from the store as the bus would have brought it.
fn decoded(event: &StoredEvent) -> (CommittedEvent, Bytes) {
    let json: Bytes = event_json(event, true).into();
    let frame = wire::text_frame(&json);
    let body = serde_json::from_str(&event.body).unwrap_or(EventBody::Unknown).into();
    let channel = event.channel;
    (CommittedEvent { channel, seq: event.seq, body, json, end: None, generation: None, reader: None }, frame)
}
