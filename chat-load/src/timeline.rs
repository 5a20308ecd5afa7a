//! What happened when, in a run: what chaos is judged by. Microseconds count from the start of the run.

use std::time::Instant;

use chat_protocol::{ErrorCode, UserId};

/// Entries kept of each kind; a run that makes more of them is reported by its counters alone.
const MAX_ENTRIES: usize = 1_000_000;

/// A send that was acked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AckedSend {
    /// When it was due.
    pub due_us: u64,
    /// When the try that was acked was handed to a socket.
    pub sent_us: u64,
    /// When it was acked.
    pub acked_us: u64,
}

/// How tries of sends went that were handed to a socket in some span: a try ends with its ack, a refusal, or the end of its socket.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tries {
    /// All of them.
    pub all: usize,
    /// Those that were acked in time.
    pub in_time: usize,
    /// Those that were acked late.
    pub late: usize,
    /// Those that were refused for the moment.
    pub refused: usize,
    /// Those that were never answered.
    pub lost: usize,
}

/// A send that was refused and will be tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// When the answer came.
    pub at_us: u64,
    /// When this try was handed to the socket.
    pub sent_us: u64,
    /// What the server said.
    pub code: ErrorCode,
}

/// A socket that was lost, and not on purpose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Time of the loss, in microseconds from the start of the run.
    pub at_us: u64,
    /// How it ended.
    pub why: String,
}

/// A read of recent history over REST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadTime {
    /// When it was asked for.
    pub from_us: u64,
    /// When it was answered, or given up.
    pub to_us: u64,
    /// Whether events came.
    pub ok: bool,
}

/// Something about the presence of a watched user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PresenceEvent {
    /// The user came or went.
    Changed {
        /// The user who came or went.
        user: UserId,
        /// Whether the user has a socket now.
        online: bool,
    },
    /// A watcher was informed.
    Reported {
        /// Number of the connection that watches.
        watcher: u32,
        /// The user who is watched.
        user: UserId,
        /// What the server reported.
        online: bool,
    },
    /// A watcher said whom it watches: until it is informed, what it sees is wrong.
    Watches {
        /// Number of the connection.
        watcher: u32,
    },
    /// A watcher lost its socket and sees nothing.
    Blind {
        /// Number of the connection.
        watcher: u32,
    },
}

/// What happened when.
#[derive(Debug, Clone)]
pub struct Timeline {
    /// From when on microseconds count.
    pub epoch: Instant,
    /// When the run was over.
    pub end_us: u64,
    /// Sends that were acked, whenever that was.
    pub sends: Vec<AckedSend>,
    /// When the sends were due that were never acked.
    pub unacked: Vec<u64>,
    /// Sends that were refused for the moment.
    pub refused: Vec<Refused>,
    /// When tries were handed to a socket that were never answered: it was cut, or nothing came for too long.
    pub lost: Vec<u64>,
    /// Sockets that were lost.
    pub cuts: Vec<Cut>,
    /// When clients that had lost their socket, and not on purpose, tried to come back.
    pub reconnects: Vec<u64>,
    /// Reads of recent history.
    pub reads: Vec<ReadTime>,
    /// Presence, as it was and as it was reported.
    pub presence: Vec<(u64, PresenceEvent)>,
}

impl Timeline {
    pub(crate) const fn new(epoch: Instant) -> Self {
        Self {
            epoch,
            end_us: 0,
            sends: Vec::new(),
            unacked: Vec::new(),
            refused: Vec::new(),
            lost: Vec::new(),
            cuts: Vec::new(),
            reconnects: Vec::new(),
            reads: Vec::new(),
            presence: Vec::new(),
        }
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.end_us = self.end_us.max(other.end_us);
        self.sends.extend(other.sends);
        self.unacked.extend(other.unacked);
        self.refused.extend(other.refused);
        self.lost.extend(other.lost);
        self.cuts.extend(other.cuts);
        self.reconnects.extend(other.reconnects);
        self.reads.extend(other.reads);
        self.presence.extend(other.presence);
    }

    pub(crate) fn refuse(&mut self, refused: Refused) {
        push(&mut self.refused, refused);
    }

    pub(crate) fn lose(&mut self, sent_us: u64) {
        push(&mut self.lost, sent_us);
    }

    pub(crate) fn cut(&mut self, at_us: u64, why: &str) {
        push(&mut self.cuts, Cut { at_us, why: why.to_owned() });
    }

    pub(crate) fn reconnect(&mut self, at_us: u64) {
        push(&mut self.reconnects, at_us);
    }

    pub(crate) fn see(&mut self, at_us: u64, event: PresenceEvent) {
        push(&mut self.presence, (at_us, event));
    }

