//! A keyspace whose tables are replaced by older ones while processes run on it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use chat_auth::new_key;
use chat_cassandra::{
    CassandraStore,
    cql::{Cql, CqlError, Page, PageState, Row, Statement, Value},
    migrate::migrate,
};
use chat_domain::{
    chat::{Actor, now_ms},
    store::{
        Appended, AuthStore as _, GenerationRow, GenerationStore as _, LogStore as _, NewEvent, Rotation,
    },
};
use chat_protocol::{ChannelId, ChannelKind, ClientId, EventBody, Generation, Millis, SessionId, UserId};

use crate::conformance::fixtures::new_session;
use crate::harness::cluster::TestCluster;
use crate::keyspace::Keyspace;

fn rotation(to: u8, at: Millis, expires_at: Millis) -> Rotation {
    Rotation { from: [1; 32], to: [to; 32], chain: [9; 32], network: None, at, expires_at }
}

/// One session that can be led to other tables: what a restore of a snapshot looks like to those who run.
struct Replaced {
    before: Arc<dyn Cql>,
    after: Arc<dyn Cql>,
    done: AtomicBool,
}

impl Replaced {
    fn now(&self) -> &dyn Cql {
        if self.done.load(Ordering::Acquire) { &*self.after } else { &*self.before }
    }
}

#[async_trait]
impl Cql for Replaced {
    async fn schema(&self, cql: &str) -> Result<(), CqlError> {
        self.now().schema(cql).await
    }

    async fn prepare(&self, statement: Statement) -> Result<(), CqlError> {
        self.now().prepare(statement).await
    }

    async fn execute(&self, statement: Statement, values: Vec<Value>) -> Result<Vec<Row>, CqlError> {
        self.now().execute(statement, values).await
    }

    async fn batch(&self, statements: Vec<(Statement, Vec<Value>)>) -> Result<Vec<Row>, CqlError> {
        self.now().batch(statements).await
    }

    async fn page(
        &self,
        statement: Statement,
        values: Vec<Value>,
        size: usize,
        from: Option<PageState>,
    ) -> Result<Page, CqlError> {
        self.now().page(statement, values, size, from).await
    }
}

async fn migrated() -> Keyspace {
    let keyspace = Keyspace::create().await;
    migrate(&keyspace.cql, &keyspace.name).await.unwrap();
    keyspace
}

fn event(by: UserId, body: EventBody) -> NewEvent {
    NewEvent { id: Some(ClientId::new()), ..NewEvent::of_server(by, now_ms(), body) }
}

fn message(by: UserId, text: &str) -> NewEvent {
    event(by, EventBody::Message { text: text.into(), files: vec![], deleted: false })
}

/// A channel of these users, and so many messages.
async fn fill(store: &CassandraStore, channel: ChannelId, users: [UserId; 2], count: usize) {
    let created = EventBody::ChannelCreated {
        channel_kind: ChannelKind::Private,
        name: Some("ops".into()),
        topic: String::new(),
    };
    let mut events = vec![event(users[0], created)];
    events.extend(users.map(|user| event(user, EventBody::MemberJoined { user })));
    events.extend((0..count).map(|n| message(users[0], &format!("message {n}"))));
    let appended = store.append(channel, events).await.unwrap();
    assert!(appended.iter().all(|outcome| matches!(outcome, Appended::New { .. })), "{appended:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_processes_agree_on_the_first_generation_and_the_next() {
    let keyspace = migrated().await;
    let stores: Vec<_> = (0..8).map(|_| CassandraStore::new(Arc::clone(&keyspace.cql))).collect();
    let first = stores[0].generation().await.unwrap();
    assert_eq!(first.since, 0);
    migrate(&keyspace.cql, &keyspace.name).await.unwrap();
    for store in &stores {
        assert_eq!(store.generation().await.unwrap(), first);
    }
    // Tables that have none, as a pre-release of this version left them: whoever comes first makes it.
    keyspace.cql.schema("TRUNCATE generations").await.unwrap();
    let found = futures_util::future::join_all(stores.iter().map(|store| store.generation())).await;
    let found: Vec<_> = found.into_iter().map(Result::unwrap).collect();
    assert!(found.iter().all(|generation| *generation == found[0]), "{found:?}");

    let session = new_session(UserId::new(), now_ms());
    stores[0].create_session(&session).await.unwrap();
    stores[0].add_signing_key(&new_key(), now_ms() + 60_000).await.unwrap();
    stores[0].add_signing_key(&new_key(), now_ms() + 60_000).await.unwrap();
    let next = GenerationRow { id: Generation::new(), since: 7_000 };
    let key = new_key();
    assert_eq!(stores[1].begin_generation(next, Some(key.clone())).await.unwrap(), 1);
    assert_eq!(stores[2].generation().await.unwrap(), next);
    assert_eq!(stores[2].session(session.id).await.unwrap(), None);
    assert!(!stores[2].rotate_session(session.id, rotation(2, now_ms(), now_ms() + 60_000)).await.unwrap());
    assert_eq!(stores[2].signing_keys().await.unwrap(), [key]);
    // Again, as after an error, and with keys that are elsewhere.
    assert_eq!(stores[1].begin_generation(next, None).await.unwrap(), 0);
    assert_eq!(stores[2].signing_keys().await.unwrap(), []);
    keyspace.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_that_are_replaced_under_a_running_process_are_noticed() {
    let (before, after) = (migrated().await, migrated().await);
    let cql = Arc::new(Replaced {
        before: Arc::clone(&before.cql),
        after: Arc::clone(&after.cql),
        done: AtomicBool::new(false),
    });
    let store = Arc::new(CassandraStore::new(Arc::clone(&cql) as Arc<dyn Cql>));
    let kept = Arc::clone(&store);
    let cluster = TestCluster::on(|_| kept);
    let users = [UserId::new(), UserId::new()];
    let channel = ChannelId::new();
    fill(&store, channel, users, 9).await;
    let restored = CassandraStore::new(Arc::clone(&after.cql));
    fill(&restored, channel, users, 3).await;
    let actor = |user| Actor {
        user,
        role: chat_protocol::rest::Role::Member,
        auth_version: 0,
        session: SessionId::new(),
    };
    let (ada, grace) = (actor(users[0]), actor(users[1]));

    let (a, b) = (cluster.gateway("a").await, cluster.gateway("b").await);
    let (mut here, mut there) = (a.connect(&ada).await, b.connect(&grace).await);
    assert_eq!(there.head(channel), 12);
    // Now the process remembers where the log ends.
    let id = here.say(channel, "lost").await;
    assert_eq!(here.acked(id).await, (13, false));
    there.event().await;

    cql.done.store(true, Ordering::Release);
    let next = GenerationRow { id: Generation::new(), since: (now_ms() / 1_000) * 1_000 };
    restored.begin_generation(next, Some(new_key())).await.unwrap();
    here.closed().await;
    there.closed().await;
    let (mut here, mut there) = (a.connect(&ada).await, b.connect(&grace).await);
    assert_eq!((here.generation, there.generation), (Some(next.id), Some(next.id)));
    assert_eq!((here.head(channel), there.head(channel)), (6, 6));
    for seq in 7..=9 {
        let id = here.say(channel, "new").await;
        assert_eq!(here.acked(id).await, (seq, false));
        assert_eq!(there.event().await.seq, seq);
    }
    // A cursor of before is answered with where the log ends now.
    assert_eq!(there.sync(channel, 13).await.1, 9);
    drop((a, b));
    before.drop().await;
    after.drop().await;
}
