//! Cassandra keeps the contract that every store keeps. The session is encrypted and signed in when the engine wants it.

use std::sync::Arc;

use chat_cassandra::{CassandraStore, cql::Cql, migrate::migrate};
use tokio::sync::OnceCell;

use crate::keyspace::Keyspace;

/// One keyspace for all tests of this file: making tables takes longer than any of them.
async fn open() -> (CassandraStore, ()) {
    static NAME: OnceCell<Keyspace> = OnceCell::const_new();
    let keyspace = NAME
        .get_or_init(|| async {
            let keyspace = Keyspace::create().await;
            migrate(&keyspace.cql, &keyspace.name).await.unwrap();
            keyspace
        })
        .await;
    // Sessions belong to the runtime that made them, which ends with its test.
    let cql: Arc<dyn Cql> = keyspace.connect().await;
    (CassandraStore::new(cql), ())
}

crate::conformance_suite!(open);
