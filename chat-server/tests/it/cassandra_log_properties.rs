//! Whatever several processes, timeouts, lost answers, late writes and retries do to logs on a real Cassandra: every log
//! stays dense and linear, each client id is committed once, what was acknowledged is where it was said to be, and all
//! that follows from the logs is what follows from them.

mod model;
mod scenario;

use std::{collections::HashMap, num::NonZeroUsize, sync::Arc, time::Duration};

use chat_cassandra::{
    CassandraStore, LogOptions,
    cql::{Cql, Statement, Value},
    migrate::migrate,
};
use chat_domain::store::{Appended, LogStore, NewEvent, StoredEvent};
use chat_protocol::{ChannelId, ChannelKind, ClientId, EventBody, Seq, UserId};
use model::Model;
use prometheus_client::{encoding::text::encode, registry::Registry};
use proptest::{prelude::*, test_runner::TestRunner};
use scenario::{Answer, Call, Cast, NAMES, Scenario, Sender, USERS, is_expected, now, scenario};

use crate::harness::wait::until_so;
use crate::keyspace::{
    Keyspace,
    faulty::{Fault, FaultyCql, Hits},
};

/// Small buckets and caches, so that their edges are met all the time.
fn options() -> LogOptions {
    LogOptions {
        bucket: 4,
        batch_events: 5,
        batch_bytes: 600,
        channels: NonZeroUsize::new(2).unwrap(),
        id_bytes: 128,
        deadline: Duration::from_secs(5),
        ..LogOptions::default()
    }
}

async fn play(cql: Arc<dyn Cql>, scenario: Scenario) {
    let clean = CassandraStore::with_logs(Arc::clone(&cql), options());
    let marker = uuid::Uuid::new_v4();
    let name = |kind: &str, i: usize| format!("{kind}-{i}-{marker}");
    let mut channels = Vec::new();
    for i in 0..scenario.channels {
        let channel_kind = if i == 2 { ChannelKind::Private } else { ChannelKind::Public };
        let body =
            EventBody::ChannelCreated { channel_kind, name: Some(name("first", i)), topic: String::new() };
        let channel = ChannelId::new();
        let created = vec![NewEvent::of_server(UserId::new(), now(), body)];
        assert_eq!(clean.append(channel, created).await.unwrap(), [Appended::New { seq: 1 }]);
        channels.push(channel);
    }
    let faulty: Vec<Arc<FaultyCql>> = scenario
        .stores
        .into_iter()
        .map(|(script, reads)| {
            let hits = if reads { Hits::Everything } else { Hits::Writes };
            Arc::new(FaultyCql::new(Arc::clone(&cql), script, hits))
        })
        .collect();
    let stores = faulty.iter().map(|faulty| {
        let cql: Arc<dyn Cql> = Arc::<FaultyCql>::clone(faulty);
        Arc::new(CassandraStore::with_logs(cql, options()))
    });
    // Two of them look alike as they are written, and differ in any case.
    let base = name("Name", 0);
    let names: [String; NAMES] = [format!("{base} l"), format!("{base} I"), name("Name", 2)];
    let cast = Arc::new(Cast {
        channels,
        users: (0..USERS).map(|_| UserId::new()).collect(),
        names: names.to_vec(),
        stores: stores.collect(),
    });

    let running: Vec<_> = scenario
        .senders
        .into_iter()
        .map(|doings| {
            let sender = Sender { user: UserId::new(), calls: Vec::new() };
            tokio::spawn(sender.run(Arc::clone(&cast), doings))
        })
        .collect();
    let mut senders = Vec::new();
    for sender in running {
        senders.push(sender.await.unwrap());
    }
    for faulty in &faulty {
        faulty.arrive().await;
    }
    check(&*cql, &clean, &cast, &senders).await;

    // Sending again whatever is not settled settles it.
    for call in senders.iter_mut().flat_map(|sender| &mut sender.calls) {
        if !call.is_settled() && call.can_be_resent() {
            call.send(&clean).await;
            assert!(call.is_settled(), "{call:?}");
        }
    }
    check(&*cql, &clean, &cast, &senders).await;
}

