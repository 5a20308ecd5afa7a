//! The last events of one channel, encoded, for those who resume. Pure.

use std::collections::VecDeque;

use bytes::Bytes;
use chat_domain::bus::CommittedEvent;
use chat_log::scrub;
use chat_protocol::{EventBody, Seq, ServerFrame};

use super::wire;

struct Entry {
    frame: Bytes,
    /// The message that this event edits.
    edits: Option<Seq>,
    /// The message that this event deletes.
    deletes: Option<Seq>,
}

impl Entry {
    fn new(event: &CommittedEvent, frame: Bytes) -> Self {
        let (edits, deletes) = match *event.body {
            EventBody::Edited { target, .. } => (Some(target), None),
            EventBody::Deleted { target } => (None, Some(target)),
            _ => (None, None),
        };
        Self { frame, edits, deletes }
    }
}

/// A run of consecutive events that ends at the head.
#[derive(Default)]
pub(super) struct Recent {
    /// Position of the first entry.
    first: Seq,
    entries: VecDeque<Entry>,
    bytes: usize,
}

impl Recent {
    /// Adds the event that follows the last one; after anything else the run starts anew.
    pub(super) fn add(&mut self, event: &CommittedEvent, frame: Bytes) {
        if event.seq != self.first + self.entries.len() as Seq {
            self.clear();
        }
        if self.entries.is_empty() {
            self.first = event.seq;
        }
        if let EventBody::Deleted { target } = *event.body {
            self.scrub(target);
        }
        self.bytes += frame.len();
        self.entries.push_back(Entry::new(event, frame));
    }

    /// Whether this is the position before the first event.
    pub(super) fn adjoins(&self, seq: Seq) -> bool {
        !self.entries.is_empty() && seq + 1 == self.first
    }

    /// Adds the event before the first one, as it was read from the store. False when it is another one, or what it says
    /// was deleted since.
    pub(super) fn add_before(&mut self, event: &CommittedEvent, frame: Bytes) -> bool {
        let entry = Entry::new(event, frame);
        let is_of = |target: Option<Seq>| target.is_some_and(|t| t == event.seq || Some(t) == entry.edits);
        if !self.adjoins(event.seq) || self.entries.iter().any(|later| is_of(later.deletes)) {
            return false;
        }
        self.first = event.seq;
        self.bytes += entry.frame.len();
        self.entries.push_front(entry);
        true
    }

    /// The events after a position, or `None` when the run begins later than that.
    pub(super) fn after(&self, after: Seq) -> Option<Vec<Bytes>> {
        let next = after + 1;
        if next < self.first || self.entries.is_empty() {
            return None;
        }
        let skip = usize::try_from(next - self.first).ok()?;
        Some(self.entries.iter().skip(skip).map(|entry| entry.frame.clone()).collect())
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Bytes> {
        self.entries.iter().map(|entry| entry.frame.clone()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn drop_oldest(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= entry.frame.len();
            self.first += 1;
        }
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    /// A deleted message's text must not be handed out any more, nor that of its edits.
    fn scrub(&mut self, target: Seq) {
        for (seq, entry) in (self.first..).zip(&mut self.entries) {
            if seq == target || entry.edits == Some(target) {
                self.bytes -= entry.frame.len();
                entry.frame = scrubbed(&entry.frame);
                self.bytes += entry.frame.len();
            }
        }
    }
}

fn scrubbed(frame: &Bytes) -> Bytes {
    let Ok(ServerFrame::Event(mut event)) = serde_json::from_slice(wire::payload(frame)) else {
        return frame.clone();
    };
    match scrub(&event.body) {
        Some(remains) => event.body = remains,
        None => return frame.clone(),
    }
    wire::server_frame(&ServerFrame::Event(event))
}

#[cfg(test)]
mod tests {
    use chat_protocol::{ChannelId, Event, UserId};

    use super::*;

    fn event(seq: Seq, body: EventBody) -> (CommittedEvent, Bytes) {
        let channel = ChannelId(uuid::Uuid::nil());
        let by = UserId(uuid::Uuid::nil());
        let frame = wire::server_frame(&ServerFrame::Event(Event {
            channel,
            seq,
            at: 0,
            by,
            id: None,
            body: body.clone(),
        }));
        let (body, json) = (body.into(), Bytes::new());
        (CommittedEvent { channel, seq, body, json, end: None, generation: None, reader: None }, frame)
    }

    fn message(text: &str) -> EventBody {
        EventBody::Message { text: text.into(), files: vec![], deleted: false }
    }

    fn add(recent: &mut Recent, seq: Seq, body: EventBody) {
        let (event, frame) = event(seq, body);
        recent.add(&event, frame);
    }

    #[test]
    fn what_is_handed_out_is_complete_or_nothing() {
        let mut recent = Recent::default();
        assert!(recent.after(0).is_none());
        for seq in 5..=9 {
            add(&mut recent, seq, message("m"));
        }
        let lens = |recent: &Recent, after| recent.after(after).map(|frames| frames.len());
        for (after, expected) in [(3, None), (4, Some(5)), (8, Some(1)), (9, Some(0)), (12, Some(0))] {
            assert_eq!(lens(&recent, after), expected, "after {after}");
        }
        recent.drop_oldest();
        assert_eq!(lens(&recent, 4), None);
        assert_eq!(lens(&recent, 5), Some(4));
        add(&mut recent, 20, message("after a jump"));
        assert_eq!((lens(&recent, 9), lens(&recent, 19)), (None, Some(1)));
    }

    #[test]
    fn what_was_read_is_put_before_what_is_there_unless_it_is_deleted_by_now() {
        let mut recent = Recent::default();
        let before = |recent: &mut Recent, seq, body| {
            let (event, frame) = event(seq, body);
            recent.add_before(&event, frame)
        };
        assert!(!before(&mut recent, 4, message("nothing is there to stand before")));
        add(&mut recent, 5, EventBody::Deleted { target: 2 });
        assert!(!before(&mut recent, 3, message("not next to it")));
        assert!(before(&mut recent, 4, message("four")));
        let edited =
            EventBody::Edited { target: 2, text: "read before it was deleted".into(), deleted: false };
        assert!(!before(&mut recent, 3, edited));
        assert!(before(&mut recent, 3, message("three")));
        assert!(!before(&mut recent, 2, message("two, read before it was deleted")));
        let frames = recent.after(2).expect("three are there");
        assert_eq!((frames.len(), recent.after(1)), (3, None));
        assert_eq!(recent.bytes(), frames.iter().map(Bytes::len).sum::<usize>());
        add(&mut recent, 6, message("goes on"));
        assert_eq!(recent.after(2).map(|frames| frames.len()), Some(4));
    }

    #[test]
    fn a_deleted_message_is_scrubbed_from_memory() {
        let mut recent = Recent::default();
        add(&mut recent, 1, message("secret"));
        add(&mut recent, 2, EventBody::Edited { target: 1, text: "secret too".into(), deleted: false });
        add(&mut recent, 3, message("other"));
        add(&mut recent, 4, EventBody::Deleted { target: 1 });
        let frames = recent.after(0).expect("all are there");
        let all = frames.iter().map(|f| String::from_utf8_lossy(f).into_owned()).collect::<String>();
        assert!(!all.contains("secret"), "{all}");
        assert!(all.contains("other"));
        assert_eq!(recent.bytes(), frames.iter().map(Bytes::len).sum::<usize>());
    }
}
