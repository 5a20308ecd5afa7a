//! What is needed of an event frame, read without parsing the JSON.
//!
//! At 200,000 deliveries a second the generator shares the machine with the server it measures, so it reads
//! only the head of each event frame, whose form the server guarantees:
//!
//! ```text
//! {"type":"event","channel":"<36>","seq":<n>,"at":<n>,"by":"<36>"[,"id":"<36>"],…
//! ```
//! Anything else is parsed by serde.

use chat_protocol::{Event, ServerFrame};

use crate::client_id::ID_LEN;

/// An identifier as it stands in the frame: the 36 characters of a UUID.
pub type IdText = [u8; ID_LEN];

const TYPE: &[u8] = br#"{"type":"event","#;
const CHANNEL: &[u8] = br#"{"type":"event","channel":""#;

/// The head of an event frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventHead {
    /// The channel of the event.
    pub channel: IdText,
    /// Its position in the channel's log, from 1.
    pub seq: u64,
    /// When it was committed.
    pub at: u64,
    /// Who did it.
    pub by: IdText,
    /// The client id it was sent with.
    pub id: Option<IdText>,
}

/// Whether a frame is an event, when it has the guaranteed form.
#[must_use]
pub fn is_event(frame: &[u8]) -> bool {
    frame.starts_with(TYPE)
}

impl EventHead {
    /// Reads the guaranteed form; none when the frame has another one.
    #[must_use]
    pub fn scan(frame: &[u8]) -> Option<Self> {
        let rest = frame.strip_prefix(CHANNEL)?;
        let (channel, rest) = id(rest)?;
        let (seq, rest) = number(rest.strip_prefix(br#","seq":"#)?)?;
        let (at, rest) = number(rest.strip_prefix(br#","at":"#)?)?;
        let (by, rest) = id(rest.strip_prefix(br#","by":""#)?)?;
        let id = match rest.strip_prefix(br#","id":""#) {
            Some(rest) => Some(id(rest)?.0),
            None if rest.starts_with(br#","kind":"#) => None,
            None => return None,
        };
        Some(Self { channel, seq, at, by, id })
    }

    /// Reads an event frame of any form; none when it is not one.
    #[must_use]
    pub fn parse(frame: &[u8]) -> Option<Self> {
        match serde_json::from_slice(frame).ok()? {
            ServerFrame::Event(event) => Some(Self::from(&event)),
            _ => None,
        }
    }

    /// A number that stands for the event's identity: equal events have equal ones, and it is as good as
    /// impossible that two events of a run share one.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        match &self.id {
            Some(id) => mix(hash(id)),
            None => mix(hash(&self.by) ^ mix(self.at)),
        }
    }
}

impl From<&Event> for EventHead {
    fn from(event: &Event) -> Self {
        Self {
            channel: text(event.channel.0),
            seq: event.seq,
            at: event.at,
            by: text(event.by.0),
            id: event.id.map(|id| text(id.0)),
        }
    }
}

/// The 36 characters of an identifier.
#[must_use]
pub fn text(id: uuid::Uuid) -> IdText {
    let mut out = [0; ID_LEN];
    id.as_hyphenated().encode_lower(&mut out);
    out
}

/// Hashes an identifier's text: a few nanoseconds, good enough for tables of ids that nobody chose in malice.
#[must_use]
pub fn hash(id: &IdText) -> u64 {
    let mut h = 0x9e37_79b9_7f4a_7c15;
    for chunk in id.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        h = mix(h ^ u64::from_le_bytes(word));
    }
    h
}

/// The finaliser of `SplitMix64`.
#[must_use]
pub const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn id(rest: &[u8]) -> Option<(IdText, &[u8])> {
    let (id, rest) = rest.split_first_chunk::<ID_LEN>()?;
    Some((*id, rest.strip_prefix(b"\"")?))
}

fn number(rest: &[u8]) -> Option<(u64, &[u8])> {
    let len = rest.iter().position(|b| !b.is_ascii_digit())?;
    if len == 0 || len > 19 {
        return None;
    }
    Some((rest[..len].iter().fold(0, |n, b| n * 10 + u64::from(b - b'0')), &rest[len..]))
}

#[cfg(test)]
mod tests {
    use chat_protocol::{ChannelId, ClientId, EventBody, UserId};
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn frame(event: &Event) -> Vec<u8> {
        serde_json::to_vec(&ServerFrame::Event(event.clone())).expect("serialises")
    }

    proptest! {
        #[test]
        fn scanning_agrees_with_parsing(channel: u128, seq in 0u64..10_000_000_000_000_000_000, at in 0u64..1 << 60, by: u128, id: Option<u128>, text in ".{0,40}") {
            let event = Event {
                channel: ChannelId(Uuid::from_u128(channel)),
                seq,
                at,
                by: UserId(Uuid::from_u128(by)),
                id: id.map(|id| ClientId(Uuid::from_u128(id))),
                body: EventBody::Message { text, files: vec![], deleted: false },
            };
            let bytes = frame(&event);
            prop_assert!(is_event(&bytes));
            prop_assert_eq!(EventHead::scan(&bytes), Some(EventHead::from(&event)));
            prop_assert_eq!(EventHead::parse(&bytes), Some(EventHead::from(&event)));
        }

        #[test]
        fn garbage_and_cut_frames_are_never_misread(cut in 0usize..160) {
            let event = Event {
                channel: ChannelId::new(),
                seq: 41,
                at: 99,
                by: UserId::new(),
                id: Some(ClientId::new()),
                body: EventBody::Deleted { target: 3 },
            };
            let bytes = frame(&event);
            prop_assert_eq!(EventHead::scan(&bytes[..cut.min(bytes.len())]), None);
        }
    }

    #[test]
    fn another_order_of_fields_is_left_to_serde() {
        let c = Uuid::from_u128(5);
        let odd =
            format!(r#"{{"seq":7,"type":"event","kind":"new_kind","at":1,"channel":"{c}","by":"{c}"}}"#);
        assert_eq!(EventHead::scan(odd.as_bytes()), None);
        let head = EventHead::parse(odd.as_bytes()).expect("an event");
        assert_eq!((head.seq, head.id, head.channel), (7, None, text(c)));
    }

    #[test]
    fn fingerprints_distinguish_events() {
        let head = |id: Option<u128>, at| EventHead {
            channel: text(Uuid::nil()),
            seq: 1,
            at,
            by: text(Uuid::nil()),
            id: id.map(|id| text(Uuid::from_u128(id))),
        };
        assert_eq!(head(Some(1), 1).fingerprint(), head(Some(1), 2).fingerprint());
        assert_ne!(head(Some(1), 1).fingerprint(), head(Some(2), 1).fingerprint());
        assert_ne!(head(None, 1).fingerprint(), head(None, 2).fingerprint());
    }
}