async fn check(cql: &dyn Cql, clean: &CassandraStore, cast: &Cast, senders: &[Sender]) {
    let mut names = HashMap::new();
    for &channel in &cast.channels {
        // Whoever decides on top of the log brings what follows from it up to date.
        let body = EventBody::TopicChanged { topic: uuid::Uuid::new_v4().to_string() };
        let event = NewEvent::of_server(UserId::new(), now(), body);
        let appended = clean.append(channel, vec![event]).await.unwrap();
        let log = clean.events(channel, 0, 100_000).await.unwrap();
        let head = log.len() as Seq;
        assert!(log.iter().map(|event| event.seq).eq(1..=head), "dense");
        assert_eq!(appended, [Appended::New { seq: head }]);
        assert_eq!(clean.heads(&[channel]).await.unwrap(), [(channel, head)]);
        let model = Model::replay(&log);
        for claim in model.claims() {
            let other = names.insert(claim, channel);
            assert_eq!(other, None, "{channel} has the same name");
        }
        model.check(cql, clean, channel, &cast.users).await;
        let calls = senders.iter().flat_map(|sender| &sender.calls).filter(|call| call.channel == channel);
        check_calls(&log, calls);
    }
    for sender in senders {
        for &channel in &cast.channels {
            // Calls of one sender waited for each other, so those that got their positions at once are in order.
            let calls = sender.calls.iter().filter(|call| call.channel == channel);
            let at_once =
                calls.flat_map(|call| call.answers.iter()).filter_map(|answers| match answers.first() {
                    Some(Answer::Outcome(Appended::New { seq })) => Some(*seq),
                    _ => None,
                });
            assert!(at_once.is_sorted(), "{:?}", sender.calls);
        }
    }
}

fn check_calls<'a>(log: &[StoredEvent], calls: impl Iterator<Item = &'a Call>) {
    let mut by_id: HashMap<(UserId, ClientId), &StoredEvent> = HashMap::new();
    for event in log {
        if let Some(id) = event.id {
            assert!(by_id.insert((event.by, id), event).is_none(), "{id} stands there twice");
        }
    }
    for call in calls {
        for (index, event) in call.events.iter().enumerate() {
            let answers = &call.answers[index];
            let found = event.id.and_then(|id| by_id.get(&(event.by, id)).copied());
            let news = answers
                .iter()
                .filter(|answer| matches!(answer, Answer::Outcome(Appended::New { .. })))
                .count();
            assert!(news <= 1, "{call:?}");
            for (answer, &sent_at) in answers.iter().zip(&call.sent_at) {
                match *answer {
                    Answer::Outcome(Appended::New { seq }) => {
                        let found = &log[usize::try_from(seq).unwrap() - 1];
                        assert_eq!((found.by, found.at, found.id), (event.by, sent_at, event.id), "{call:?}");
                    }
                    Answer::Outcome(Appended::Duplicate { seq, at }) => {
                        assert_eq!(found.map(|found| (found.seq, found.at)), Some((seq, at)), "{call:?}");
                    }
                    Answer::Outcome(Appended::Refused(refusal)) => assert!(is_expected(refusal), "{call:?}"),
                    Answer::Unknown | Answer::NotDone => {}
                }
            }
            let may_be_there = answers.iter().any(|answer| {
                matches!(
                    answer,
                    Answer::Unknown | Answer::Outcome(Appended::New { .. } | Appended::Duplicate { .. })
                )
            });
            assert!(may_be_there || found.is_none(), "it was said not to be done: {call:?}");
            if let Some(Answer::Outcome(Appended::Refused(_))) = answers.last() {
                assert_eq!(found, None, "it was refused in the end: {call:?}");
            }
        }
    }
}

#[test]
fn logs_survive_several_writers_timeouts_and_retries() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(24);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let keyspace = runtime.block_on(async {
        let keyspace = Keyspace::create().await;
        migrate(&keyspace.cql, &keyspace.name).await.unwrap();
        keyspace
    });
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    };
    let result = TestRunner::new(config).run(&scenario(), |scenario| {
        runtime.block_on(play(Arc::clone(&keyspace.cql), scenario));
        Ok(())
    });
    runtime.block_on(keyspace.drop());
    if let Err(failed) = result {
        panic!("{failed}");
    }
}

/// What is refused may have been committed by another process, behind the end that this one remembers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_is_not_decided_at_an_end_that_has_moved() {
    let keyspace = Keyspace::create().await;
    migrate(&keyspace.cql, &keyspace.name).await.unwrap();
    let first = CassandraStore::with_logs(keyspace.connect().await, options());
    let second = CassandraStore::with_logs(keyspace.connect().await, options());
    let (channel, ada, grace) = (ChannelId::new(), UserId::new(), UserId::new());
    let event = |body| NewEvent { id: Some(ClientId::new()), ..NewEvent::of_server(ada, now(), body) };
    let message = || event(EventBody::Message { text: "hi".into(), files: Vec::new(), deleted: false });
    let created = EventBody::ChannelCreated {
        channel_kind: ChannelKind::Private,
        name: Some("stale".into()),
        topic: String::new(),
    };
    first.append(channel, vec![event(created), event(EventBody::MemberJoined { user: ada })]).await.unwrap();
    assert_eq!(second.append(channel, vec![message()]).await.unwrap(), [Appended::New { seq: 3 }]);

    // The fourth fills the bucket; the fifth is in the next one, of which the second process knows nothing.
    let joined = event(EventBody::MemberJoined { user: grace });
    first.append(channel, vec![message()]).await.unwrap();
    assert_eq!(first.append(channel, vec![joined.clone()]).await.unwrap(), [Appended::New { seq: 5 }]);
    let resent = second.append(channel, vec![joined.clone()]).await.unwrap();
    assert_eq!(resent, [Appended::Duplicate { seq: 5, at: joined.at }]);
    keyspace.drop().await;
}

