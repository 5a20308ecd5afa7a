//! Whatever the owners do: what one sender sent first stands first, and everything stands there once.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use chat_domain::{
    bus::{Bus as _, BusMessage, Subscription},
    chat::{Actor, Chat, HandOverError, Owners, Remote},
    store::{Appended, NewEvent},
};
use chat_protocol::{ChannelId, ChannelKind, ClientId, Seq, rest::CreateChannel};
use proptest::prelude::*;
use tokio::sync::Semaphore;

use super::cluster::World;
use crate::harness::wait::until;

/// What becomes of one thing that is handed over, or might be.
#[derive(Debug, Clone, Copy)]
enum Turn {
    /// This process is the owner, as far as it knows.
    Own,
    Pass,
    Busy,
    NotDone,
    /// Never arrives, and nobody says so.
    Lost,
    /// Appended; the answer is lost.
    AnswerLost,
    /// Arrives after the other side stopped waiting for it.
    Late,
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        4 => Just(Turn::Own),
        6 => Just(Turn::Pass),
        1 => Just(Turn::Busy),
        1 => Just(Turn::NotDone),
        1 => Just(Turn::Lost),
        2 => Just(Turn::AnswerLost),
        2 => Just(Turn::Late),
    ]
}

/// The other process, as it behaves turn by turn.
struct Other {
    turns: Vec<Turn>,
    at: AtomicUsize,
    chat: OnceLock<Arc<Chat>>,
}

impl Other {
    fn next(&self) -> Turn {
        self.turns[self.at.fetch_add(1, Ordering::Relaxed) % self.turns.len()]
    }

    fn chat(&self) -> Arc<Chat> {
        Arc::clone(self.chat.get().unwrap())
    }
}

struct View(Arc<Other>);

impl Owners for View {
    fn remote(&self, _: ChannelId) -> Option<Arc<dyn Remote>> {
        match self.0.next() {
            Turn::Own => None,
            _ => Some(Arc::clone(&self.0) as Arc<dyn Remote>),
        }
    }
}

#[async_trait]
impl Remote for Other {
    async fn append(&self, channel: ChannelId, events: &[NewEvent]) -> Result<Vec<Appended>, HandOverError> {
        assert!(events.iter().all(|event| event.id.is_some()));
        let (chat, events) = (self.chat(), events.to_vec());
        match self.next() {
            Turn::Own | Turn::Pass => chat.append_for(channel, events).await,
            Turn::Busy => Err(HandOverError::Busy { retry_after_ms: 1 }),
            Turn::NotDone => Err(HandOverError::NotDone),
            Turn::Lost => Err(HandOverError::InDoubt),
            Turn::AnswerLost => {
                chat.append_for(channel, events).await.ok();
                Err(HandOverError::InDoubt)
            }
            Turn::Late => {
                tokio::spawn(async move { chat.append_for(channel, events).await });
                Err(HandOverError::InDoubt)
            }
        }
    }
}

#[derive(Debug, Clone)]
struct Scenario {
    turns: [Vec<Turn>; 2],
    /// How many messages each sender has under way at once, per round.
    senders: Vec<Vec<usize>>,
}

fn scenario() -> impl Strategy<Value = Scenario> {
    let turns = || prop::collection::vec(turn(), 1..40);
    let senders = prop::collection::vec(prop::collection::vec(1..30_usize, 1..5), 1..5);
    ([turns(), turns()], senders).prop_map(|(turns, senders)| Scenario { turns, senders })
}

/// Sends in rounds, the messages of a round one after the other without waiting. What was refused is not sent again.
async fn sender(
    world: &World,
    actor: &Actor,
    chat: &Chat,
    channel: ChannelId,
    rounds: Vec<usize>,
) -> Vec<(ClientId, Seq)> {
    let mut acked = Vec::new();
    for count in rounds {
        let mut pending = Vec::new();
        for _ in 0..count {
            let id = ClientId::new();
            pending.push((id, world.submit_as(actor, chat, channel, id).await.unwrap()));
        }
        for (id, pending) in pending {
            match pending.committed().await {
                Ok(committed) => {
                    assert!(!committed.duplicate, "{id} was sent once");
                    acked.push((id, committed.seq));
                }
                Err(error) => assert!(error.code.retryable(), "{error:?}"),
            }
        }
    }
    acked
}

