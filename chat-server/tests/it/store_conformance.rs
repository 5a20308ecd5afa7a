//! The embedded store keeps the contract that every store keeps.

use chat_sqlite::SqliteStore;

async fn open() -> (SqliteStore, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (SqliteStore::open(&folder.path().join("folkmoot.db")).unwrap(), folder)
}

crate::conformance_suite!(open);
