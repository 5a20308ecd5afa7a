//! Which events of which logs the consumer has had, and what must be asked for. Pure: no clock, no I/O.
//!
//! The rule (`docs/protocol.md`): at or below the cursor, drop; right after it, hand out; further ahead,
//! set aside and ask for what lies between, once at a time.
//!
//! A server that was restored from a backup has other logs than before. It says so by another generation; and a cursor
//! beyond the end of its log says the same, once the server has confirmed where the log ends (a gateway may be behind for a
//! moment), or once another event than before comes at the cursor. Then all logs begin anew.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    time::Instant,
};

use chat_log::membership_change;
use chat_protocol::{
    ChannelId, ChannelState, ClientId, Event, Generation, Seq, UserId, limits::MAX_SYNC_EVENTS,
};
use uuid::Uuid;

use crate::Start;

/// Most `sync`s that wait for their answer: more would eat the socket's command rate.
const MAX_ASKED: usize = 8;
/// Most logs that are read over REST at a time.
const MAX_PAGING: usize = 2;
/// Most events that are set aside, over all channels. Others are dropped and asked for again.
const MAX_ASIDE: usize = 1_024;
/// How often in a row a server that names no generation (0.1.0) must say that a log ends before the cursor, until that is
/// believed: it may answer from the memory of a gateway that is behind. Should the log get there meanwhile, the event at the
/// cursor shows whether it is the same; where that is not known, the first answer is believed.
const MAX_DOUBTS: u32 = 3;

/// A `sync` to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) id: ClientId,
    pub(crate) channel: ChannelId,
    pub(crate) after: Seq,
}

/// What the answer to a `sync` says about the logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answered {
    /// All is well.
    Well,
    /// A log seems to end before its cursor. To be asked again after a while.
    Doubtful,
    /// The server was restored from a backup: all logs have begun anew.
    Restored,
}

/// The cursors of all channels.
#[derive(Debug)]
pub(crate) struct Timeline {
    start: Start,
    welcomed: bool,
    /// The life of the server's store that the cursors are of, as far as is known.
    generation: Option<Generation>,
    /// Whether the server of this connection names generations; if so, where it says that a log ends is read from its store.
    names_generations: bool,
    logs: HashMap<ChannelId, Log>,
    /// Channels whose head is beyond their cursor and for which nothing is under way.
    lacking: BTreeSet<ChannelId>,
    /// Channels whose log ends before their cursor, as this connection's server said, and for which nothing is under way.
    doubtful: BTreeSet<ChannelId>,
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
    /// Where the log ends at least, as the server of this connection said.
    reported: Seq,
    /// How often in a row the server said that the log ends before the cursor.
    doubts: u32,
    /// Of the event at the cursor, when it was handed out by this timeline.
    print: Option<u64>,
    /// Left channels keep their cursor: late answers must not look like new events, and whoever joins
    /// again goes on where they were.
    left: bool,
    aside: BTreeMap<Seq, Event>,
}

impl Timeline {
    /// Goes on from these cursors, which are of this generation as far as is known.
    pub(crate) fn new(
        start: Start,
        generation: Option<Generation>,
        cursors: &HashMap<ChannelId, Seq>,
    ) -> Self {
        let logs = cursors.iter().map(|(channel, seq)| (*channel, Log::at(*seq))).collect();
        Self {
            start,
            welcomed: false,
            generation,
            names_generations: false,
            logs,
            lacking: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            asked: HashMap::new(),
            unrecovered: BTreeSet::new(),
            paging: HashMap::new(),
            aside: 0,
        }
    }

    /// The life of the server's store that the cursors are of, as far as is known.
    pub(crate) fn generation(&self) -> Option<Generation> {
        self.generation
    }

    /// The last seq that was handed out of each log.
    pub(crate) fn cursors(&self) -> HashMap<ChannelId, Seq> {
        self.logs.iter().map(|(channel, log)| (*channel, log.cursor)).collect()
    }

    /// A new connection: what was asked on the old one gets no answer. True when the server was restored from a backup, so
    /// that all logs begin anew.
    pub(crate) fn welcome(&mut self, generation: Option<Generation>, channels: &[ChannelState]) -> bool {
        let restored = self.generation.zip(generation).is_some_and(|(known, now)| known != now);
        self.names_generations = generation.is_some();
        self.generation = generation.or(self.generation);
        self.asked.clear();
        let present: HashSet<_> = channels.iter().map(|state| state.channel).collect();
        for (channel, log) in &mut self.logs {
            log.left = !present.contains(channel);
            // They may be of a log that is no more. Whatever is lacking is asked for anew anyway.
            log.aside.clear();
        }
        self.aside = 0;
        let (start, first) = (self.start, !self.welcomed);
        let known: HashSet<_> = self.logs.keys().copied().collect();
        for state in channels {
            let log = self.logs.entry(state.channel).or_insert_with(|| {
                Log::at(match start {
                    Start::Beginning => 0,
                    Start::Head if first => state.head,
                    Start::Head => state.read.max(state.head.saturating_sub(MAX_SYNC_EVENTS)).min(state.head),
                })
            });
            log.head = state.head.max(log.cursor);
            (log.reported, log.doubts) = (state.head, 0);
        }
        self.welcomed = true;
        if restored {
            self.begin_anew(|channel| known.contains(channel));
        } else {
            self.review_all();
        }
        restored
    }

