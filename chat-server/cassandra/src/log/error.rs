//! What goes wrong on the way into a log, and what the contract calls it.

use std::time::Duration;

use chat_domain::store::StoreError;

use super::super::{columns::Damaged, cql::CqlError};

/// When to come back to a store that is too busy.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Why a log could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum LogError {
    /// Cassandra did not do it.
    #[error("the request to cassandra failed")]
    Cql(#[from] CqlError),
    /// Others wrote to the channel all the time, or it took too long.
    #[error("the deadline passed before the write got through")]
    Late,
    /// Something stands in the tables that is never written.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// An event that cannot be written down.
    #[error("the event cannot be encoded or decoded as JSON")]
    Encoding(#[from] serde_json::Error),
}

impl LogError {
    /// Whether the same thing may work in a moment.
    pub(super) fn is_transient(&self) -> bool {
        matches!(self, Self::Cql(CqlError::Timeout(_) | CqlError::Unavailable(_) | CqlError::Overloaded(_)))
    }
}

/// Of something that certainly was not done, or that was only a read.
impl From<LogError> for StoreError {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Cql(CqlError::Overloaded(_)) | LogError::Late => Self::Overloaded {
                retry_after_ms: u64::try_from(RETRY_AFTER.as_millis()).unwrap_or(u64::MAX),
            },
            LogError::Cql(CqlError::Timeout(_) | CqlError::Unavailable(_)) => {
                Self::Unavailable(Some(Box::new(error)))
            }
            LogError::Cql(CqlError::Invalid(_)) | LogError::Damaged(_) | LogError::Encoding(_) => {
                Self::Failed(Box::new(error))
            }
        }
    }
}
