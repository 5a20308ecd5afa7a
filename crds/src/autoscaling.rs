//! How many gateways there are, by the sockets that they hold.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const fn min_replicas() -> i32 {
    1
}

const fn target() -> u32 {
    10_000
}

const fn buffer_percent() -> u32 {
    20
}

const fn stabilization() -> u32 {
    300
}

const fn scale_up() -> i32 {
    20
}

fn metric() -> String {
    "folkmoot_gateway_connections".to_owned()
}

/// Who decides how many gateways there are.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AutoscalingMode {
    /// The operator, from the sockets that gateways hold. `spec.gateway.replicas` is ignored.
    #[default]
    Operator,
    /// Whoever writes `spec.gateway.replicas`, by the `scale` subresource: a `HorizontalPodAutoscaler`, KEDA, a person. Gateways
    /// that go are emptied first all the same.
    External,
}

/// The number of gateways follows the sockets that they hold.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.maxReplicas >= self.minReplicas").message("maxReplicas must be at least minReplicas"),
    validation = Rule::new("!has(self.horizontalPodAutoscaler) || self.mode == 'External'")
        .message("horizontalPodAutoscaler needs mode: External: in mode Operator the operator decides by itself")
)]
pub struct AutoscalingSpec {
    /// Who decides. When it becomes `External`, the operator writes the number that runs now into `spec.gateway.replicas` once, so
    /// that nothing jumps.
    #[serde(default)]
    pub mode: AutoscalingMode,
    /// The fewest gateways that there may be.
    #[serde(default = "min_replicas")]
    #[schemars(range(min = 1, max = 500))]
    pub min_replicas: i32,
    /// The most gateways that there may be.
    #[schemars(range(min = 1, max = 500))]
    pub max_replicas: i32,
    /// Sockets that one gateway should hold. The rest up to `maxConnections` is for what comes at once: a node or a zone that fails.
    #[serde(default = "target")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub target_connections_per_pod: u32,
    /// Capacity that is kept free, in percent of the sockets that there are, so that more can come while more gateways start.
    #[serde(default = "buffer_percent")]
    #[schemars(range(min = 0, max = 400))]
    pub buffer_percent: u32,
    /// Fewer gateways only when as few would have been enough for this long, in seconds.
    #[serde(default = "stabilization")]
    #[schemars(range(min = 0, max = 3600))]
    pub stabilization_seconds: u32,
    /// Gateways that may be added in a minute.
    #[serde(default = "scale_up")]
    #[schemars(range(min = 1, max = 500))]
    pub max_scale_up_per_minute: i32,
    /// Makes a `HorizontalPodAutoscaler`, for clusters with an adapter that serves the metric of pods (`custom.metrics.k8s.io`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub horizontal_pod_autoscaler: Option<HorizontalPodAutoscalerSpec>,
}

/// A `HorizontalPodAutoscaler` that the operator makes.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct HorizontalPodAutoscalerSpec {
    /// The metric as the adapter names it.
    #[serde(default = "metric")]
    #[schemars(length(min = 1, max = 253))]
    pub metric: String,
}
