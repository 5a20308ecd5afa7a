//! Unread is what others wrote after one's marker and still stands, after any sequence of what people do, on both stores, also
//! in logs that a server of 0.1.0 began or appended to in between.

use std::{path::PathBuf, sync::Arc};

use chat_cassandra::{
    CassandraStore,
    cql::{Cql, Row, Statement, Value},
    migrate::migrate,
};
use chat_domain::{
    bus::local::LocalBus,
    chat::{Actor, Chat},
    store::{NewEvent, Store},
};
use chat_protocol::{ChannelId, ChannelKind, ClientId, EventBody, Seq, SessionId, UserId, rest::Role};
use chat_sqlite::SqliteStore;
use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};

use crate::harness::wait::until_so;
use crate::keyspace::Keyspace;

/// Scenarios for each store.
const CASES: usize = 40;

#[derive(Debug, Clone)]
enum Step {
    /// Somebody writes, who says what they have seen, or does not.
    Say {
        who: usize,
        seen: bool,
    },
    Edit(prop::sample::Index),
    Delete(prop::sample::Index),
    React {
        who: usize,
        which: prop::sample::Index,
        removed: bool,
    },
    Topic,
    Leave(usize),
    Join(usize),
    /// Somebody has read up to a fraction of the log.
    Read {
        who: usize,
        at: f64,
    },
    /// A server of 0.1.0 appends a message.
    OldSay(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        6 => (0..3_usize, any::<bool>()).prop_map(|(who, seen)| Step::Say { who, seen }),
        1 => index().prop_map(Step::Edit),
        2 => index().prop_map(Step::Delete),
        3 => (0..3_usize, index(), any::<bool>())
            .prop_map(|(who, which, removed)| Step::React { who, which, removed }),
        1 => Just(Step::Topic),
        1 => (0..3_usize).prop_map(Step::Leave),
        1 => (0..3_usize).prop_map(Step::Join),
        4 => (0..3_usize, 0.0..1.0).prop_map(|(who, at)| Step::Read { who, at }),
        1 => (0..3_usize).prop_map(Step::OldSay),
    ]
}

/// How a server of 0.1.0 appends: it knows nothing of counts.
enum Old {
    /// It appended all that is there; the file cannot go back to it.
    File(PathBuf),
    Cql(Arc<dyn Cql>),
}

impl Old {
    /// Everything so far was written by 0.1.0.
    fn wrote_all(&self, channel: ChannelId) {
        let Self::File(path) = self else { return };
        // As the store, which lets no others in.
        let flags = rusqlite::OpenFlags::default();
        let db = rusqlite::Connection::open_with_flags_and_vfs(path, flags, c"unix-excl").unwrap();
        db.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
        let id = channel.0.as_bytes();
        db.execute("UPDATE events SET n = NULL, d = NULL, m = NULL WHERE channel = ?1", [id]).unwrap();
        db.execute("UPDATE channels SET n = 0, d = 0, m = 0, n_from = 0, seen = 0 WHERE id = ?1", [id])
            .unwrap();
        let markers =
            "UPDATE user_channels SET read_at = NULL, read_n = NULL, read_d = NULL, read_m = NULL, own = 0
             WHERE channel = ?1";
        db.execute(markers, [id]).unwrap();
    }

    /// One message, in the first bucket, by the statements of 0.1.0.
    async fn say(&self, channel: ChannelId, by: UserId) {
        const END: Statement = Statement::serial_read(
            "SELECT DISTINCT head, changed FROM events WHERE channel = ? AND bucket = ?",
        );
        const ADVANCE: Statement = Statement::conditional(
            "UPDATE events SET head = ?, changed = ?, message = ? WHERE channel = ? AND bucket = ? IF head = ?",
        );
        const EVENT: Statement = Statement::conditional(
            "INSERT INTO events (channel, bucket, kind, key, seq, at, author, body) VALUES (?, ?, 0, ?, ?, ?, ?, ?)",
        );
        let Self::Cql(cql) = self else { return };
        let (id, bucket) = (Value::Uuid(channel.0), Value::Int(0));
        let end = cql.execute(END, vec![id.clone(), bucket.clone()]).await.unwrap();
        let (head, changed) = (end[0].bigint("head").unwrap(), end[0].bigint("changed").unwrap());
        let seq = head + 1;
        let advance = vec![
            Value::BigInt(seq),
            Value::BigInt(changed),
            Value::BigInt(seq),
            id.clone(),
            bucket.clone(),
            Value::BigInt(head),
        ];
        let event = vec![
            id,
            bucket,
            Value::Blob(seq.to_be_bytes().to_vec()),
            Value::BigInt(seq),
            Value::BigInt(1),
            Value::Uuid(by.0),
            Value::Text(r#"{"kind":"message","text":"old"}"#.into()),
        ];
        let applied = cql.batch(vec![(ADVANCE, advance), (EVENT, event)]).await.unwrap();
        assert!(applied.iter().any(Row::applied));
    }
}

struct World {
    store: Arc<dyn Store>,
    chat: Arc<Chat>,
    old: Old,
    channel: ChannelId,
    people: [Actor; 3],
}

impl World {
    async fn new(store: Arc<dyn Store>, old: Old) -> Self {
        let chat = Chat::new(Arc::clone(&store), Arc::new(LocalBus::new()));
        let channel = ChannelId::new();
        let actor =
            || Actor { user: UserId::new(), role: Role::Owner, auth_version: 0, session: SessionId::new() };
        let people = [(); 3].map(|()| actor());
        let name = format!("unread {}", uuid::Uuid::new_v4());
        let created = EventBody::ChannelCreated {
            channel_kind: ChannelKind::Public,
            name: Some(name),
            topic: "0".into(),
        };
        let world = Self { store, chat, old, channel, people };
        world.append(people[0].user, created).await;
        for actor in people {
            world.append(actor.user, EventBody::MemberJoined { user: actor.user }).await;
        }
        world
    }

