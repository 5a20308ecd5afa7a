//! Getting connected, losing the connection (by accident or on purpose), and catching up afterwards.

use std::{net::IpAddr, sync::atomic::Ordering};

use chat_protocol::{ChannelState, ClientFrame, CloseCode, Event};
use mio::Token;
use rand::RngExt;

use super::{
    PageRequest,
    conn::{Link, Sync},
    socket::Socket,
    timer::Wake,
    worker::Worker,
};
use crate::{
    client_id::{Decoded, Kind},
    event_head::EventHead,
    history::record::Record,
    ws::Opcode,
};

const HANDSHAKE_US: u64 = 20_000_000;
const SYNC_US: u64 = 10_000_000;
/// Wait after events could not be read over REST.
const PAGE_RETRY_US: u64 = 500_000;
/// What is missing has this long to come by itself, late: so that "late" is distinguished from "asked for".
const GAP_GRACE_US: u64 = 200_000;
/// Backoff: a random time below this, doubled with each failure up to the second number.
const BACKOFF_MS: u64 = 100;
const MAX_BACKOFF_MS: u64 = 5_000;
/// The most that is added by chance to the time that a server says, as the clients here do.
const HINTED_JITTER_MS: u64 = 2_000;
/// How long churn keeps a socket away.
const AWAY_MS: std::ops::Range<u64> = 50..500;

