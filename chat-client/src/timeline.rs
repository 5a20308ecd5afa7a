//! Which events of which logs the consumer has had, and what must be asked for. Pure: no clock, no I/O.
//!
//! The rule (`docs/protocol.md`): at or below the cursor, drop; right after it, hand out; further ahead,
//! set aside and ask for what lies between, once at a time.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::Instant,
};

use chat_log::membership_change;
use chat_protocol::{ChannelId, ChannelState, ClientId, Event, Seq, UserId, limits::MAX_SYNC_EVENTS};
use uuid::Uuid;

use crate::Start;

/// Most `sync`s that wait for their answer: more would eat the socket's command rate.
const MAX_ASKED: usize = 8;
/// Most logs that are read over REST at a time.
const MAX_PAGING: usize = 2;
/// Most events that are set aside, over all channels. Others are dropped and asked for again.
const MAX_ASIDE: usize = 1_024;

/// A `sync` to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) id: ClientId,
    pub(crate) channel: ChannelId,
    pub(crate) after: Seq,
}

/// The cursors of all channels.
#[derive(Debug)]
pub(crate) struct Timeline {
    start: Start,
    welcomed: bool,
    logs: HashMap<ChannelId, Log>,
    /// Channels whose head is beyond their cursor and for which nothing is under way.
    lacking: BTreeSet<ChannelId>,
    /// Channels with a `sync` that has no answer yet.
    asked: HashMap<ChannelId, (Ask, Instant)>,
    /// Channels that `sync` could not recover, to be read over REST.
    unrecovered: BTreeSet<ChannelId>,
    /// Channels being read over REST, and the cursor from which.
    paging: HashMap<ChannelId, Seq>,
    aside: usize,
}

#[derive(Debug, Default)]
struct Log {
    cursor: Seq,
    head: Seq,
    /// Left channels keep their cursor: late answers must not look like new events, and whoever joins
    /// again goes on where they were.
    left: bool,
    aside: BTreeMap<Seq, Event>,
}

impl Timeline {
    pub(crate) fn new(start: Start, cursors: &HashMap<ChannelId, Seq>) -> Self {
        let logs = cursors.iter().map(|(channel, seq)| (*channel, Log::at(*seq))).collect();
        Self {
            start,
            welcomed: false,
            logs,
            lacking: BTreeSet::new(),
            asked: HashMap::new(),
            unrecovered: BTreeSet::new(),
            paging: HashMap::new(),
            aside: 0,
        }
    }

    /// A new connection: what was asked on the old one gets no answer.
    pub(crate) fn welcome(&mut self, channels: &[ChannelState]) {
        self.asked.clear();
        let present: HashSet<_> = channels.iter().map(|state| state.channel).collect();
        for (channel, log) in &mut self.logs {
            log.left = !present.contains(channel);
        }
        let (start, first) = (self.start, !self.welcomed);
        for state in channels {
            let log = self.logs.entry(state.channel).or_insert_with(|| {
                Log::at(match start {
                    Start::Beginning => 0,
                    Start::Head if first => state.head,
                    Start::Head => state.read.max(state.head.saturating_sub(MAX_SYNC_EVENTS)).min(state.head),
                })
            });
            log.head = log.head.max(state.head);
        }
        self.welcomed = true;
        let all: Vec<_> = self.logs.keys().copied().collect();
        all.into_iter().for_each(|channel| self.review(channel));
    }

    /// An event came, live or asked for. Appends to `ready` what the consumer gets now. Without `room`
    /// nothing is handed out; that the event exists is remembered.
    pub(crate) fn event(&mut self, event: Event, me: UserId, room: bool, ready: &mut Vec<Event>) {
        let (channel, seq, start) = (event.channel, event.seq, self.start);
        let log = self.logs.entry(channel).or_insert_with(|| {
            // A channel that one was just added to: its first live event is where the present begins.
            Log::at(if start == Start::Beginning { 0 } else { seq.saturating_sub(1) })
        });
        if seq <= log.cursor {
            return;
        }
        log.head = log.head.max(seq);
        if membership_change(&event.body) == Some((me, true)) {
            log.left = false;
        }
        if !room {
            self.review(channel);
            return;
        }
        if seq > log.cursor + 1 {
            if self.aside < MAX_ASIDE && log.aside.insert(seq, event).is_none() {
                self.aside += 1;
            }
            self.review(channel);
            return;
        }
        log.hand_out(event, me, ready);
        while let Some(next) = log.aside.remove(&(log.cursor + 1)) {
            self.aside -= 1;
            log.hand_out(next, me, ready);
        }
        // What recovery brought twice.
        while log.aside.first_key_value().is_some_and(|(seq, _)| *seq <= log.cursor) {
            log.aside.pop_first();
            self.aside -= 1;
        }
        self.review(channel);
    }

