//! `kill -9` of the process that consumes: this test's own binary, started again as a child that runs one consumer.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use chat_cassandra::{CassandraStore, options::CassandraOptions, scylla_driver::ScyllaCql};
use chat_follow::{
    ConsumerError, FollowOptions,
    count::{Count, Counts, EventCounter},
};
use chat_protocol::{ChannelId, UserId};
use chat_sqlite::SqliteStore;
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension as _, params};
use uuid::Uuid;

use super::{
    cassandra::{keyspace, log_options},
    recorder::exact,
    world::{Known, Logs, channels, follow_as, options, say, until},
};
use crate::conformance::fixtures::{commit, message};

/// How the child gets its settings: the folder of its counts, and the embedded store or Cassandra.
const FOLDER: &str = "FOLKMOOT_TEST_CONSUMER";
const CASSANDRA: &str = "FOLKMOOT_TEST_CONSUMER_CASSANDRA";
const KILLS: usize = 4;

/// Counts in a file of their own.
struct FileCounts(Mutex<Connection>);

impl FileCounts {
    fn open(folder: &Path) -> Self {
        let db = Connection::open(folder.join("counts.db")).unwrap();
        db.busy_timeout(Duration::from_secs(10)).unwrap();
        db.execute_batch(
            "PRAGMA journal_mode = WAL;
             CREATE TABLE IF NOT EXISTS counts (channel BLOB PRIMARY KEY, position INTEGER, events INTEGER);",
        )
        .unwrap();
        Self(Mutex::new(db))
    }

    fn of(&self, channel: ChannelId) -> Count {
        let db = self.0.lock();
        let mut query = db.prepare("SELECT position, events FROM counts WHERE channel = ?1").unwrap();
        let row = query.query_row([channel.0.as_bytes()], |row| {
            Ok(Count {
                position: row.get::<_, i64>(0)?.cast_unsigned(),
                events: row.get::<_, i64>(1)?.cast_unsigned(),
            })
        });
        row.optional().unwrap().unwrap_or_default()
    }
}

#[async_trait]
impl Counts for FileCounts {
    async fn get(&self, channel: ChannelId) -> Result<Count, ConsumerError> {
        Ok(self.of(channel))
    }

    async fn put(&self, channel: ChannelId, from: Count, to: Count) -> Result<bool, ConsumerError> {
        let db = self.0.lock();
        let key = channel.0.as_bytes();
        db.execute("INSERT INTO counts VALUES (?1, 0, 0) ON CONFLICT DO NOTHING", [key])?;
        let changed = db.execute(
            "UPDATE counts SET position = ?2, events = ?3 WHERE channel = ?1 AND position = ?4 AND events = ?5",
            params![
                key,
                to.position.cast_signed(),
                to.events.cast_signed(),
                from.position.cast_signed(),
                from.events.cast_signed()
            ],
        )?;
        Ok(changed > 0)
    }
}

/// The child. In the run of all tests it has nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else { return };
    let store: Arc<dyn Logs> = match std::env::var(CASSANDRA) {
        Ok(keyspace) => {
            let var = |name: &str| std::env::var(format!("{CASSANDRA}_{name}")).unwrap();
            let options = CassandraOptions {
                contact_points: var("POINTS").split(',').map(Into::into).collect(),
                keyspace: Some(keyspace),
                credentials: None,
                request_timeout: Duration::from_secs(10),
                ..CassandraOptions::default()
            };
            let options = with_credentials(options, &var("USER"), &var("PASSWORD"), &var("CA"));
            let cql = Arc::new(ScyllaCql::connect(options).await.unwrap());
            Arc::new(CassandraStore::with_logs(cql, log_options()))
        }
        Err(_) => Arc::new(SqliteStore::open(&folder.join("folkmoot.db")).unwrap()),
    };
    let consumers = vec![Arc::new(EventCounter::new(FileCounts::open(&folder))) as _];
    // Cursors are rarely saved: events do come again.
    let options = FollowOptions { save_every: Duration::from_millis(300), ..options() };
    let _follower = follow_as(&store, consumers, Known::new("child", &["child"]), &options);
    let written = std::fs::read_to_string(folder.join("channels")).unwrap_or_default();
    let channels: Vec<ChannelId> =
        written.lines().map(|line| ChannelId(Uuid::parse_str(line).unwrap())).collect();
    // Until it is killed. The embedded store has one process, so it writes, too.
    loop {
        for channel in &channels {
            commit(&*store, *channel, message(UserId::new(), "hello")).await;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn with_credentials(options: CassandraOptions, user: &str, password: &str, ca: &str) -> CassandraOptions {
    let credentials = (!user.is_empty())
        .then(|| chat_cassandra::options::Credentials { user: user.into(), password: password.into() });
    CassandraOptions { credentials, ca_file: (!ca.is_empty()).then(|| ca.into()), ..options }
}

/// Ends with the test, however that ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(folder: &Path, env: &[(String, String)]) -> Killed {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "consumer::killed::child", "--test-threads", "1"])
        .env(FOLDER, folder)
        .envs(env.iter().map(|(key, value)| (key, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    Killed(child)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_stores_process_may_be_killed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("folkmoot.db");
    let made = channels(&(Arc::new(SqliteStore::open(&path).unwrap()) as Arc<dyn Logs>), 3).await;
    let lines: Vec<String> = made.iter().map(|channel| channel.0.to_string()).collect();
    std::fs::write(folder.path().join("channels"), lines.join("\n")).unwrap();
    let counts = FileCounts::open(folder.path());
    for _ in 0..KILLS {
        let before = counts.of(made[0]).position;
        let child = start(folder.path(), &[]);
        until("the child counts", async || counts.of(made[0]).position > before + 20).await;
        drop(child);
    }
    // What it wrote and did not come to count is counted by another process, from the cursors that it left.
    let store: Arc<dyn Logs> = Arc::new(SqliteStore::open(&path).unwrap());
    let consumers = vec![Arc::new(EventCounter::new(FileCounts::open(folder.path()))) as _];
    let follower = follow_as(&store, consumers, Known::new("a", &["a"]), &options());
    for channel in made {
        let head = store.head(channel, true).await.unwrap();
        until("the count is the log's head", async || counts.of(channel) == exact(head)).await;
    }
    follower.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_beside_cassandra_may_be_killed() {
    let folder = tempfile::tempdir().unwrap();
    let keyspace = keyspace().await;
    let options = keyspace.options();
    let credentials = options.credentials.clone();
    let var = |name: &str, value: String| (format!("{CASSANDRA}{name}"), value);
    let env = [
        var("", keyspace.name.clone()),
        var("_POINTS", options.contact_points.join(",")),
        var("_USER", credentials.as_ref().map(|c| c.user.clone()).unwrap_or_default()),
        var("_PASSWORD", credentials.map(|c| c.password).unwrap_or_default()),
        var("_CA", options.ca_file.map(|file| file.display().to_string()).unwrap_or_default()),
    ];
    let store: Arc<dyn Logs> = Arc::new(CassandraStore::with_logs(keyspace.connect().await, log_options()));
    let made = channels(&store, 5).await;
    let counts = FileCounts::open(folder.path());
    let mut head = 2;
    for _ in 0..KILLS {
        let child = start(folder.path(), &env);
        let goal = head + 12;
        while counts.of(made[0]).position < goal {
            head += 1;
            for channel in &made {
                assert_eq!(say(&store, *channel).await, head);
            }
        }
        drop(child);
    }
    let child = start(folder.path(), &env);
    for channel in made {
        until("the count is the log's head", async || counts.of(channel) == exact(head)).await;
    }
    drop(child);
    keyspace.drop().await;
}
