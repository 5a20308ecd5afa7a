//! The embedded store keeps the contract that every store keeps.
#![allow(clippy::unwrap_used, reason = "a test says by panicking that it failed")]

use chat_sqlite::SqliteStore;

mod conformance;
#[path = "harness/wait.rs"]
mod wait;

async fn open() -> (SqliteStore, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (SqliteStore::open(&folder.path().join("folkmoot.db")).unwrap(), folder)
}

conformance_suite!(open);
