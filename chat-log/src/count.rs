//! What counts as unread: what others wrote, after one's marker, and is still there. A subtraction wherever that is exact.
//!
//! The end of a log and every event carry [`Counts`], and a read marker those of its position. Logs that were begun before
//! events carried them are counted from some position on ([`End::from`]); what is before that is counted row by row.

use std::collections::HashSet;

use chat_protocol::{EventBody, Seq, UserId};

use crate::kind::{Counted, counted};

/// Events that are counted row by row for one channel, at most: the newest ones. Of what is older a subtraction must do.
pub const RECOUNTED: u64 = 1_000;

/// What was counted from [`End::from`] up to some position of a log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// Counted messages, deleted or not.
    pub n: u64,
    /// Deletions of counted messages.
    pub d: u64,
    /// Messages that mention the whole channel.
    pub m: u64,
}

impl Counts {
    /// The counts up to the next event, which is this one.
    #[must_use]
    pub const fn after(self, body: &EventBody) -> Self {
        let mut counts = self;
        match counted(body) {
            Counted::Message { .. } => counts.n += 1,
            Counted::Deletion => counts.d += 1,
            Counted::Not => {}
        }
        counts
    }
}

/// Where a log ends, and what was counted up to there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct End {
    /// The last position; 0 for a log without events.
    pub head: Seq,
    /// The position at which counting began.
    pub from: Seq,
    /// What was counted from there on.
    pub counts: Counts,
}

impl Default for End {
    /// Of a log without events.
    fn default() -> Self {
        Self::begun_anew(0)
    }
}

impl End {
    /// A log in which counting begins behind this position.
    #[must_use]
    pub const fn begun_anew(head: Seq) -> Self {
        Self { head, from: head + 1, counts: Counts { n: 0, d: 0, m: 0 } }
    }

    /// What a store knows of a log's end. The counts belong to position `seen`: when that is not the head, somebody appended
    /// who does not count (a server of 0.1.0), and counting begins anew.
    #[must_use]
    pub const fn read(head: Seq, seen: Seq, from: Seq, counts: Counts) -> Self {
        if seen == head && from > 0 { Self { head, from, counts } } else { Self::begun_anew(head) }
    }

    /// The end after one more event.
    #[must_use]
    pub const fn after(self, body: &EventBody) -> Self {
        Self { head: self.head + 1, from: self.from, counts: self.counts.after(body) }
    }
}

/// How far a member has read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Marker {
    /// The last position that they have seen.
    pub seq: Seq,
    /// What was counted up to there, when it is known.
    pub counts: Option<Counts>,
    /// Their own last counted message; 0 for none.
    pub own: Seq,
}

/// The unread messages of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// The exact number of unread messages.
    Exactly(u64),
    /// Some events after the marker must be looked at: [`recount`] those after position `after` up to the head, and add
    /// `older`, which is what a subtraction says of those between marker and `after`.
    Recount {
        /// Read from here on, exclusive.
        after: Seq,
    },
}

/// How many messages of others a member has not read.
#[must_use]
pub fn unread(end: &End, marker: &Marker) -> Unread {
    if marker.seq >= end.head {
        return Unread::Exactly(0);
    }
    let recount = Unread::Recount { after: marker.seq.max(end.head.saturating_sub(RECOUNTED)) };
    // Counted positions begin at `from`; right before it, nothing was counted yet.
    let counts = match marker.counts {
        _ if marker.seq + 1 == end.from => Counts::default(),
        Some(counts) if marker.seq >= end.from => counts,
        _ => return recount,
    };
    if marker.own > marker.seq || counts.d != end.counts.d {
        return recount;
    }
    Unread::Exactly(end.counts.n.saturating_sub(counts.n))
}

/// The messages among these events, which end where a log ended at some time, that stood at that time: position and author.
/// Whether a message still has its text says what became of it later, or not yet what became of it.
#[must_use]
pub fn standing<'a>(
    events: impl IntoIterator<Item = (Seq, UserId, &'a EventBody)> + Clone,
) -> Vec<(Seq, UserId)> {
    let deleted = |(_, _, body): (Seq, UserId, &EventBody)| match *body {
        EventBody::Deleted { target } => Some(target),
        _ => None,
    };
    let deleted: HashSet<Seq> = events.clone().into_iter().filter_map(deleted).collect();
    let stood = |&(seq, _, body): &(Seq, UserId, &EventBody)| {
        matches!(counted(body), Counted::Message { .. }) && !deleted.contains(&seq)
    };
    events.into_iter().filter(stood).map(|(seq, by, _)| (seq, by)).collect()
}

