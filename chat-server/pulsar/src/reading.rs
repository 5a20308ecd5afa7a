//! From Pulsar's topics to subscribers: one reader per partition and one of what is ephemeral, shared by all
//! subscribers of the process.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use chat_domain::{bus::BusMessage, clock};
use futures_util::{StreamExt as _, future::try_join_all};
use parking_lot::Mutex;
use pulsar::{
    Consumer, ConsumerOptions, Payload, SubType, TokioExecutor, consumer::InitialPosition,
    proto::MessageIdData,
};
use tokio::{
    sync::{broadcast, watch},
    task::JoinSet,
    time::{Instant, timeout},
};
use uuid::Uuid;

use super::{
    Shared,
    link::{self, Link},
    outlet::Heard,
    pack::Pack,
    subscription::PulsarPosition,
    topics::{self, Source},
};

/// Messages that the broker may send ahead, per reader.
const AHEAD: u32 = 256;
/// How often the broker is informed how far a reader is, so that it does not take it for a slow one.
const ACKNOWLEDGE: Duration = Duration::from_secs(1);
/// Publishers remembered per partition. Those of processes that ended long ago are forgotten first.
const PUBLISHERS: usize = 1_024;

/// Where a message lies in its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MessageId {
    ledger: u64,
    entry: u64,
}

impl MessageId {
    /// Before the first one there is (Pulsar's `MessageId.earliest`, −1:−1).
    const EARLIEST: Self = Self { ledger: u64::MAX, entry: u64::MAX };

    /// By which ids are ordered: an entry of −1 lies before the first of its ledger.
    fn key(self) -> (u64, u64) {
        (self.ledger.wrapping_add(1), self.entry.wrapping_add(1))
    }

    /// Whether `next` is what follows this one, as far as that can be known: an entry of another ledger may be.
    fn precedes(self, next: Self) -> bool {
        self.ledger == next.ledger && self.entry.wrapping_add(1) == next.entry
    }
}

impl From<&MessageIdData> for MessageId {
    fn from(id: &MessageIdData) -> Self {
        Self { ledger: id.ledger_id, entry: id.entry_id }
    }
}

impl From<MessageId> for MessageIdData {
    fn from(id: MessageId) -> Self {
        Self { ledger_id: id.ledger, entry_id: id.entry, ..Self::default() }
    }
}

/// What subscribers are handed.
#[derive(Debug, Clone)]
pub(super) enum Item {
    Message(BusMessage),
    /// So many were missed, 0 when that is not known.
    Missed(u64),
    /// All of a pack went before this.
    Passed(Source, MessageId),
}

/// Readers of all topics, and the queue they fill.
pub(super) struct Reading {
    shared: Arc<Shared>,
    items: broadcast::Sender<Item>,
    /// Whose events are not wanted, because subscribers have them already.
    except: Option<Uuid>,
    cursors: Mutex<BTreeMap<Source, Cursor>>,
    /// Whether it began at a position rather than at the end.
    resumes: bool,
}

#[derive(Debug, Default)]
struct Cursor {
    /// The last message handled.
    at: Option<MessageId>,
    /// Somebody asked to go on from `at`: whether what comes first follows it is to be checked.
    unproven: bool,
    /// The last number of each publisher, and when it came.
    publishers: HashMap<Uuid, (u64, Option<Instant>)>,
}

type Reader = Consumer<Vec<u8>, TokioExecutor>;

/// Why a reader cannot go on.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error(transparent)]
    Client(#[from] pulsar::Error),
    #[error("a reader did not get its topic in time")]
    Late,
    #[error("nothing came from {0:?} for too long")]
    Silent(Source),
    #[error("the reader of {0:?} ended")]
    Ended(Source),
    #[error("{0:?} was read again from an earlier position")]
    Rewound(Source),
}

