//! Apache Cassandra as the system of record of a cluster.

pub mod cql;
pub mod schema;