impl Worker {
    /// Opens sockets for those that wait, as many at once and as fast as the options say.
    pub(super) fn connect_some(&mut self, now: u64) {
        let options = &self.plan.options;
        let threads = usize::from(options.threads);
        let most = (options.handshakes as usize).div_ceil(threads);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "microseconds between connects"
        )]
        let spacing =
            options.ramp.filter(|r| *r > 0.0).map_or(0, |ramp| (1e6 * threads as f64 / ramp) as u64);
        while self.handshakes < most {
            let conn = match self.to_return.pop_front() {
                Some(conn) => conn,
                None if self.connect_budget_us <= now => {
                    let Some(conn) = self.to_connect.pop_front() else { return };
                    // Time that passed unused is not made up for in a burst.
                    self.connect_budget_us = self.connect_budget_us.max(now.saturating_sub(10_000)) + spacing;
                    conn
                }
                None => return,
            };
            if matches!(self.conns[conn].link, Link::Down { .. }) {
                self.connect(conn, now);
            }
        }
    }

    /// The time has come for one that has no socket. Who was here before is not held up by the ramp, or a herd of them would
    /// look as orderly as the ramp is.
    pub(super) fn come_back(&mut self, conn: usize, now: u64) {
        if !self.conns[conn].welcomed {
            return self.to_connect.push_back(conn);
        }
        if self.conns[conn].link == (Link::Down { deliberate: false }) {
            self.timeline.reconnect(now);
        }
        self.to_return.push_back(conn);
    }

    fn connect(&mut self, conn: usize, now: u64) {
        let address = self.plan.gateways[self.conns[conn].gateway].address;
        let sources = u32::from(self.plan.options.source_addresses);
        let source = match address.ip() {
            IpAddr::V4(ip) if ip.is_loopback() => {
                let last = u8::try_from(1 + self.global(conn) % sources).unwrap_or(1);
                Some(std::net::Ipv4Addr::new(127, 0, 0, last))
            }
            _ => None,
        };
        let state = &mut self.conns[conn];
        state.generation += 1;
        state.link = Link::Setup;
        self.handshakes += 1;
        match Socket::connect(address, source, self.poll.registry(), Token(conn)) {
            Ok(socket) => {
                self.conns[conn].socket = Some(Box::new(socket));
                self.wake_at(now + HANDSHAKE_US, conn, Wake::Handshake);
            }
            Err(error) => self.fail(conn, &format!("cannot connect: {}", error.kind()), now),
        }
    }

    /// The upgrade is done: says who it is.
    pub(super) fn greet(&mut self, conn: usize) -> Result<(), String> {
        let token = self.plan.account(self.global(conn)).token.clone();
        let hello = ClientFrame::Hello { token, client: Some("chat-load".into()) };
        let json = serde_json::to_vec(&hello).map_err(|e| e.to_string())?;
        self.presence_expected(conn, true);
        self.write(conn, &json);
        Ok(())
    }

    pub(super) fn welcome(&mut self, conn: usize, channels: Vec<ChannelState>, now: u64) {
        if self.conns[conn].link != Link::Setup {
            return self.violation("welcome came twice");
        }
        self.handshakes -= 1;
        self.conns[conn].link = Link::Live;
        self.conns[conn].attempts = 0;
        self.shared.live.fetch_add(1, Ordering::Relaxed);
        let receiver = self.global(conn);
        if std::mem::replace(&mut self.conns[conn].welcomed, true) {
            self.shared.resumed.fetch_add(1, Ordering::Relaxed);
            self.plan.record(|| Record::Reconnected { receiver });
        } else {
            self.shared.welcomed.fetch_add(1, Ordering::Relaxed);
            self.shared.last_welcome_us.fetch_max(now, Ordering::Relaxed);
        }
        for ChannelState { channel: id, head, .. } in channels {
            let channel = self.channel(id);
            let Some(at) = self.conns[conn].slot_of(channel) else {
                self.conns[conn].join(channel, head);
                self.plan.record(|| Record::Receiver { receiver, channel: id, base: head });
                continue;
            };
            let slot = &mut self.conns[conn].slots[at];
            slot.cursor.reconnected();
            slot.welcome_head = head;
            if head > slot.cursor.contiguous() {
                self.sync(conn, at, now);
            }
        }
        self.on_connected(conn);
        self.watch(conn);
        let hold_us = self.conns[conn].hold_us;
        if hold_us > now {
            // The timer for it went with the last socket.
            self.wake_at(hold_us, conn, Wake::Outbox);
        }
        self.pump(conn, now);
    }

    /// An event left a gap: what is missing gets a moment to come by itself.
    pub(super) fn gap(&mut self, conn: usize, slot: usize, now: u64) {
        let state = &mut self.conns[conn].slots[slot];
        if state.sync == Sync::Idle {
            state.sync = Sync::Armed;
            self.wake_at(now + GAP_GRACE_US, conn, Wake::Gap(slot));
        }
    }

    pub(super) fn ask_for_gap(&mut self, conn: usize, slot: usize, now: u64) {
        let state = &mut self.conns[conn].slots[slot];
        if state.sync != Sync::Armed {
            return;
        }
        state.sync = Sync::Idle;
        if state.cursor.has_gap() || state.cursor.contiguous() < state.welcome_head {
            self.outcome.gaps += 1;
            self.sync(conn, slot, now);
        }
    }

    fn sync(&mut self, conn: usize, slot: usize, now: u64) {
        let state = &mut self.conns[conn].slots[slot];
        state.sync = Sync::Asked;
        state.asked += 1;
        let (channel, after) = (self.channel_ids[state.channel as usize], state.cursor.contiguous());
        let index = u32::try_from(slot).unwrap_or(u32::MAX);
        let id = self.plan.tag.encode(Decoded { due_us: now, kind: Kind::Sync, worker: self.id, index });
        self.wake_at(now + SYNC_US, conn, Wake::Sync(slot));
        self.write(
            conn,
            format!(r#"{{"type":"sync","id":"{id}","channel":"{channel}","after":{after}}}"#).as_bytes(),
        );
    }

    pub(super) fn sync_overdue(&mut self, conn: usize, slot: usize, now: u64) {
        if self.conns[conn].slots[slot].sync == Sync::Asked {
            *self.outcome.trouble.entry("sync not answered in time".into()).or_default() += 1;
            self.sync(conn, slot, now);
        }
    }

    /// A `sync` was answered with an error: tries again later.
    pub(super) fn sync_refused(&mut self, conn: usize, slot: usize, at_us: u64) {
        if self.answered(conn, slot) {
            self.ask_later(conn, slot, at_us);
        }
    }

    fn ask_later(&mut self, conn: usize, slot: usize, at_us: u64) {
        self.conns[conn].slots[slot].sync = Sync::Armed;
        self.wake_at(at_us, conn, Wake::Gap(slot));
    }

    /// A `sync` was answered; whether it was the last one that was waited for.
    fn answered(&mut self, conn: usize, slot: usize) -> bool {
        let Some(state) = self.conns[conn].slots.get_mut(slot) else { return false };
        let was_asked = state.sync == Sync::Asked && state.asked > 0;
        state.asked = state.asked.saturating_sub(1);
        was_asked && state.asked == 0
    }

    pub(super) fn synced(&mut self, conn: usize, slot: usize, head: u64, recovered: bool, now: u64) {
        if !self.answered(conn, slot) {
            return;
        }
        let state = &mut self.conns[conn].slots[slot];
        state.sync = Sync::Idle;
        if recovered && state.cursor.contiguous() >= head {
            self.outcome.recovered += 1;
            if self.conns[conn].slots[slot].cursor.has_gap() {
                self.gap(conn, slot, now);
            }
            return;
        }
        if recovered {
            self.violation("synced said recovered, but events before its head had not come");
        }
        self.page(conn, slot, now);
    }

    fn page(&mut self, conn: usize, slot: usize, now: u64) {
        let account = self.global(conn) as usize % self.plan.accounts.len();
        let state = &self.conns[conn];
        let request = PageRequest {
            worker: usize::from(self.id),
            conn,
            generation: state.generation,
            slot,
            channel: self.channel_ids[state.slots[slot].channel as usize],
            account,
            after: state.slots[slot].cursor.contiguous(),
        };
        match self.pages.try_send(request) {
            Ok(()) => self.conns[conn].slots[slot].sync = Sync::Paging,
            Err(_) => self.ask_later(conn, slot, now + PAGE_RETRY_US),
        }
    }

    pub(super) fn paged(&mut self, conn: usize, slot: usize, events: Option<Vec<Event>>, now: u64) {
        let Some(events) = events else { return self.ask_later(conn, slot, now + PAGE_RETRY_US) };
        for event in &events {
            self.observe(conn, slot, &EventHead::from(event), now);
        }
        self.outcome.paged += 1;
        let state = &mut self.conns[conn].slots[slot];
        state.sync = Sync::Idle;
        if state.cursor.has_gap() {
            self.gap(conn, slot, now);
        }
    }

    /// The socket is lost, or was never had: comes back after a while.
    pub(super) fn fail(&mut self, conn: usize, why: &str, now: u64) {
        *self.outcome.trouble.entry(why.to_owned()).or_default() += 1;
        let was_live = self.conns[conn].link == Link::Live;
        if was_live {
            self.timeline.cut(now, why);
            self.conns[conn].lost += 1;
        }
        self.take_down(conn, false);
        let target = self.plan.targets.contains(&self.global(conn));
        let stay_us = if was_live && target { self.stay_away_us() } else { 0 };
        let state = &mut self.conns[conn];
        let ceiling = (BACKOFF_MS << state.attempts.min(10)).min(MAX_BACKOFF_MS);
        state.attempts += 1;
        let others = self.plan.gateways.len().saturating_sub(1);
        let step = match self.plan.share {
            // As behind a balancer: those of one gateway come to all others.
            Some(_) if others > 1 => self.rng.random_range(1..=others),
            _ => 1,
        };
        state.gateway = (state.gateway + step) % self.plan.gateways.len();
        let hint = state.come_back_ms.take().unwrap_or_default();
        let ceiling = if hint > 0 { ceiling.min(HINTED_JITTER_MS) } else { ceiling };
        let wait_ms = hint + self.rng.random_range(0..=ceiling);
        self.wake_at(now + wait_ms * 1000 + stay_us, conn, Wake::Reconnect);
    }

    /// The server closed the socket with this code.
    pub(super) fn closed(&mut self, conn: usize, code: u16, now: u64) {
        let known = CloseCode::from_code(code);
        if known.is_some_and(|c| !c.resumable()) {
            *self.outcome.trouble.entry(format!("closed for good with {code}")).or_default() += 1;
            self.take_down(conn, false);
            self.conns[conn].link = Link::Dead;
            self.shared.dead.fetch_add(1, Ordering::Relaxed);
        } else {
            self.fail(conn, &format!("closed with {code}"), now);
        }
    }

    /// Churn: the socket goes without a word and comes back soon.
    pub(super) fn drop_on_purpose(&mut self, conn: usize, now: u64) {
        let away_ms = self.rng.random_range(AWAY_MS);
        // Who comes back may find any gateway, as behind a load balancer.
        self.conns[conn].gateway = self.rng.random_range(0..self.plan.gateways.len());
        self.drop_for(conn, away_ms, now);
    }

    pub(super) fn drop_for(&mut self, conn: usize, away_ms: u64, now: u64) {
        self.take_down(conn, true);
        self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        self.wake_at(now + away_ms * 1000, conn, Wake::Reconnect);
    }

    /// Closes the socket. What was in flight goes back to the outbox, to be sent again with the same id.
    fn take_down(&mut self, conn: usize, deliberate: bool) {
        self.on_disconnected(conn);
        let state = &mut self.conns[conn];
        state.socket = None;
        match state.link {
            Link::Live => {
                self.shared.live.fetch_sub(1, Ordering::Relaxed);
            }
            Link::Setup => self.handshakes -= 1,
            Link::Down { .. } | Link::Dead => {}
        }
        state.link = Link::Down { deliberate };
        // Timers of the old socket are void from here.
        state.generation += 1;
        state.acks_armed = false;
        for slot in &mut state.slots {
            (slot.sync, slot.asked) = (Sync::Idle, 0);
        }
        self.outcome.resent += state.in_flight.len() as u64;
        for mut send in state.in_flight.drain(..).rev() {
            if deliberate && send.kind == Kind::Measured {
                // Our own doing: neither this try nor how long it takes from here is the server's.
                self.outcome.tries -= 1;
                self.outcome.measured -= u64::from(!send.interrupted);
            }
            send.interrupted |= deliberate;
            if !deliberate {
                self.timeline.lose(send.sent_us);
            }
            state.outbox.push_front(send);
        }
    }

    pub(super) fn start_churn(&mut self, now: u64) {
        if let Some(every_us) = self.churn_interval() {
            self.next_churn_us = now + every_us;
        }
    }

    fn churn_interval(&self) -> Option<u64> {
        let a_minute = self.plan.options.churn / 100.0 * self.senders.len() as f64;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "microseconds between drops"
        )]
        (a_minute > 0.0).then(|| (60e6 / a_minute) as u64)
    }

    /// Drops a random socket when it is time; every fourth right after it has sent a message, so that sends
    /// whose ack is lost are part of the run.
    pub(super) fn churn_due(&mut self, now: u64) {
        let Some((schedule, every_us)) = self.schedule.zip(self.churn_interval()) else { return };
        while self.next_churn_us <= now {
            self.next_churn_us += every_us;
            if self.next_churn_us >= schedule.end_us {
                self.next_churn_us = u64::MAX;
            }
            let conn = self.senders[self.rng.random_range(0..self.senders.len())];
            if self.conns[conn].link != Link::Live {
                continue;
            }
            if schedule.rate > 0.0 && self.rng.random_bool(0.25) {
                self.doomed = Some(conn);
            } else {
                self.drop_on_purpose(conn, now);
            }
        }
    }

    /// Sends a text frame; false when the socket did not take it and is gone.
    pub(super) fn write(&mut self, conn: usize, json: &[u8]) -> bool {
        self.send_frame(conn, Opcode::Text, json)
    }

    pub(super) fn send_frame(&mut self, conn: usize, opcode: Opcode, payload: &[u8]) -> bool {
        let mask = self.rng.random();
        let Some(socket) = &mut self.conns[conn].socket else { return false };
        match socket.send(opcode, payload, mask) {
            Ok(()) => true,
            Err(error) => {
                self.fail(conn, &format!("cannot write: {}", error.kind()), self.plan.now_us());
                false
            }
        }
    }

    pub(super) fn say_goodbye(&mut self, conn: usize) {
        if self.conns[conn].link == Link::Live {
            self.send_frame(conn, Opcode::Close, &CloseCode::Normal.code().to_be_bytes());
        }
        self.conns[conn].socket = None;
    }
}
