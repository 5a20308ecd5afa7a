//! What can be set of the processes among themselves.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

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
