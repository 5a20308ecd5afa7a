//! What is taken from the Secrets that a spec refers to.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use folkmoot_crds::{CassandraSpec, PulsarSpec, SecretKeyRef};

use super::fault::{Fault, Reason};
use crate::secrets::Secrets;

/// What it takes to speak with Pulsar.
pub(super) struct PulsarAccess<'a> {
    pub authorities: Option<&'a [u8]>,
    pub token: Option<&'a [u8]>,
    /// The role of the processes, when the operator has another one and both names are known.
    pub role: Option<String>,
}

impl<'a> PulsarAccess<'a> {
    /// # Errors
    /// When something that is referred to is missing.
    pub(super) fn of(spec: &PulsarSpec, secrets: &'a Secrets) -> Result<Self, Fault> {
        let field =
            if spec.admin_token_secret_ref.is_some() { "adminTokenSecretRef" } else { "tokenSecretRef" };
        let token = value(admin_token(spec), &format!("spec.pulsar.{field}"), secrets)?;
        // A missing token of the processes is reported by validation, which needs it for pods.
        let of_processes = value(spec.token_secret_ref.as_ref(), "spec.pulsar.tokenSecretRef", secrets);
        Ok(Self {
            authorities: value(spec.ca_secret_ref.as_ref(), "spec.pulsar.caSecretRef", secrets)?,
            token,
            role: other_role(token, of_processes.ok().flatten()),
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

/// The role that Pulsar sees in the token of the processes, unless it is that of the operator, which made the namespace and may
/// do anything in it.
fn other_role(operator: Option<&[u8]>, processes: Option<&[u8]>) -> Option<String> {
    let role = subject(processes?)?;
    (subject(operator?)? != role).then_some(role)
}

/// The subject of a token (RFC 7519 §4.1.2), which is the role unless the broker is configured otherwise. Nothing is verified: the broker
/// does that. `None`: it is no JSON Web Token.
fn subject(token: &[u8]) -> Option<String> {
    let claims = std::str::from_utf8(token).ok()?.trim().split('.').nth(1)?;
    let claims = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    claims["sub"].as_str().filter(|role| !role.is_empty()).map(str::to_owned)
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
            "there is no Secret {name}, which {field} names; make it in the namespace of the ChatCluster"
        )));
    };
    let found = secret.get(key);
    found.map(Some).ok_or_else(|| {
        missing(format!(
            "there is no key {key} in the Secret {name}, which {field} names; add it to the Secret"
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
                    "there is no Secret x, which spec.pulsar.adminTokenSecretRef names; make it in the namespace of the ChatCluster",
                ),
            ),
            (
                json!(null),
                reference("p", "t"),
                Err(
                    "there is no key t in the Secret p, which spec.pulsar.tokenSecretRef names; add it to the Secret",
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

    #[test]
    fn another_role_is_named_when_both_are_known() {
        let token = |claims: serde_json::Value| {
            format!("eyJhbGciOiJSUzI1NiJ9.{}.c2ln\n", URL_SAFE_NO_PAD.encode(claims.to_string()))
        };
        let of = |role: &str| token(json!({ "sub": role }));
        for (operator, processes, expected) in [
            (of("admin"), of("chat"), Some("chat")),
            (of("chat"), of("chat"), None),
            (of("admin"), token(json!({ "aud": "pulsar" })), None),
            (of("admin"), "opaque".into(), None),
            (of("admin"), "a.!.b".into(), None),
            ("opaque".into(), of("chat"), None),
        ] {
            let found = other_role(Some(operator.as_bytes()), Some(processes.as_bytes()));
            assert_eq!(found.as_deref(), expected, "{operator} {processes}");
        }
        assert_eq!(other_role(None, Some(of("chat").as_bytes())), None);
        assert_eq!(other_role(Some(of("admin").as_bytes()), None), None);
    }
}
