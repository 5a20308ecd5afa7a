//! How to reach Cassandra.

use std::{io, path::PathBuf, time::Duration};

use crate::config::CassandraConfig;

/// How a cluster is reached.
#[derive(Debug, Clone)]
pub struct CassandraOptions {
    /// `host:port` of some nodes; the others are found through them.
    pub contact_points: Vec<String>,
    /// The keyspace that statements are about; `None` to make one.
    pub keyspace: Option<String>,
    /// The datacenter whose nodes are asked, and in which a quorum must answer. No other's nodes are asked instead.
    pub local_datacenter: String,
    /// User and password, when nodes want them.
    pub credentials: Option<Credentials>,
    /// PEM file with the authorities that nodes' certificates are checked against; `None`: no TLS.
    pub ca_file: Option<PathBuf>,
    /// How long one request may take, its repetitions included.
    pub request_timeout: Duration,
    /// How long connecting, and a change of the schema with all nodes' agreement, may take.
    pub slow_timeout: Duration,
}

/// Who we are to Cassandra.
#[derive(Clone)]
pub struct Credentials {
    /// Name of Cassandra's role.
    pub user: String,
    /// Its password; never logged.
    pub password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

impl Default for CassandraOptions {
    fn default() -> Self {
        Self {
            contact_points: vec!["127.0.0.1:9042".into()],
            keyspace: None,
            local_datacenter: "dc1".into(),
            credentials: None,
            ca_file: None,
            request_timeout: Duration::from_secs(4),
            slow_timeout: Duration::from_secs(30),
        }
    }
}

impl CassandraOptions {
    /// From the settings; reads the password.
    ///
    /// # Errors
    /// When the file of the password cannot be read; the message names it.
    pub fn read(config: &CassandraConfig) -> io::Result<Self> {
        let credentials = if config.user.is_empty() {
            None
        } else {
            let path = &config.password_file;
            let text = std::fs::read_to_string(path).map_err(|error| {
                io::Error::new(error.kind(), format!("{} cannot be read: {error}", path.display()))
            })?;
            let password = text.lines().next().unwrap_or_default().to_owned();
            Some(Credentials { user: config.user.clone(), password })
        };
        Ok(Self {
            contact_points: config.contact_points.clone(),
            keyspace: Some(config.keyspace.clone()),
            local_datacenter: config.local_datacenter.clone(),
            credentials,
            ca_file: Some(config.ca_file.clone()).filter(|file| !file.as_os_str().is_empty()),
            request_timeout: config.request_timeout,
            ..Self::default()
        })
    }
}
