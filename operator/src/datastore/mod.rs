//! Cassandra and Pulsar: what should be in them, what is, and what is to be done about it.

pub mod cassandra;
pub mod fault;
pub mod pulsar;
mod secrets;

use std::collections::BTreeMap;

use folkmoot_crds::ChatCluster;
use jiff::Timestamp;

use crate::keys::SecretData;
pub use fault::{Fault, Reason};
pub use pulsar::plan::PulsarAction;
pub use secrets::referenced_secrets;

/// Whether an engine can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It was not asked yet.
    Unknown,
    /// It answers, and is as it should be.
    Ready,
    /// It is not.
    Unready {
        /// For a program: `Unreachable`, `Unauthorized`, `TlsFailed`, `SecretMissing`, `Refused`, `Drifted`.
        reason: &'static str,
        /// For a person: which address, what was expected, what came, what to do.
        message: String,
        /// Since when.
        since: Timestamp,
    },
}

/// What is known of both engines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whether Cassandra answers. Tables are the migration's.
    pub cassandra: Health,
    /// Whether Pulsar answers and has what it should.
    pub pulsar: Health,
    /// What was made or put right in Pulsar just now, for events; empty when all was as it should be, or was not looked at.
    pub repaired: Vec<PulsarAction>,
    /// When asking again gives something new.
    pub due: Timestamp,
}

/// What [`Datastores::check`] may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Make what is missing and put right what differs.
    Repair,
    /// Only look; what differs is reported as `Drifted`. For a paused `ChatCluster`.
    Observe,
}

/// The values of referenced Secrets, by the name of the Secret. One that does not exist is absent.
pub type Secrets = BTreeMap<String, SecretData>;

/// Asks engines, and remembers what they said.
#[derive(Debug, Default)]
pub struct Datastores {}

impl Datastores {
    /// Knows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks both engines at once, each when it is due: every 30 s while it is well, every 5 s while it is not, and at once when
    /// the spec or a Secret changed. Ends within 20 s.
    pub async fn check(
        &self,
        cluster: &ChatCluster,
        pulsar_namespace: &str,
        secrets: &Secrets,
        mode: Mode,
    ) -> Report {
        let _ = (cluster, pulsar_namespace, secrets, mode);
        Report {
            cassandra: Health::Unknown,
            pulsar: Health::Unknown,
            repaired: Vec::new(),
            due: Timestamp::now(),
        }
    }

    /// Deletes the namespace with all topics, and the tenant when nothing else is in it. What is not there is well. Ends within
    /// 30 s.
    ///
    /// # Errors
    /// When Pulsar cannot be asked or refuses; doing it again goes on from there.
    pub async fn delete_pulsar(
        &self,
        cluster: &ChatCluster,
        pulsar_namespace: &str,
        secrets: &Secrets,
    ) -> Result<(), Fault> {
        let _ = (cluster, pulsar_namespace, secrets);
        Ok(())
    }

    /// Forgets a `ChatCluster`, by its uid.
    pub fn forget(&self, uid: &str) {
        let _ = uid;
    }
}