    /// The next `sync` to send, when there is one and not too many are under way.
    pub(crate) fn ask(&mut self, now: Instant) -> Option<Ask> {
        if self.asked.len() >= MAX_ASKED {
            return None;
        }
        let channel = self.lacking.pop_first()?;
        let after = self.logs.get(&channel)?.cursor;
        let ask = Ask { id: ClientId(Uuid::new_v4()), channel, after };
        self.asked.insert(channel, (ask, now));
        Some(ask)
    }

    /// Since when the oldest `sync` waits.
    pub(crate) fn oldest_ask(&self) -> Option<Instant> {
        self.asked.values().map(|(_, at)| *at).min()
    }

    /// A `sync` was answered.
    pub(crate) fn synced(&mut self, id: Option<ClientId>, channel: ChannelId, head: Seq, recovered: bool) {
        let Some((ask, _)) = self.asked.get(&channel).copied() else { return };
        if id.is_some_and(|id| id != ask.id) {
            return;
        }
        self.asked.remove(&channel);
        let Some(log) = self.logs.get_mut(&channel) else { return };
        log.head = log.head.max(head);
        if !recovered && head > log.cursor {
            self.unrecovered.insert(channel);
        }
        self.review(channel);
    }

    /// A command was refused. True when it was a `sync` of this timeline. `gone`: the log cannot be read
    /// any more, so nothing is asked until a welcome or an event shows that it can.
    pub(crate) fn refused(&mut self, id: ClientId, gone: bool) -> bool {
        let Some(channel) = self.asked.iter().find(|(_, (ask, _))| ask.id == id).map(|(c, _)| *c) else {
            return false;
        };
        self.asked.remove(&channel);
        self.settle(channel, gone);
        true
    }

    /// The next log to read over REST, and after which seq.
    pub(crate) fn page(&mut self) -> Option<(ChannelId, Seq)> {
        if self.paging.len() >= MAX_PAGING {
            return None;
        }
        let channel = self.unrecovered.pop_first()?;
        let after = self.logs.get(&channel)?.cursor;
        self.paging.insert(channel, after);
        Some((channel, after))
    }

    /// Reading a log over REST ended. True when it brought the cursor forward.
    pub(crate) fn paged(&mut self, channel: ChannelId, gone: bool) -> bool {
        let after = self.paging.remove(&channel);
        self.settle(channel, gone);
        after.zip(self.logs.get(&channel)).is_some_and(|(after, log)| log.cursor > after)
    }

    /// Whether everything that is known to exist was handed out or is asked for.
    #[cfg(test)]
    pub(crate) fn whole(&self) -> bool {
        self.lacking.is_empty()
            && self.asked.is_empty()
            && self.unrecovered.is_empty()
            && self.paging.is_empty()
    }

    fn settle(&mut self, channel: ChannelId, gone: bool) {
        if let Some(log) = self.logs.get_mut(&channel) {
            log.left |= gone;
        }
        self.review(channel);
    }

    fn review(&mut self, channel: ChannelId) {
        let Some(log) = self.logs.get(&channel) else { return };
        let busy = self.asked.contains_key(&channel)
            || self.paging.contains_key(&channel)
            || self.unrecovered.contains(&channel);
        if log.head > log.cursor && !log.left && !busy {
            self.lacking.insert(channel);
        } else {
            self.lacking.remove(&channel);
        }
    }
}

impl Log {
    fn at(cursor: Seq) -> Self {
        Self { cursor, head: cursor, ..Self::default() }
    }

    fn hand_out(&mut self, event: Event, me: UserId, ready: &mut Vec<Event>) {
        self.cursor = event.seq;
        if let Some((_, came)) = membership_change(&event.body).filter(|(user, _)| *user == me) {
            self.left = !came;
        }
        ready.push(event);
    }
}

#[cfg(test)]
mod tests;
