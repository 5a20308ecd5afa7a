//! On the embedded store.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use chat_domain::store::StoreError;
use chat_follow::count::EventCounter;
use chat_sqlite::{FaultPoint, SqliteOptions, SqliteStore};

use super::{
    recorder::{MemoryCounts, exact},
    scenarios,
    world::{Logs, a_message, channels, follow, say, until},
};

fn open(folder: &Path) -> Arc<dyn Logs> {
    Arc::new(SqliteStore::open(&folder.join("folkmoot.db")).unwrap())
}

macro_rules! scenario {
    ($($name:ident $(($arg:expr))?),+ $(,)?) => { $(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $name() {
            let folder = tempfile::tempdir().unwrap();
            scenarios::$name(open(folder.path()) $(, $arg)?).await;
        }
    )+ };
}

scenario!(
    the_bus_makes_it_fast,
    without_a_bus_nothing_is_missed_or_doubled_across_restarts,
    what_fails_stops_nothing_else_and_is_made_up_for(true),
);

/// The writer dies with a group that is made and not committed, then with one that is committed and not answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_writer_may_die_before_and_behind_the_commit() {
    let folder = tempfile::tempdir().unwrap();
    let counts = MemoryCounts::default();
    let channel = channels(&open(folder.path()), 1).await[0];
    let mut head = 2;
    for (fatal, committed) in [(FaultPoint::BeforeCommit, 0), (FaultPoint::AfterCommit, 1)] {
        // Commits are counted from when the test says so.
        let armed = Arc::new(AtomicUsize::new(0));
        let fault = Arc::clone(&armed);
        let options = SqliteOptions {
            fault: Some(Arc::new(move |point| fault.load(Ordering::SeqCst) == 1 && point == fatal)),
            ..SqliteOptions::default()
        };
        let store: Arc<dyn Logs> =
            Arc::new(SqliteStore::open_with(&folder.path().join("folkmoot.db"), options).unwrap());
        let follower = follow(&store, vec![Arc::new(EventCounter::new(counts.clone()))]);
        head = say(&store, channel).await;
        until("the count is the log's head", async || counts.of(channel) == exact(head)).await;
        until("the cursor is saved", async || store.cursor("count", channel).await.unwrap() == head).await;
        armed.store(1, Ordering::SeqCst);
        let outcome = store.append(channel, vec![a_message()]).await;
        assert!(matches!(outcome, Err(StoreError::UnknownOutcome(_))), "{outcome:?}");
        follower.stop().await;
        drop((follower, store));
        head += committed;
        let store = open(folder.path());
        let follower = follow(&store, vec![Arc::new(EventCounter::new(counts.clone()))]);
        until("the count is the log's head", async || counts.of(channel) == exact(head)).await;
        assert_eq!(say(&store, channel).await, head + 1);
        head += 1;
        until("the count is the log's head", async || counts.of(channel) == exact(head)).await;
        follower.stop().await;
    }
    assert_eq!(head, 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[should_panic = "would share cursors"]
async fn no_two_consumers_have_the_same_name() {
    let folder = tempfile::tempdir().unwrap();
    let consumer = || Arc::new(EventCounter::new(MemoryCounts::default()));
    follow(&open(folder.path()), vec![consumer(), consumer()]);
}
