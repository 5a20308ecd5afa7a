//! What the operator says of a `ChatCluster`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::AutoscalingMode;

/// The state of a `ChatCluster`.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct ChatClusterStatus {
    /// `Ready`, `Progressing`, `Degraded`, `CassandraReady`, `PulsarReady`, `SchemaCurrent`, `GatewayAvailable`.
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The generation of the spec that all of this is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The version that all roles run: the tag of their image, or the beginning of its digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Where the chat is: from outside when it is exposed, else from within the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Sockets that all gateways hold together; absent while not all of them could be asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections: Option<i64>,
    /// The processes that hold sockets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<GatewayStatus>,
    /// The processes that serve REST.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<RoleStatus>,
    /// The processes that check passwords.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<RoleStatus>,
    /// The keyspace and the last migration of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migration: Option<MigrationStatus>,
    /// Name of the keyspace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keyspace: Option<String>,
    /// `tenant/namespace` in Pulsar.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pulsar_namespace: Option<String>,
}

/// Replicas of a role.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase", default)]
pub struct RoleStatus {
    /// Pods that exist.
    pub replicas: i32,
    /// Of those, the ones that take traffic.
    pub ready_replicas: i32,
    /// Of those, the ones that run what the spec says now.
    pub updated_replicas: i32,
    /// The image that its pods are made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
}

/// Replicas of gateways, and what becomes of their number.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayStatus {
    /// Pods that exist.
    pub replicas: i32,
    /// Of those, the ones that take traffic.
    pub ready_replicas: i32,
    /// Of those, the ones that run what the spec says now.
    pub updated_replicas: i32,
    /// The image that its pods are made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Label selector of its pods, for the `scale` subresource.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// What becomes of their number; absent while nothing does and nobody but `spec.gateway.replicas` decides it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaling: Option<ScalingStatus>,
}

/// What the operator decided about the number of gateways, and how far that is. Another operator goes on from it.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct ScalingStatus {
    /// Who decided last: `Operator`, or `External`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<AutoscalingMode>,
    /// How many there should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired_replicas: Option<i32>,
    /// Why, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when it is that many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// When gateways were added last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_scale_up: Option<Time>,
    /// Gateways that are being emptied to be taken away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leaving: Option<LeavingStatus>,
    /// Since when gateways say that more clients come back than they can take at once, while the roll-out waits for that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held_since: Option<Time>,
}

/// A scale-down that is under way.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct LeavingStatus {
    /// Names of the pods that go.
    pub pods: Vec<String>,
    /// How many gateways stay.
    pub to: i32,
    /// Since when they are ordered to send their sockets away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// When they go with the sockets that they still have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Time>,
}

/// The schema of the keyspace.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct MigrationStatus {
    /// Hash of the image and the settings that the keyspace was last brought up to date with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<String>,
    /// The same of the migration that is to be done, when it is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<String>,
    /// How often the pending one failed.
    pub failures: u32,
    /// When it failed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<Time>,
}
