//! The loop of a worker.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    time::Duration,
};

use chat_protocol::{ChannelId, UserId};
use mio::{Events, Poll, Token, Waker};
use rand::{SeedableRng, rngs::SmallRng, seq::SliceRandom};

use super::{
    Command, Outcome, PageRequest, Plan, Schedule, Shared,
    conn::{Conn, Link},
    socket::Stage,
    timer::{Timer, Timers, Wake},
};
use crate::{
    event_head::{IdText, text},
    timeline::Timeline,
    ws,
};

const WAKER: Token = Token(usize::MAX);
/// Sockets handled before the schedule is looked at again.
const BATCH: usize = 256;
const BUFFER: usize = ws::MAX_FRAME + 64 * 1024;
/// How often a worker looks around when nothing is due.
const IDLE_US: u64 = 50_000;
/// How often cursors are compared with the heads at the end.
const COUNT_US: u64 = 20_000;

pub(super) struct Worker {
    pub(super) id: u8,
    pub(super) plan: Arc<Plan>,
    pub(super) shared: Arc<Shared>,
    pub(super) poll: Poll,
    waker: Arc<Waker>,
    inbox: mpsc::Receiver<Command>,
    pub(super) pages: tokio::sync::mpsc::Sender<PageRequest>,
    pub(super) conns: Vec<Conn>,
    channels: HashMap<IdText, u32>,
    pub(super) channel_ids: Vec<ChannelId>,
    pub(super) timers: Timers,
    /// Connections that want a socket, in turn.
    pub(super) to_connect: VecDeque<usize>,
    /// The same of those that were welcomed before.
    pub(super) to_return: VecDeque<usize>,
    /// Connections whose socket is being set up.
    pub(super) handshakes: usize,
    pub(super) connect_budget_us: u64,
    pub(super) rng: SmallRng,
    buffer: Vec<u8>,
    /// Event frames since the last turn of the loop.
    pub(super) received: u64,
    pub(super) outcome: Outcome,
    pub(super) timeline: Timeline,
    pub(super) schedule: Option<Schedule>,
    /// Number of the next message, over all workers.
    pub(super) next_message: u64,
    /// Connections that send, in the order of their turns.
    pub(super) senders: Vec<usize>,
    /// In a run of several processes: who sends where, in the order of their turns, and who is in the crowd.
    pub(super) places: Vec<(usize, u32)>,
    pub(super) crowd: Vec<usize>,
    pub(super) crowd_channel: Option<u32>,
    pub(super) crowd_turn: usize,
    pub(super) next_crowd_us: u64,
    pub(super) turn: usize,
    /// The next message is this one's, which is then dropped.
    pub(super) doomed: Option<usize>,
    pub(super) next_churn_us: u64,
    pub(super) next_toggle_us: u64,
    pub(super) presence_seen: HashSet<(usize, UserId, u64)>,
    next_count_us: u64,
    heads: Option<Arc<HashMap<ChannelId, u64>>>,
    behind: Arc<AtomicU64>,
}

