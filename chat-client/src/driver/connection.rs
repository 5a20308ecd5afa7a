//! What the driver does with its connection: open, talk, lose, come back.

use std::time::{Duration, Instant};

use chat_protocol::{CloseCode, ErrorCode, ServerFrame};

use super::{Driver, RECOVERY_PAUSE, earliest};
use crate::{
    ConnectionState, End, OpenError, Refusal, RestError, SendError, Sent, Update,
    link::{Failure, Link, Open, Step},
    socket::{self, Opened},
    timeline::Answered,
};

/// Most frames of one write.
const MAX_BATCH: usize = 64;
/// How long after the announced time the commands under way may still be answered.
const DRAIN_GRACE: Duration = Duration::from_secs(2);
/// Tokens in a row that open no socket, though refreshing goes on to give new ones.
const MAX_REFUSED: u32 = 5;
/// Shortest pause after a refused `sync`.
const SYNC_PAUSE: Duration = Duration::from_millis(250);

impl Driver {
    /// Does all that is due: checks deadlines, starts recoveries, writes what may go.
    pub(super) async fn pump(&mut self, now: Instant) {
        self.check_deadlines(now);
        self.recover(now);
        let may_sync = self.has_capacity() && self.hold.is_none_or(|until| until <= now);
        let Link::Open(open) = &mut self.link else { return };
        let mut frames = Vec::new();
        if open.comeback.is_none() {
            while frames.len() < MAX_BATCH
                && let Some(frame) = self.outbox.next(now)
            {
                frames.push(frame);
            }
            while may_sync && let Some(ask) = self.timeline.ask(now) {
                let (id, channel, after) = (Some(ask.id), ask.channel, ask.after);
                frames.push(chat_protocol::ClientFrame::Sync { id, channel, after });
            }
            while frames.len() < MAX_BATCH
                && let Some(frame) = self.signals.next(now)
            {
                frames.push(frame);
            }
        }
        frames.extend(open.ping(now));
        if frames.is_empty() {
            return;
        }
        if let Err(reason) = open.write(frames).await {
            self.lost(None, reason);
        }
    }

    fn check_deadlines(&mut self, now: Instant) {
        let Link::Open(open) = &self.link else { return };
        let timeout = self.options.answer_deadline;
        let overdue = |since: Option<Instant>| since.is_some_and(|since| since + timeout <= now);
        if now.saturating_duration_since(open.since) >= self.options.settled_after {
            self.failures = 0;
            self.replaced = false;
        }
        if open.dead_at() <= now {
            self.lost(None, "nothing was heard from the server for too long".to_owned());
        } else if overdue(self.outbox.oldest()) || overdue(self.timeline.oldest_ask()) {
            self.lost(None, "a command was not answered in time".to_owned());
        } else if open
            .comeback
            .is_some_and(|at| at <= now && (self.outbox.under_way() == 0 || at + DRAIN_GRACE <= now))
        {
            self.lost(Some(Duration::ZERO), "the server restarts".to_owned());
        }
    }

    /// When something is due without anything happening.
    pub(super) fn wake_at(&self, now: Instant) -> Option<Instant> {
        let Link::Open(open) = &self.link else { return None };
        let timeout = self.options.answer_deadline;
        let comeback = match open.comeback {
            Some(at) if at > now => Some(at),
            other => other.map(|at| at + DRAIN_GRACE),
        };
        earliest([
            Some(open.ping_at()),
            Some(open.dead_at()),
            comeback,
            self.outbox.wake_at(now),
            self.outbox.oldest().map(|since| since + timeout),
            self.timeline.oldest_ask().map(|since| since + timeout),
            self.signals.wake_at(),
            self.hold.filter(|until| *until > now),
        ])
    }

    pub(super) fn step(&mut self, step: Step) -> Result<(), End> {
        match step {
            Step::Due => self.open(),
            Step::Opened(opened) => self.welcomed(*opened),
            Step::Failed(failure) => return self.failed(failure),
            Step::Frame(frame) => self.frame(frame),
            Step::Alive => {}
            Step::Closed(code, reason) => {
                let token = match &self.link {
                    Link::Open(open) => Some(open.token.clone()),
                    _ => None,
                };
                return self.closed(code, reason, token, None);
            }
        }
        Ok(())
    }

    fn open(&mut self) {
        let (rest, rejected) = (self.rest.clone(), self.rejected.take());
        let (client, deadline) = (self.options.client_name.clone(), self.options.open_deadline);
        self.link = Link::opening(async move {
            let token = match rejected {
                Some(rejected) => rest.replace_token(&rejected).await,
                None => rest.access_token().await,
            };
            let token = token.map_err(|error| Failure { error: OpenError::Token(error), token: None })?;
            socket::open(rest.base().clone(), token.clone(), client, deadline)
                .await
                .map_err(|error| Failure { error, token: Some(token) })
        });
        self.announce(ConnectionState::Connecting);
    }

    fn welcomed(&mut self, opened: Opened) {
        self.me = Some(opened.user);
        if self.timeline.welcome(opened.generation, &opened.channels) {
            self.restored();
        }
        self.signals.welcome(&opened.channels);
        let (user, session, generation) = (opened.user, opened.session, self.timeline.generation());
        let channels = opened.channels.clone();
        self.link = Link::Open(Box::new(Open::new(opened, self.options.dead_after, Instant::now())));
        self.announce(ConnectionState::Connected { user, session, generation, channels });
    }

