//! What is taken from the Secrets that a spec refers to.

use std::collections::BTreeSet;

use folkmoot_crds::ChatCluster;

/// Names of the Secrets that [`super::Datastores`] needs for a `ChatCluster`.
#[must_use]
pub fn referenced_secrets(cluster: &ChatCluster) -> BTreeSet<String> {
    let (cassandra, pulsar) = (&cluster.spec.cassandra, &cluster.spec.pulsar);
    let admin = pulsar.admin_token_secret_ref.as_ref().or(pulsar.token_secret_ref.as_ref());
    [cassandra.ca_secret_ref.as_ref(), pulsar.ca_secret_ref.as_ref(), admin]
        .into_iter()
        .flatten()
        .map(|reference| reference.name.clone())
        .collect()
}
