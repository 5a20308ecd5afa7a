//! Messages, sent when they are due and again until they are acked.

use std::sync::atomic::Ordering;

use chat_protocol::ErrorCode;
use rand::RngExt;

use super::{
    Schedule,
    conn::{Link, MAX_IN_FLIGHT, Send},
    timer::Wake,
    worker::Worker,
};
use crate::{
    client_id::{Decoded, Kind},
    history::{Ack, Times, record::Record},
    message::message_text,
    timeline::{AckedSend, Refused},
};

/// An ack that has not come after this long is asked for again by sending the same once more.
const ACK_DEADLINE_US: u64 = 5_000_000;
/// An ack within this time is prompt.
const PROMPT_US: u64 = 500_000;
/// Numbers of messages to the crowd begin behind all others.
const CROWD_NUMBERS: u64 = 1 << 31;
/// Wait before a refused send is tried again when the server does not say how long.
const RETRY_MS: u64 = 200;

impl Worker {
    pub(super) fn start(&mut self, schedule: Schedule, now: u64) {
        self.schedule = Some(schedule);
        self.next_message = schedule.first + u64::from(self.id);
        self.next_crowd_us = schedule.crowd.map_or(u64::MAX, |crowd| crowd.first_us);
        self.start_churn(now);
        self.start_presence(now);
    }

    /// Hands out the messages that are due, however late it is: their latency counts from when they were due.
    pub(super) fn send_due(&mut self, now: u64) {
        let Some(schedule) = self.schedule else { return };
        self.send_to_crowd(&schedule, now);
        let workers = u64::from(self.plan.options.threads);
        while let Some(due_us) = schedule.due_us(self.next_message).filter(|due| *due <= now) {
            let number = self.next_message;
            self.next_message += workers;
            let doomed = self.doomed.take().filter(|conn| self.conns[*conn].link == Link::Live);
            let next = doomed.map(|conn| (conn, None)).or_else(|| self.next_sender());
            let Some((conn, channel)) = next else {
                *self.outcome.trouble.entry("nobody to send".into()).or_default() += 1;
                continue;
            };
            let channel = channel.unwrap_or_else(|| self.any_channel(conn));
            let kind = if doomed.is_some() || due_us < schedule.window_us || self.waits_for_its_sender(conn) {
                Kind::Unmeasured
            } else {
                Kind::Measured
            };
            self.enqueue(conn, channel, number, due_us, kind);
            self.pump(conn, now);
            if doomed.is_some() {
                self.drop_on_purpose(conn, now);
            }
        }
    }

    /// The next connection in turn that has a channel and is not away on purpose. One that the server lost
    /// keeps its turn: its message waits, and the wait is measured.
    fn next_sender(&mut self) -> Option<(usize, Option<u32>)> {
        for _ in 0..self.places.len() {
            let (conn, channel) = self.places[self.turn % self.places.len()];
            self.turn += 1;
            if self.can_send(conn) {
                return Some((conn, Some(channel)));
            }
        }
        for _ in 0..self.senders.len() {
            let conn = self.senders[self.turn % self.senders.len()];
            self.turn += 1;
            if self.can_send(conn) {
                return Some((conn, None));
            }
        }
        None
    }

    /// In a run of several processes, what a sender without a socket has to say is not measured: nobody else waits for it.
    fn waits_for_its_sender(&self, conn: usize) -> bool {
        self.plan.share.is_some() && self.conns[conn].link != Link::Live
    }

    fn can_send(&self, conn: usize) -> bool {
        let state = &self.conns[conn];
        let fit = !matches!(state.link, Link::Dead | Link::Down { deliberate: true });
        fit && state.welcomed && !state.slots.is_empty()
    }

    fn any_channel(&mut self, conn: usize) -> u32 {
        let slot = self.rng.random_range(0..self.conns[conn].slots.len());
        self.conns[conn].slots[slot].channel
    }