impl Reading {
    /// Reads from `start`, or whatever comes after the first connection.
    pub(super) fn new(shared: Arc<Shared>, except: Option<Uuid>, start: Option<PulsarPosition>) -> Self {
        let resumes = start.is_some();
        let cursor = |at| Cursor { at: Some(at), unproven: true, ..Cursor::default() };
        let cursors = start.into_iter().flat_map(|start| start.0).map(|(source, at)| (source, cursor(at)));
        Self {
            items: broadcast::Sender::new(shared.options.capacity),
            cursors: Mutex::new(cursors.collect()),
            resumes,
            except,
            shared,
        }
    }

    pub(super) fn items(&self) -> broadcast::Receiver<Item> {
        self.items.subscribe()
    }

    /// To all subscribers; that there is none is fine.
    pub(super) fn hand_out(&self, item: Item) {
        if let Item::Missed(_) = item {
            self.shared.options.metrics.missed.inc();
        }
        drop(self.items.send(item));
    }

    /// The last messages handled.
    pub(super) fn position(&self) -> PulsarPosition {
        let cursors = self.cursors.lock();
        PulsarPosition(cursors.iter().filter_map(|(source, cursor)| Some((*source, cursor.at?))).collect())
    }

    /// Reads on every link there will be.
    pub(super) async fn run(self: Arc<Self>, ready: watch::Sender<bool>) {
        let mut links = self.shared.links.clone();
        while let Some(link) = link::working(&mut links).await {
            let again = *ready.borrow();
            match self.open_all(&link, again).await {
                Ok(readers) => {
                    if again || !self.resumes {
                        // What was ephemeral is gone, and what was committed is had from the store at once.
                        self.hand_out(Item::Missed(0));
                    }
                    ready.send_replace(true);
                    let why = self.read_all(readers, &link).await;
                    link.give_up(why);
                }
                Err(why) => link.give_up(why),
            }
        }
    }

    async fn open_all(&self, link: &Link, again: bool) -> Result<Vec<(Source, Reader)>, Stopped> {
        // A partition that was not there before is read from its beginning.
        let grown = again || !self.cursors.lock().is_empty() && self.resumes;
        let opened =
            try_join_all(topics::sources(link.partitions).map(|source| self.open(source, link, grown)));
        timeout(self.shared.options.request_timeout, opened).await.map_err(|_| Stopped::Late)?
    }

    async fn open(&self, source: Source, link: &Link, grown: bool) -> Result<(Source, Reader), Stopped> {
        if source == Source::Ephemeral {
            return Ok((source, self.reader(source, link, None).await?));
        }
        let at = self.cursors.lock().get(&source).and_then(|cursor| cursor.at);
        let at = match at {
            Some(at) => at,
            None if grown => MessageId::EARLIEST,
            None => {
                // Pinned down, so that a reader that has to begin again does not begin later.
                let mut reader = self.reader(source, link, None).await?;
                let last = Box::pin(reader.get_last_message_id()).await?;
                let last = last.first().map_or(MessageId::EARLIEST, MessageId::from);
                self.cursors.lock().entry(source).or_default().at = Some(last);
                last
            }
        };
        Ok((source, self.reader(source, link, Some(at)).await?))
    }

    async fn reader(
        &self,
        source: Source,
        link: &Link,
        after: Option<MessageId>,
    ) -> Result<Reader, pulsar::Error> {
        let options = ConsumerOptions {
            durable: Some(false),
            start_message_id: after.map(MessageIdData::from),
            receiver_queue_size: Some(AHEAD),
            initial_position: InitialPosition::Latest,
            ..ConsumerOptions::default()
        };
        // A name of its own each time: the broker may still hold the reader of the link before.
        let name = format!("folkmoot-{}", Uuid::new_v4().simple());
        link.client
            .consumer()
            .with_topic(self.shared.topics.name(source))
            .with_subscription(&name)
            .with_consumer_name(&name)
            .with_subscription_type(SubType::Exclusive)
            .with_batch_size(AHEAD)
            .with_options(options)
            .build()
            .await
    }

