//! Apache Cassandra as the system of record of a cluster.

#[cfg(feature = "cassandra-cpp")]
pub mod cpp_driver;
pub mod cql;
pub mod migrate;
pub mod options;
pub mod schema;
pub mod scylla_driver;

use std::sync::Arc;

use cql::Cql;

/// The store of a cluster: any number of processes on the same keyspace.
pub struct CassandraStore {
    cql: Arc<dyn Cql>,
}

impl CassandraStore {
    /// A store on a session that is bound to a migrated keyspace.
    #[must_use]
    pub fn new(cql: Arc<dyn Cql>) -> Self {
        Self { cql }
    }

    /// The session.
    #[must_use]
    pub fn cql(&self) -> &Arc<dyn Cql> {
        &self.cql
    }
}
