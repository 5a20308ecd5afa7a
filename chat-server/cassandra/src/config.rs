//! What can be set of Apache Cassandra.

use std::{path::PathBuf, time::Duration};

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
            Self::CassandraCpp => cfg!(feature = "cpp"),
        }
    }
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

/// Datacenter and number of copies of an entry such as `dc1:3`.
#[must_use]
pub fn replication(entry: &str) -> Option<(&str, u8)> {
    let (datacenter, copies) = entry.rsplit_once(':')?;
    let copies = copies.parse().ok().filter(|copies| (1..=15).contains(copies))?;
    (!datacenter.is_empty()).then_some((datacenter, copies))
}
