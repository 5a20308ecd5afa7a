//! The embedded store: one SQLite file, one writer thread that commits in groups, a few reader threads.
//!
//! `writer` owns the only connection that writes; `append` is what it does for a log, `project` what depends on the kind of an
//! event, `tail` what is written later; `log`, `directory`, `files` and `auth` are the contract's parts; `schema` is the file's
//! format.

mod append;
mod auth;
mod codec;
mod directory;
mod files;
mod follow;
mod generation;
mod job;
mod log;
mod pool;
mod project;
mod queue;
mod schema;
mod seed;
mod standing;
mod tail;
mod writer;

use std::{
    fs::{DirBuilder, File, Permissions, TryLockError},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use chat_domain::store::StoreError;
use chat_protocol::Millis;
use rusqlite::{Connection, OpenFlags, config::DbConfig};

pub use self::seed::{SeedChannel, SeedPlan, Seeded};
use self::{
    job::{Answer, JobError, ReadJob, WriteJob, read_job, write_job},
    queue::{Queue, Rejected},
    writer::Writer,
};

/// Where a fault can be put in, see [`SqliteOptions::fault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultPoint {
    /// The group's writes are made and not committed.
    BeforeCommit,
    /// The group is durable and nobody has the answer.
    AfterCommit,
}

/// Decides, each time the writer passes a [`FaultPoint`], whether it dies there.
pub type FaultHook = Arc<dyn Fn(FaultPoint) -> bool + Send + Sync>;

/// How a [`SqliteStore`] is run. The default is right for a server.
#[derive(Clone)]
pub struct SqliteOptions {
    /// Most writes that wait for the writer; one more is refused with [`StoreError::Overloaded`].
    pub write_queue: usize,
    /// Most reads that wait for a reader; one more is refused with [`StoreError::Overloaded`].
    pub read_queue: usize,
    /// How long a caller waits for an answer.
    pub deadline: Duration,
    /// For tests: where it says so the writer dies as by `kill -9`. Nobody in its group is answered, and the
    /// store is unavailable until it is opened anew.
    pub fault: Option<FaultHook>,
    /// For tests: how many pages the file may have, looked at before each group: a disk that fills, and is emptied again.
    pub pages: Option<Arc<AtomicU32>>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self {
            write_queue: 4_096,
            read_queue: 16_384,
            deadline: Duration::from_secs(10),
            fault: None,
            pages: None,
        }
    }
}

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error("another server uses {}: it holds the lock", path.display())]
    Locked { path: PathBuf },
    #[error("the schema has version {found}, this server knows {known}: it was written by a newer version")]
    NewerSchema { found: u32, known: u32 },
    #[error("failed to open the folder or files of {}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("the SQLite file cannot be used")]
    Sqlite(#[from] rusqlite::Error),
}

impl From<OpenError> for StoreError {
    fn from(error: OpenError) -> Self {
        Self::Failed(Box::new(error))
    }
}

/// The embedded implementation of [`chat_domain::store::Store`].
///
/// Dropping it finishes the writes that were asked for, empties the write-ahead log and waits for the threads.
pub struct SqliteStore {
    writes: Arc<Queue<WriteJob>>,
    reads: Arc<Queue<ReadJob>>,
    deadline: Duration,
    /// The last write that changed something failed.
    failing: Arc<AtomicBool>,
    writer: Option<JoinHandle<()>>,
    readers: Vec<JoinHandle<()>>,
    /// Held as long as the store lives.
    _lock: File,
}

impl SqliteStore {
    /// Opens or makes the file at `path` (and `-wal` and `.lock` files beside it).
    ///
    /// # Errors
    /// [`StoreError::Failed`] when another process has it open, when it was written by a newer version, when it
    /// is not a SQLite file, or when the disk does not let us.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        Self::open_with(path, SqliteOptions::default())
    }

    /// Like [`Self::open`].
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(path: &Path, options: SqliteOptions) -> Result<Self, StoreError> {
        let lock = lock(path)?;
        let db = open_for_writing(path)?;
        let writes = Arc::new(Queue::new(options.write_queue));
        let reads = Arc::new(Queue::new(options.read_queue));
        let connections = (0..pool::size())
            .map(|_| open_for_reading(path))
            .collect::<Result<Vec<_>, _>>()
            .map_err(OpenError::from)?;
        let mut store = Self {
            writes: Arc::clone(&writes),
            reads: Arc::clone(&reads),
            deadline: options.deadline,
            failing: Arc::default(),
            writer: None,
            readers: Vec::with_capacity(connections.len()),
            _lock: lock,
        };
        let io = |source| OpenError::Io { path: path.to_owned(), source };
        for connection in connections {
            store.readers.push(pool::spawn(connection, Arc::clone(&reads)).map_err(io)?);
        }
        let writer = Writer::new(db, writes, options, Arc::clone(&store.failing));
        let thread = thread::Builder::new().name("sqlite-writer".into());
        store.writer = Some(thread.spawn(move || writer.run()).map_err(io)?);
        Ok(store)
    }

    /// Removes client ids older than the promised window at `now`, and sessions long expired. The store does it
    /// by itself once in a while.
    ///
    /// # Errors
    /// As any write.
    pub async fn purge(&self, now: Millis) -> Result<usize, StoreError> {
        self.write(move |db| Ok(writer::purge(db, now)?.removed)).await
    }

    /// Runs `work` in the writer's next transaction. Once it is queued it runs, whether or not the caller stays.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, JobError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (job, answer) = write_job(work);
        self.writes.push(job).map_err(rejected)?;
        match self.answered(answer).await {
            Answered::In(result) => result,
            Answered::Late(error) => Err(StoreError::UnknownOutcome(Some(error.into()))),
            Answered::Never => Err(StoreError::UnknownOutcome(None)),
        }
    }

    /// Runs `work` on one of the readers; it sees everything that was answered before.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, JobError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (job, answer) = read_job(work);
        self.reads.push(job).map_err(rejected)?;
        match self.answered(answer).await {
            Answered::In(result) => result,
            Answered::Late(error) => Err(StoreError::Unavailable(Some(error.into()))),
            Answered::Never => Err(StoreError::Unavailable(None)),
        }
    }

    async fn answered<T>(&self, answer: Answer<T>) -> Answered<T> {
        match tokio::time::timeout(self.deadline, answer).await {
            Ok(Ok(result)) => Answered::In(result),
            Ok(Err(_)) => Answered::Never,
            Err(elapsed) => Answered::Late(elapsed),
        }
    }
}

