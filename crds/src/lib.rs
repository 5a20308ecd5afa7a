//! `ChatCluster`, the whole interface of Folkmoot on Kubernetes: its types, defaults and the rules that the API server checks
//! at `kubectl apply`. Nothing here talks to anybody.
//!
//! The manifest in `charts/folkmoot-crds` and the reference in `docs/chatcluster.md` are generated from this crate
//! (`cargo run -p folkmoot-crds --bin crdgen`), and a test keeps them fresh.

// The derive of kube makes types beside these, in private modules of its own.
#![allow(unreachable_pub, reason = "kube derives types that it keeps to itself")]

pub mod autoscaling;
pub mod cassandra;
pub mod exposure;
pub mod files;
pub mod manifest;
pub mod operations;
pub mod pulsar;
pub mod reference;
pub mod roles;
pub mod secrets;
pub mod status;

use std::collections::BTreeMap;

use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

pub use autoscaling::{AutoscalingMode, AutoscalingSpec, HorizontalPodAutoscalerSpec};
pub use cassandra::CassandraSpec;
pub use exposure::{ExposureSpec, HttpRouteSpec, IngressSpec, ParentReference};
pub use files::{FileStore, FilesSpec, S3Spec};
pub use operations::{
    DeletionPolicy, ImagePullPolicy, ImageSpec, MonitoringSpec, NetworkPolicySpec, SchedulingSpec,
};
pub use pulsar::{PulsarSpec, RetentionSpec};
pub use roles::{ApiSpec, AuthSpec, GatewaySpec, Registration};
pub use secrets::{CredentialsRef, SecretKeyRef};
pub use status::{
    ChatClusterStatus, GatewayStatus, LeavingStatus, MigrationStatus, RoleStatus, ScalingStatus,
};

/// The API group.
pub const GROUP: &str = "folkmoot.dev";
/// With any value but `false` on a `ChatCluster`, the operator reads and reports, and changes nothing.
pub const PAUSED_ANNOTATION: &str = "folkmoot.dev/paused";
/// Longest name of a `ChatCluster`, in characters: names of children are it with a suffix and must fit into a label, which is
/// 63 (RFC 1123 §2.1).
pub const MAX_NAME: usize = 40;

/// A team chat: gateways that hold sockets, api and auth processes, their tables in Cassandra and their topics in Pulsar.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "folkmoot.dev",
    version = "v1alpha1",
    kind = "ChatCluster",
    plural = "chatclusters",
    shortname = "chat",
    shortname = "chats",
    category = "folkmoot",
    namespaced,
    status = "ChatClusterStatus",
    derive = "PartialEq",
    doc = "A team chat that keeps every acknowledged message: gateways, api and auth processes of chat-server, their tables in \
           Apache Cassandra and their topics in Apache Pulsar.",
    scale(
        spec_replicas_path = ".spec.gateway.replicas",
        status_replicas_path = ".status.gateway.replicas",
        label_selector_path = ".status.gateway.selector"
    ),
    printcolumn(
        name = "Ready",
        type_ = "string",
        description = "Whether people can chat",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "Version",
        type_ = "string",
        description = "The version that all roles run",
        json_path = ".status.version"
    ),
    printcolumn(
        name = "Replicas",
        type_ = "integer",
        description = "Gateways that are ready",
        json_path = ".status.gateway.readyReplicas"
    ),
    printcolumn(
        name = "Connections",
        type_ = "integer",
        description = "Sockets that all gateways hold together",
        json_path = ".status.connections"
    ),
    printcolumn(name = "URL", type_ = "string", description = "Where the chat is", json_path = ".status.url"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        description = "Why it is as it is",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    ),
    validation = Rule::new("size(self.metadata.name) <= 40").message(
        "the name must have at most 40 characters, since the names of what is made for it are longer"
    ),
    validation = Rule::new("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')").message(
        "the name must be of a-z, 0-9 and -, with a letter first and no - last, since Services are named after it"
    ),
    cel
)]
#[serde(rename_all = "camelCase")]
pub struct ChatClusterSpec {
    /// The image of chat-server. Without it, the one that this version of the operator was released with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageSpec>,
    /// Apache Cassandra, the system of record.
    pub cassandra: CassandraSpec,
    /// Apache Pulsar, which carries events between the processes.
    pub pulsar: PulsarSpec,
    /// The processes that hold sockets.
    #[serde(default)]
    pub gateway: GatewaySpec,
    /// The processes that serve REST, files and the web client.
    #[serde(default)]
    pub api: ApiSpec,
    /// The processes that check passwords and issue tokens.
    #[serde(default)]
    pub auth: AuthSpec,
    /// How people reach it from outside of the cluster. Without it there is only the Service of the `ChatCluster`'s name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exposure: Option<ExposureSpec>,
    /// Where uploaded files are kept.
    #[serde(default)]
    pub files: FilesSpec,
    /// Where pods may run.
    #[serde(default)]
    pub scheduling: SchedulingSpec,
    /// Which connections pods may open and take.
    #[serde(default)]
    pub network_policy: NetworkPolicySpec,
    /// Objects for the Prometheus operator.
    #[serde(default)]
    pub monitoring: MonitoringSpec,
    /// Further settings of chat-server, `section.key: value` as in its documentation; lists are separated by commas. What has
    /// a field of its own in this resource, or is the operator's to set, is refused.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 64))]
    #[x_kube(validation = Rule::new(
        "self.all(key, key.matches('^(auth|files|gateway|log|server)[.][a-z0-9_]+$'))"
    ).message("the keys must be like gateway.max_in_flight, of the sections auth, files, gateway, log and server: the others have fields of their own"))]
    #[x_kube(validation = Rule::new(
        "self.all(key, !(key in ['auth.access_token_seconds', 'auth.key_rotation_days', 'auth.registration', 'auth.signing_keys_file', \
         'files.max_bytes', 'files.store', 'gateway.drain_window_seconds', 'gateway.max_connection_age_seconds', 'gateway.max_sockets', \
         'server.admin_listen', 'server.admin_token_file', 'server.api_url', 'server.auth_url', 'server.listen', 'server.trusted_proxies']))"
    ).message("a key must not have a field of its own or be set by the operator: the addresses, keys and drain window"))]
    pub settings: BTreeMap<String, String>,
    /// What becomes of the keyspace and the topics when the `ChatCluster` is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}
