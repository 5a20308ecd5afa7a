//! Which engine does what. What an engine can be set to is its own.

/// What the system of record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StoreEngine {
    /// A file in the data folder; one process.
    #[default]
    Sqlite,
    /// Apache Cassandra; any number of processes.
    Cassandra,
}

/// What carries events between processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BusEngine {
    /// Memory; one process.
    #[default]
    Local,
    /// Apache Pulsar; any number of processes.
    Pulsar,
}

/// Where the bytes of files lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FileEngine {
    /// In the data folder beside SQLite, in Cassandra beside Cassandra.
    #[default]
    Auto,
    /// In the data folder.
    Disk,
    /// In Cassandra, in chunks.
    Cassandra,
    /// In a bucket of an object store that speaks the S3 protocol.
    S3,
}