/// A server of 0.1.0 knows nothing of reactions: the bucket that it opened does not say up to where there are any, and what was not
/// written yet of those before it is found nevertheless.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reactions_before_what_an_older_server_wrote_are_found() {
    let keyspace = Keyspace::create().await;
    migrate(&keyspace.cql, &keyspace.name).await.unwrap();
    let store = CassandraStore::with_logs(keyspace.connect().await, options());
    let (channel, ada) = (ChannelId::new(), UserId::new());
    let append = async |body| {
        let event = NewEvent { id: Some(ClientId::new()), ..NewEvent::of_server(ada, now(), body) };
        assert!(matches!(store.append(channel, vec![event]).await.unwrap()[..], [Appended::New { .. }]));
    };
    let message = || EventBody::Message { text: "hi".into(), files: Vec::new(), deleted: false };
    let created = EventBody::ChannelCreated {
        channel_kind: ChannelKind::Private,
        name: Some("older".into()),
        topic: String::new(),
    };
    append(created).await;
    append(message()).await;
    append(EventBody::Reaction { target: 2, emoji: "👍".into(), removed: false }).await;
    let id = Value::Uuid(channel.0);
    let written = async || {
        let read = Statement::read("SELECT aside FROM channels WHERE id = ?");
        let rows = keyspace.cql.execute(read, vec![id.clone()]).await.unwrap();
        rows.first().and_then(|row| row.bigint("aside")) == Some(3)
    };
    until_so("the reaction is written", written).await;
    // The next bucket: its fourth event fills the first one.
    for _ in 0..3 {
        append(message()).await;
    }
    // As if the process had ended before it wrote the reaction, and 0.1.0 had gone on.
    for statement in [
        Statement::write("UPDATE channels USING TIMESTAMP 1000 SET aside = 1 WHERE id = ?"),
        Statement::write("DELETE FROM reactions USING TIMESTAMP 1000 WHERE channel = ? AND bucket = 0"),
        Statement::write("DELETE counted FROM events WHERE channel = ? AND bucket = 1"),
    ] {
        keyspace.cql.execute(statement, vec![id.clone()]).await.unwrap();
    }
    let other = CassandraStore::with_logs(keyspace.connect().await, options());
    let page = other.messages(channel, Seq::MAX, 10).await.unwrap();
    let reacted: Vec<(Seq, usize)> =
        page.iter().map(|message| (message.seq, message.reactions.len())).collect();
    assert_eq!(reacted, [(6, 0), (5, 0), (4, 0), (2, 1)]);
    keyspace.drop().await;
}

/// What becomes of batches is counted, by what an operator must know of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_are_counted_by_what_became_of_them() {
    let keyspace = Keyspace::create().await;
    migrate(&keyspace.cql, &keyspace.name).await.unwrap();
    let clean = CassandraStore::new(keyspace.connect().await);
    let script = vec![Some(Fault::Unanswered), None, Some(Fault::Lost), None, None, None];
    let faulty = FaultyCql::new(keyspace.connect().await, script, Hits::Conditional);
    let store = CassandraStore::new(Arc::new(faulty));
    let (channel, ada) = (ChannelId::new(), UserId::new());
    let event = |body| vec![NewEvent { id: Some(ClientId::new()), ..NewEvent::of_server(ada, now(), body) }];
    let message = || event(EventBody::Message { text: "hi".into(), files: Vec::new(), deleted: false });
    let created = EventBody::ChannelCreated {
        channel_kind: ChannelKind::Private,
        name: Some("counted".into()),
        topic: String::new(),
    };
    let joined = EventBody::MemberJoined { user: ada };
    for (seq, body) in (1..).zip([created, joined]) {
        assert_eq!(clean.append(channel, event(body)).await.unwrap(), [Appended::New { seq }]);
    }
    // Not answered and there; answered; not answered and not there, so sent again.
    for seq in 3..=5 {
        assert_eq!(store.append(channel, message()).await.unwrap(), [Appended::New { seq }]);
    }
    // Somebody else was first.
    clean.append(channel, message()).await.unwrap();
    assert_eq!(store.append(channel, message()).await.unwrap(), [Appended::New { seq: 7 }]);

    let mut registry = Registry::with_prefix("folkmoot");
    store.register(&mut registry);
    let mut text = String::new();
    encode(&mut text, &registry).unwrap();
    for line in [
        r#"folkmoot_log_batches_total{outcome="applied"} 3"#,
        r#"folkmoot_log_batches_total{outcome="unanswered"} 2"#,
        r#"folkmoot_log_batches_total{outcome="stale"} 1"#,
        r#"folkmoot_log_batches_total{outcome="failed"} 0"#,
        r#"folkmoot_log_settled_total{outcome="committed"} 1"#,
        r#"folkmoot_log_settled_total{outcome="not_committed"} 1"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
    keyspace.drop().await;
}
