//! Where a cluster's processes find their engines and each other.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::resolve::replication;

/// What the system of record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StoreEngine {
    /// A file in the data folder; one process.
    #[default]
    Sqlite,
    /// Apache Cassandra; any number of processes.
    Cassandra,
}

/// Which driver speaks to Cassandra.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CassandraDriver {
    /// The pure-Rust one.
    #[default]
    Scylla,
    /// The Apache C++ one; needs the Cargo feature `cassandra-cpp`.
    CassandraCpp,
}

impl CassandraDriver {
    /// Whether this program was built with it.
    #[must_use]
    pub const fn is_there(self) -> bool {
        match self {
            Self::Scylla => true,
            Self::CassandraCpp => cfg!(feature = "cassandra-cpp"),
        }
    }
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

/// Settings of Apache Cassandra.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CassandraConfig {
    /// `host:port` of some nodes; the others are found through them.
    pub contact_points: Vec<String>,
    /// The keyspace, made by `chat-server migrate`.
    pub keyspace: String,
    /// The datacenter whose nodes are asked.
    pub local_datacenter: String,
    /// `datacenter:copies` for `migrate`; empty: three copies in the local datacenter.
    pub replication: Vec<String>,
    /// Empty: no authentication.
    pub user: String,
    /// File with the password; a newline at its end is no part of it.
    pub password_file: PathBuf,
    /// PEM file with the authorities that the nodes' certificates are checked against; empty: no TLS.
    pub ca_file: PathBuf,
    /// How long one request may take.
    pub request_timeout: Duration,
    /// Appends that this process has under way at once.
    pub appends_at_once: u32,
    /// What speaks to the nodes.
    pub driver: CassandraDriver,
}

impl CassandraConfig {
    /// How many copies which datacenter keeps.
    #[must_use]
    pub fn copies(&self) -> Vec<(String, u8)> {
        if self.replication.is_empty() {
            return vec![(self.local_datacenter.clone(), 3)];
        }
        self.replication
            .iter()
            .filter_map(|entry| replication(entry))
            .map(|(dc, n)| (dc.to_owned(), n))
            .collect()
    }
}

impl Default for CassandraConfig {
    fn default() -> Self {
        Self {
            contact_points: vec!["127.0.0.1:9042".into()],
            keyspace: "folkmoot".into(),
            local_datacenter: "dc1".into(),
            replication: Vec::new(),
            user: String::new(),
            password_file: PathBuf::new(),
            ca_file: PathBuf::new(),
            request_timeout: Duration::from_millis(2_000),
            appends_at_once: 16,
            driver: CassandraDriver::default(),
        }
    }
}

/// Settings of Apache Pulsar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PulsarConfig {
    /// `pulsar://` or `pulsar+ssl://`.
    pub url: String,
    /// `http://` or `https://` of the admin interface, for `migrate`.
    pub admin_url: String,
    /// Name of the tenant.
    pub tenant: String,
    /// The namespace in it.
    pub namespace: String,
    /// Partitions of the topic of events, for `migrate`; they only grow.
    pub partitions: usize,
    /// File with the token; empty: no authentication. Read again when it changes.
    pub token_file: PathBuf,
    /// PEM file with the authorities that the brokers' certificates are checked against; empty: the system's.
    pub ca_file: PathBuf,
}

impl Default for PulsarConfig {
    fn default() -> Self {
        Self {
            url: "pulsar://127.0.0.1:6650".into(),
            admin_url: "http://127.0.0.1:8080".into(),
            tenant: "public".into(),
            namespace: "folkmoot".into(),
            partitions: 8,
            token_file: PathBuf::new(),
            ca_file: PathBuf::new(),
        }
    }
}

/// The processes among themselves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterConfig {
    /// Where other processes hand over sends of channels that this one owns; port 0 with an unspecified address: nowhere.
    pub listen: SocketAddr,
    /// `host:port` by which others reach `listen`; empty: `listen` itself.
    pub advertise: String,
    /// PEM file with the authority of the cluster's certificates.
    pub ca_file: PathBuf,
    /// PEM file with this process's certificate.
    pub cert_file: PathBuf,
    /// PEM file with its key.
    pub key_file: PathBuf,
    /// How long a channel's owner may take before a send is written without it.
    pub owner_timeout: Duration,
}

impl ClusterConfig {
    /// Whether sends of owned channels are taken from other processes.
    #[must_use]
    pub fn listens(&self) -> bool {
        !(self.listen.ip().is_unspecified() && self.listen.port() == 0)
    }
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self {
            listen: ([0, 0, 0, 0], 0).into(),
            advertise: String::new(),
            ca_file: PathBuf::new(),
            cert_file: PathBuf::new(),
            key_file: PathBuf::new(),
            owner_timeout: Duration::from_millis(600),
        }
    }
}

/// An object store that speaks the S3 protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Config {
    /// `https://` of the service; empty: AWS's own for the region.
    pub endpoint: String,
    /// The bucket; it must exist.
    pub bucket: String,
    /// The region of the bucket.
    pub region: String,
    /// What the keys of our objects begin with.
    pub prefix: String,
    /// File with two lines: the access key id and the secret access key.
    pub credentials_file: PathBuf,
}

impl Default for S3Config {
    fn default() -> Self {
        Self {
            endpoint: String::new(),
            bucket: String::new(),
            region: "us-east-1".into(),
            prefix: "folkmoot/".into(),
            credentials_file: PathBuf::new(),
        }
    }
}
