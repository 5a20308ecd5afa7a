//! The one thread that writes: group commit, and housekeeping while nothing is asked of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use chat_domain::clock::now_ms;
use chat_protocol::{Millis, limits::IDEMPOTENCY_WINDOW_MS};
use rusqlite::{Connection, ErrorCode, params};

use super::{
    FaultHook, FaultPoint, JobError, SqliteOptions,
    codec::{int, limit},
    job::{Fate, Ran, WriteJob},
    queue::{Queue, Taken},
    tail,
};

/// Most writes that share one commit: bounds how long the first of them waits for the last.
const GROUP: usize = 256;
/// Time between two looks for what has expired.
const PURGE: Duration = Duration::from_secs(30);
/// How long deleted text may linger in the write-ahead log.
const CHECKPOINT: Duration = Duration::from_secs(60);
/// Client ids live this much longer than promised, for clocks that disagree.
const DEDUP_MARGIN_MS: u64 = 60 * 60 * 1000;
/// Sessions stay this long after they expired, so that a late refresh is distinguished from a forged one.
const SESSION_MARGIN_MS: u64 = 24 * 60 * 60 * 1000;
/// Rows that one purging statement looks at: sends wait for it.
const PURGE_SLICE: usize = 1_000;

pub(super) struct Writer {
    db: Connection,
    queue: Arc<Queue<WriteJob>>,
    fault: Option<FaultHook>,
    pages: Option<Arc<AtomicU32>>,
    /// The last write that changed something failed.
    failing: Arc<AtomicBool>,
}

/// The thread's connection cannot be used any more; what it was doing is lost or of unknown outcome.
struct Dead;

impl Writer {
    pub(super) fn new(
        db: Connection,
        queue: Arc<Queue<WriteJob>>,
        options: SqliteOptions,
        failing: Arc<AtomicBool>,
    ) -> Self {
        Self { db, queue, fault: options.fault, pages: options.pages, failing }
    }

    /// Returns when the queue is closed and empty, or when the connection is dead.
    pub(super) fn run(self) {
        // However this thread ends, even by a panic, callers must learn of it instead of waiting.
        let _abandon = AbandonOnDrop(Arc::clone(&self.queue));
        let mut purge_at = Instant::now();
        let mut checkpoint_at = Instant::now() + CHECKPOINT;
        loop {
            let next = purge_at.min(checkpoint_at);
            match self.queue.take(GROUP, next.saturating_duration_since(Instant::now())) {
                Taken::Items(jobs) => {
                    if let Err(Dead) = self.commit_group(jobs) {
                        return;
                    }
                }
                Taken::Idle => {}
                Taken::Closed => break,
            }
            if Instant::now() >= purge_at {
                // As long as there is something to purge, a slice goes with each group: it keeps up with any load.
                let Ok(purged) = self.transaction("purge", || purge(&self.db, now_ms())) else { return };
                let more = purged.is_some_and(|purged| purged.more);
                purge_at = Instant::now() + if more { Duration::ZERO } else { PURGE };
            }
            if Instant::now() >= checkpoint_at {
                self.checkpoint();
                checkpoint_at = Instant::now() + CHECKPOINT;
            }
        }
        self.checkpoint();
    }

    /// Runs all of `jobs` in one transaction, each able to fail alone, and answers them after the commit.
    fn commit_group(&self, jobs: Vec<WriteJob>) -> Result<(), Dead> {
        if let Some(pages) = &self.pages {
            let most = pages.load(Ordering::Relaxed);
            let _ = self.db.query_row(&format!("PRAGMA max_page_count = {most}"), (), |_| Ok(()));
        }
        let before = self.db.total_changes();
        let mut lost = self.run_sql("BEGIN IMMEDIATE").map_err(Arc::new).err();
        let mut ran = Vec::with_capacity(jobs.len());
        for (place, job) in jobs.into_iter().enumerate() {
            // Not with a message that comes alone: somebody waits for it.
            if place > 0 && lost.is_none() && tail::is_long(&self.db).unwrap_or_default() {
                lost = tail::settle(&self.db).map_err(Arc::new).err();
            }
            match &lost {
                None => lost = self.run_in_savepoint(job, &mut ran).map_err(Arc::new).err(),
                Some(error) => ran.push(job(Err(Arc::clone(error)))),
            }
        }
        let fate = match lost {
            // The engine did not begin the transaction (the file is locked) or gave it up (the disk is full).
            Some(error) => {
                tracing::error!(%error, "store lost a transaction");
                self.roll_back();
                Fate::Undone(error)
            }
            None => self.commit()?,
        };
        if !matches!(fate, Fate::Committed) || ran.iter().any(|ran| ran.found_no_room) {
            self.failing.store(true, Ordering::Release);
        } else if self.db.total_changes() != before {
            self.failing.store(false, Ordering::Release);
        }
        let dead = matches!(&fate, Fate::Unknown(error) if is_fatal(error));
        for ran in ran {
            (ran.settle)(fate.clone());
        }
        if dead || !self.db.is_autocommit() {
            return Err(Dead);
        }
        if tail::is_long(&self.db).unwrap_or_default() {
            self.transaction("settle", || tail::settle(&self.db))?;
        }
        Ok(())
    }

