//! Commands that must not be lost: they stay here until they are acknowledged or finally refused. Pure: the
//! clock is passed in.
//!
//! Order within a channel is kept by having one command of a channel under way at a time: with more, one
//! that is refused for the moment would be overtaken by those behind it.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use chat_protocol::{
    ChannelId, ClientFrame, ClientId, ErrorCode, Millis, Seq,
    limits::{IDEMPOTENCY_WINDOW_MS, MAX_FRAME_BYTES},
};

use crate::{Backoff, End};

/// Most commands under way at a time; the server reads no further than 32.
const MAX_UNDER_WAY: usize = 24;
/// After this many refusals as an internal error it is final: a bug does not heal by asking.
const MAX_INTERNAL: u32 = 6;
/// A command that was on its way this long ago is not sent again: the server forgets ids after 24 hours,
/// and a resend could become a second message. An hour less, for clocks that differ.
const RESEND_WINDOW: Duration = Duration::from_millis(IDEMPOTENCY_WINDOW_MS - 60 * 60 * 1000);

/// A committed command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    /// The command's id.
    pub id: ClientId,
    /// The log it was appended to.
    pub channel: ChannelId,
    /// Its position there.
    pub seq: Seq,
    /// When it was committed.
    pub at: Millis,
    /// An earlier try had done it already.
    pub duplicate: bool,
}

/// The server's final no.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The cause, as a code of the protocol.
    pub code: ErrorCode,
    /// What was expected, for developers' eyes.
    pub message: String,
}

/// Why a command was not committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The server refused it for good. Nothing was done.
    #[error("{}: {}", .0.code.title(), .0.message)]
    Refused(Refusal),
    /// As a frame it would be larger than the protocol allows. It was not sent.
    #[error("the frame has {0} bytes, at most {MAX_FRAME_BYTES} are allowed")]
    TooLarge(usize),
    /// Too many commands wait already. It was not sent.
    #[error("the outbox is full: too many commands wait for their answers")]
    OutboxFull,
    /// It may have been sent, so long ago that the server may not know its id any more: nobody knows
    /// whether it was committed.
    #[error("no answer within a day: the outcome is unknown")]
    Expired,
    /// The server was restored from a backup: the message that was to be changed may be another one by now. Nobody knows
    /// whether it was done before.
    #[error("the message may have changed: the server was restored from a backup")]
    Restored,
    /// The client ended first. When it was sent before, nobody knows whether it was committed.
    #[error("the client has ended")]
    Ended(#[source] End),
}

/// Commands with their handles `T`, which get the outcome.
#[derive(Debug)]
pub(crate) struct Outbox<T> {
    limit: usize,
    backoff: Backoff,
    entries: VecDeque<Entry<T>>,
    /// Ids under way on this connection, and since when.
    under_way: HashMap<ClientId, Instant>,
}

#[derive(Debug)]
struct Entry<T> {
    id: ClientId,
    channel: ChannelId,
    frame: ClientFrame,
    handle: T,
    refusals: u32,
    internal: u32,
    not_before: Option<Instant>,
    first_sent: Option<Instant>,
}

