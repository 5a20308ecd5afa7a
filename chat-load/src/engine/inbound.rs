//! Frames from the server.

use chat_protocol::ServerFrame;

use super::{
    conn::{Link, Sync},
    sends::Refusal,
    worker::Worker,
};
use crate::{
    client_id::{Kind, RunTag},
    event_head::{EventHead, IdText, is_event},
    history::{Ack, Observation, record::Record, record::RecordedEvent},
    ws::Opcode,
};

impl Worker {
    pub(super) fn frame(
        &mut self,
        conn: usize,
        opcode: Opcode,
        payload: &[u8],
        now: u64,
    ) -> Result<(), String> {
        match opcode {
            Opcode::Text => self.text(conn, payload, now),
            Opcode::Ping => {
                self.send_frame(conn, Opcode::Pong, payload);
                Ok(())
            }
            Opcode::Pong => Ok(()),
            Opcode::Binary => Err("expected text, got a binary frame".into()),
            Opcode::Close => {
                // 1005: a close frame without a code (RFC 6455 §7.1.5).
                let code = payload.first_chunk().map_or(1005, |code| u16::from_be_bytes(*code));
                self.send_frame(conn, Opcode::Close, &payload[..payload.len().min(2)]);
                if self.conns[conn].socket.is_some() {
                    self.closed(conn, code, now);
                }
                Ok(())
            }
        }
    }

    fn text(&mut self, conn: usize, payload: &[u8], now: u64) -> Result<(), String> {
        if is_event(payload)
            && let Some(head) = EventHead::scan(payload)
        {
            self.event(conn, &head, now);
            return Ok(());
        }
        let frame: ServerFrame =
            serde_json::from_slice(payload).map_err(|e| format!("not a frame of the protocol: {e}"))?;
        match frame {
            ServerFrame::Event(event) => {
                let why = "an event frame did not begin with type, channel, seq, at, by, id";
                *self.outcome.trouble.entry(why.into()).or_default() += 1;
                self.event(conn, &EventHead::from(&event), now);
            }
            ServerFrame::Welcome { user, channels, .. } => {
                if !self.plan.is_bare() && user != self.plan.account(self.global(conn)).user {
                    self.violation("welcome named another user than the token's");
                }
                self.welcome(conn, channels, now);
            }
            ServerFrame::Ack { id, channel, seq, .. } => {
                self.acked(conn, Ack { channel, seq, id: id.0, times: None }, now);
            }
            ServerFrame::Error { id, code, message, retryable, retry_after_ms } => {
                let id = id.and_then(|id| self.plan.tag.decode(id.0));
                self.refused(conn, id, &Refusal { code, message, retryable, retry_after_ms }, now);
            }
            ServerFrame::Synced { channel, head, recovered, .. } => {
                let channel = self.channel(channel);
                if let Some(slot) = self.conns[conn].slot_of(channel) {
                    self.synced(conn, slot, head, recovered, now);
                }
            }
            ServerFrame::Presence { users } => self.presence(conn, &users, now),
            ServerFrame::Reconnect { after_ms } => self.conns[conn].come_back_ms = Some(after_ms),
            ServerFrame::Typing { .. }
            | ServerFrame::Read { .. }
            | ServerFrame::Pong { .. }
            | ServerFrame::Unknown => {}
        }
        Ok(())
    }

    fn event(&mut self, conn: usize, head: &EventHead, now: u64) {
        self.received += 1;
        if self.conns[conn].link != Link::Live {
            return self.violation("an event came before welcome");
        }
        let slot = self.channel_by_text(&head.channel).and_then(|channel| self.conns[conn].slot_of(channel));
        match slot {
            Some(slot) => self.observe(conn, slot, head, now),
            // A channel that was joined since; the run itself makes none.
            None => self.joined(conn, head, now),
        }
    }

    fn joined(&mut self, conn: usize, head: &EventHead, now: u64) {
        let Ok(id) = uuid::Uuid::try_parse_ascii(&head.channel) else { return };
        let (receiver, channel) = (self.global(conn), chat_protocol::ChannelId(id));
        let number = self.channel(channel);
        let base = head.seq.saturating_sub(1);
        let slot = self.conns[conn].join(number, base);
        self.plan.record(|| Record::Receiver { receiver, channel, base });
        self.observe(conn, slot, head, now);
    }

    /// An event of a channel came, live, by `sync` or over REST.
    pub(super) fn observe(&mut self, conn: usize, slot: usize, head: &EventHead, now: u64) {
        let state = &mut self.conns[conn].slots[slot];
        let catching_up = matches!(state.sync, Sync::Asked | Sync::Paging);
        let observation = state.cursor.observe(head.seq, head.fingerprint(), catching_up);
        // What was committed while the socket was away on purpose says nothing about the server's speed.
        let was_live = head.seq > state.welcome_head;
        if self.plan.history.is_some() {
            self.record_delivery(conn, head, catching_up);
        }
        if observation == Observation::Seen {
            return;
        }
        // Nobody is away on purpose without churn.
        let counts = was_live || self.plan.options.churn <= 0.0;
        if counts && let Some(due_us) = due(self.plan.tag, head.id.as_ref()) {
            let took_us = now.saturating_sub(due_us);
            self.outcome.intervals.record(now, took_us);
            if was_live {
                self.outcome.delivery.record(took_us);
            }
            if self.plan.share.is_some() {
                self.delivered(conn, slot, was_live, due_us, took_us);
            }
        }
        if observation == Observation::Ahead {
            self.gap(conn, slot, now);
        }
    }

    fn delivered(&mut self, conn: usize, slot: usize, was_live: bool, due_us: u64, took_us: u64) {
        let state = &self.conns[conn];
        let in_crowd = Some(state.slots[slot].channel) == self.crowd_channel;
        let by_time = &mut self.outcome.by_time;
        let intervals = match (was_live, state.lost > 0, in_crowd) {
            (false, true, _) => &mut by_time.caught_up,
            // Who was away on purpose is not the server's doing.
            (false, false, _) => return,
            (true, true, _) => &mut by_time.returned,
            (true, false, true) => &mut by_time.crowd,
            (true, false, false) => &mut by_time.channels,
        };
        intervals.record(due_us, took_us);
    }

    fn record_delivery(&self, conn: usize, head: &EventHead, catching_up: bool) {
        let id = |text: &IdText| uuid::Uuid::try_parse_ascii(text).unwrap_or_default();
        let event = RecordedEvent {
            channel: chat_protocol::ChannelId(id(&head.channel)),
            seq: head.seq,
            at: head.at,
            by: chat_protocol::UserId(id(&head.by)),
            id: head.id.as_ref().map(|text| chat_protocol::ClientId(id(text))),
        };
        self.plan.record(|| Record::Delivery { receiver: self.global(conn), catching_up, event });
    }
}

/// When a message of this run was due that is to be measured.
fn due(tag: RunTag, id: Option<&IdText>) -> Option<u64> {
    tag.decode_text(id?).filter(|id| id.kind == Kind::Measured).map(|id| id.due_us)
}
