//! Apache Cassandra as the system of record of a cluster.

#[cfg(feature = "cassandra-cpp")]
pub mod cpp_driver;
pub mod cql;
pub mod options;
pub mod schema;
pub mod scylla_driver;