async fn play(scenario: Scenario) {
    let world = World::new().await;
    let request = CreateChannel {
        kind: ChannelKind::Public,
        name: "flapping".into(),
        topic: String::new(),
        members: Vec::new(),
    };
    let chats = [world.chat().0, world.chat().0];
    let channel = chats[0].create_channel(&world.ada, request).await.unwrap().id;
    // Two of them have two sockets each, which write at the same time.
    let bob = world.member("bob", &chats[0], channel).await;
    let cleo = world.member("cleo", &chats[1], channel).await;
    let people = [&world.ada, &bob, &cleo];
    let mut subscription = world.bus.subscribe();
    for (n, turns) in scenario.turns.into_iter().enumerate() {
        let other = Other { turns, at: AtomicUsize::new(0), chat: OnceLock::new() };
        other.chat.set(Arc::clone(&chats[1 - n])).ok();
        chats[n].set_owners(Arc::new(View(Arc::new(other))));
    }
    let senders = scenario.senders.into_iter().enumerate();
    let senders = senders.map(|(n, rounds)| sender(&world, people[n % 3], &chats[n % 2], channel, rounds));
    let acked = futures_util::future::join_all(senders).await;

    let log = world.messages(channel).await;
    let mut ids: Vec<ClientId> = log.iter().map(|(id, _)| *id).collect();
    ids.sort_unstable_by_key(|id| id.0);
    ids.dedup();
    assert_eq!(ids.len(), log.len(), "each stands there once");
    for sent in &acked {
        assert!(sent.iter().all(|one| log.contains(one)), "where it was said to be");
        assert!(sent.is_sorted_by_key(|(_, seq)| *seq), "in the order in which it was sent: {sent:?}");
    }
    let published = published(&mut *subscription);
    for (_, seq) in acked.iter().flatten() {
        assert!(published.contains(seq), "{seq} was published by whoever answered for it");
    }
}

fn published(subscription: &mut dyn Subscription) -> Vec<Seq> {
    let mut seqs = Vec::new();
    while let Some(message) = subscription.try_next() {
        if let BusMessage::Event(event) = message.unwrap() {
            seqs.push(event.seq);
        }
    }
    seqs
}

/// Another process that takes one batch and answers only when the test says so.
struct Slow {
    chat: Arc<Chat>,
    under_way: AtomicUsize,
    go: Semaphore,
}

struct OwnedBy(Arc<Slow>);

impl Owners for OwnedBy {
    fn remote(&self, _: ChannelId) -> Option<Arc<dyn Remote>> {
        Some(Arc::clone(&self.0) as Arc<dyn Remote>)
    }
}

#[async_trait]
impl Remote for Slow {
    async fn append(&self, channel: ChannelId, events: &[NewEvent]) -> Result<Vec<Appended>, HandOverError> {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        self.go.acquire().await.unwrap().forget();
        self.chat.append_for(channel, events.to_vec()).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_the_answer_to_somebody_else() {
    let world = World::new().await;
    let (near, far) = (world.chat().0, world.chat().0);
    let request = CreateChannel {
        kind: ChannelKind::Public,
        name: "busy".into(),
        topic: String::new(),
        members: Vec::new(),
    };
    let channel = far.create_channel(&world.ada, request).await.unwrap().id;
    let bob = world.member("bob", &far, channel).await;
    let slow = Arc::new(Slow { chat: far, under_way: AtomicUsize::new(0), go: Semaphore::new(0) });
    near.set_owners(Arc::new(OwnedBy(Arc::clone(&slow))));
    let submit = async |actor: &Actor| world.submit_as(actor, &near, channel, ClientId::new()).await.unwrap();

    let first = submit(&world.ada).await;
    until("the first is on its way", || slow.under_way.load(Ordering::Relaxed) == 1).await;
    let second = submit(&world.ada).await;
    let others = submit(&bob).await;
    until("the other's is too", || slow.under_way.load(Ordering::Relaxed) == 2).await;
    slow.go.add_permits(3);
    let first = first.committed().await.unwrap().seq;
    let second = second.committed().await.unwrap().seq;
    assert!(first < second, "one's own keep their order: {first} {second}");
    others.committed().await.unwrap();
    assert_eq!(slow.under_way.load(Ordering::Relaxed), 3, "the second came after the first");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn order_holds_while_owners_come_and_go(scenario in scenario()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
        runtime.block_on(play(scenario));
    }
}
