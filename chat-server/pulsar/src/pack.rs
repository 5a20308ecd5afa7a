//! What a Pulsar message holds: a pack of records of one publisher, numbered per topic partition.
//!
//! ```text
//! pack   = version u8 (1) | publisher, 16 bytes | number, u64 | record*
//! record = kind u8 | length u32 | that many bytes        (integers are big-endian)
//! ```
//! The numbers of a publisher are dense per partition: a receiver drops what it has seen (a publisher that got no
//! receipt sends again) and knows when it lacks something. A pack without records is a heartbeat. Events follow a record
//! that names the generation of the store that they were committed to; those before the first such record are of a
//! process that knows none (0.1.0). Kinds and signals that a receiver does not know come from a newer version and are
//! skipped, as is a pack of another version.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use chat_domain::bus::{BusMessage, CommittedEvent, Signal};
use chat_log::count::{Counts, End};
use chat_protocol::{Event, Generation};
use uuid::Uuid;

const VERSION: u8 = 1;
const HEADER: usize = 1 + 16 + 8;
const RECORD_HEADER: usize = 1 + 4;
/// A committed event: its server frame, as clients get it.
const EVENT: u8 = 1;
/// A [`Signal`] as JSON.
const SIGNAL: u8 = 2;
/// Where the log of the event in the next record ends with it: head, where counting began, and the three counts, each a u64.
const END: u8 = 3;
/// The generation of the events that follow in the same pack, 16 bytes.
const GENERATION: u8 = 4;
/// The read marker of its author moves to the event in the next record but those of kind [`END`]. Empty.
const READ: u8 = 5;

/// Records and bytes after which a pack is full. Pulsar's own limit is 5 MiB a message.
const MAX_RECORDS: usize = 512;
const MAX_BYTES: usize = 512 * 1024;

/// One message, encoded.
#[derive(Debug, Clone)]
pub(super) struct Record {
    kind: u8,
    bytes: Bytes,
    end: Option<End>,
    /// Of an event, when it is known.
    generation: Option<Generation>,
    /// The read marker of the event's author moves to it.
    read: bool,
    since: Instant,
}

impl Record {
    /// Shares the bytes of an event; `None` when a signal cannot be written, which no signal of today does.
    pub(super) fn of(message: &BusMessage) -> Option<Self> {
        match message {
            BusMessage::Event(event) => {
                let record = Self::new(EVENT, event.json.clone());
                let (end, generation, read) = (event.end, event.generation, event.reader.is_some());
                Some(Self { end, generation, read, ..record })
            }
            BusMessage::Signal(signal) => {
                let bytes = serde_json::to_vec(signal).ok()?;
                Some(Self::new(SIGNAL, bytes.into()))
            }
        }
    }

    fn new(kind: u8, bytes: Bytes) -> Self {
        Self { kind, bytes, end: None, generation: None, read: false, since: Instant::now() }
    }

    /// How long it has waited.
    pub(super) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// What it takes in memory, about.
    pub(super) fn size(&self) -> usize {
        self.bytes.len() + 64
    }
}

/// A pack that is being filled.
pub(super) struct Packer {
    bytes: BytesMut,
    records: usize,
    /// As the last record says that names one.
    generation: Option<Generation>,
}

impl Packer {
    pub(super) fn new(publisher: Uuid, number: u64) -> Self {
        let mut bytes = BytesMut::with_capacity(1024);
        bytes.put_u8(VERSION);
        bytes.put_slice(publisher.as_bytes());
        bytes.put_u64(number);
        Self { bytes, records: 0, generation: None }
    }

    pub(super) fn is_full(&self) -> bool {
        self.records >= MAX_RECORDS || self.bytes.len() >= MAX_BYTES
    }

    pub(super) fn push(&mut self, record: &Record) {
        // No event comes near 4 GiB; one that did would be no use to anybody.
        let Ok(length) = u32::try_from(record.bytes.len()) else { return };
        if let Some(generation) = record.generation
            && self.generation != record.generation
        {
            self.put(GENERATION, 16, generation.0.as_bytes());
            self.generation = record.generation;
        }
        if record.read {
            self.put(READ, 0, &[]);
        }
        if let Some(End { head, from, counts }) = record.end {
            let numbers = [head, from, counts.n, counts.d, counts.m];
            self.bytes.put_u8(END);
            self.bytes.put_u32(u32::try_from(size_of_val(&numbers)).unwrap_or_default());
            for number in numbers {
                self.bytes.put_u64(number);
            }
        }
        self.put(record.kind, length, &record.bytes);
        self.records += 1;
    }