/// Whether an event is a counted message that stands. Bodies are as they stand in the store: scrubbed where deleted.
#[must_use]
pub const fn stands(body: &EventBody) -> bool {
    matches!(counted(body), Counted::Message { stands: true })
}

/// How many of these events are messages of others that stand.
#[must_use]
pub fn recount<'a>(events: impl IntoIterator<Item = (UserId, &'a EventBody)>, me: UserId) -> u64 {
    events.into_iter().filter(|(by, body)| *by != me && stands(body)).count() as u64
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "logs of tests are short")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What somebody does: writes, deletes an earlier message, changes the topic.
    #[derive(Debug, Clone)]
    enum Step {
        Write(usize),
        Delete(prop::sample::Index),
        Topic,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0..3_usize).prop_map(Step::Write),
            1 => any::<prop::sample::Index>().prop_map(Step::Delete),
            1 => Just(Step::Topic),
        ]
    }

    fn write() -> EventBody {
        EventBody::Message { text: "hi".into(), files: vec![], deleted: false }
    }

    proptest! {
        /// Wherever a marker stands and wherever counting began, the answer is the naive one.
        #[test]
        fn unread_is_what_others_wrote_after_the_marker_and_still_stands(
            steps in prop::collection::vec(step(), 0..60), begun in 0..30_u64, read in 0..70_u64, known: bool,
        ) {
            let people = [UserId::new(), UserId::new(), UserId::new()];
            let me = people[0];
            let mut log: Vec<(UserId, EventBody)> = Vec::new();
            let mut ends = vec![End::begun_anew(0)];
            for step in steps {
                let (by, body) = match step {
                    Step::Write(who) => (people[who], write()),
                    Step::Topic => (me, EventBody::TopicChanged { topic: String::new() }),
                    Step::Delete(which) => {
                        let living: Vec<usize> = (0..log.len())
                            .filter(|&i| matches!(log[i].1, EventBody::Message { deleted: false, .. }))
                            .collect();
                        if living.is_empty() {
                            continue;
                        }
                        let at = living[which.index(living.len())];
                        log[at].1 = crate::scrub(&log[at].1).unwrap();
                        (me, EventBody::Deleted { target: at as u64 + 1 })
                    }
                };
                let end = *ends.last().unwrap();
                // Up to there, a server of 0.1.0 appended.
                let end = if end.head <= begun { End::begun_anew(end.head) } else { end };
                ends.push(end.after(&body));
                log.push((by, body));
            }
            let end = *ends.last().unwrap();
            let end = if end.head <= begun { End::begun_anew(end.head) } else { end };
            let read = read.min(end.head);
            let own = (read..end.head).rev().map(|at| at as usize).find(|&at| {
                log[at].0 == me && matches!(log[at].1, EventBody::Message { .. })
            });
            let counts = Some(ends[read as usize].counts).filter(|_| known && read > begun);
            let marker = Marker { seq: read, counts, own: own.map_or(0, |at| at as u64 + 1) };
            let after = |from: u64| log[from as usize..].iter().map(|(by, body)| (*by, body));
            let naive = after(read)
                .filter(|(by, body)| *by != me && matches!(body, EventBody::Message { deleted: false, .. }))
                .count() as u64;
            match unread(&end, &marker) {
                Unread::Exactly(n) => prop_assert_eq!(n, naive),
                Unread::Recount { after: from } => prop_assert_eq!(recount(after(from), me), naive),
            }
        }
    }

    #[test]
    fn a_quiet_reader_costs_no_rows() {
        let end = End { head: 500, from: 1, counts: Counts { n: 480, d: 3, m: 0 } };
        let marker = Marker { seq: 400, counts: Some(Counts { n: 390, d: 3, m: 0 }), own: 399 };
        assert_eq!(unread(&end, &marker), Unread::Exactly(90));
        let lost_one = Marker { counts: Some(Counts { n: 390, d: 2, m: 0 }), ..marker };
        assert_eq!(unread(&end, &lost_one), Unread::Recount { after: 400 });
        let wrote = Marker { own: 450, ..marker };
        assert_eq!(unread(&end, &wrote), Unread::Recount { after: 400 });
        let far = Marker { seq: 1, counts: None, own: 0 };
        let end = End { head: 5_000, ..end };
        assert_eq!(unread(&end, &far), Unread::Recount { after: 4_000 });
    }
}
