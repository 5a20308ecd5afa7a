//! What can be set of Apache Pulsar.

use std::path::PathBuf;

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