    /// All logs are others than before. Those that are `known` from before are read again: from their beginning, or only
    /// the newest events of each.
    fn begin_anew(&mut self, known: impl Fn(&ChannelId) -> bool) {
        self.logs.retain(|_, log| !log.left);
        for (_, log) in self.logs.iter_mut().filter(|(channel, _)| known(channel)) {
            let after = match self.start {
                Start::Beginning => 0,
                // Where the old log and the new one part, nobody can know.
                Start::Head => log.reported.saturating_sub(MAX_SYNC_EVENTS),
            };
            *log = Log { head: log.reported, reported: log.reported, ..Log::at(after) };
        }
        self.asked.clear();
        self.unrecovered.clear();
        self.paging.clear();
        self.lacking.clear();
        self.doubtful.clear();
        self.aside = 0;
        self.review_all();
    }

    fn review_all(&mut self) {
        let all: Vec<_> = self.logs.keys().copied().collect();
        all.into_iter().for_each(|channel| self.review(channel));
    }

    /// An event came, live or asked for. Appends to `ready` what the consumer gets now. Without `has_capacity`
    /// nothing is handed out; that the event exists is remembered. True when it shows that the server was restored from a
    /// backup, so that all logs begin anew.
    pub(crate) fn event(
        &mut self,
        event: Event,
        me: UserId,
        has_capacity: bool,
        ready: &mut Vec<Event>,
    ) -> bool {
        let (channel, seq, start) = (event.channel, event.seq, self.start);
        let log = self.logs.entry(channel).or_insert_with(|| {
            // A channel that one was just added to: its first live event is where the present begins.
            Log::at(if start == Start::Beginning { 0 } else { seq.saturating_sub(1) })
        });
        log.reported = log.reported.max(seq);
        if seq == log.cursor && log.print.is_some_and(|print| print != print_of(&event)) {
            self.begin_anew(|_| true);
            return true;
        }
        if seq <= log.cursor {
            self.review(channel);
            return false;
        }
        log.head = log.head.max(seq);
        if membership_change(&event.body) == Some((me, true)) {
            log.left = false;
        }
        if !has_capacity {
            self.review(channel);
            return false;
        }
        if seq > log.cursor + 1 {
            if self.aside < MAX_ASIDE && log.aside.insert(seq, event).is_none() {
                self.aside += 1;
            }
            self.review(channel);
            return false;
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
        false
    }

    /// The next `sync` to send, when there is one and not too many are under way.
    pub(crate) fn ask(&mut self, now: Instant) -> Option<Ask> {
        if self.asked.len() >= MAX_ASKED {
            return None;
        }
        let channel = self.doubtful.pop_first().or_else(|| self.lacking.pop_first())?;
        self.lacking.remove(&channel);
        let log = self.logs.get(&channel)?;
        // With the event at the cursor, if it can be distinguished. A server that names generations looks into its store when it
        // is asked for what follows an event that it has not seen; for the event itself it would answer from memory.
        let again = log.reported < log.cursor && log.print.is_some() && !self.names_generations;
        let after = log.cursor - u64::from(again);
        let ask = Ask { id: ClientId(Uuid::new_v4()), channel, after };
        self.asked.insert(channel, (ask, now));
        Some(ask)
    }

    /// Since when the oldest `sync` waits.
    pub(crate) fn oldest_ask(&self) -> Option<Instant> {
        self.asked.values().map(|(_, at)| *at).min()
    }

    /// A `sync` was answered.
    pub(crate) fn synced(
        &mut self,
        id: Option<ClientId>,
        channel: ChannelId,
        head: Seq,
        recovered: bool,
    ) -> Answered {
        let Some((ask, _)) = self.asked.get(&channel).copied() else { return Answered::Well };
        if id.is_some_and(|id| id != ask.id) {
            return Answered::Well;
        }
        self.asked.remove(&channel);
        let Some(log) = self.logs.get_mut(&channel) else { return Answered::Well };
        log.head = log.head.max(head);
        log.reported = log.reported.max(head);
        // Live events may have shown meanwhile that it goes further.
        let doubtful = log.reported < log.cursor;
        log.doubts = if doubtful { log.doubts + 1 } else { 0 };
        let sure = self.names_generations || log.print.is_none() || log.doubts >= MAX_DOUBTS;
        if doubtful && sure {
            self.begin_anew(|_| true);
            return Answered::Restored;
        }
        if !recovered && head > log.cursor {
            self.unrecovered.insert(channel);
        }
        self.review(channel);
        if doubtful { Answered::Doubtful } else { Answered::Well }
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
            && self.doubtful.is_empty()
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
        if log.reported < log.cursor && !log.left && !busy {
            self.doubtful.insert(channel);
        } else {
            self.doubtful.remove(&channel);
        }
    }
}

impl Log {
    fn at(cursor: Seq) -> Self {
        Self { cursor, head: cursor, reported: cursor, ..Self::default() }
    }

    fn hand_out(&mut self, event: Event, me: UserId, ready: &mut Vec<Event>) {
        self.cursor = event.seq;
        self.print = Some(print_of(&event));
        if let Some((_, came)) = membership_change(&event.body).filter(|(user, _)| *user == me) {
            self.left = !came;
        }
        ready.push(event);
    }
}

/// What never changes of an event, and differs between two that had the same position in different lives of a log.
fn print_of(event: &Event) -> u64 {
    let mut hasher = DefaultHasher::new();
    (event.at, event.by).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
