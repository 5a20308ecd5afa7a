//! Apache Cassandra as the system of record of a cluster.

mod ask;
mod auth;
pub mod blobs;
mod codec;
mod columns;
pub mod config;
pub mod connect;
#[cfg(feature = "cpp")]
pub mod cpp_driver;
pub mod cql;
mod directory;
mod files;
mod fold;
mod follow;
mod generation;
mod hours;
mod invitations;
mod keys;
mod listing;
mod log;
pub mod migrate;
pub mod options;
mod owners;
pub mod schema;
pub mod scylla_driver;
mod seed;
mod sessions;
mod standing;
mod users;

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64},
};

use cql::Cql;
use hours::Hours;
pub use log::LogOptions;
use prometheus_client::registry::Registry;

/// The store of a cluster: any number of processes on the same keyspace.
pub struct CassandraStore {
    cql: Arc<dyn Cql>,
    log: Arc<log::Log>,
    /// By which channels are listed for consumers.
    hours: Arc<Hours>,
    lists: follow::Lists,
    /// Whether there is anybody; once true, for good.
    has_users: AtomicBool,
    /// Hours since the epoch before which nothing is to be done about files.
    no_file_work_before: AtomicU64,
}

impl CassandraStore {
    /// A store on a session that is bound to a migrated keyspace.
    #[must_use]
    pub fn new(cql: Arc<dyn Cql>) -> Self {
        Self::with_logs(cql, LogOptions::default())
    }

    /// Like [`Self::new`], with other options for logs.
    #[must_use]
    pub fn with_logs(cql: Arc<dyn Cql>, logs: LogOptions) -> Self {
        let hours = Arc::new(Hours::new(logs.hour));
        let lists = follow::Lists { shards: logs.shards.max(1), kept: logs.lists_kept };
        let log = Arc::new(log::Log::new(Arc::clone(&cql), logs, Arc::clone(&hours)));
        let (has_users, no_file_work_before) = (AtomicBool::new(false), AtomicU64::new(0));
        Self { cql, log, hours, lists, has_users, no_file_work_before }
    }

    /// Makes its metrics part of a registry.
    pub fn register(&self, registry: &mut Registry) {
        self.log.register(registry);
    }

    /// The session with Cassandra.
    #[must_use]
    pub fn cql(&self) -> &Arc<dyn Cql> {
        &self.cql
    }
}
