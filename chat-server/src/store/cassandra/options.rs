//! How to reach Cassandra.

use std::{fmt, io, path::Path, time::Duration};

use crate::config::CassandraConfig;

/// What a session needs. Passwords are never shown.
#[derive(Clone)]
pub struct CassandraOptions {
    /// `host:port` of some nodes; the others are found through them.
    pub contact_points: Vec<String>,
    /// The keyspace that the session is bound to; `None` before there is one.
    pub keyspace: Option<String>,
    /// The datacenter whose nodes are asked.
    pub local_datacenter: String,
    /// User and password.
    pub credentials: Option<(String, String)>,
    /// PEM of the authorities that vouch for the nodes; turns TLS on.
    pub ca_pem: Option<String>,
    /// How long one request may take.
    pub request_timeout: Duration,
}

impl fmt::Debug for CassandraOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CassandraOptions")
            .field("contact_points", &self.contact_points)
            .field("keyspace", &self.keyspace)
            .field("local_datacenter", &self.local_datacenter)
            .field("tls", &self.ca_pem.is_some())
            .finish_non_exhaustive()
    }
}

impl CassandraOptions {
    /// From the settings; reads the files that they name.
    ///
    /// # Errors
    /// When a file cannot be read; the message names it.
    pub fn read(config: &CassandraConfig) -> io::Result<Self> {
        let credentials = if config.user.is_empty() {
            None
        } else {
            let password = read(&config.password_file)?;
            Some((config.user.clone(), password.lines().next().unwrap_or_default().to_owned()))
        };
        let ca_pem = if config.ca_file.as_os_str().is_empty() { None } else { Some(read(&config.ca_file)?) };
        Ok(Self {
            contact_points: config.contact_points.clone(),
            keyspace: Some(config.keyspace.clone()),
            local_datacenter: config.local_datacenter.clone(),
            credentials,
            ca_pem,
            request_timeout: config.request_timeout,
        })
    }
}

fn read(path: &Path) -> io::Result<String> {
    std::fs::read_to_string(path)
        .map_err(|error| io::Error::new(error.kind(), format!("{} cannot be read: {error}", path.display())))
}
