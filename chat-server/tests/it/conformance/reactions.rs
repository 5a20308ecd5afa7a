//! Reactions: who reacted to which message with what, whatever happened before.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chat_domain::store::{Appended, Authority, NewEvent, Refusal, Store};
use chat_log::permission::Denial;
use chat_protocol::{ChannelId, ClientId, EventBody, Reactions, Seq, UserId, rest::Role};
use proptest::{prelude::*, sample::Index, strategy::ValueTree as _, test_runner::TestRunner};

use super::fixtures::{append, commit, event, message, named, new_channel};
use crate::harness::wait::until_so;

/// Number of random histories.
const CASES: usize = 12;
const NO_EFFECT: Appended = Appended::Refused(Refusal::NoEffect);
const NO_TARGET: Appended = Appended::Refused(Refusal::NoTarget);
const TOO_MANY: Appended = Appended::Refused(Refusal::TooManyReactions);

fn reacts(by: UserId, target: Seq, emoji: &str) -> NewEvent {
    event(by, EventBody::Reaction { target, emoji: emoji.into(), removed: false })
}

fn takes_back(by: UserId, target: Seq, emoji: &str) -> NewEvent {
    event(by, EventBody::Reaction { target, emoji: emoji.into(), removed: true })
}

/// Twenty of these are twenty kinds.
fn emoji(number: u32) -> String {
    char::from_u32(0x1F600 + number).unwrap().into()
}

/// The reactions of every message of a channel, in pages of this size.
async fn shown(store: &dyn Store, channel: ChannelId, size: usize) -> BTreeMap<Seq, Reactions> {
    let (mut before, mut shown) = (Seq::MAX, BTreeMap::new());
    loop {
        let page = store.messages(channel, before, size).await.unwrap();
        let Some(last) = page.last() else { return shown };
        before = last.seq;
        shown.extend(page.into_iter().map(|message| (message.seq, message.reactions)));
    }
}

/// A store may show a reaction a moment after it has answered.
async fn shows(store: &dyn Store, channel: ChannelId, size: usize, expected: &BTreeMap<Seq, Reactions>) {
    let what = format!("pages of {size} show {expected:?}");
    until_so(&what, async || shown(store, channel, size).await == *expected).await;
}

#[derive(Debug, Clone)]
enum Step {
    Write(usize),
    Edit(Index),
    Delete(Index),
    React { who: usize, which: Index, with: u32, removed: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    let reaction = (0..3_usize, index(), 0..3_u32, prop::bool::weighted(0.4));
    prop_oneof![
        2 => (0..3_usize).prop_map(Step::Write),
        1 => index().prop_map(Step::Edit),
        1 => index().prop_map(Step::Delete),
        8 => reaction.prop_map(|(who, which, with, removed)| Step::React { who, which, with, removed }),
    ]
}

/// What a channel must show, kept by hand.
struct Model {
    people: [UserId; 3],
    head: Seq,
    /// Every message, deleted ones too.
    messages: BTreeMap<Seq, Reactions>,
    deleted: BTreeSet<Seq>,
}

impl Model {
    fn new(people: [UserId; 3], head: Seq) -> Self {
        Self { people, head, messages: BTreeMap::new(), deleted: BTreeSet::new() }
    }

    /// Some message that was written, if there is one.
    fn target(&self, which: Index) -> Option<Seq> {
        let messages: Vec<Seq> = self.messages.keys().copied().collect();
        (!messages.is_empty()).then(|| messages[which.index(messages.len())])
    }

