//! Recent history from memory, for as long as the store does not answer.
//!
//! The gateway's fan-out keeps the newest events of active channels, for those who resume. When the store is away they
//! also answer who asks for history, as far as they go. What they do not have is an error as before.

use bytes::Bytes;
use chat_log::fold;
use chat_protocol::{
    ChannelId, Event, Seq, ServerFrame,
    rest::{Message, Page},
};

use super::EventsPage;
use crate::store::StoredEvent;

/// Who keeps recent events.
pub trait RecentEvents: Send + Sync + 'static {
    /// The events after a position up to the log's head, each as JSON of its server frame; `None` when not all of them
    /// are there.
    fn after(&self, channel: ChannelId, after: Seq) -> Option<Vec<Bytes>>;

    /// Somebody reads a channel: its events are worth keeping without gaps.
    fn is_read(&self, channel: ChannelId);

    /// Somebody was given these consecutive events by the store, and asks for them again perhaps when it is away: they may
    /// be kept, as far as they stand before what is in memory or are all that there is.
    fn was_read(&self, channel: ChannelId, events: &[StoredEvent]);

    /// As many consecutive events up to the log's head as there are, in the same form.
    fn tail(&self, channel: ChannelId) -> Vec<Bytes>;
}

/// A page of a log after a position.
pub(super) fn events_page(
    recent: &dyn RecentEvents,
    channel: ChannelId,
    after: Seq,
    limit: usize,
) -> Option<EventsPage> {
    let frames = recent.after(channel, after)?;
    let items: Vec<StoredEvent> = frames.iter().take(limit).map(stored).collect::<Option<Vec<_>>>()?;
    let next = if frames.len() > limit { items.last().map(|event| event.seq) } else { None };
    Some(EventsPage { items, next })
}

/// A page of messages before a position, newest first. It may be shorter than asked for, and says then where the rest
/// begins; with nothing to show there is no page.
pub(super) fn messages_page(
    recent: &dyn RecentEvents,
    channel: ChannelId,
    before: Seq,
    limit: usize,
) -> Option<Page<Message>> {
    let frames = recent.tail(channel);
    let events: Vec<Event> = frames.iter().map(event).collect::<Option<Vec<_>>>()?;
    let first = events.first()?.seq;
    let mut messages = fold::messages(events);
    messages.retain(|message| message.seq < before);
    messages.reverse();
    let more = messages.len() > limit || first > 1;
    messages.truncate(limit);
    if messages.is_empty() && more {
        return None;
    }
    let next = messages.last().filter(|_| more).map(|message| message.seq.to_string());
    Some(Page { items: messages, next })
}

fn event(frame: &Bytes) -> Option<Event> {
    match serde_json::from_slice(frame) {
        Ok(ServerFrame::Event(event)) => Some(event),
        _ => None,
    }
}

/// An event as the store would give it. Its body is taken from the text, so that kinds of a newer version pass through.
fn stored(frame: &Bytes) -> Option<StoredEvent> {
    let Event { channel, seq, at, by, id, .. } = event(frame)?;
    let mut fields: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(frame).ok()?;
    for field in ["type", "channel", "seq", "at", "by", "id"] {
        fields.remove(field);
    }
    let body = serde_json::to_string(&fields).ok()?.into();
    Some(StoredEvent { channel, seq, at, by, id, body, counts: None })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chat_protocol::UserId;

    use super::*;
    use crate::chat::event_json;

    struct Memory {
        first: Seq,
        frames: Vec<Bytes>,
    }

    impl RecentEvents for Memory {
        fn after(&self, _: ChannelId, after: Seq) -> Option<Vec<Bytes>> {
            let skip = (after + 1).checked_sub(self.first)?;
            Some(self.frames.iter().skip(usize::try_from(skip).expect("small")).cloned().collect())
        }

        fn is_read(&self, _: ChannelId) {}

        fn was_read(&self, _: ChannelId, _: &[StoredEvent]) {}

        fn tail(&self, _: ChannelId) -> Vec<Bytes> {
            self.frames.clone()
        }
    }

    fn memory(channel: ChannelId, first: Seq, bodies: &[&str]) -> Memory {
        let stored = |(seq, body): (Seq, &&str)| StoredEvent {
            channel,
            seq,
            at: seq * 10,
            by: UserId(uuid::Uuid::nil()),
            id: None,
            body: Arc::from(*body),
            counts: None,
        };
        let frames = (first..).zip(bodies).map(|event| event_json(&stored(event), true).into()).collect();
        Memory { first, frames }
    }

    const MESSAGE: &str = r#"{"kind":"message","text":"hi"}"#;

    #[test]
    fn pages_of_events_are_whole_or_none_and_keep_what_is_not_known() {
        let (channel, future) = (ChannelId::new(), r#"{"kind":"pin","mark":"👍"}"#);
        let memory = memory(channel, 5, &[MESSAGE, future, MESSAGE]);
        assert!(events_page(&memory, channel, 3, 10).is_none());
        let page = events_page(&memory, channel, 4, 2).expect("is there");
        assert_eq!(page.next, Some(6));
        assert_eq!(
            page.items.iter().map(|event| (event.seq, &*event.body)).collect::<Vec<_>>(),
            [(5, MESSAGE), (6, future)]
        );
        let page = events_page(&memory, channel, 7, 2).expect("nothing after the head");
        assert!(page.items.is_empty() && page.next.is_none());
    }

    #[test]
    fn messages_read_as_they_are_now_and_a_short_page_says_that_there_is_more() {
        let channel = ChannelId::new();
        let bodies = [
            MESSAGE,
            r#"{"kind":"topic_changed","topic":"x"}"#,
            r#"{"kind":"message","text":"secret"}"#,
            r#"{"kind":"edited","target":5,"text":"hello"}"#,
            r#"{"kind":"deleted","target":7}"#,
            r#"{"kind":"edited","target":2,"text":"of a message that is not here"}"#,
        ];
        let recent = memory(channel, 5, &bodies);
        let page = messages_page(&recent, channel, Seq::MAX, 10).expect("is there");
        let read = |m: &Message| (m.seq, m.text.clone(), m.edited_at, m.deleted);
        assert_eq!(
            page.items.iter().map(read).collect::<Vec<_>>(),
            [(7, String::new(), None, true), (5, "hello".into(), Some(80), false)]
        );
        assert_eq!(page.next.as_deref(), Some("5"));
        assert!(messages_page(&recent, channel, 5, 10).is_none(), "what is older is not here");
        let whole = memory(channel, 1, &bodies);
        let page = messages_page(&whole, channel, Seq::MAX, 1).expect("is there");
        assert_eq!((page.items.len(), page.next.as_deref()), (1, Some("3")));
        assert_eq!(messages_page(&whole, channel, 3, 1).expect("is there").next, None);
    }
}
