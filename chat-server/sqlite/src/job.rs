//! Work for the store's threads, and how its answer gets back to the caller.

use std::sync::Arc;

use chat_domain::store::StoreError;
use rusqlite::{Connection, ErrorCode};
use tokio::sync::oneshot;

/// Whatever went wrong inside a job; the contract gives its callers no more than [`StoreError::Failed`].
pub(super) type JobError = Box<dyn std::error::Error + Send + Sync>;

/// What became of the transaction that a write was part of.
#[derive(Clone)]
pub(super) enum Fate {
    /// It is durable.
    Committed,
    /// It was rolled back, for certain.
    Undone(Arc<rusqlite::Error>),
    /// Its commit failed in a way that leaves both possible.
    Unknown(Arc<rusqlite::Error>),
}

/// A write that ran and waits for the commit.
pub(super) struct Ran {
    /// False when its changes must be undone.
    pub(super) succeeded: bool,
    /// There was no room on the disk for it.
    pub(super) found_no_room: bool,
    /// Answers the caller. Dropped without being called, the caller learns that the outcome is unknown.
    pub(super) settle: Box<dyn FnOnce(Fate) + Send>,
}

/// A write. Given the error for which no transaction could begin, it answers that nothing was done.
pub(super) type WriteJob = Box<dyn FnOnce(Result<&Connection, Arc<rusqlite::Error>>) -> Ran + Send>;

/// A read that waits for a connection.
pub(super) type ReadJob = Box<dyn FnOnce(&Connection) + Send>;

pub(super) type Answer<T> = oneshot::Receiver<Result<T, StoreError>>;

pub(super) fn write_job<T: Send + 'static>(
    work: impl FnOnce(&Connection) -> Result<T, JobError> + Send + 'static,
) -> (WriteJob, Answer<T>) {
    let (answer, receiver) = oneshot::channel();
    let job: WriteJob = Box::new(move |transaction| {
        let result = transaction.map_err(Into::into).and_then(work);
        let succeeded = result.is_ok();
        let found_no_room = result.as_ref().is_err_and(|error| is_full(&**error));
        let settle = Box::new(move |fate| {
            let result = match (result, fate) {
                (Err(error), _) => Err(StoreError::Failed(error)),
                (Ok(value), Fate::Committed) => Ok(value),
                (Ok(_), Fate::Undone(error)) => Err(StoreError::Failed(Box::new(error))),
                (Ok(_), Fate::Unknown(error)) => Err(StoreError::UnknownOutcome(Some(Box::new(error)))),
            };
            // A caller that is gone needs no answer; the write stands.
            let _ = answer.send(result);
        });
        Ran { succeeded, found_no_room, settle }
    });
    (job, receiver)
}

fn is_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let code = error.downcast_ref::<rusqlite::Error>().and_then(rusqlite::Error::sqlite_error_code);
    code == Some(ErrorCode::DiskFull)
}

pub(super) fn read_job<T: Send + 'static>(
    work: impl FnOnce(&Connection) -> Result<T, JobError> + Send + 'static,
) -> (ReadJob, Answer<T>) {
    let (answer, receiver) = oneshot::channel();
    let job = Box::new(move |db: &Connection| {
        // Reading for a caller that is gone would only hold up those behind it.
        if !answer.is_closed() {
            let _ = answer.send(work(db).map_err(StoreError::Failed));
        }
    });
    (job, receiver)
}