    fn put(&mut self, kind: u8, length: u32, bytes: &[u8]) {
        self.bytes.put_u8(kind);
        self.bytes.put_u32(length);
        self.bytes.put_slice(bytes);
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes.into()
    }
}

/// A pack that was received.
#[derive(Debug)]
pub(super) struct Pack {
    pub(super) publisher: Uuid,
    pub(super) number: u64,
    records: Bytes,
}

impl Pack {
    /// `None` when it is not of this version.
    pub(super) fn read(bytes: &Bytes) -> Option<Self> {
        let header = bytes.get(..HEADER)?;
        if header[0] != VERSION {
            return None;
        }
        let publisher = Uuid::from_slice(&header[1..17]).ok()?;
        let number = u64::from_be_bytes(header[17..].try_into().ok()?);
        Some(Self { publisher, number, records: bytes.slice(HEADER..) })
    }

    /// The messages in it that this version knows, without its events if they are not wanted.
    pub(super) fn messages(self, events: bool) -> impl Iterator<Item = BusMessage> {
        let mut rest = self.records;
        std::iter::from_fn(move || {
            let header = rest.get(..RECORD_HEADER)?;
            let kind = header[0];
            let length = u32::from_be_bytes(header[1..].try_into().ok()?) as usize;
            // A pack that was cut short ends where it was cut.
            rest.get(RECORD_HEADER..RECORD_HEADER + length)?;
            let mut record = rest.split_to(RECORD_HEADER + length);
            Some((kind, record.split_off(RECORD_HEADER)))
        })
        .filter(move |(kind, _)| events || *kind != EVENT)
        .scan(Context::default(), |context, (kind, bytes)| {
            match kind {
                END => context.end = read_end(&bytes),
                GENERATION => context.generation = Uuid::from_slice(&bytes).ok().map(Generation),
                READ => context.read = true,
                _ => {
                    let read = message(kind, bytes, context);
                    // Only the generation holds for more than the next record.
                    *context = Context { generation: context.generation, ..Context::default() };
                    return Some(read);
                }
            }
            Some(None)
        })
        .flatten()
    }
}

/// What the records before one say of it.
#[derive(Default)]
struct Context {
    end: Option<End>,
    generation: Option<Generation>,
    read: bool,
}

fn read_end(mut bytes: &[u8]) -> Option<End> {
    let mut number = || bytes.try_get_u64().ok();
    let (head, from) = (number()?, number()?);
    Some(End { head, from, counts: Counts { n: number()?, d: number()?, m: number()? } })
}

fn message(kind: u8, bytes: Bytes, context: &Context) -> Option<BusMessage> {
    let read = match kind {
        EVENT => serde_json::from_slice::<Event>(&bytes).map(|event| {
            let Event { channel, seq, by, body, .. } = event;
            let Context { end, generation, read } = *context;
            let (end, reader) = (end.filter(|end| end.head == seq), read.then_some(by));
            let (body, json) = (body.into(), bytes);
            BusMessage::Event(Arc::new(CommittedEvent { channel, seq, body, json, end, generation, reader }))
        }),
        SIGNAL => serde_json::from_slice::<Signal>(&bytes).map(BusMessage::Signal),
        _ => return None,
    };
    read.inspect_err(|error| tracing::debug!(kind, %error, "record of a newer version is skipped")).ok()
}

#[cfg(test)]
mod tests {
    use chat_protocol::{ChannelId, ClientId, EventBody, ServerFrame, UserId};

    use super::*;

    fn event() -> Event {
        Event {
            channel: ChannelId::new(),
            seq: 42,
            at: 1_700_000_000_000,
            by: UserId::new(),
            id: Some(ClientId::new()),
            body: EventBody::Message { text: "say \"hi\"\n👋".into(), files: vec![], deleted: false },
        }
    }

    fn committed(event: &Event) -> BusMessage {
        committed_to(None, event)
    }

    fn committed_to(generation: Option<Generation>, event: &Event) -> BusMessage {
        let json = serde_json::to_vec(&ServerFrame::Event(event.clone())).expect("serialises").into();
        let Event { channel, seq, body, .. } = event.clone();
        let end = Some(End { head: 42, from: 3, counts: Counts { n: 39, d: 2, m: 1 } });
        let body = body.into();
        BusMessage::Event(Arc::new(CommittedEvent {
            channel,
            seq,
            body,
            json,
            end,
            generation,
            reader: None,
        }))
    }