    /// As the server itself: what is refused changes nothing.
    async fn append(&self, by: UserId, body: EventBody) {
        self.store.append(self.channel, vec![NewEvent::of_server(by, 1, body)]).await.unwrap();
    }

    async fn log(&self) -> Vec<(Seq, UserId, EventBody)> {
        let events = self.store.events(self.channel, 0, 10_000).await.unwrap();
        events.iter().map(|event| (event.seq, event.by, serde_json::from_str(&event.body).unwrap())).collect()
    }

    async fn message(&self, which: prop::sample::Index) -> Option<Seq> {
        let log = self.log().await;
        let messages: Vec<Seq> = log
            .iter()
            .filter(|(.., body)| matches!(body, EventBody::Message { deleted: false, .. }))
            .map(|(seq, ..)| *seq)
            .collect();
        (!messages.is_empty()).then(|| messages[which.index(messages.len())])
    }

    async fn take(&self, n: usize, step: Step) {
        let user = |who: usize| self.people[who].user;
        match step {
            Step::Say { who, seen } => {
                let head = self.store.heads(&[self.channel]).await.unwrap()[0].1;
                let id = ClientId(uuid::Uuid::new_v4());
                let seen = seen.then_some(head);
                // Refused when they have left.
                drop(self.chat.send(&self.people[who], self.channel, id, "hi".into(), vec![], seen).await);
            }
            Step::Edit(which) => {
                if let Some(target) = self.message(which).await {
                    self.append(user(0), EventBody::Edited { target, text: "x".into(), deleted: false })
                        .await;
                }
            }
            Step::Delete(which) => {
                if let Some(target) = self.message(which).await {
                    self.append(user(0), EventBody::Deleted { target }).await;
                }
            }
            Step::React { who, which, removed } => {
                if let Some(target) = self.message(which).await {
                    let id = ClientId(uuid::Uuid::new_v4());
                    // Refused when they have left, and when it is so already.
                    let (actor, emoji) = (&self.people[who], "👍".to_owned());
                    drop(self.chat.react(actor, self.channel, id, target, emoji, removed).await);
                }
            }
            Step::Topic => self.append(user(0), EventBody::TopicChanged { topic: n.to_string() }).await,
            Step::Leave(who) => self.append(user(who), EventBody::MemberLeft { user: user(who) }).await,
            Step::Join(who) => self.append(user(who), EventBody::MemberJoined { user: user(who) }).await,
            Step::Read { who, at } => {
                let head = self.store.heads(&[self.channel]).await.unwrap()[0].1;
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "a part of the head"
                )]
                let seq = (head as f64 * at) as Seq;
                drop(self.chat.mark_read(&self.people[who], self.channel, seq).await);
            }
            Step::OldSay(who) => self.old.say(self.channel, user(who)).await,
        }
    }

    /// What REST shows is what is counted by hand from the log and the marker that it shows.
    async fn check(&self) {
        let log = self.log().await;
        for actor in &self.people {
            let shown = self.chat.channel(actor, self.channel).await.unwrap();
            let Some(read) = shown.read else {
                assert_eq!(shown.unread, None);
                continue;
            };
            let naive = log
                .iter()
                .filter(|(seq, by, body)| {
                    *seq > read
                        && *by != actor.user
                        && matches!(body, EventBody::Message { deleted: false, .. })
                })
                .count() as u64;
            // Of what somebody wrote this moment, the note of it follows a moment later; before, it counts as one's own.
            let what = format!("{naive} unread after {read} in {log:?}, first shown {:?}", shown.unread);
            until_so(&what, async || {
                let shown = self.chat.channel(actor, self.channel).await.unwrap();
                shown.read != Some(read) || shown.unread == Some(naive)
            })
            .await;
        }
    }
}

fn scenarios() -> Vec<(Vec<Step>, Option<usize>)> {
    let mut runner = TestRunner::deterministic();
    let strategy = (prop::collection::vec(step(), 1..40), prop::option::of(0..20_usize));
    (0..CASES).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect()
}

async fn play(world: &World, steps: Vec<Step>, begun_by_old: Option<usize>) {
    for (n, step) in steps.into_iter().enumerate() {
        if begun_by_old == Some(n) {
            world.old.wrote_all(world.channel);
        }
        world.take(n, step).await;
        if n % 3 == 0 {
            world.check().await;
        }
    }
    world.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_is_what_a_recount_says_on_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("folkmoot.db");
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&path).unwrap());
    for (steps, begun_by_old) in scenarios() {
        let world = World::new(Arc::clone(&store), Old::File(path.clone())).await;
        play(&world, steps, begun_by_old).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_is_what_a_recount_says_on_cassandra() {
    let keyspace = Keyspace::create().await;
    migrate(&keyspace.cql, &keyspace.name).await.unwrap();
    let store: Arc<dyn Store> = Arc::new(CassandraStore::new(keyspace.connect().await));
    for (steps, begun_by_old) in scenarios() {
        let world = World::new(Arc::clone(&store), Old::Cql(Arc::clone(&keyspace.cql))).await;
        play(&world, steps, begun_by_old).await;
    }
    keyspace.drop().await;
}
