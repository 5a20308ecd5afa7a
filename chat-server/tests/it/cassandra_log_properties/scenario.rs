//! What senders do, through stores that fail.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use chat_cassandra::CassandraStore;
use chat_domain::store::{Appended, LogStore, NewEvent, Refusal, StoreError};
use chat_protocol::{ChannelId, ClientId, EventBody, Millis, Seq, UserId};
use proptest::prelude::*;

use crate::keyspace::faulty::Fault;

/// Users whose memberships change.
pub(crate) const USERS: usize = 3;
/// Names that channels compete for.
pub(crate) const NAMES: usize = 3;

/// One thing that a sender does.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// New messages in one call; without client ids, if so.
    Say {
        count: usize,
        named: bool,
    },
    Join(usize),
    Leave(usize),
    Topic(u8),
    Rename(usize),
    Archive(bool),
    /// One of the sender's messages in the channel.
    Edit(prop::sample::Index),
    Delete(prop::sample::Index),
    /// To whatever stands at one of the first positions.
    React {
        target: Seq,
        emoji: &'static str,
        removed: bool,
    },
    /// One of the sender's earlier calls once more.
    Resend(prop::sample::Index),
}

/// A step, with the channel and the store that it goes to.
#[derive(Debug, Clone)]
pub(crate) struct Doing {
    pub(crate) step: Step,
    pub(crate) channel: usize,
    pub(crate) store: usize,
}

#[derive(Debug, Clone)]
pub(crate) struct Scenario {
    pub(crate) channels: usize,
    /// For each store, what happens to its requests, and whether reads fail too.
    pub(crate) stores: Vec<(Vec<Option<Fault>>, bool)>,
    pub(crate) senders: Vec<Vec<Doing>>,
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        6 => (1..7_usize, prop::bool::weighted(0.8)).prop_map(|(count, named)| Step::Say { count, named }),
        2 => (0..USERS).prop_map(Step::Join),
        2 => (0..USERS).prop_map(Step::Leave),
        1 => (0..3_u8).prop_map(Step::Topic),
        2 => (0..NAMES).prop_map(Step::Rename),
        1 => any::<bool>().prop_map(Step::Archive),
        2 => index().prop_map(Step::Edit),
        1 => index().prop_map(Step::Delete),
        5 => (2..12_u64, prop::sample::select(&["👍", "🎉"][..]), prop::bool::weighted(0.3))
            .prop_map(|(target, emoji, removed)| Step::React { target, emoji, removed }),
        4 => index().prop_map(Step::Resend),
    ]
}

fn fault() -> impl Strategy<Value = Option<Fault>> {
    prop_oneof![
        6 => Just(None),
        1 => Just(Some(Fault::Lost)),
        1 => Just(Some(Fault::Unanswered)),
        1 => Just(Some(Fault::Late)),
        1 => Just(Some(Fault::Unavailable)),
    ]
}

pub(crate) fn scenario() -> impl Strategy<Value = Scenario> {
    (1..4_usize, 1..4_usize).prop_flat_map(|(channels, stores)| {
        let doing = (step(), 0..channels, 0..stores).prop_map(|(step, channel, store)| Doing {
            step,
            channel,
            store,
        });
        let senders = prop::collection::vec(prop::collection::vec(doing, 1..14), 1..5);
        let faults = (prop::collection::vec(fault(), 0..40), any::<bool>());
        (prop::collection::vec(faults, stores), senders).prop_map(move |(stores, senders)| Scenario {
            channels,
            stores,
            senders,
        })
    })
}

/// What a sender was answered about one event, each time it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Outcome(Appended),
    Unknown,
    NotDone,
}

/// One call of a sender, and the answers to it.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) channel: ChannelId,
    pub(crate) events: Vec<NewEvent>,
    /// One list for each event.
    pub(crate) answers: Vec<Vec<Answer>>,
    /// The time that each attempt gave its events.
    pub(crate) sent_at: Vec<Millis>,
}

impl Call {
    fn new(channel: ChannelId, events: Vec<NewEvent>) -> Self {
        let answers = vec![Vec::new(); events.len()];
        Self { channel, events, answers, sent_at: Vec::new() }
    }

    pub(crate) async fn send(&mut self, store: &CassandraStore) {
        // As a server does it: each attempt has its own time, and no two the same.
        let at = tick();
        let events = self.events.iter().cloned().map(|event| NewEvent { at, ..event }).collect();
        self.sent_at.push(at);
        let answers = match store.append(self.channel, events).await {
            Ok(outcomes) => {
                assert_eq!(outcomes.len(), self.events.len());
                outcomes.into_iter().map(Answer::Outcome).collect()
            }
            Err(StoreError::UnknownOutcome(_)) => vec![Answer::Unknown; self.events.len()],
            Err(StoreError::Unavailable(_) | StoreError::Overloaded { .. }) => {
                vec![Answer::NotDone; self.events.len()]
            }
            Err(StoreError::Failed(source)) => panic!("expected to be able to go on, got {source:?}"),
        };
        for (all, now) in self.answers.iter_mut().zip(answers) {
            all.push(now);
        }
    }

