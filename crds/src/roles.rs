//! The three roles of chat-server, each a Deployment of the same image.

use k8s_openapi::api::core::v1::ResourceRequirements;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::AutoscalingSpec;

const fn gateways() -> i32 {
    2
}

const fn max_connection_age_seconds() -> u32 {
    86_400
}

const fn drain_seconds() -> u32 {
    30
}

const fn max_connections() -> u32 {
    19_000
}

/// The processes that hold sockets.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.terminationGracePeriodSeconds) || self.terminationGracePeriodSeconds >= self.drainSeconds + 45")
        .message("terminationGracePeriodSeconds must be at least drainSeconds + 45: 5 s until no more connections come, the \
                  drain, 40 s to finish what was sent; leave it out to have it follow from drainSeconds"),
    validation = Rule::new("!has(self.autoscaling) || self.autoscaling.targetConnectionsPerPod <= self.maxConnections")
        .message("autoscaling.targetConnectionsPerPod must be at most maxConnections, beyond which sockets are refused"),
    validation = Rule::new("self.maxConnectionAgeSeconds == 0 || self.maxConnectionAgeSeconds >= 60")
        .message("maxConnectionAgeSeconds must be 0, for sockets of any age, or at least 60")
)]
pub struct GatewaySpec {
    /// How many, unless `autoscaling` decides that. `kubectl scale chat/NAME --replicas=N` sets it too.
    #[serde(default = "gateways")]
    #[schemars(range(min = 1, max = 500))]
    pub replicas: i32,
    /// Over how long sockets are asked to leave when a gateway stops, so that they do not all come back at once.
    #[serde(default = "drain_seconds")]
    #[schemars(range(min = 0, max = 3600))]
    pub drain_seconds: u32,
    /// How long a gateway may take to stop before it is killed; without it, `drainSeconds` + 45.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 45, max = 7200))]
    pub termination_grace_period_seconds: Option<u32>,
    /// Sockets that one gateway holds; more are refused.
    #[serde(default = "max_connections")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_connections: u32,
    /// Age at which sockets are asked to reconnect, to whichever gateway has room, in seconds and give or take a fifth; 0: at none.
    /// After more gateways were started this spreads the sockets over them; and a session that is over by time keeps no socket for longer.
    #[serde(default = "max_connection_age_seconds")]
    #[schemars(range(min = 0, max = 604_800))]
    pub max_connection_age_seconds: u32,
    /// Has the number of gateways follow the sockets that they hold. Without it there are `replicas`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<AutoscalingSpec>,
    #[serde(default)]
    /// CPU and memory. 15,000 sockets take about 200 MiB.
    pub resources: ResourceRequirements,
}

impl Default for GatewaySpec {
    fn default() -> Self {
        Self {
            replicas: gateways(),
            drain_seconds: drain_seconds(),
            termination_grace_period_seconds: None,
            max_connections: max_connections(),
            max_connection_age_seconds: max_connection_age_seconds(),
            autoscaling: None,
            resources: ResourceRequirements::default(),
        }
    }
}

/// The processes that serve REST, files and the web client.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct ApiSpec {
    /// Number of pods.
    #[schemars(range(min = 1, max = 500))]
    pub replicas: i32,
    /// CPU and memory.
    pub resources: ResourceRequirements,
    /// Addresses, or blocks such as `10.0.0.0/8`, of the proxies and load balancers in front, whose `X-Forwarded-For` is
    /// believed. Without it the private address ranges, which is right for proxies that run in the cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64), inner(length(min = 2, max = 64)))]
    pub trusted_proxies: Option<Vec<String>>,
}

impl Default for ApiSpec {
    fn default() -> Self {
        Self { replicas: 2, resources: ResourceRequirements::default(), trusted_proxies: None }
    }
}

/// Who may make an account.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Registration {
    /// Whoever reaches the chat.
    #[default]
    Open,
    /// Only the first account, which becomes the owner.
    Closed,
}

/// The processes that check passwords and issue tokens.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthSpec {
    /// Number of pods.
    #[schemars(range(min = 1, max = 100))]
    pub replicas: i32,
    /// CPU and memory. A login takes about 20 MiB while its password is checked.
    pub resources: ResourceRequirements,
    /// Who may make an account.
    pub registration: Registration,
    /// Life of an access token, in seconds. A changed role counts within seconds all the same.
    #[schemars(range(min = 10, max = 86_400))]
    pub access_token_seconds: u32,
    /// Age at which the key that signs access tokens is replaced, in days. The next key is known to all processes before it
    /// signs, and the last one verifies for another day.
    #[schemars(range(min = 1, max = 3_650))]
    pub key_rotation_days: u32,
}

impl Default for AuthSpec {
    fn default() -> Self {
        Self {
            replicas: 2,
            resources: ResourceRequirements::default(),
            registration: Registration::Open,
            access_token_seconds: 600,
            key_rotation_days: 30,
        }
    }
}
