//! What is about running it rather than about the chat.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Toleration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When the kubelet pulls an image.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImagePullPolicy {
    /// For every start of a container.
    Always,
    /// When the node does not have it.
    #[default]
    IfNotPresent,
    /// Never: the node must have it.
    Never,
}

/// An image of chat-server.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ImageSpec {
    /// `name:tag` or `name@sha256:…`. A change migrates the tables first, then replaces auth, api and gateways, in this order.
    #[schemars(length(min = 1, max = 512), regex(pattern = r"^\S+$"))]
    pub reference: String,
    /// When it is pulled.
    #[serde(default)]
    pub pull_policy: ImagePullPolicy,
    /// Secrets with the logins for its registry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(length(min = 1, max = 253)))]
    pub pull_secrets: Vec<String>,
}

/// Where pods may run. They spread over zones and nodes by themselves.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct SchedulingSpec {
    /// Labels that a node must have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub node_selector: BTreeMap<String, String>,
    /// Taints that pods tolerate.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    pub tolerations: Vec<Toleration>,
    /// Their priority class.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub priority_class_name: Option<String>,
}

/// Which connections pods may open and take.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct NetworkPolicySpec {
    /// Whether NetworkPolicies are made. Without them everything in the cluster may connect to everything here.
    pub enabled: bool,
    /// Labels of the namespaces that may read metrics, besides the operator's own.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub monitoring_namespace_labels: BTreeMap<String, String>,
}

impl Default for NetworkPolicySpec {
    fn default() -> Self {
        Self { enabled: true, monitoring_namespace_labels: BTreeMap::new() }
    }
}

/// Objects for the Prometheus operator; they are made when the cluster knows their kinds.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct MonitoringSpec {
    /// Whether a `ServiceMonitor` and a `PrometheusRule` are made.
    pub enabled: bool,
    /// Labels for them, by which your Prometheus selects what it reads.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 32))]
    pub labels: BTreeMap<String, String>,
}

impl Default for MonitoringSpec {
    fn default() -> Self {
        Self { enabled: true, labels: BTreeMap::new() }
    }
}

/// What becomes of the keyspace and the topics of a `ChatCluster` that is deleted.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// Keyspace and topics stay.
    #[default]
    Retain,
    /// They are deleted too, with every message. When an engine cannot be reached for five minutes, what lies in it is left
    /// behind, and an event says so.
    Delete,
}
