//! Reader threads: each has a connection of its own, so that none waits for the writer or for another.

use std::{sync::Arc, thread::JoinHandle, time::Duration};

use rusqlite::Connection;

use super::{
    job::ReadJob,
    queue::{Queue, Taken},
};

/// How many: reading is CPU work on cached pages.
pub(super) fn size() -> usize {
    std::thread::available_parallelism().map_or(2, |cores| cores.get().clamp(2, 4))
}

/// Ends when the queue is closed and empty.
pub(super) fn spawn(db: Connection, queue: Arc<Queue<ReadJob>>) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("sqlite-reader".into()).spawn(move || {
        loop {
            match queue.take(1, Duration::from_secs(3600)) {
                Taken::Items(jobs) => jobs.into_iter().for_each(|job| job(&db)),
                Taken::Idle => {}
                Taken::Closed => return,
            }
        }
    })
}