    fn frame(&mut self, frame: ServerFrame) {
        match frame {
            ServerFrame::Event(event) => self.events([event]),
            ServerFrame::Ack { id, channel, seq, at, duplicate } => {
                if let Some(reply) = self.outbox.acked(id) {
                    reply.settle(Ok(Sent { id, channel, seq, at, duplicate }));
                }
            }
            ServerFrame::Error { id, code, message, retryable, retry_after_ms } => {
                let after = retry_after_ms.map(Duration::from_millis);
                self.refused(id, Refusal { code, message }, retryable, after);
            }
            ServerFrame::Synced { id, channel, head, recovered } => {
                match self.timeline.synced(id, channel, head, recovered) {
                    Answered::Well => {}
                    Answered::Doubtful => self.hold = Some(Instant::now() + RECOVERY_PAUSE),
                    Answered::Restored => self.restored(),
                }
            }
            ServerFrame::Presence { users } => self.news(Update::Presence(users)),
            ServerFrame::Typing { channel, user } => self.news(Update::Typing { channel, user }),
            ServerFrame::Read { channel, seq, unread, head } => {
                self.signals.confirmed(channel, seq);
                self.news(Update::Read { channel, seq, unread, head });
            }
            ServerFrame::Reconnect { after_ms } => {
                if let Link::Open(open) = &mut self.link {
                    open.comeback = Some(Instant::now() + Duration::from_millis(after_ms));
                }
            }
            ServerFrame::Welcome { .. } | ServerFrame::Pong { .. } | ServerFrame::Unknown => {}
        }
    }

    fn refused(
        &mut self,
        id: Option<chat_protocol::ClientId>,
        refusal: Refusal,
        retryable: bool,
        after: Option<Duration>,
    ) {
        let now = Instant::now();
        let Some(id) = id else {
            tracing::warn!(code = ?refusal.code, message = refusal.message, "the server refused a frame");
            return;
        };
        if self.timeline.refused(id, !retryable) {
            if retryable {
                self.hold = Some(now + after.unwrap_or(SYNC_PAUSE).max(SYNC_PAUSE));
            }
        } else if let Some(reply) = self.outbox.refused(id, refusal.code, retryable, after, now) {
            reply.settle(Err(SendError::Refused(refusal)));
        }
    }

    fn failed(&mut self, failure: Failure) -> Result<(), End> {
        match failure.error {
            OpenError::Token(RestError::SignedOut) => Err(End::SignedOut),
            OpenError::Token(error) if error.code() == Some(ErrorCode::Unauthenticated) => {
                Err(End::SignedOut)
            }
            OpenError::Token(RestError::Store(error)) => Err(End::TokenStore(error.to_string())),
            OpenError::Closed { code, reason, retry_after } => {
                // What the server says is when to come back at the earliest; the jitter on top spreads the crowd.
                let wait =
                    retry_after.map(|after| after.saturating_add(self.options.backoff.hinted(self.failures)));
                self.closed(code, reason, failure.token, wait)
            }
            OpenError::Upgrade { status, .. }
                if (400..500).contains(&status) && !matches!(status, 408 | 429) =>
            {
                Err(End::UpgradeRefused(status))
            }
            OpenError::Upgrade { status, retry_after } => {
                // As above: everybody who was refused got the same whole number of seconds.
                let wait =
                    retry_after.map(|after| after.saturating_add(self.options.backoff.hinted(self.failures)));
                self.lost(wait, format!("the server answered with status {status}"));
                Ok(())
            }
            error => {
                self.lost(None, with_sources(&error));
                Ok(())
            }
        }
    }

    /// The connection ended, or was not welcomed. `hint`: when to come back, when the server said so.
    fn closed(
        &mut self,
        code: Option<u16>,
        reason: String,
        token: Option<String>,
        hint: Option<Duration>,
    ) -> Result<(), End> {
        let known = code.and_then(CloseCode::from_code);
        match known {
            Some(CloseCode::Unauthenticated) => {
                // A token that was welcomed was good: the role has changed since. One that was not may be of before a change
                // too, when several follow each other; but not for ever.
                let welcomed = matches!(self.link, Link::Open(_));
                self.refused = if welcomed { 0 } else { self.refused + 1 };
                if self.refused >= MAX_REFUSED {
                    return Err(End::SignedOut);
                }
                let again = std::mem::replace(&mut self.replaced, true);
                self.rejected = token;
                self.lost(
                    (!again).then_some(Duration::ZERO),
                    "the token is not accepted any more".to_owned(),
                );
                Ok(())
            }
            Some(CloseCode::SessionRevoked) => Err(End::SessionRevoked),
            Some(code) if !code.resumable() => Err(End::Refused(code)),
            _ => {
                let reason = if reason.is_empty() { "connection lost".to_owned() } else { reason };
                let wait = match &self.link {
                    Link::Open(open) => open.comeback.map(|at| at.saturating_duration_since(Instant::now())),
                    _ => hint,
                };
                self.lost(wait, reason);
                Ok(())
            }
        }
    }

    /// The connection is gone; the next try follows after `wait`, or with backoff.
    pub(super) fn lost(&mut self, wait: Option<Duration>, reason: String) {
        let wait = wait.unwrap_or_else(|| self.options.backoff.draw(self.failures));
        self.failures = self.failures.saturating_add(1);
        self.outbox.disconnected();
        self.retire();
        self.link = Link::Waiting(Instant::now() + wait);
        tracing::debug!(reason, ?wait, "connection lost");
        self.announce(ConnectionState::Waiting { retry_in: wait, reason });
    }

    /// Says goodbye to an open connection.
    pub(super) fn retire(&mut self) {
        if let Link::Open(open) = std::mem::replace(&mut self.link, Link::Waiting(Instant::now())) {
            socket::retire(open.socket);
        }
    }
}

/// An error and what caused it, on one line.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
