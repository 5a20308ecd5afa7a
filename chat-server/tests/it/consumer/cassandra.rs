//! On Cassandra. Hours of two seconds.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use chat_cassandra::{
    CassandraStore, LogOptions,
    cql::{Cql, CqlError, Page, PageState, Row, Statement, Value},
    migrate::migrate,
};
use chat_domain::store::StoreError;
use chat_follow::count::EventCounter;
use chat_protocol::ChannelId;
use tokio::sync::OnceCell;

use super::{
    recorder::{MemoryCounts, Recorder, exact},
    scenarios,
    world::{Logs, a_message, channels, follow, say, until},
};
use crate::keyspace::{
    Keyspace,
    faulty::{Fault, FaultyCql, Hits},
};

pub(crate) fn log_options() -> LogOptions {
    LogOptions { hour: Duration::from_secs(2), shards: 4, bucket: 16, ..LogOptions::default() }
}

fn on(cql: Arc<dyn Cql>, options: LogOptions) -> Arc<dyn Logs> {
    Arc::new(CassandraStore::with_logs(cql, options))
}

/// A keyspace with tables, of one test.
pub(crate) async fn keyspace() -> Keyspace {
    let keyspace = Keyspace::create().await;
    migrate(&keyspace.cql, &keyspace.name).await.unwrap();
    keyspace
}

/// One that tests share whose consumers do not mind each other's channels, each in a session of its own.
async fn shared() -> Arc<dyn Logs> {
    static SHARED: OnceCell<Keyspace> = OnceCell::const_new();
    let keyspace = SHARED.get_or_init(keyspace).await;
    on(keyspace.connect().await, log_options())
}

macro_rules! scenario {
    ($($name:ident $(($arg:expr))?),+ $(,)?) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let keyspace = keyspace().await;
            scenarios::$name(on(keyspace.connect().await, log_options()) $(, $arg)?).await;
            keyspace.drop().await;
        }
    )+ };
}

scenario!(
    the_bus_makes_it_fast,
    without_a_bus_nothing_is_missed_or_doubled_across_restarts,
    what_fails_stops_nothing_else_and_is_made_up_for(true),
    processes_that_disagree_double_nothing,
);

/// The writer dies while its batch is on the way: what becomes of the batch, no bus reports to anybody.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_writer_may_die_before_and_behind_the_commit_and_its_batch_be_finished_later() {
    let keyspace = keyspace().await;
    let store = on(keyspace.connect().await, log_options());
    let counts = MemoryCounts::default();
    let follower = follow(&store, vec![Arc::new(EventCounter::new(counts.clone()))]);
    let made = channels(&store, 3).await;
    for (channel, (fault, committed)) in
        made.into_iter().zip([(Fault::Lost, 0), (Fault::Unanswered, 1), (Fault::Late, 1)])
    {
        until("the count is the log's head", async || counts.of(channel) == exact(2)).await;
        // After its first batch nothing of this writer's gets through any more.
        let mut script = vec![Some(Fault::Lost); 1_000];
        script[0] = Some(fault);
        let faulty = Arc::new(FaultyCql::new(keyspace.connect().await, script, Hits::Conditional));
        let options = LogOptions { deadline: Duration::from_millis(500), ..log_options() };
        let cql: Arc<dyn Cql> = Arc::<FaultyCql>::clone(&faulty);
        let writer = on(cql, options);
        let outcome = writer.append(channel, vec![a_message()]).await;
        faulty.arrive().await;
        if committed == 0 {
            assert!(matches!(outcome, Err(StoreError::UnknownOutcome(_))), "{outcome:?}");
        }
        until("the count is the log's head", async || counts.of(channel) == exact(2 + committed)).await;
        assert_eq!(say(&store, channel).await, 3 + committed, "{fault:?}");
        until("the count is the log's head", async || counts.of(channel) == exact(3 + committed)).await;
    }
    follower.stop().await;
    keyspace.drop().await;
}

/// A session that counts statements about lists.
struct Counted {
    inner: Arc<dyn Cql>,
    notes: AtomicUsize,
    all: AtomicUsize,
}

impl Counted {
    fn counts(&self) -> (usize, usize) {
        (self.notes.load(Ordering::SeqCst), self.all.load(Ordering::SeqCst))
    }
}

#[async_trait]
impl Cql for Counted {
    async fn schema(&self, cql: &str) -> Result<(), CqlError> {
        self.inner.schema(cql).await
    }

    async fn prepare(&self, statement: Statement) -> Result<(), CqlError> {
        self.inner.prepare(statement).await
    }

    async fn execute(&self, statement: Statement, values: Vec<Value>) -> Result<Vec<Row>, CqlError> {
        for (table, count) in [("INTO channel_hours", &self.notes), ("INTO all_channels", &self.all)] {
            if statement.cql.contains(table) {
                count.fetch_add(1, Ordering::SeqCst);
            }
        }
        self.inner.execute(statement, values).await
    }