enum Answered<T> {
    In(Result<T, StoreError>),
    Late(tokio::time::error::Elapsed),
    Never,
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.writes.close();
        self.reads.close();
        for reader in self.readers.drain(..) {
            join(reader);
        }
        if let Some(writer) = self.writer.take() {
            join(writer);
        }
    }
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("a thread of the store panicked");
    }
}

fn rejected(rejected: Rejected) -> StoreError {
    match rejected {
        // A full queue of writes is worked off in well under a second.
        Rejected::Full => StoreError::Overloaded { retry_after_ms: 500 },
        Rejected::Closed => StoreError::Unavailable(None),
    }
}

/// How long a lock that another process holds is waited for: that process may be ending, or be a child that this one has forked
/// and that has not begun its own program yet.
const LOCK_WAIT: Duration = Duration::from_secs(1);

#[expect(clippy::disallowed_methods, reason = "opening a store blocks its thread in any case")]
fn lock(path: &Path) -> Result<File, OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        // Folders that are there stay as they are: they may be others' too.
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(io)?;
    }
    let file = private(&path.with_extension("lock")).map_err(io)?;
    let until = Instant::now() + LOCK_WAIT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if Instant::now() < until => thread::sleep(LOCK_WAIT / 50),
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
    }
}

/// Opens a file that nobody else on this machine may read, and makes it if it is not there.
fn private(path: &Path) -> std::io::Result<File> {
    let file = File::options().create(true).truncate(false).write(true).mode(0o600).open(path)?;
    // It may be of a version that was not careful. That a file is another user's is no reason not to start.
    if let Err(error) = file.set_permissions(Permissions::from_mode(0o600)) {
        tracing::warn!(%error, path = %path.display(), "others on this machine may be able to read the store");
    }
    Ok(file)
}

/// For one process: no other one can open the file, and the index of the write-ahead log is in this one's memory, where its
/// threads lock it without system calls.
const VFS: &std::ffi::CStr = c"unix-excl";

fn open_for_writing(path: &Path) -> Result<Connection, OpenError> {
    // SQLite gives its other files the permissions of this one. `-shm` is of a version that shared the file.
    for (suffix, must) in [("", true), ("-wal", false), ("-shm", false)] {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        let file = Path::new(&file);
        if must || file.exists() {
            private(file).map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
        }
    }
    let mut db = Connection::open_with_flags_and_vfs(path, OpenFlags::default(), VFS)?;
    db.busy_timeout(Duration::from_secs(5))?;
    // FULL: a commit is answered when it is on the disk. secure_delete: deleted text must leave the file, its
    // freed pages included. Savepoints keep their undo log in memory instead of a temporary file.
    db.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA secure_delete = ON;
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -65536;
         PRAGMA wal_autocheckpoint = 4000;
         PRAGMA journal_size_limit = 67108864;",
    )?;
    plan_once(&db)?;
    db.set_prepared_statement_cache_capacity(128);
    schema::migrate(&mut db)?;
    Ok(db)
}

fn open_for_reading(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags_and_vfs(path, flags, VFS)?;
    db.busy_timeout(Duration::from_secs(5))?;
    db.execute_batch(
        "PRAGMA cache_size = -16384; PRAGMA mmap_size = 1073741824; PRAGMA temp_store = MEMORY;",
    )?;
    plan_once(&db)?;
    db.set_prepared_statement_cache_capacity(64);
    Ok(db)
}

/// Without it many statements are parsed and planned anew for each value that is bound, though the plan is the same.
fn plan_once(db: &Connection) -> rusqlite::Result<()> {
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true).map(drop)
}
