//! Opens a session through the driver that the settings name.

use std::{path::PathBuf, sync::Arc};

#[cfg(feature = "cpp")]
use super::cpp_driver::CppCql;
use super::{cql::Cql, options::CassandraOptions, scylla_driver::ScyllaCql};
use crate::config::CassandraDriver;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The file of authorities cannot be used.
    #[error("{} does not hold certificates in PEM", file.display())]
    Authorities {
        /// Path of the file.
        file: PathBuf,
        /// What was wrong with it.
        source: Source,
    },
    /// None of the contact points could be talked to.
    #[error("no Cassandra node answered at {contact_points:?}")]
    Unreachable {
        /// Where they were sought.
        contact_points: Vec<String>,
        /// What the driver reported.
        source: Source,
    },
    /// The cluster has no such datacenter.
    #[error("the cluster has no datacenter {expected:?}, it has {found:?}")]
    NoDatacenter {
        /// The datacenter that is configured.
        expected: String,
        /// As the nodes say.
        found: Vec<String>,
    },
    /// The cluster has no such keyspace.
    #[error("there is no keyspace {0:?}: run chat-server migrate")]
    NoKeyspace(String, #[source] Source),
    /// The driver does not take an option.
    #[error("the driver refused the settings")]
    Options(#[source] Source),
    /// This program was built without the driver.
    #[error("this chat-server was built without the feature cassandra-cpp")]
    NoDriver,
}

/// Connects through `driver`, to the options' keyspace when they name one.
///
/// # Errors
/// When no contact point answers, or what was asked for is not there.
pub async fn connect(
    driver: CassandraDriver,
    options: &CassandraOptions,
) -> Result<Arc<dyn Cql>, ConnectError> {
    match driver {
        CassandraDriver::Scylla => Ok(Arc::new(ScyllaCql::connect(options.clone()).await?)),
        #[cfg(feature = "cpp")]
        CassandraDriver::CassandraCpp => Ok(Arc::new(CppCql::connect(options).await?)),
        // The settings say so before it comes to this.
        #[cfg(not(feature = "cpp"))]
        CassandraDriver::CassandraCpp => Err(ConnectError::NoDriver),
    }
}