impl Worker {
    pub(super) fn new(
        id: u8,
        plan: Arc<Plan>,
        shared: Arc<Shared>,
        inbox: mpsc::Receiver<Command>,
        pages: tokio::sync::mpsc::Sender<PageRequest>,
        behind: Arc<AtomicU64>,
    ) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let workers = u32::from(plan.options.threads);
        let numbers = (u32::from(id)..plan.options.connections).step_by(workers as usize);
        let (mine, gateways) = (numbers.clone().count(), plan.gateways.len());
        let mut rng = SmallRng::seed_from_u64(plan.options.seed ^ (u64::from(id) << 32));
        let mut senders: Vec<usize> = numbers
            .clone()
            .enumerate()
            .filter(|(_, number)| *number >= plan.targets.end)
            .map(|(conn, _)| conn)
            .collect();
        senders.shuffle(&mut rng);
        let mut worker = Self {
            id,
            waker,
            poll,
            inbox,
            pages,
            conns: numbers.map(|number| Conn::new(number as usize % gateways)).collect(),
            channels: HashMap::new(),
            channel_ids: Vec::new(),
            timers: Timers::default(),
            to_connect: (0..mine).collect(),
            to_return: VecDeque::new(),
            handshakes: 0,
            connect_budget_us: 0,
            rng,
            buffer: vec![0; BUFFER],
            received: 0,
            outcome: Outcome::default(),
            timeline: Timeline::new(plan.epoch),
            schedule: None,
            next_message: u64::from(id),
            senders,
            places: Vec::new(),
            crowd: Vec::new(),
            crowd_channel: None,
            crowd_turn: 0,
            next_crowd_us: u64::MAX,
            turn: 0,
            doomed: None,
            next_churn_us: u64::MAX,
            next_toggle_us: u64::MAX,
            presence_seen: HashSet::new(),
            next_count_us: 0,
            heads: None,
            behind,
            plan,
            shared,
        };
        if let Some(share) = worker.plan.share {
            worker.take_places(share.crowd);
        }
        Ok(worker)
    }

    /// Each member of each channel has a turn, so that channels get messages by how many are there.
    fn take_places(&mut self, crowd: ChannelId) {
        let number = self.channel(crowd);
        self.crowd_channel = Some(number);
        let plan = Arc::clone(&self.plan);
        for conn in 0..self.conns.len() {
            for channel in &plan.account(self.global(conn)).channels {
                if *channel == crowd {
                    self.crowd.push(conn);
                } else {
                    let channel = self.channel(*channel);
                    self.places.push((conn, channel));
                }
            }
        }
        self.places.shuffle(&mut self.rng);
        self.crowd.shuffle(&mut self.rng);
    }

    pub(super) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// The connection's number over all workers.
    #[expect(clippy::cast_possible_truncation, reason = "there are at most a million connections")]
    pub(super) fn global(&self, conn: usize) -> u32 {
        conn as u32 * u32::from(self.plan.options.threads) + u32::from(self.id)
    }

    /// The number of a channel in this worker's table.
    #[expect(clippy::cast_possible_truncation, reason = "there are fewer channels than memory for 2^32")]
    pub(super) fn channel(&mut self, id: ChannelId) -> u32 {
        *self.channels.entry(text(id.0)).or_insert_with(|| {
            self.channel_ids.push(id);
            self.channel_ids.len() as u32 - 1
        })
    }

    pub(super) fn channel_by_text(&self, id: &IdText) -> Option<u32> {
        self.channels.get(id).copied()
    }

    pub(super) fn wake_at(&mut self, at_us: u64, conn: usize, wake: Wake) {
        let generation = self.conns[conn].generation;
        self.timers.add(Timer { at_us, conn, generation, wake });
    }

    /// Works until it is stopped.
    pub(super) fn run(&mut self) -> io::Result<Outcome> {
        let mut events = Events::with_capacity(BATCH);
        loop {
            let now = self.plan.now_us();
            if !self.take_commands(now) {
                return Ok(self.finish());
            }
            self.send_due(now);
            self.churn_due(now);
            self.toggle_due(now);
            while let Some(timer) = self.timers.pop_due(now) {
                if self.conns[timer.conn].generation == timer.generation {
                    self.woken(timer, now);
                }
            }
            // Behind the timers: who is to come back now does not wait for the next turn.
            self.connect_some(now);
            self.publish();
            match self.poll.poll(&mut events, Some(self.poll_timeout())) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                let Token(conn) = event.token();
                if conn >= self.conns.len() {
                    continue;
                }
                if event.is_writable() {
                    self.writable(conn);
                }
                if event.is_readable() {
                    self.readable(conn, event.is_read_closed());
                }
            }
        }
    }

    /// How long to wait for sockets. For messages that are due the pacer wakes it, which is more
    /// punctual than epoll's milliseconds.
    fn poll_timeout(&self) -> Duration {
        let now = self.plan.now_us();
        let timer_us = self.timers.next_us().unwrap_or(u64::MAX);
        let soonest = [timer_us, self.next_churn_us, self.next_toggle_us, self.next_crowd_us]
            .into_iter()
            .fold(now + IDLE_US, u64::min);
        let paced = !self.to_connect.is_empty() && self.connect_budget_us > now;
        let pacing = if paced { self.connect_budget_us } else { u64::MAX };
        Duration::from_micros(soonest.min(pacing).saturating_sub(now))
    }

    fn take_commands(&mut self, now: u64) -> bool {
        while let Ok(command) = self.inbox.try_recv() {
            match command {
                Command::Start(schedule) => self.start(schedule, now),
                Command::Until(end_us) => {
                    if let Some(schedule) = &mut self.schedule {
                        schedule.end_us = schedule.end_us.min(end_us);
                    }
                }
                Command::Heads(heads) => self.heads = Some(heads),
                Command::Page { conn, generation, slot, events } => {
                    if self.conns[conn].generation == generation {
                        self.paged(conn, slot, events, now);
                    }
                }
                Command::Stop => return false,
            }
        }
        true
    }

    fn woken(&mut self, timer: Timer, now: u64) {
        let conn = timer.conn;
        match timer.wake {
            Wake::Reconnect => self.come_back(conn, now),
            Wake::Handshake => {
                if self.conns[conn].link == Link::Setup {
                    self.fail(conn, "not welcomed in time", now);
                }
            }
            Wake::Acks => self.check_acks(conn, now),
            Wake::Outbox => self.pump(conn, now),
            Wake::Gap(slot) => self.ask_for_gap(conn, slot, now),
            Wake::Sync(slot) => self.sync_overdue(conn, slot, now),
        }
    }

    fn writable(&mut self, conn: usize) {
        let state = &mut self.conns[conn];
        let Some(socket) = &mut state.socket else { return };
        if let Err(error) = socket.writable(&self.plan.gateways[state.gateway].host) {
            let what = if socket.stage == Stage::Connecting { "connect" } else { "write" };
            let why = format!("cannot {what}: {}", error.kind());
            self.fail(conn, &why, self.plan.now_us());
        }
    }

    /// Reads what is there. A read that does not fill the buffer has emptied the socket, which spares the
    /// second system call that would say so (epoll(7)); only an end of the stream hides behind it.
    fn readable(&mut self, conn: usize, read_closed: bool) {
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Some(socket) = &mut self.conns[conn].socket {
            let kept = socket.partial.len();
            buffer[..kept].copy_from_slice(&socket.partial);
            let read = socket.stream.read(&mut buffer[kept..]);
            let now = self.plan.now_us();
            match read {
                Ok(0) => {
                    self.fail(conn, "closed without a close frame", now);
                    break;
                }
                Ok(n) => {
                    let len = kept + n;
                    if let Err(why) = self.take_bytes(conn, &mut buffer[..len], now) {
                        self.fail(conn, &why, now);
                        break;
                    }
                    if len < BUFFER && !read_closed {
                        break;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => {
                    self.fail(conn, &format!("cannot read: {}", e.kind()), now);
                    break;
                }
            }
        }
        self.buffer = buffer;
    }

    fn take_bytes(&mut self, conn: usize, bytes: &mut [u8], now: u64) -> Result<(), String> {
        let mut at = 0;
        let state = &mut self.conns[conn];
        let Some(socket) = &mut state.socket else { return Ok(()) };
        if let Stage::Upgrading(key) = &socket.stage {
            let answer = ws::upgrade_answer(bytes, key);
            if let Err(ws::WsError::Refused { retry_after: Some(seconds), .. }) = answer {
                state.come_back_ms = Some(u64::from(seconds) * 1_000);
            }
            match answer.map_err(|e| e.to_string())? {
                Some(end) => {
                    at = end;
                    socket.stage = Stage::Open;
                    self.greet(conn)?;
                }
                None => {
                    socket.partial = bytes.to_vec();
                    return Ok(());
                }
            }
        }
        while let Some(frame) = ws::next_frame(bytes, at).map_err(|e| e.to_string())? {
            at = frame.end;
            self.frame(conn, frame.opcode, &bytes[frame.payload], now)?;
            if self.conns[conn].socket.is_none() {
                return Ok(());
            }
        }
        if let Some(socket) = &mut self.conns[conn].socket {
            // Most reads end with a frame: no memory is kept for the others.
            socket.partial = bytes[at..].to_vec();
        }
        Ok(())
    }

    fn publish(&mut self) {
        if self.received > 0 {
            self.shared.received.fetch_add(self.received, Ordering::Relaxed);
            self.received = 0;
        }
        let now = self.plan.now_us();
        if let Some(heads) = &self.heads
            && now >= self.next_count_us
        {
            self.next_count_us = now + COUNT_US;
            let behind = self
                .conns
                .iter()
                .filter(|conn| conn.link != Link::Dead)
                .flat_map(|conn| &conn.slots)
                .filter(|slot| {
                    let head =
                        heads.get(&self.channel_ids[slot.channel as usize]).copied().unwrap_or_default();
                    slot.cursor.contiguous() < head
                })
                .count();
            self.behind.store(behind as u64, Ordering::Relaxed);
        }
    }

    fn finish(&mut self) -> Outcome {
        self.publish();
        for conn in 0..self.conns.len() {
            self.say_goodbye(conn);
            let (receiver, state) = (self.global(conn), &mut self.conns[conn]);
            self.outcome.unacked += (state.outbox.len() + state.in_flight.len()) as u64;
            self.outcome.losers += u64::from(state.lost > 0);
            self.outcome.most_lost = self.outcome.most_lost.max(state.lost);
            self.outcome.lost_sockets += u64::from(state.lost);
            self.timeline.unacked.extend(state.outbox.iter().chain(&state.in_flight).map(|send| send.due_us));
            self.outcome.receipts.extend(state.slots.drain(..).map(|slot| crate::history::Receipt {
                receiver,
                channel: self.channel_ids[slot.channel as usize],
                cursor: slot.cursor,
            }));
        }
        self.timeline.end_us = self.plan.now_us();
        let timeline = std::mem::replace(&mut self.timeline, Timeline::new(self.plan.epoch));
        Outcome { timeline: Some(timeline), ..std::mem::take(&mut self.outcome) }
    }
}