    #[test]
    fn whose_marker_moves_is_said_of_one_event() {
        let read = event();
        let BusMessage::Event(moves) = committed(&read) else { unreachable!("it is an event") };
        let moves = Arc::into_inner(moves).expect("nobody else has it");
        let moves = CommittedEvent { reader: Some(read.by), ..moves };
        let messages = [BusMessage::Event(Arc::new(moves)), committed(&event())];
        let packed = packed(&messages.map(|message| Record::of(&message).expect("is written")));
        let read_back =
            Pack::read(&packed).expect("is read").messages(true).filter_map(|message| match message {
                BusMessage::Event(event) => Some((event.reader, event.end.is_some())),
                BusMessage::Signal(_) => None,
            });
        assert_eq!(read_back.collect::<Vec<_>>(), [(Some(read.by), true), (None, true)]);
    }

    fn packed(records: &[Record]) -> Bytes {
        let mut packer = Packer::new(Uuid::nil(), 7);
        for record in records {
            packer.push(record);
        }
        packer.finish().into()
    }

    #[test]
    fn what_is_packed_comes_out_the_same_and_in_order() {
        let event = event();
        let typing = Signal::Typing { channel: ChannelId::new(), user: UserId::new() };
        let records = [committed(&event), BusMessage::Signal(typing.clone())]
            .map(|m| Record::of(&m).expect("is written"));
        let pack = Pack::read(&packed(&records)).expect("is read");
        assert_eq!((pack.publisher, pack.number), (Uuid::nil(), 7));
        let messages: Vec<BusMessage> = pack.messages(true).collect();
        let [BusMessage::Event(read), BusMessage::Signal(signal)] = messages.as_slice() else {
            panic!("other messages: {messages:?}")
        };
        assert_eq!((read.channel, read.seq, &*read.body), (event.channel, 42, &event.body));
        assert_eq!(read.end, Some(End { head: 42, from: 3, counts: Counts { n: 39, d: 2, m: 1 } }));
        assert_eq!(read.json, serde_json::to_vec(&ServerFrame::Event(event)).expect("serialises"));
        assert_eq!(*signal, typing);
    }

    #[test]
    fn what_a_newer_version_says_is_skipped() {
        let known = BusMessage::Signal(Signal::Gone { node: "a".into(), epoch: 1 });
        let records = [
            Record::new(77, Bytes::from_static(b"new kind of record")),
            Record::new(SIGNAL, Bytes::from_static(br#"{"new_kind_of_signal":{}}"#)),
            Record::of(&known).expect("is written"),
        ];
        let messages: Vec<BusMessage> =
            Pack::read(&packed(&records)).expect("is read").messages(true).collect();
        assert!(matches!(messages.as_slice(), [BusMessage::Signal(Signal::Gone { .. })]), "{messages:?}");
        let mut newer = packed(&records).to_vec();
        newer[0] = VERSION + 1;
        assert!(Pack::read(&newer.into()).is_none());
    }

    #[test]
    fn events_keep_the_generation_that_they_were_committed_to() {
        let (a, b) = (Some(Generation::new()), Some(Generation::new()));
        let typing = Signal::Typing { channel: ChannelId::new(), user: UserId::new() };
        let messages = [
            committed_to(None, &event()),
            committed_to(a, &event()),
            BusMessage::Signal(typing),
            committed_to(a, &event()),
            committed_to(b, &event()),
        ];
        let records = messages.map(|m| Record::of(&m).expect("is written"));
        let bytes = packed(&records);
        let named: usize = records.iter().map(|record| RECORD_HEADER + record.bytes.len()).sum();
        let (ends, generations) = (4 * (RECORD_HEADER + 40), 2 * (RECORD_HEADER + 16));
        assert_eq!(bytes.len(), HEADER + named + ends + generations, "each is named once");
        let read = Pack::read(&bytes).expect("is read").messages(true).filter_map(|message| match message {
            BusMessage::Event(event) => Some(event.generation),
            BusMessage::Signal(_) => None,
        });
        assert_eq!(read.collect::<Vec<_>>(), [None, a, a, b]);
    }

    #[test]
    fn any_bytes_at_all_do_no_harm() {
        let whole = packed(&[Record::of(&committed(&event())).expect("is written")]);
        for length in 0..whole.len() {
            let messages =
                Pack::read(&whole.slice(..length)).into_iter().flat_map(|pack| pack.messages(true));
            assert_eq!(messages.count(), 0);
        }
        let mut long = whole.to_vec();
        long[HEADER + 1..HEADER + 5].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(Pack::read(&long.into()).expect("is read").messages(true).count(), 0);
    }
}