    /// Returns why it cannot go on.
    async fn read_all(self: &Arc<Self>, readers: Vec<(Source, Reader)>, link: &Arc<Link>) -> Stopped {
        let mut tasks = JoinSet::new();
        let any = Source::Ephemeral;
        for (source, reader) in readers {
            tasks.spawn(Arc::clone(self).read(source, reader));
        }
        tokio::select! {
            () = link.broken() => Stopped::Ended(any),
            ended = tasks.join_next() => match ended {
                Some(Ok(why)) => why,
                _ => Stopped::Ended(any),
            },
        }
    }

    async fn read(self: Arc<Self>, source: Source, mut reader: Reader) -> Stopped {
        let heard = self.shared.progress.of(source);
        let mut acknowledged = Instant::now();
        loop {
            let message = match timeout(self.shared.options.stall_after, reader.next()).await {
                Ok(Some(Ok(message))) => message,
                Ok(Some(Err(error))) => return error.into(),
                Ok(None) => return Stopped::Ended(source),
                Err(_) => return Stopped::Silent(source),
            };
            if acknowledged.elapsed() >= ACKNOWLEDGE && source != Source::Ephemeral {
                acknowledged = Instant::now();
                if let Err(error) = reader.cumulative_ack(&message).await {
                    return pulsar::Error::from(error).into();
                }
            }
            let id = MessageId::from(message.message_id());
            if let Err(why) = self.take(source, id, message.payload, &heard) {
                return why;
            }
        }
    }

    fn take(&self, source: Source, id: MessageId, payload: Payload, heard: &Heard) -> Result<(), Stopped> {
        heard.now();
        let pack = Pack::read(&payload.data.into());
        let durable = source != Source::Ephemeral;
        let number = pack.as_ref().map(|pack| (pack.publisher, pack.number));
        let (missed, seen) = {
            let mut cursors = self.cursors.lock();
            let cursor = cursors.entry(source).or_default();
            match cursor.at.map(|at| id.key().cmp(&at.key())).filter(|_| durable) {
                // A reader begins with the message that it is to go on after.
                Some(Ordering::Equal) => {
                    cursor.unproven = false;
                    return Ok(());
                }
                Some(Ordering::Less) => return Err(Stopped::Rewound(source)),
                Some(Ordering::Greater) | None => {}
            }
            let before = cursor.at.replace(id);
            let unproven = std::mem::take(&mut cursor.unproven);
            let gap = unproven && !before.is_some_and(|before| before.precedes(id));
            let (missed, seen) = number.map_or((0, false), |(publisher, n)| cursor.count(publisher, n));
            // Signals may be lost without anybody being alarmed.
            ((gap || missed > 0).then_some(missed).filter(|_| durable), seen)
        };
        if let Some(missed) = missed {
            self.hand_out(Item::Missed(missed));
        }
        if let Some(pack) = pack.filter(|_| !seen) {
            let own = Some(pack.publisher) == self.except;
            let metrics = &self.shared.options.metrics;
            let lag = clock::now_ms().saturating_sub(payload.metadata.publish_time);
            metrics.lag_seconds.observe(Duration::from_millis(lag).as_secs_f64());
            for message in pack.messages(!own) {
                metrics.received.inc();
                self.hand_out(Item::Message(message));
            }
        }
        if durable {
            self.hand_out(Item::Passed(source, id));
        }
        Ok(())
    }
}

impl Cursor {
    /// How many packs of a publisher are missing before this one, and whether it came before.
    fn count(&mut self, publisher: Uuid, number: u64) -> (u64, bool) {
        let now = Some(Instant::now());
        match self.publishers.get_mut(&publisher) {
            Some((last, _)) if number <= *last => (0, true),
            Some(known) => {
                let missing = number - known.0 - 1;
                *known = (number, now);
                (missing, false)
            }
            None => {
                if self.publishers.len() >= PUBLISHERS {
                    let oldest = self.publishers.iter().min_by_key(|(_, (_, at))| *at).map(|(id, _)| *id);
                    oldest.and_then(|id| self.publishers.remove(&id));
                }
                self.publishers.insert(publisher, (number, now));
                (0, false)
            }
        }
    }
}