    /// The longest that a send waited for its ack in `from_us..to_us`: from when it was due, or from `from_us` when
    /// it was waiting then already. One that was never acked waited to the end of the run.
    #[must_use]
    pub fn slowest_send_us(&self, from_us: u64, to_us: u64) -> u64 {
        let acked = self.sends.iter().map(|send| (send.due_us, send.acked_us));
        acked
            .chain(self.unacked.iter().map(|due_us| (*due_us, self.end_us)))
            .filter(|(due_us, acked_us)| *due_us < to_us && *acked_us > from_us)
            .map(|(due_us, acked_us)| acked_us - due_us.max(from_us))
            .max()
            .unwrap_or_default()
    }

    /// When the last send that was due before `due_before_us` was acked; the end of the run when one never was.
    #[must_use]
    pub fn last_ack_us(&self, due_before_us: u64) -> u64 {
        if self.unacked.iter().any(|due_us| *due_us < due_before_us) {
            return self.end_us;
        }
        let due = self.sends.iter().filter(|send| send.due_us < due_before_us);
        due.map(|send| send.acked_us).max().unwrap_or_default()
    }

    /// How many sends were due in a span, and how many of them were acked at some time.
    #[must_use]
    pub fn sends_due(&self, from_us: u64, to_us: u64) -> (usize, usize) {
        let span = from_us..to_us;
        let acked = self.sends.iter().filter(|send| span.contains(&send.due_us)).count();
        let not = self.unacked.iter().filter(|due_us| span.contains(due_us)).count();
        (acked + not, acked)
    }

    /// How the tries went that were handed to a socket in a span; in time is what took at most `in_time_us`.
    #[must_use]
    pub fn tries(&self, from_us: u64, to_us: u64, in_time_us: u64) -> Tries {
        let span = from_us..to_us;
        let acked = self.sends.iter().filter(|send| span.contains(&send.sent_us));
        let (acked, in_time) = acked.fold((0, 0), |(acked, in_time), send| {
            let took_us = send.acked_us.saturating_sub(send.sent_us);
            (acked + 1, in_time + usize::from(took_us <= in_time_us))
        });
        let refused = self.refused.iter().filter(|refused| span.contains(&refused.sent_us)).count();
        let lost = self.lost.iter().filter(|sent_us| span.contains(sent_us)).count();
        Tries { all: acked + refused + lost, in_time, late: acked - in_time, refused, lost }
    }

    /// Sockets that were lost in a span.
    #[must_use]
    pub fn cut_between(&self, from_us: u64, to_us: u64) -> usize {
        self.cuts.iter().filter(|cut| (from_us..to_us).contains(&cut.at_us)).count()
    }
}

fn push<T>(all: &mut Vec<T>, one: T) {
    if all.len() < MAX_ENTRIES {
        all.push(one);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_counts_from_the_fault_or_from_when_it_was_due() {
        let mut timeline = Timeline::new(Instant::now());
        let send = |due_us, acked_us| AckedSend { due_us, sent_us: due_us, acked_us };
        timeline.sends = vec![send(0, 10), send(90, 130), send(120, 145), send(210, 900)];
        assert_eq!(timeline.slowest_send_us(100, 200), 30, "the one that was under way waited 30 of its 40");
        assert_eq!(timeline.slowest_send_us(110, 200), 25);
        assert_eq!(timeline.sends_due(100, 300), (2, 2));
        assert_eq!(timeline.last_ack_us(200), 145);
        (timeline.unacked, timeline.end_us) = (vec![150], 1_000);
        assert_eq!(timeline.slowest_send_us(100, 200), 850);
        assert_eq!(timeline.last_ack_us(200), 1_000);
        assert_eq!(timeline.sends_due(100, 300), (3, 2));
    }

    #[test]
    fn each_try_is_counted_once() {
        let mut timeline = Timeline::new(Instant::now());
        let send = |due_us, sent_us, acked_us| AckedSend { due_us, sent_us, acked_us };
        // The last one was due in the span and was tried after it.
        timeline.sends = vec![send(0, 10, 20), send(0, 15, 25), send(5, 40, 95), send(90, 100, 110)];
        timeline.refused = vec![Refused { at_us: 30, sent_us: 12, code: ErrorCode::Overloaded }];
        timeline.lost = vec![11, 99, 100];
        let tries = Tries { all: 6, in_time: 2, late: 1, refused: 1, lost: 2 };
        assert_eq!(timeline.tries(10, 100, 50), tries);
        assert_eq!(timeline.tries(200, 300, 50), Tries::default());
    }
}