    /// Work of the store's own, in a transaction of its own; `None` when it failed and can be tried again later.
    fn transaction<T>(&self, what: &str, work: impl Fn() -> rusqlite::Result<T>) -> Result<Option<T>, Dead> {
        let done = self.run_sql("BEGIN IMMEDIATE").and_then(|()| work());
        match done.and_then(|done| self.run_sql("COMMIT").map(|()| done)) {
            Ok(done) => Ok(Some(done)),
            Err(error) => {
                tracing::warn!(%error, what, "store cannot do work of its own");
                self.roll_back();
                if is_fatal(&error) || !self.db.is_autocommit() { Err(Dead) } else { Ok(None) }
            }
        }
    }

    fn run_in_savepoint(&self, job: WriteJob, ran: &mut Vec<Ran>) -> rusqlite::Result<()> {
        self.run_sql("SAVEPOINT job")?;
        let outcome = job(Ok(&self.db));
        let succeeded = outcome.succeeded;
        ran.push(outcome);
        if !succeeded {
            self.run_sql("ROLLBACK TO job")?;
        }
        self.run_sql("RELEASE job")
    }

    fn run_sql(&self, sql: &str) -> rusqlite::Result<()> {
        self.db.prepare_cached(sql)?.execute(()).map(drop)
    }

    fn commit(&self) -> Result<Fate, Dead> {
        self.fail_here(FaultPoint::BeforeCommit)?;
        let committed = self.run_sql("COMMIT");
        self.fail_here(FaultPoint::AfterCommit)?;
        let error = match committed {
            Ok(()) => return Ok(Fate::Committed),
            Err(error) => error,
        };
        tracing::error!(%error, "store cannot commit");
        self.roll_back();
        Ok(Fate::Unknown(Arc::new(error)))
    }

    fn roll_back(&self) {
        if !self.db.is_autocommit()
            && let Err(error) = self.db.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "store cannot roll back");
        }
    }

    fn fail_here(&self, point: FaultPoint) -> Result<(), Dead> {
        match &self.fault {
            Some(fault) if fault(point) => Err(Dead),
            _ => Ok(()),
        }
    }

    /// Moves the write-ahead log into the file and empties it. It keeps the log small, and what was deleted
    /// from the file does not linger in older pages of the log.
    fn checkpoint(&self) {
        let checkpointed: rusqlite::Result<bool> =
            self.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| row.get(0));
        match checkpointed {
            Ok(busy) => tracing::trace!(busy, "store checkpointed"),
            Err(error) => tracing::warn!(%error, "store cannot checkpoint"),
        }
    }
}

struct AbandonOnDrop(Arc<Queue<WriteJob>>);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// After a failed write or sync nothing is known of what the disk holds; only opening the file anew shows it.
fn is_fatal(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

/// Writes about as much as a message with all that goes with it, and leaves nothing of it.
pub(super) fn probe(db: &Connection) -> Result<(), JobError> {
    db.execute_batch(
        "CREATE TABLE probe (bytes BLOB); INSERT INTO probe VALUES (zeroblob(65536)); DROP TABLE probe;",
    )?;
    Ok(())
}

pub(super) struct Purged {
    /// Rows that are gone.
    pub(super) removed: usize,
    /// There may be more to remove.
    pub(super) more: bool,
}

/// Removes one slice of client ids and one of sessions that are past their time.
pub(super) fn purge(db: &Connection, now: Millis) -> rusqlite::Result<Purged> {
    tail::settle(db)?;
    let before = int(now.saturating_sub(IDEMPOTENCY_WINDOW_MS + DEDUP_MARGIN_MS));
    let mut slice = db.prepare_cached(
        "SELECT row, at FROM events WHERE row > (SELECT purged FROM progress) ORDER BY row LIMIT ?1",
    )?;
    let rows = slice.query_map([limit(PURGE_SLICE)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut old: Vec<i64> = Vec::new();
    for event in rows {
        let (row, at): (i64, i64) = event?;
        if at >= before {
            break;
        }
        old.push(row);
    }
    let mut ids = 0;
    if let Some(last) = old.last() {
        ids = db
            .prepare_cached(
                "DELETE FROM dedup WHERE (channel, by, id) IN
                     (SELECT channel, by, id FROM events WHERE row > (SELECT purged FROM progress) AND row <= ?1)",
            )?
            .execute([last])?;
        db.prepare_cached("UPDATE progress SET purged = ?1")?.execute([last])?;
    }
    let before = int(now.saturating_sub(SESSION_MARGIN_MS));
    let sessions = db
        .prepare_cached(
            "DELETE FROM sessions WHERE id IN
                 (SELECT id FROM sessions WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)",
        )?
        .execute(params![before, limit(PURGE_SLICE)])?;
    Ok(Purged { removed: ids + sessions, more: old.len().max(sessions) >= PURGE_SLICE })
}
