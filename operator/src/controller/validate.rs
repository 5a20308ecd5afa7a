//! What is wrong with a `ChatCluster` that the rules of its definition do not see, or would not have let pass: the definition in
//! the cluster may be an older one.

use std::{fmt, net::IpAddr};

use folkmoot_crds::{AutoscalingMode, ChatCluster, CredentialsRef, FileStore, MAX_NAME, SecretKeyRef};
use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity};
use kube::ResourceExt as _;

use crate::secrets::Secrets;

/// Something that only a person can put right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path of the field, such as `spec.cassandra.contactPoints[0]`.
    pub field: String,
    /// What was expected there. It names no secret.
    pub message: String,
}

impl Problem {
    fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Checks the resource alone; the outcome changes only with it (`InvalidSpec`).
///
/// # Errors
/// All that is wrong, in the order of the fields.
pub fn validate(cluster: &ChatCluster) -> Result<(), Vec<Problem>> {
    let spec = &cluster.spec;
    let mut problems = Vec::new();
    let mut expect = |is_right: bool, field: &str, message: &str| {
        if !is_right {
            problems.push(Problem::new(field, message));
        }
    };

    expect(
        is_service_name(&cluster.name_any()),
        "metadata.name",
        "must be at most 40 of a-z, 0-9 and -, with a letter first and no - last, since Services are named after it",
    );
    expect(
        !spec.cassandra.contact_points.is_empty(),
        "spec.cassandra.contactPoints",
        "must name at least one host:port",
    );
    for (index, point) in spec.cassandra.contact_points.iter().enumerate() {
        expect(
            has_port(point),
            &format!("spec.cassandra.contactPoints[{index}]"),
            "must be host:port with a port from 1 to 65535",
        );
    }
    let (_, hosts) = spec.pulsar.url.split_once("://").unwrap_or_default();
    let are_hosts =
        hosts.split(',').all(|host| !host.is_empty() && (is_without_port(host) || has_port(host)));
    expect(are_hosts, "spec.pulsar.url", "must be pulsar://host:port with a port from 1 to 65535");

    for (role, resources) in
        [("gateway", &spec.gateway.resources), ("api", &spec.api.resources), ("auth", &spec.auth.resources)]
    {
        for (path, quantity) in quantities(resources) {
            expect(
                is_quantity(&quantity.0),
                &format!("spec.{role}.resources.{path}"),
                "must be a quantity such as 500m or 256Mi",
            );
        }
    }
    if let Some(autoscaling) = &spec.gateway.autoscaling {
        expect(
            (1..=autoscaling.max_replicas).contains(&autoscaling.min_replicas),
            "spec.gateway.autoscaling.maxReplicas",
            "must be at least minReplicas, which is at least 1",
        );
        expect(
            autoscaling.horizontal_pod_autoscaler.is_none() || autoscaling.mode == AutoscalingMode::External,
            "spec.gateway.autoscaling.horizontalPodAutoscaler",
            "must be set only with mode: External",
        );
    }
    for (index, proxy) in spec.api.trusted_proxies.iter().flatten().enumerate() {
        expect(
            is_network(proxy),
            &format!("spec.api.trustedProxies[{index}]"),
            "must be an IP address or a block of them, such as 10.0.0.0/8 or 2001:db8::/32",
        );
    }
    expect(
        (spec.files.store == FileStore::S3) == spec.files.s3.is_some(),
        "spec.files.s3",
        "must be set with store: S3, and only with it",
    );
    if let Some(exposure) = &spec.exposure {
        expect(
            exposure.ingress.is_some() != exposure.http_route.is_some(),
            "spec.exposure",
            "must have exactly one of ingress and httpRoute",
        );
    }
    for (key, value) in &spec.settings {
        let is_line = !value.chars().any(char::is_control);
        expect(is_line, &format!("spec.settings[{key}]"), "must be one line");
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// Checks that every Secret that the resource refers to is there and has what is needed (`SecretMissing`).
///
/// # Errors
/// All that is missing.
pub fn validate_secrets(cluster: &ChatCluster, secrets: &Secrets) -> Result<(), Vec<Problem>> {
    let (cassandra, pulsar) = (&cluster.spec.cassandra, &cluster.spec.pulsar);
    let s3 = cluster.spec.files.s3.as_ref().map(|s3| &s3.credentials_secret_ref);
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

/// RFC 1035 §2.3.1, as Services want it.
fn is_service_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

fn has_port(address: &str) -> bool {
    address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn is_without_port(host: &str) -> bool {
    !host.contains(':') || host.ends_with(']')
}

fn is_network(text: &str) -> bool {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(a, prefix)| (a, Some(prefix)));
    address.parse::<IpAddr>().is_ok_and(|address| {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        prefix.is_none_or(|prefix| prefix.parse::<u8>().is_ok_and(|prefix| prefix <= longest))
    })
}

fn quantities(resources: &ResourceRequirements) -> impl Iterator<Item = (String, &Quantity)> {
    [("limits", &resources.limits), ("requests", &resources.requests)].into_iter().flat_map(
        |(name, listed)| listed.iter().flatten().map(move |(key, value)| (format!("{name}.{key}"), value)),
    )
}

/// As Kubernetes writes amounts: a decimal number, and a suffix or an exponent.
fn is_quantity(text: &str) -> bool {
    const SUFFIXES: [&str; 15] =
        ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi"];
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let is_exponent = suffix.strip_prefix(['e', 'E']).is_some_and(|digits| digits.parse::<i8>().is_ok());
    number.parse::<f64>().is_ok() && (SUFFIXES.contains(&suffix) || suffix == "Ei" || is_exponent)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::keys::SecretData;

    fn cluster(name: &str, changes: &serde_json::Value) -> ChatCluster {
        let mut spec = json!({
            "cassandra": {"contactPoints": ["cassandra:9042"]},
            "pulsar": {"url": "pulsar://pulsar:6650", "adminUrl": "http://pulsar:8080"},
        });
        for (key, value) in changes.as_object().unwrap() {
            spec[key] = value.clone();
        }
        let mut cluster = ChatCluster::new(name, serde_json::from_value(spec).unwrap());
        cluster.metadata.namespace = Some("chats".into());
        cluster
    }

    fn check(name: &str, changes: &serde_json::Value, expected: &[&str]) {
        let problems = validate(&cluster(name, changes)).err().unwrap_or_default();
        let fields: Vec<&str> = problems.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(fields, expected, "{name} {changes}");
    }

    #[test]
    fn what_is_wrong_is_said_by_field() {
        check("chat", &json!({}), &[]);
        for name in ["1chat", "chat-", "a.b", "Chat", &"a".repeat(41)] {
            check(name, &json!({}), &["metadata.name"]);
        }
        check(&"a".repeat(40), &json!({}), &[]);
        let pulsar = |url: &str| json!({"pulsar": {"url": url, "adminUrl": "http://a:1"}});
        for url in ["pulsar://a", "pulsar://a:1,b:2", "pulsar+ssl://[::1]:6651", "pulsar://[::1]"] {
            check("chat", &pulsar(url), &[]);
        }
        for url in ["pulsar://a:0", "pulsar://a:70000", "pulsar://a:1,", "pulsar://:1"] {
            check("chat", &pulsar(url), &["spec.pulsar.url"]);
        }
        check(
            "chat",
            &json!({"cassandra": {"contactPoints": ["a:9042", "b:99999"]}}),
            &["spec.cassandra.contactPoints[1]"],
        );
        check("chat", &json!({"cassandra": {"contactPoints": []}}), &["spec.cassandra.contactPoints"]);
        check(
            "chat",
            &json!({"api": {"trustedProxies": ["10.0.0.0/8", "::1", "10.0.0.0/33", "proxy"]}}),
            &["spec.api.trustedProxies[2]", "spec.api.trustedProxies[3]"],
        );
        check(
            "chat",
            &json!({"gateway": {"resources": {"requests": {"cpu": "half", "memory": "1Gi"}}}}),
            &["spec.gateway.resources.requests.cpu"],
        );
        let autoscaling = |change: serde_json::Value| json!({"gateway": {"autoscaling": change}});
        check("chat", &autoscaling(json!({"maxReplicas": 1})), &[]);
        check(
            "chat",
            &autoscaling(json!({"minReplicas": 2, "maxReplicas": 1, "horizontalPodAutoscaler": {}})),
            &["spec.gateway.autoscaling.maxReplicas", "spec.gateway.autoscaling.horizontalPodAutoscaler"],
        );
        check("chat", &json!({"files": {"store": "S3"}}), &["spec.files.s3"]);
        check("chat", &json!({"exposure": {"host": "a"}}), &["spec.exposure"]);
        check("chat", &json!({"settings": {"log.level": "a\nb"}}), &["spec.settings[log.level]"]);
    }

    #[test]
    fn quantities_are_those_of_kubernetes() {
        for text in ["1", "0.5", "500m", "256Mi", "1e3", "1E", "2Ei", "1E-3", ".5"] {
            assert!(is_quantity(text), "{text}");
        }
        for text in ["", "m", "1 Gi", "1mi", "1.2.3", "-", "1ex"] {
            assert!(!is_quantity(text), "{text}");
        }
    }

    #[test]
    fn missing_secrets_are_named() {
        let cluster = cluster(
            "chat",
            &json!({
                "cassandra": {"contactPoints": ["a:1"], "credentialsSecretRef": {"name": "login"}},
                "pulsar": {
                    "url": "pulsar://a:1",
                    "adminUrl": "http://a:1",
                    "tokenSecretRef": {"name": "pulsar", "key": "token"},
                },
            }),
        );
        let mut login = SecretData::default();
        login.insert("username", "folkmoot");
        login.insert("password", "");
        let mut secrets = Secrets::from([("login".to_owned(), login)]);
        let said: Vec<String> =
            validate_secrets(&cluster, &secrets).unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "spec.cassandra.credentialsSecretRef: the key password of the Secret login is empty",
                "spec.pulsar.tokenSecretRef: there is no Secret pulsar in this namespace",
            ]
        );
        secrets.get_mut("login").unwrap().insert("password", "geheim");
        secrets.insert("pulsar".into(), SecretData::default());
        let said = validate_secrets(&cluster, &secrets).unwrap_err();
        assert_eq!(said.len(), 1);
        assert_eq!(said[0].message, "the Secret pulsar does not have the key token");
        secrets.get_mut("pulsar").unwrap().insert("token", "geheim");
        assert_eq!(validate_secrets(&cluster, &secrets), Ok(()));
    }
}
