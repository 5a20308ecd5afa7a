//! The `ChatCluster` of tests, and the Secrets that it refers to.

use serde_json::{Map, Value, json};

use crate::settings::{Cassandra, Pulsar, Settings};

/// The field manager of what tests apply.
pub const MANAGER: &str = "kind-tests";

/// A `ChatCluster` by the name of `chat` on the engines that there are, with one process of each role: what is not about several has no
/// use for them.
#[must_use]
pub fn small(settings: &Settings) -> Value {
    let mut object = ten_lines(settings);
    for role in ["gateway", "api", "auth"] {
        object["spec"][role] = json!({ "replicas": 1 });
    }
    // Nobody waits for a test's sockets to leave gently.
    object["spec"]["gateway"]["drainSeconds"] = json!(2);
    object
}

/// What a user writes first: where the engines are, and how to log in to them.
#[must_use]
pub fn ten_lines(settings: &Settings) -> Value {
    json!({
        "apiVersion": "folkmoot.dev/v1alpha1",
        "kind": "ChatCluster",
        "metadata": { "name": "chat", "labels": { "folkmoot.dev/tests": "true" } },
        "spec": {
            "cassandra": cassandra(&settings.cassandra),
            "pulsar": pulsar(&settings.pulsar),
        },
    })
}

fn cassandra(cassandra: &Cassandra) -> Value {
    let mut spec = json!({ "contactPoints": cassandra.contact_points, "replication": { "dc1": 1 } });
    if cassandra.credentials.is_some() {
        spec["credentialsSecretRef"] = json!({ "name": "cassandra" });
    }
    if cassandra.ca.is_some() {
        spec["caSecretRef"] = json!({ "name": "authorities", "key": "cassandra" });
    }
    spec
}

fn pulsar(pulsar: &Pulsar) -> Value {
    let url = pulsar.tls_url.as_ref().unwrap_or(&pulsar.url);
    let mut spec = json!({ "url": url, "adminUrl": pulsar.admin_url });
    if pulsar.token.is_some() {
        spec["tokenSecretRef"] = json!({ "name": "pulsar", "key": "token" });
    }
    if pulsar.ca.is_some() && (url.starts_with("pulsar+ssl:") || pulsar.admin_url.starts_with("https:")) {
        spec["caSecretRef"] = json!({ "name": "authorities", "key": "pulsar" });
    }
    spec
}

/// The Secrets that those refer to.
#[must_use]
pub fn secrets(settings: &Settings) -> Vec<Value> {
    let secret = |name: &str, kind: &str, data: Map<String, Value>| json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name }, "type": kind, "stringData": data });
    let mut secrets = vec![];
    if let Some((user, password)) = &settings.cassandra.credentials {
        let data = [("username".to_owned(), json!(user)), ("password".to_owned(), json!(password))];
        secrets.push(secret("cassandra", "kubernetes.io/basic-auth", data.into_iter().collect()));
    }
    if let Some(token) = &settings.pulsar.token {
        secrets.push(secret("pulsar", "Opaque", [("token".to_owned(), json!(token))].into_iter().collect()));
    }
    let authorities = [("cassandra", &settings.cassandra.ca), ("pulsar", &settings.pulsar.ca)];
    let data: Map<_, _> = authorities
        .into_iter()
        .filter_map(|(key, pem)| Some((key.to_owned(), json!(pem.as_ref()?))))
        .collect();
    if !data.is_empty() {
        secrets.push(secret("authorities", "Opaque", data));
    }
    secrets
}
