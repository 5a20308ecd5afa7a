//! How an event is written: once, for everybody who gets it.

use std::fmt::Write as _;

use crate::store::StoredEvent;

/// One event as a flat JSON object, exactly as [`chat_protocol::Event`] reads it; with `frame`, as the server
/// frame `{"type":"event",…}`. The body is spliced in as it was stored, so kinds of a newer version pass
/// through unharmed.
///
/// The fields stand in a fixed order (type, channel, seq, at, by, id, body) that fast clients may rely on.
#[must_use]
pub fn event_json(event: &StoredEvent, frame: bool) -> String {
    let StoredEvent { channel, seq, at, by, id, body, counts: _ } = event;
    let mut out = String::with_capacity(body.len() + 192);
    out.push_str(if frame { r#"{"type":"event","# } else { "{" });
    // Writing to a String cannot fail.
    let _ = write!(out, r#""channel":"{channel}","seq":{seq},"at":{at},"by":"{by}""#);
    if let Some(id) = id {
        let _ = write!(out, r#","id":"{id}""#);
    }
    out.push(',');
    out.push_str(body.strip_prefix('{').unwrap_or(r#""kind":"unknown"}"#));
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chat_protocol::{ChannelId, ClientId, Event, EventBody, ServerFrame, UserId};

    use super::*;

    #[test]
    fn the_spliced_form_is_the_form_of_the_protocol() {
        for id in [None, Some(ClientId::new())] {
            let event = Event {
                channel: ChannelId::new(),
                seq: 42,
                at: 1_700_000_000_000,
                by: UserId::new(),
                id,
                body: EventBody::Message { text: "say \"hi\"\n👋".into(), files: vec![], deleted: false },
            };
            let stored = StoredEvent {
                channel: event.channel,
                seq: event.seq,
                at: event.at,
                by: event.by,
                id,
                body: Arc::from(serde_json::to_string(&event.body).expect("serialises")),
                counts: None,
            };
            assert_eq!(
                event_json(&stored, true),
                serde_json::to_string(&ServerFrame::Event(event.clone())).expect("serialises")
            );
            assert_eq!(event_json(&stored, false), serde_json::to_string(&event).expect("serialises"));
        }
    }

    #[test]
    fn a_kind_of_a_newer_version_passes_through() {
        let stored = StoredEvent {
            channel: ChannelId::new(),
            seq: 1,
            at: 2,
            by: UserId::new(),
            id: None,
            body: Arc::from(r#"{"kind":"pin","mark":"👍"}"#),
            counts: None,
        };
        assert!(event_json(&stored, false).ends_with(r#","kind":"pin","mark":"👍"}"#));
    }
}
