//! Cassandra keeps the contract that every store keeps, through the Apache C++ driver as well.
#![allow(clippy::unwrap_used, reason = "a test says by panicking that it failed")]

#[path = "it/conformance/mod.rs"]
mod conformance;
#[allow(dead_code, reason = "it uses a part of it")]
#[path = "it/harness/mod.rs"]
mod harness;
#[allow(dead_code, reason = "it uses a part of it")]
#[path = "it/keyspace/mod.rs"]
mod keyspace;

use std::sync::Arc;

use chat_cassandra::{CassandraStore, cpp_driver::CppCql, cql::Cql, migrate::migrate};
use keyspace::Keyspace;
use tokio::sync::OnceCell;

/// The keyspace is made through the other driver, which both must be able to work on.
async fn open() -> (CassandraStore, ()) {
    static KEYSPACE: OnceCell<Keyspace> = OnceCell::const_new();
    let keyspace = KEYSPACE
        .get_or_init(|| async {
            let keyspace = Keyspace::create().await;
            migrate(&keyspace.cql, &keyspace.name).await.unwrap();
            keyspace
        })
        .await;
    let cql: Arc<dyn Cql> = Arc::new(CppCql::connect(&keyspace.options()).await.unwrap());
    (CassandraStore::new(cql), ())
}

conformance_suite!(open);