    /// Whether it may be sent again without doing it twice.
    pub(crate) fn can_be_resent(&self) -> bool {
        self.events.iter().all(|event| event.id.is_some())
    }

    pub(crate) fn seq(&self, index: usize) -> Option<Seq> {
        self.answers[index].iter().find_map(|answer| match answer {
            Answer::Outcome(Appended::New { seq } | Appended::Duplicate { seq, .. }) => Some(*seq),
            _ => None,
        })
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.answers.iter().all(|answers| matches!(answers.last(), Some(Answer::Outcome(_))))
    }
}

pub(crate) struct Sender {
    pub(crate) user: UserId,
    pub(crate) calls: Vec<Call>,
}

/// Whom and what a scenario is about.
pub(crate) struct Cast {
    pub(crate) channels: Vec<ChannelId>,
    pub(crate) users: Vec<UserId>,
    pub(crate) names: Vec<String>,
    pub(crate) stores: Vec<Arc<CassandraStore>>,
}

impl Sender {
    pub(crate) async fn run(mut self, cast: Arc<Cast>, doings: Vec<Doing>) -> Self {
        for Doing { step, channel, store } in doings {
            let store = &cast.stores[store];
            let channel = cast.channels[channel];
            if let Step::Resend(which) = step {
                if let Some(index) = self.resent(&which) {
                    self.calls[index].send(store).await;
                }
                continue;
            }
            let Some(events) = self.events(&cast, channel, &step) else { continue };
            let mut call = Call::new(channel, events);
            call.send(store).await;
            self.calls.push(call);
        }
        self
    }

    fn resent(&self, which: &prop::sample::Index) -> Option<usize> {
        let can: Vec<usize> = (0..self.calls.len()).filter(|&i| self.calls[i].can_be_resent()).collect();
        (!can.is_empty()).then(|| can[which.index(can.len())])
    }

    fn events(&self, cast: &Cast, channel: ChannelId, step: &Step) -> Option<Vec<NewEvent>> {
        let own: Vec<Seq> = self
            .calls
            .iter()
            .filter(|call| call.channel == channel)
            .flat_map(|call| (0..call.events.len()).filter_map(|i| call.seq(i)))
            .collect();
        let pick = |which: &prop::sample::Index| (!own.is_empty()).then(|| own[which.index(own.len())]);
        let body = match step {
            Step::Say { count, named } => {
                let say = |_| {
                    let text = uuid::Uuid::new_v4().to_string();
                    let event = self.event(EventBody::Message { text, files: vec![], deleted: false });
                    NewEvent { id: event.id.filter(|_| *named), ..event }
                };
                return Some((0..*count).map(say).collect());
            }
            Step::Join(user) => EventBody::MemberJoined { user: cast.users[*user] },
            Step::Leave(user) => EventBody::MemberLeft { user: cast.users[*user] },
            Step::Topic(n) => EventBody::TopicChanged { topic: n.to_string() },
            Step::Rename(name) => EventBody::Renamed { name: cast.names[*name].clone() },
            Step::Archive(archived) => EventBody::Archived { archived: *archived },
            Step::Edit(which) => EventBody::Edited {
                target: pick(which)?,
                text: uuid::Uuid::new_v4().to_string(),
                deleted: false,
            },
            Step::Delete(which) => EventBody::Deleted { target: pick(which)? },
            Step::React { target, emoji, removed } => {
                EventBody::Reaction { target: *target, emoji: (*emoji).to_owned(), removed: *removed }
            }
            Step::Resend(_) => return None,
        };
        Some(vec![self.event(body)])
    }

    fn event(&self, body: EventBody) -> NewEvent {
        NewEvent { id: Some(ClientId::new()), ..NewEvent::of_server(self.user, now(), body) }
    }
}

/// A clock that never says the same twice.
fn tick() -> Millis {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let now = now();
    LAST.fetch_max(now, Ordering::Relaxed);
    LAST.fetch_add(1, Ordering::Relaxed)
}

pub(crate) fn now() -> Millis {
    let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Millis::try_from(since_epoch.as_millis()).unwrap()
}

/// Whether it was refused for a reason that such a step can meet.
pub(crate) fn is_expected(refusal: Refusal) -> bool {
    !matches!(refusal, Refusal::NoChannel | Refusal::ChannelExists)
}
