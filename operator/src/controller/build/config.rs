//! The settings of chat-server, as variables of the environment, and the hash that says when they change.

use std::collections::BTreeMap;

use folkmoot_crds::ChatCluster;

use crate::datastore::Secrets;

/// Hashes of what is in those Secrets that chat-server reads only when it starts: logins and authorities of Cassandra, the
/// login of the object store. Others (the token of Pulsar, signing keys, certificates of our own) it reads again by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecretHashes(BTreeMap<String, String>);

impl SecretHashes {
    /// Of the Secrets that a `ChatCluster` refers to. What is missing counts as empty: whoever calls this has seen to it that
    /// nothing is.
    #[must_use]
    pub fn of(cluster: &ChatCluster, secrets: &Secrets) -> Self {
        let _ = (cluster, secrets);
        Self::default()
    }
}

/// A configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Changes whenever pods must be replaced to see a change: of a variable, or of what a [`SecretHashes`] covers. Ten
    /// characters of a DNS label.
    pub hash: String,
    /// `FOLKMOOT_SECTION__KEY` and values; nothing secret.
    pub variables: BTreeMap<String, String>,
}

impl Config {
    /// That of a spec.
    #[must_use]
    pub fn of(cluster: &ChatCluster, secrets: &SecretHashes) -> Self {
        let _ = (cluster, secrets);
        Self { hash: String::new(), variables: BTreeMap::new() }
    }
}
