//! The Secrets that a `ChatCluster` refers to. Nothing here reads them.

use std::collections::{BTreeMap, BTreeSet};

use folkmoot_crds::ChatCluster;
use k8s_openapi::api::core::v1::Secret;

use crate::keys::SecretData;

/// The values of referenced Secrets, by the name of the Secret. One that does not exist is absent.
pub type Secrets = BTreeMap<String, SecretData>;

/// Names of all Secrets that a `ChatCluster` refers to, whoever reads them.
#[must_use]
pub fn referenced(cluster: &ChatCluster) -> BTreeSet<String> {
    let (cassandra, pulsar) = (&cluster.spec.cassandra, &cluster.spec.pulsar);
    let s3 = cluster.spec.files.s3.as_ref().map(|s3| &s3.credentials_secret_ref);
    let keys = [
        cassandra.ca_secret_ref.as_ref(),
        pulsar.ca_secret_ref.as_ref(),
        pulsar.admin_token_secret_ref.as_ref(),
        pulsar.token_secret_ref.as_ref(),
        s3,
    ];
    let logins = [&cassandra.credentials_secret_ref, &cassandra.migration_credentials_secret_ref];
    let keys = keys.into_iter().flatten().map(|reference| reference.name.clone());
    keys.chain(logins.into_iter().flatten().map(|login| login.name.clone())).collect()
}

/// What is in a Secret.
#[must_use]
pub fn data_of(secret: &Secret) -> SecretData {
    secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect()
}
