//! Apache Cassandra: whether it is there, and whether its tables are as the target needs them.

mod cql;
pub mod migration;
pub mod probe;
