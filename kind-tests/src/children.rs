//! What the operator makes for a `ChatCluster`, as the API server has it.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, ListParams},
};
use serde_json::{Value, json};

/// A kind of object that the operator makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// API group; empty for the core.
    pub group: &'static str,
    /// Version of the API group.
    pub version: &'static str,
    /// Name of the kind.
    pub kind: &'static str,
    /// Name in paths.
    pub plural: &'static str,
}

const fn kind(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str) -> Kind {
    Kind { group, version, kind, plural }
}

/// Kinds of which every object must be there as long as its `ChatCluster` is. Jobs are not among them: one that did its work is
/// allowed to go.
pub const LASTING: [Kind; 12] = [
    kind("", "v1", "ServiceAccount", "serviceaccounts"),
    kind("", "v1", "Secret", "secrets"),
    kind("", "v1", "ConfigMap", "configmaps"),
    kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
    kind("", "v1", "Service", "services"),
    kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    kind("apps", "v1", "Deployment", "deployments"),
    kind("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
    kind("networking.k8s.io", "v1", "Ingress", "ingresses"),
    kind("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes"),
    kind("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors"),
    kind("monitoring.coreos.com", "v1", "PrometheusRule", "prometheusrules"),
];

/// Migrations, and the end of a keyspace.
pub const JOB: Kind = kind("batch", "v1", "Job", "jobs");

/// Label selector of everything that is made for the `ChatCluster` by the name of `chat`.
pub const OF_CHAT: &str = "app.kubernetes.io/instance=chat,app.kubernetes.io/managed-by=folkmoot-operator";

impl Kind {
    /// Where objects of this kind are.
    #[must_use]
    pub fn api(self, client: &Client, namespace: &str) -> Api<DynamicObject> {
        let resource = ApiResource {
            group: self.group.into(),
            version: self.version.into(),
            api_version: if self.group.is_empty() {
                self.version.into()
            } else {
                format!("{}/{}", self.group, self.version)
            },
            kind: self.kind.into(),
            plural: self.plural.into(),
        };
        Api::namespaced_with(client.clone(), namespace, &resource)
    }

    /// A merge patch that changes something which the operator decides about, and which no pod notices.
    #[must_use]
    pub fn tampering(self) -> Value {
        match self.kind {
            "ServiceAccount" => json!({ "automountServiceAccountToken": true }),
            "NetworkPolicy" => json!({ "spec": { "policyTypes": ["Ingress"] } }),
            "Service" => json!({ "spec": { "selector": { "app.kubernetes.io/component": "nobody" } } }),
            "PodDisruptionBudget" => json!({ "spec": { "maxUnavailable": "100%" } }),
            "Deployment" => json!({ "spec": { "minReadySeconds": 99, "paused": true } }),
            "Ingress" => json!({ "spec": { "rules": [{ "host": "elsewhere.example.org" }] } }),
            "HTTPRoute" => json!({ "spec": { "hostnames": ["elsewhere.example.org"] } }),
            "ServiceMonitor" => json!({ "spec": { "endpoints": [] } }),
            "PrometheusRule" => json!({ "spec": { "groups": [] } }),
            // What they hold is never changed, or is nobody else's to make up.
            _ => json!({ "metadata": { "labels": { "app.kubernetes.io/component": "elsewhere" } } }),
        }
    }
}

/// A child, and where it is.
#[derive(Debug, Clone)]
pub struct Child {
    /// Kind of the object.
    pub kind: Kind,
    /// The object itself.
    pub object: DynamicObject,
}

impl Child {
    /// Kind and name, for messages.
    #[must_use]
    pub fn title(&self) -> String {
        format!("{} {}", self.kind.kind, self.name())
    }

    /// Name of the object.
    #[must_use]
    pub fn name(&self) -> &str {
        self.object.metadata.name.as_deref().unwrap_or_default()
    }

    /// What must come back as it was: everything but the state, and what the API server counts.
    #[must_use]
    pub fn essence(&self) -> Value {
        essence(&self.object)
    }
}

/// What must come back as it was, see [`Child::essence`].
#[must_use]
pub fn essence(object: &DynamicObject) -> Value {
    let mut data = object.data.clone();
    if let Some(fields) = data.as_object_mut() {
        fields.remove("status");
        if let Some(spec) = fields.get_mut("spec").and_then(Value::as_object_mut) {
            // Given by the API server to each new Service.
            for given in ["clusterIP", "clusterIPs"] {
                spec.remove(given);
            }
        }
    }
    let mut annotations = object.metadata.annotations.clone().unwrap_or_default();
    annotations.remove("deployment.kubernetes.io/revision");
    json!({ "labels": object.metadata.labels, "annotations": annotations, "data": data })
}

/// Where one value differs from another: path, what is wanted and what is found.
#[must_use]
pub fn differences(wanted: &Value, found: &Value) -> Vec<String> {
    let keys = |value: &Value| -> Vec<String> {
        value.as_object().map(|fields| fields.keys().cloned().collect()).unwrap_or_default()
    };
    if wanted == found {
        return vec![];
    }
    if !(wanted.is_object() && found.is_object()) {
        return vec![format!(": expected {wanted}, it is {found}")];
    }
    let all: BTreeSet<_> = keys(wanted).into_iter().chain(keys(found)).collect();
    let below = |key: &String| {
        let deeper = differences(&wanted[key.as_str()], &found[key.as_str()]);
        deeper.into_iter().map(move |reported| format!("/{key}{reported}")).collect::<Vec<_>>()
    };
    all.iter().flat_map(below).collect()
}

/// All children of the `ChatCluster` by the name of `chat`, Jobs excepted, in the order of [`LASTING`].
///
/// # Errors
/// When the API server cannot be asked.
pub async fn lasting(client: &Client, namespace: &str) -> Result<Vec<Child>> {
    let mut children = vec![];
    for kind in LASTING {
        children.extend(list(client, namespace, kind).await?);
    }
    Ok(children)
}

/// Those of one kind; none when the cluster does not know it.
///
/// # Errors
/// When the API server cannot be asked.
pub async fn list(client: &Client, namespace: &str, kind: Kind) -> Result<Vec<Child>> {
    match kind.api(client, namespace).list(&ListParams::default().labels(OF_CHAT)).await {
        Ok(found) => Ok(found.items.into_iter().map(|object| Child { kind, object }).collect()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(vec![]),
        Err(error) => Err(error).with_context(|| format!("expected to list {}", kind.plural)),
    }
}