impl<T> Outbox<T> {
    pub(crate) fn new(limit: usize, backoff: Backoff) -> Self {
        Self { limit, backoff, entries: VecDeque::new(), under_way: HashMap::new() }
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Takes a command in, behind all others.
    pub(crate) fn push(
        &mut self,
        id: ClientId,
        channel: ChannelId,
        frame: ClientFrame,
        handle: T,
    ) -> Result<(), (T, SendError)> {
        if self.entries.len() >= self.limit {
            return Err((handle, SendError::OutboxFull));
        }
        match serde_json::to_vec(&frame).map_or(usize::MAX, |bytes| bytes.len()) {
            size if size > MAX_FRAME_BYTES => return Err((handle, SendError::TooLarge(size))),
            _ => {}
        }
        self.entries.push_back(Entry {
            id,
            channel,
            frame,
            handle,
            refusals: 0,
            internal: 0,
            not_before: None,
            first_sent: None,
        });
        Ok(())
    }

    /// The next command to put on the wire, if one may go now.
    pub(crate) fn next(&mut self, now: Instant) -> Option<ClientFrame> {
        if self.under_way.len() >= MAX_UNDER_WAY {
            return None;
        }
        let mut blocked = HashSet::new();
        let entry = self.entries.iter_mut().find(|entry| {
            // The first of each channel blocks those behind it, whether it is under way or waits.
            blocked.insert(entry.channel)
                && !self.under_way.contains_key(&entry.id)
                && entry.not_before.is_none_or(|time| time <= now)
        })?;
        if entry.first_sent.replace(entry.first_sent.unwrap_or(now)).is_some()
            && let ClientFrame::Send { seen, .. } = &mut entry.frame
        {
            // Others may have written since.
            *seen = None;
        }
        self.under_way.insert(entry.id, now);
        Some(entry.frame.clone())
    }

    /// It is committed. Its handle, when it was here.
    pub(crate) fn acked(&mut self, id: ClientId) -> Option<T> {
        self.take(id)
    }

    /// It was refused. Its handle, when that is final; otherwise it waits and is sent again.
    pub(crate) fn refused(
        &mut self,
        id: ClientId,
        code: ErrorCode,
        retryable: bool,
        retry_after: Option<Duration>,
        now: Instant,
    ) -> Option<T> {
        let backoff = self.backoff;
        let entry = self.entries.iter_mut().find(|entry| entry.id == id)?;
        entry.internal += u32::from(code == ErrorCode::Internal);
        if !retryable || entry.internal >= MAX_INTERNAL {
            return self.take(id);
        }
        let wait = match retry_after {
            Some(after) => after.saturating_add(backoff.hinted(entry.refusals)),
            None => backoff.draw(entry.refusals),
        };
        entry.refusals = entry.refusals.saturating_add(1);
        entry.not_before = Some(now + wait);
        self.under_way.remove(&id);
        None
    }

    /// The connection is gone: what was under way goes again on the next one, first come first.
    pub(crate) fn disconnected(&mut self) {
        self.under_way.clear();
        for entry in &mut self.entries {
            entry.not_before = None;
        }
    }

    /// Since when the oldest command under way waits.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.under_way.values().min().copied()
    }

    /// When a command that waits may go.
    pub(crate) fn wake_at(&self, now: Instant) -> Option<Instant> {
        self.entries.iter().filter_map(|entry| entry.not_before).filter(|time| *time > now).min()
    }

    /// Takes out what may not be sent again any more.
    pub(crate) fn expired(&mut self, now: Instant) -> Vec<T> {
        let old = |entry: &Entry<T>| {
            entry.first_sent.is_some_and(|time| now.saturating_duration_since(time) > RESEND_WINDOW)
        };
        if !self.entries.iter().any(old) {
            return Vec::new();
        }
        let (gone, kept): (VecDeque<_>, VecDeque<_>) = self.entries.drain(..).partition(old);
        self.entries = kept;
        gone.into_iter()
            .map(|entry| {
                self.under_way.remove(&entry.id);
                entry.handle
            })
            .collect()
    }

    /// Takes out what changes a message by its position, since positions mean other messages now.
    pub(crate) fn without_changes(&mut self) -> Vec<T> {
        let changes = |entry: &Entry<T>| !matches!(entry.frame, ClientFrame::Send { .. });
        let (gone, kept): (VecDeque<_>, VecDeque<_>) = self.entries.drain(..).partition(changes);
        self.entries = kept;
        for entry in &mut self.entries {
            if let ClientFrame::Send { seen, .. } = &mut entry.frame {
                *seen = None;
            }
        }
        gone.into_iter()
            .map(|entry| {
                self.under_way.remove(&entry.id);
                entry.handle
            })
            .collect()
    }

    /// Takes everything out.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = T> {
        self.under_way.clear();
        self.entries.drain(..).map(|entry| entry.handle)
    }

    fn take(&mut self, id: ClientId) -> Option<T> {
        self.under_way.remove(&id);
        let index = self.entries.iter().position(|entry| entry.id == id)?;
        self.entries.remove(index).map(|entry| entry.handle)
    }
}

#[cfg(test)]
mod tests;
