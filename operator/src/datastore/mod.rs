//! Cassandra and Pulsar: what should be in them, what is, and what is to be done about it.

use jiff::Timestamp;

/// Whether an engine can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It was not asked yet.
    Unknown,
    /// It answers, and is as it should be.
    Ready,
    /// It is not.
    Unready {
        /// For a program: `Unreachable`, `Unauthorized`, `TlsFailed`, `SecretMissing`, `Refused`.
        reason: &'static str,
        /// For a person: which address, what was expected, what came, what to do.
        message: String,
        /// Since when.
        since: Timestamp,
    },
}
