//! Apache Cassandra as the system of record of a cluster.

#[allow(dead_code, reason = "the directory, which follows the logs")]
mod ask;
mod auth;
#[allow(dead_code, reason = "the directory, which follows the logs")]
mod codec;
#[cfg(feature = "cassandra-cpp")]
pub mod cpp_driver;
pub mod cql;
mod keys;
#[allow(dead_code, reason = "the directory, which follows the logs")]
mod listing;
mod log;
pub mod migrate;
pub mod options;
pub mod schema;
pub mod scylla_driver;
mod sessions;
#[allow(dead_code, reason = "the directory, which follows the logs")]
mod users;

use std::sync::{Arc, atomic::AtomicBool};

use cql::Cql;
pub use log::LogOptions;

/// The store of a cluster: any number of processes on the same keyspace.
pub struct CassandraStore {
    cql: Arc<dyn Cql>,
    /// Whether there is anybody; once true, for good.
    #[allow(dead_code, reason = "the directory, which follows the logs")]
    has_users: AtomicBool,
    log: Arc<log::Log>,
}

impl CassandraStore {
    /// A store on a session that is bound to a migrated keyspace.
    #[must_use]
    pub fn new(cql: Arc<dyn Cql>) -> Self {
        Self::with_logs(cql, LogOptions::default())
    }

    /// Like [`Self::new`].
    #[must_use]
    pub fn with_logs(cql: Arc<dyn Cql>, logs: LogOptions) -> Self {
        Self { log: Arc::new(log::Log::new(Arc::clone(&cql), logs)), has_users: AtomicBool::new(false), cql }
    }

    /// The session.
    #[must_use]
    pub fn cql(&self) -> &Arc<dyn Cql> {
        &self.cql
    }
}
