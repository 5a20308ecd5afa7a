//! Apache Cassandra: whether it is there, and whether its tables are as the target needs them.

pub mod migration;
