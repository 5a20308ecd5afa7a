//! What is taken from the Secrets that a spec refers to.

use std::collections::BTreeSet;

use folkmoot_crds::{CassandraSpec, ChatCluster, PulsarSpec, SecretKeyRef};

use super::{
    Secrets,
    fault::{Fault, Reason},
};

/// Names of the Secrets that [`super::Datastores`] needs for a `ChatCluster`.
#[must_use]
pub fn referenced_secrets(cluster: &ChatCluster) -> BTreeSet<String> {
    let (cassandra, pulsar) = (&cluster.spec.cassandra, &cluster.spec.pulsar);
    [cassandra.ca_secret_ref.as_ref(), pulsar.ca_secret_ref.as_ref(), admin_token(pulsar)]
        .into_iter()
        .flatten()
        .map(|reference| reference.name.clone())
        .collect()
}

/// What it takes to speak with Pulsar.
pub(super) struct PulsarAccess<'a> {
    pub authorities: Option<&'a [u8]>,
    pub token: Option<&'a [u8]>,
}

impl<'a> PulsarAccess<'a> {
    /// # Errors
    /// When something that is referred to is missing.
    pub(super) fn of(spec: &PulsarSpec, secrets: &'a Secrets) -> Result<Self, Fault> {
        let field =
            if spec.admin_token_secret_ref.is_some() { "adminTokenSecretRef" } else { "tokenSecretRef" };
        Ok(Self {
            authorities: value(spec.ca_secret_ref.as_ref(), "spec.pulsar.caSecretRef", secrets)?,
            token: value(admin_token(spec), &format!("spec.pulsar.{field}"), secrets)?,
        })
    }
}

/// The authorities that vouch for nodes of Cassandra; `None`: no TLS.
///
/// # Errors
/// When they are referred to and missing.
pub(super) fn cassandra_authorities<'a>(
    spec: &CassandraSpec,
    secrets: &'a Secrets,
) -> Result<Option<&'a [u8]>, Fault> {
    value(spec.ca_secret_ref.as_ref(), "spec.cassandra.caSecretRef", secrets)
}

fn admin_token(spec: &PulsarSpec) -> Option<&SecretKeyRef> {
    spec.admin_token_secret_ref.as_ref().or(spec.token_secret_ref.as_ref())
}

fn value<'a>(
    reference: Option<&SecretKeyRef>,
    field: &str,
    secrets: &'a Secrets,
) -> Result<Option<&'a [u8]>, Fault> {
    let Some(SecretKeyRef { name, key }) = reference else { return Ok(None) };
    let missing = |message| Fault::new(Reason::SecretMissing, message);
    let Some(secret) = secrets.get(name) else {
        return Err(missing(format!(
            "expected the Secret {name} that {field} names; make it in the namespace of the ChatCluster"
        )));
    };
    let found = secret.get(key);
    found.map(Some).ok_or_else(|| {
        missing(format!(
            "expected the key {key} in the Secret {name} that {field} names; add it to the Secret"
        ))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::keys::SecretData;

    #[test]
    fn the_token_of_the_operator_comes_before_that_of_the_processes() {
        let secret = |key: &str, value: &str| SecretData::from_iter([(key, value)]);
        let secrets: Secrets = [
            ("a".to_owned(), secret("token", "of the operator")),
            ("p".to_owned(), secret("token", "of the processes")),
        ]
        .into();
        let reference = |name: &str, key: &str| json!({ "name": name, "key": key });
        for (admin, processes, expected) in [
            (json!(null), json!(null), Ok(None)),
            (json!(null), reference("p", "token"), Ok(Some("of the processes"))),
            (reference("a", "token"), reference("p", "token"), Ok(Some("of the operator"))),
            (
                reference("x", "token"),
                reference("p", "token"),
                Err(
                    "expected the Secret x that spec.pulsar.adminTokenSecretRef names; make it in the namespace of the ChatCluster",
                ),
            ),
            (
                json!(null),
                reference("p", "t"),
                Err(
                    "expected the key t in the Secret p that spec.pulsar.tokenSecretRef names; add it to the Secret",
                ),
            ),
        ] {
            let spec = json!({
                "url": "pulsar://p:6650",
                "adminUrl": "http://p:8080",
                "adminTokenSecretRef": admin,
                "tokenSecretRef": processes,
            });
            let spec: PulsarSpec = serde_json::from_value(spec).unwrap();
            let found = PulsarAccess::of(&spec, &secrets);
            let token = found.map(|access| access.token.map(|token| std::str::from_utf8(token).unwrap()));
            assert_eq!(token.map_err(|fault| fault.message), expected.map_err(str::to_owned));
        }
    }
}
