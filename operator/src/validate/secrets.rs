//! Whether the Secrets that a `ChatCluster` refers to have what is needed.

use folkmoot_crds::{CredentialsRef, SecretKeyRef};

use super::{Files, Problem, ValidatedCluster};
use crate::secrets::Secrets;

/// Checks that every Secret that the resource refers to is there and has what is needed (`SecretMissing`).
///
/// # Errors
/// All that is missing.
pub fn validate_secrets(cluster: &ValidatedCluster, secrets: &Secrets) -> Result<(), Vec<Problem>> {
    let (cassandra, pulsar) = (cluster.cassandra(), cluster.pulsar());
    let s3 = match cluster.files() {
        Files::Cassandra => None,
        Files::S3(s3) => Some(&s3.credentials_secret_ref),
    };
    let mut wanted: Vec<(&str, &str, &str)> = Vec::new();
    let login = |reference: &Option<CredentialsRef>| reference.as_ref().map(|r| r.name.clone());
    let logins = [
        ("spec.cassandra.credentialsSecretRef", login(&cassandra.credentials_secret_ref)),
        ("spec.cassandra.migrationCredentialsSecretRef", login(&cassandra.migration_credentials_secret_ref)),
    ];
    for (field, name) in &logins {
        if let Some(name) = name {
            wanted.extend([(*field, name.as_str(), "username"), (*field, name.as_str(), "password")]);
        }
    }
    let keys: [(&str, Option<&SecretKeyRef>); 5] = [
        ("spec.cassandra.caSecretRef", cassandra.ca_secret_ref.as_ref()),
        ("spec.pulsar.tokenSecretRef", pulsar.token_secret_ref.as_ref()),
        ("spec.pulsar.adminTokenSecretRef", pulsar.admin_token_secret_ref.as_ref()),
        ("spec.pulsar.caSecretRef", pulsar.ca_secret_ref.as_ref()),
        ("spec.files.s3.credentialsSecretRef", s3),
    ];
    for (field, reference) in keys {
        wanted.extend(reference.map(|reference| (field, reference.name.as_str(), reference.key.as_str())));
    }
    let problems: Vec<Problem> = wanted
        .into_iter()
        .filter_map(|(field, name, key)| {
            let message = match secrets.get(name) {
                None => format!("there is no Secret {name} in this namespace"),
                Some(data) => match data.get(key) {
                    None => format!("the Secret {name} does not have the key {key}"),
                    Some([]) => format!("the key {key} of the Secret {name} is empty"),
                    Some(_) => return None,
                },
            };
            Some(Problem::new(field, message))
        })
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use folkmoot_crds::ChatCluster;
    use serde_json::json;

    use super::{super::validate, *};
    use crate::keys::SecretData;

    #[test]
    fn missing_secrets_are_named() {
        let spec = json!({
                "image": {"reference": "folkmoot/chat-server:1"},
                "cassandra": {"contactPoints": ["a:1"], "credentialsSecretRef": {"name": "login"}},
                "pulsar": {
                    "url": "pulsar://a:1",
                    "adminUrl": "http://a:1",
                    "tokenSecretRef": {"name": "pulsar", "key": "token"},
                },
        });
        let cluster = Arc::new(ChatCluster::new("chat", serde_json::from_value(spec).unwrap()));
        let cluster = validate(&cluster, None).unwrap();
        let mut login = SecretData::default();
        login.insert("username", "folkmoot");
        login.insert("password", "");
        let mut secrets = Secrets::from([("login".to_owned(), login)]);
        let found: Vec<String> =
            validate_secrets(&cluster, &secrets).unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "spec.cassandra.credentialsSecretRef: the key password of the Secret login is empty",
                "spec.pulsar.tokenSecretRef: there is no Secret pulsar in this namespace",
            ]
        );
        secrets.get_mut("login").unwrap().insert("password", "geheim");
        secrets.insert("pulsar".into(), SecretData::default());
        let problems = validate_secrets(&cluster, &secrets).unwrap_err();
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].message, "the Secret pulsar does not have the key token");
        secrets.get_mut("pulsar").unwrap().insert("token", "geheim");
        assert_eq!(validate_secrets(&cluster, &secrets), Ok(()));
    }
}