    async fn batch(&self, statements: Vec<(Statement, Vec<Value>)>) -> Result<Vec<Row>, CqlError> {
        self.inner.batch(statements).await
    }

    async fn page(
        &self,
        statement: Statement,
        values: Vec<Value>,
        size: usize,
        from: Option<PageState>,
    ) -> Result<Page, CqlError> {
        self.inner.page(statement, values, size, from).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warm_append_costs_no_note() {
    let keyspace = keyspace().await;
    let counted = Arc::new(Counted {
        inner: keyspace.connect().await,
        notes: AtomicUsize::new(0),
        all: AtomicUsize::new(0),
    });
    let cql: Arc<dyn Cql> = Arc::<Counted>::clone(&counted);
    // As in a server.
    let store = on(Arc::clone(&cql), LogOptions::default());
    let channel = channels(&store, 1).await[0];
    assert_eq!(counted.counts(), (1, 1));
    for _ in 0..20 {
        say(&store, channel).await;
    }
    assert!(counted.counts().0 <= 2, "unless it is two hours later meanwhile");
    // Another process notes for itself, and lists nothing that is there.
    let other = on(cql, LogOptions::default());
    say(&other, channel).await;
    assert_eq!(counted.counts().1, 1);
    assert!(counted.counts().0 >= 2);
    keyspace.drop().await;
}

/// Takes a channel out of all lists, as if version 0.1.0 had written it.
async fn forget_lists(keyspace: &Keyspace, tables: &[&str]) {
    for table in tables {
        keyspace.cql.schema(&format!("TRUNCATE {table}")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_of_an_older_version_are_found_and_so_is_what_it_writes_beside_this_one() {
    let keyspace = keyspace().await;
    let store = on(keyspace.connect().await, log_options());
    let made = channels(&store, 3).await;
    forget_lists(&keyspace, &["all_channels", "channel_hours"]).await;
    let recorder = Recorder::new("recorder");
    let follower = follow(&store, vec![Arc::clone(&recorder) as _]);
    for channel in &made {
        until("it is found in the table of channels", async || recorder.had_all(*channel, 2)).await;
    }
    let whole = async || store.walk("recorder", 0, None).await.is_ok_and(|step| step.next.is_some());
    until("checkpoints are there", whole).await;
    follower.stop().await;

    // A server of 0.1.0 writes to an old channel and makes a new one; nothing is noted of either.
    assert_eq!(say(&store, made[0]).await, 3);
    let new = channels(&store, 1).await[0];
    forget_lists(&keyspace, &["all_channels", "channel_hours"]).await;
    store.older_version_lives().await.unwrap();
    let follower = follow(&store, vec![Arc::clone(&recorder) as _]);
    until("the old channel's event is found", async || recorder.had_all(made[0], 3)).await;
    until("the new channel is found", async || recorder.had_all(new, 2)).await;
    follower.stop().await;
    keyspace.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_older_than_the_lists_is_none() {
    let keyspace = keyspace().await;
    let options = LogOptions { lists_kept: Duration::from_secs(6), ..log_options() };
    let store = on(keyspace.connect().await, options);
    let channel = channels(&store, 1).await[0];
    let recorder = Recorder::new("recorder");
    let follower = follow(&store, vec![Arc::clone(&recorder) as _]);
    until("it is had", async || recorder.had_all(channel, 2)).await;
    until("it is saved", async || store.cursor("recorder", channel).await.unwrap() == 2).await;
    follower.stop().await;
    say(&store, channel).await;
    // The lists expire.
    forget_lists(&keyspace, &["channel_hours"]).await;
    let old = async || {
        let step = store.walk("recorder", store.shard_of(channel), None).await.unwrap();
        step.channels.contains(&channel)
    };
    until("the checkpoint is too old", old).await;
    let follower = follow(&store, vec![Arc::clone(&recorder) as _]);
    until("the event is found in the list of all", async || recorder.had_all(channel, 3)).await;
    follower.stop().await;
    keyspace.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cassandras_clock_is_read() {
    let store = shared().await;
    let theirs = store.clock().await.unwrap().unwrap();
    assert!(theirs.abs_diff(crate::conformance::fixtures::now()) < 60_000, "it runs on this machine");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cursors_and_checkpoints_move_by_condition() {
    let store = shared().await;
    let channel = ChannelId::new();
    let at = async |from, to| store.move_cursor("condition", channel, from, to).await.unwrap();
    assert!(at(0, 5).await);
    assert!(!at(0, 7).await && !at(4, 7).await);
    assert!(at(5, 7).await);
    assert_eq!(store.cursor("condition", channel).await.unwrap(), 7);
    // What must be caught up with is not forgotten by one who has less.
    store.set_behind("condition", channel, 7, 9).await.unwrap();
    store.clear_behind("condition", channel, 8).await.unwrap();
    let shard = store.shard_of(channel);
    assert_eq!(store.behind("condition", shard).await.unwrap(), [channel]);
    store.clear_behind("condition", channel, 9).await.unwrap();
    assert!(store.behind("condition", shard).await.unwrap().is_empty());
}