    /// Messages to the crowd have numbers of their own.
    fn send_to_crowd(&mut self, schedule: &Schedule, now: u64) {
        let Some((channel, every)) = self.crowd_channel.zip(schedule.crowd) else { return };
        while self.next_crowd_us <= now {
            let due_us = self.next_crowd_us;
            self.next_crowd_us = due_us + every.every_us;
            if self.next_crowd_us >= schedule.end_us {
                self.next_crowd_us = u64::MAX;
            }
            for _ in 0..self.crowd.len() {
                let conn = self.crowd[self.crowd_turn % self.crowd.len()];
                self.crowd_turn += 1;
                if self.can_send(conn) {
                    let number = CROWD_NUMBERS + self.crowd_turn as u64;
                    self.enqueue(conn, channel, number, due_us, Kind::Measured);
                    self.pump(conn, now);
                    break;
                }
            }
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "a run has fewer than 2^32 messages")]
    fn enqueue(&mut self, conn: usize, channel: u32, number: u64, due_us: u64, kind: Kind) {
        let index = number as u32;
        let worker = self.plan.share.map_or(self.id, |share| share.process);
        let id = self.plan.tag.encode(Decoded { due_us, kind, worker, index });
        let state = &mut self.conns[conn];
        state.outbox.push_back(Send {
            id,
            channel,
            index,
            kind,
            due_us,
            first_us: 0,
            sent_us: 0,
            tries: 0,
            interrupted: false,
        });
        self.outcome.measured += u64::from(kind == Kind::Measured);
        self.shared.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// Sends what waits, as far as the server takes it now.
    pub(super) fn pump(&mut self, conn: usize, now: u64) {
        loop {
            let state = &mut self.conns[conn];
            if state.link != Link::Live || state.in_flight.len() >= MAX_IN_FLIGHT || state.hold_us > now {
                return;
            }
            let Some(mut send) = state.outbox.pop_front() else { return };
            send.sent_us = now;
            send.tries += 1;
            self.outcome.tries += u64::from(send.kind == Kind::Measured);
            if send.first_us == 0 {
                send.first_us = now;
            }
            let json = format!(
                r#"{{"type":"send","id":"{}","channel":"{}","text":"{}"}}"#,
                send.id,
                self.channel_ids[send.channel as usize],
                message_text(send.index, self.plan.options.size)
            );
            state.in_flight.push(send);
            if !state.acks_armed {
                state.acks_armed = true;
                self.wake_at(now + ACK_DEADLINE_US, conn, Wake::Acks);
            }
            if !self.write(conn, json.as_bytes()) {
                return;
            }
        }
    }

    pub(super) fn check_acks(&mut self, conn: usize, now: u64) {
        let state = &mut self.conns[conn];
        state.acks_armed = false;
        let overdue: Vec<Send> =
            state.in_flight.extract_if(.., |send| send.sent_us + ACK_DEADLINE_US <= now).collect();
        self.outcome.resent += overdue.len() as u64;
        overdue.iter().for_each(|send| self.timeline.lose(send.sent_us));
        state.outbox.extend(overdue);
        if let Some(oldest) = state.in_flight.iter().map(|send| send.sent_us).min() {
            state.acks_armed = true;
            self.wake_at(oldest + ACK_DEADLINE_US, conn, Wake::Acks);
        }
        self.pump(conn, now);
    }

    pub(super) fn acked(&mut self, conn: usize, mut ack: Ack, now: u64) {
        let state = &mut self.conns[conn];
        // One that was already acked is acked again after a resend; the comparison still wants to see it.
        let in_flight = state.in_flight.iter().position(|send| send.id == ack.id);
        let waiting = state.outbox.iter().position(|send| send.id == ack.id);
        let send = match (in_flight, waiting) {
            (Some(at), _) => Some(state.in_flight.swap_remove(at)),
            (None, Some(at)) => state.outbox.remove(at),
            (None, None) => None,
        };
        if let Some(send) = send {
            self.shared.acked.fetch_add(1, Ordering::Relaxed);
            ack.times = Some(Times { sent_us: send.first_us, acked_us: now });
            self.outcome.through.record(now.saturating_sub(send.first_us));
            self.timeline.sends.push(AckedSend { due_us: send.due_us, sent_us: send.sent_us, acked_us: now });
            self.outcome.most_tries = self.outcome.most_tries.max(send.tries);
            if send.kind == Kind::Measured {
                let prompt = now.saturating_sub(send.sent_us) <= PROMPT_US;
                self.outcome.prompt_tries += u64::from(in_flight.is_some() && prompt);
            }
            if send.kind == Kind::Measured && !send.interrupted {
                let took_us = now.saturating_sub(send.due_us);
                self.outcome.ack.record(took_us);
                self.outcome.by_time.ack.record(send.due_us, took_us);
                self.outcome.prompt += u64::from(took_us <= PROMPT_US);
            }
            if self.channel_ids[send.channel as usize] != ack.channel {
                self.violation("an ack named another channel than its send");
            }
        } else if self.plan.tag.decode(ack.id).is_none() {
            self.violation("an ack named an id that was never sent");
        }
        self.plan.record(|| Record::Ack {
            channel: ack.channel,
            seq: ack.seq,
            id: chat_protocol::ClientId(ack.id),
            times: ack.times,
        });
        self.outcome.acks.push(ack);
        self.pump(conn, now);
    }

    /// A command of ours was refused.
    pub(super) fn refused(&mut self, conn: usize, id: Option<Decoded>, why: &Refusal, now: u64) {
        // Everybody got about the same time: half as much again, by chance, spreads them.
        let retry_us = why.retry_after_ms.unwrap_or(RETRY_MS) * 1000;
        let wait_us = retry_us + self.rng.random_range(0..=(retry_us / 2).max(20_000));
        *self.outcome.trouble.entry(format!("error {:?}: {}", why.code, why.message)).or_default() += 1;
        match id {
            Some(Decoded { kind: Kind::Sync, index, .. }) => {
                self.sync_refused(conn, index as usize, now + wait_us)
            }
            Some(Decoded { kind: Kind::Measured | Kind::Unmeasured, index, .. }) => {
                let state = &mut self.conns[conn];
                let Some(at) = state.in_flight.iter().position(|send| send.index == index) else { return };
                let send = state.in_flight.swap_remove(at);
                if why.retryable {
                    let (sent_us, code) = (send.sent_us, why.code);
                    self.timeline.refuse(Refused { at_us: now, sent_us, code });
                    state.outbox.push_front(send);
                    state.hold_us = now + wait_us;
                    self.outcome.resent += 1;
                    self.wake_at(now + wait_us, conn, Wake::Outbox);
                } else {
                    self.shared.refused.fetch_add(1, Ordering::Relaxed);
                }
            }
            // Not let in: the server says when to come back.
            _ if why.retryable && self.conns[conn].link == Link::Setup => {
                self.conns[conn].come_back_ms = why.retry_after_ms;
            }
            _ => {}
        }
    }

    pub(super) fn violation(&mut self, what: &str) {
        *self.outcome.violations.entry(what.to_owned()).or_default() += 1;
    }
}

/// What an `error` frame says.
pub(super) struct Refusal {
    pub(super) code: ErrorCode,
    pub(super) message: String,
    pub(super) retryable: bool,
    pub(super) retry_after_ms: Option<u64>,
}