    /// The event of a step, and whether it is committed; the model follows it.
    fn take(&mut self, step: &Step) -> Option<(NewEvent, Appended)> {
        let new = Appended::New { seq: self.head + 1 };
        let (event, outcome) = match *step {
            Step::Write(who) => {
                self.messages.insert(self.head + 1, Reactions::new());
                (message(self.people[who], "hi"), new)
            }
            Step::Edit(which) => {
                let target = self.target(which)?;
                let edit = EventBody::Edited { target, text: "better".into(), deleted: false };
                let outcome = if self.deleted.contains(&target) { NO_TARGET } else { new };
                (event(self.people[0], edit), outcome)
            }
            Step::Delete(which) => {
                let target = self.target(which)?;
                let outcome = if self.deleted.insert(target) { new } else { NO_TARGET };
                self.messages.insert(target, Reactions::new());
                (event(self.people[0], EventBody::Deleted { target }), outcome)
            }
            Step::React { who, which, with, removed } => {
                let (by, target, emoji) = (self.people[who], self.target(which)?, emoji(with));
                let outcome = if self.deleted.contains(&target) {
                    NO_TARGET
                } else {
                    let reactions = self.messages.get_mut(&target).unwrap();
                    let people = reactions.entry(emoji.clone()).or_default();
                    let changed = if removed { people.remove(&by) } else { people.insert(by) };
                    reactions.retain(|_, people| !people.is_empty());
                    if changed { new } else { NO_EFFECT }
                };
                (event(by, EventBody::Reaction { target, emoji, removed }), outcome)
            }
        };
        self.head += Seq::from(outcome == new);
        Some((event, outcome))
    }
}

pub(crate) async fn pages_show_reactions_after_any_history(store: Arc<dyn Store>) {
    let mut runner = TestRunner::deterministic();
    let strategy = prop::collection::vec(prop::collection::vec(step(), 1..8), 1..10);
    for _ in 0..CASES {
        let batches = strategy.new_tree(&mut runner).unwrap().current();
        let people = [(); 3].map(|()| UserId::new());
        let channel = new_channel(&*store, &people).await;
        let mut model = Model::new(people, 4);
        for (n, batch) in batches.into_iter().enumerate() {
            if n % 2 == 1 {
                // Decided as by a process that knows nothing yet.
                store.forget();
            }
            let (events, expected): (Vec<_>, Vec<_>) =
                batch.iter().filter_map(|step| model.take(step)).unzip();
            assert_eq!(store.append(channel, events).await.unwrap(), expected, "{batch:?}");
        }
        for size in [3, 200] {
            shows(&*store, channel, size, &model.messages).await;
        }
    }
}

pub(crate) async fn a_reaction_is_an_event_that_counts_nowhere(store: Arc<dyn Store>) {
    let (ada, grace) = (UserId::new(), UserId::new());
    let channel = new_channel(&*store, &[ada, grace]).await;
    let target = commit(&*store, channel, message(ada, "hi")).await;
    let before = store.channel(channel).await.unwrap().unwrap().end;
    let markers = async || {
        let of = async |user| store.membership(channel, user).await.unwrap().unwrap();
        [of(ada).await, of(grace).await].map(|membership| (membership.read, membership.own))
    };
    // Noting one's own last message may take a moment.
    until_so("the message is its author's last one", async || markers().await[0].1 == target).await;
    let had_read = markers().await;

    let seen = NewEvent { seen: Some(target), ..reacts(grace, target, "👍") };
    assert_eq!(commit(&*store, channel, seen).await, target + 1);
    assert_eq!(commit(&*store, channel, takes_back(grace, target, "👍")).await, target + 2);
    let events = store.events(channel, target, 10).await.unwrap();
    assert_eq!(
        events.iter().map(|event| &*event.body).collect::<Vec<_>>(),
        [
            format!(r#"{{"kind":"reaction","target":{target},"emoji":"👍"}}"#),
            format!(r#"{{"kind":"reaction","target":{target},"emoji":"👍","removed":true}}"#),
        ]
    );
    let end = store.channel(channel).await.unwrap().unwrap().end;
    assert_eq!((end.head, end.from, end.counts), (target + 2, before.from, before.counts));
    assert_eq!(markers().await, had_read);
}

pub(crate) async fn only_messages_that_stand_take_reactions(store: Arc<dyn Store>) {
    let ada = UserId::new();
    let channel = new_channel(&*store, &[ada]).await;
    let target = commit(&*store, channel, message(ada, "hi")).await;
    let elsewhere = new_channel(&*store, &[ada]).await;
    commit(&*store, elsewhere, message(ada, "one")).await;
    let other = commit(&*store, elsewhere, message(ada, "another")).await;
    let edit = EventBody::Edited { target, text: "hi!".into(), deleted: false };
    let edited = commit(&*store, channel, event(ada, edit)).await;
    assert_eq!(edited, other, "a message of another channel at this position");
    let reaction = commit(&*store, channel, reacts(ada, target, "👍")).await;
    for wrong in [0, 1, 2, edited, reaction, reaction + 1, Seq::MAX] {
        assert_eq!(append(&*store, channel, reacts(ada, wrong, "👍")).await, NO_TARGET, "{wrong}");
        assert_eq!(append(&*store, channel, takes_back(ada, wrong, "👍")).await, NO_TARGET, "{wrong}");
    }
}

pub(crate) async fn reactions_go_with_their_message(store: Arc<dyn Store>) {
    let (ada, grace) = (UserId::new(), UserId::new());
    let channel = new_channel(&*store, &[ada, grace]).await;
    let gone = commit(&*store, channel, message(ada, "mistake")).await;
    let stays = commit(&*store, channel, message(ada, "hi")).await;
    for (by, target) in [(ada, gone), (grace, gone), (ada, stays), (grace, stays)] {
        commit(&*store, channel, reacts(by, target, "👍")).await;
    }
    commit(&*store, channel, event(ada, EventBody::Deleted { target: gone })).await;
    let kept = Reactions::from([("👍".to_owned(), BTreeSet::from([ada, grace]))]);
    shows(&*store, channel, 10, &BTreeMap::from([(gone, Reactions::new()), (stays, kept)])).await;
    assert_eq!(append(&*store, channel, reacts(ada, gone, "🎉")).await, NO_TARGET);
    assert_eq!(append(&*store, channel, takes_back(ada, gone, "👍")).await, NO_TARGET);
}

pub(crate) async fn reactions_are_decided_within_one_batch(store: Arc<dyn Store>) {
    let (ada, grace, stranger) = (UserId::new(), UserId::new(), UserId::new());
    let channel = new_channel(&*store, &[ada, grace]).await;
    let by = |event: NewEvent| {
        let authority = Some(Authority { role: Role::Member, auth_version: 0 });
        NewEvent { authority, ..event }
    };
    let denied = |denial| Appended::Refused(Refusal::Denied(denial));
    let new = |seq| Appended::New { seq };
    let archive = |archived| by(event(ada, EventBody::Archived { archived }));
    let target = 4;
    let batch = vec![
        by(message(ada, "hi")),
        by(reacts(grace, target, "👍")),
        by(reacts(grace, target, "👍")),
        by(reacts(stranger, target, "👍")),
        archive(true),
        by(takes_back(grace, target, "👍")),
        archive(false),
        by(takes_back(grace, target, "👍")),
        by(takes_back(grace, target, "👍")),
        by(reacts(ada, target, "🎉")),
        by(event(ada, EventBody::Deleted { target })),
        by(reacts(grace, target, "👍")),
        by(message(ada, "again")),
        by(reacts(grace, 11, "👍")),
    ];
    assert_eq!(
        store.append(channel, batch).await.unwrap(),
        [
            new(4),
            new(5),
            NO_EFFECT,
            denied(Denial::NotVisible),
            new(6),
            denied(Denial::Archived),
            new(7),
            new(8),
            NO_EFFECT,
            new(9),
            new(10),
            NO_TARGET,
            new(11),
            new(12),
        ]
    );
    assert_eq!(append(&*store, channel, by(reacts(grace, 11, "👍"))).await, NO_EFFECT);
    let kept = Reactions::from([("👍".to_owned(), BTreeSet::from([grace]))]);
    shows(&*store, channel, 10, &BTreeMap::from([(target, Reactions::new()), (11, kept)])).await;
}

pub(crate) async fn a_reaction_with_an_id_is_committed_once(store: Arc<dyn Store>) {
    let ada = UserId::new();
    let channel = new_channel(&*store, &[ada]).await;
    let target = commit(&*store, channel, message(ada, "hi")).await;
    let (id, other) = (ClientId::new(), ClientId::new());
    let first = named(reacts(ada, target, "👍"), id);
    let seq = commit(&*store, channel, first.clone()).await;
    let again = Appended::Duplicate { seq, at: first.at };
    assert_eq!(append(&*store, channel, first.clone()).await, again);
    commit(&*store, channel, named(takes_back(ada, target, "👍"), other)).await;
    // Sent again late, it does not come back.
    assert_eq!(append(&*store, channel, first).await, again);
    shows(&*store, channel, 10, &BTreeMap::from([(target, Reactions::new())])).await;
}

pub(crate) async fn reactions_to_one_message_are_limited(store: Arc<dyn Store>) {
    let people: Vec<UserId> = (0..101).map(|_| UserId::new()).collect();
    let [ada, grace, linus] = [people[0], people[1], people[2]];
    let channel = new_channel(&*store, &[ada]).await;
    let target = commit(&*store, channel, message(ada, "kinds")).await;
    let popular = commit(&*store, channel, message(ada, "popular")).await;

    // Two people have ten each, which are twenty kinds.
    let batch: Vec<NewEvent> =
        (0..20).map(|number| reacts(if number < 10 { ada } else { grace }, target, &emoji(number))).collect();
    let outcomes = store.append(channel, batch).await.unwrap();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Appended::New { .. })), "{outcomes:?}");
    assert_eq!(append(&*store, channel, reacts(linus, target, &emoji(20))).await, TOO_MANY, "a kind more");
    commit(&*store, channel, reacts(linus, target, &emoji(0))).await;
    assert_eq!(append(&*store, channel, reacts(ada, target, &emoji(10))).await, TOO_MANY, "ada has ten");
    commit(&*store, channel, takes_back(ada, target, &emoji(1))).await;
    commit(&*store, channel, reacts(linus, target, &emoji(20))).await;
    commit(&*store, channel, reacts(ada, target, &emoji(10))).await;
    assert_eq!(
        append(&*store, channel, reacts(ada, target, &emoji(11))).await,
        TOO_MANY,
        "ada has ten again"
    );

    for some in people[..100].chunks(10) {
        let of = |by: &UserId| (0..10).map(|number| reacts(*by, popular, &emoji(number))).collect::<Vec<_>>();
        let outcomes = store.append(channel, some.iter().flat_map(of).collect()).await.unwrap();
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Appended::New { .. })), "{outcomes:?}");
    }
    let late = people[100];
    assert_eq!(append(&*store, channel, reacts(late, popular, &emoji(0))).await, TOO_MANY, "a thousand");
    commit(&*store, channel, takes_back(ada, popular, &emoji(0))).await;
    commit(&*store, channel, reacts(late, popular, &emoji(0))).await;
    assert_eq!(append(&*store, channel, reacts(ada, popular, &emoji(0))).await, TOO_MANY, "a thousand again");
    until_so("the page shows a thousand reactions", async || {
        let shown = shown(&*store, channel, 10).await;
        shown[&popular].values().map(BTreeSet::len).sum::<usize>() == 1_000
    })
    .await;
}
