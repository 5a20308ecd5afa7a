//! What should be there. Infallible, and sees no client.

pub mod config;
mod config_map;
mod deployment;
mod horizontal_pod_autoscaler;
mod http_route;
mod ingress;
mod job;
mod meta;
mod mounts;
mod network_policy;
mod paths;
mod pod;
mod pod_disruption_budget;
mod ports;
mod prometheus_rule;
mod secret;
mod service;
mod service_account;
mod service_monitor;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use folkmoot_crds::{ChatCluster, ImageSpec};

use crate::{
    controller::rollout::RolloutPlan,
    datastore::cassandra::migration::MigrationJob,
    keys::SecretData,
    kinds::Child,
    role::Role,
    validate::{Exposure, Route, ValidatedCluster},
};
pub use config::{Config, SecretHashes};
pub(super) use ports::ADMIN_PORT;

/// Kinds of add-ons that the cluster knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Whether there is `HTTPRoute`.
    pub gateway_api: bool,
    /// `ServiceMonitor` and `PrometheusRule`.
    pub prometheus: bool,
}

/// Where the operator's own pods are, which ask gateways for their connections.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OperatorIdentity {
    /// Namespace of the operator's pods.
    pub namespace: String,
    /// Labels that select them in it.
    pub pod_labels: BTreeMap<String, String>,
}

/// How many gateways there are now, and where new sockets are led.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GatewayNumbers<'a> {
    /// Number of pods.
    pub replicas: i32,
    /// Template to which new sockets are led, while there are pods of several.
    pub newest: Option<&'a str>,
}

/// All that decides what should be there.
#[derive(Debug, Clone, Copy)]
pub struct BuildInput<'a> {
    /// The `ChatCluster` to build for.
    pub cluster: &'a ValidatedCluster,
    /// Which role runs what now.
    pub rollout: &'a RolloutPlan,
    /// The configuration that all roles are to run in the end.
    pub config: &'a Config,
    /// Keys that sign access tokens.
    pub keys: &'a SecretData,
    /// Certificates by which processes know each other.
    pub certificates: &'a SecretData,
    /// The token by which gateways are ordered to drain.
    pub admin_token: &'a SecretData,
    /// How many gateways there are now.
    pub gateways: GatewayNumbers<'a>,
    /// The Job that is to run, or runs; without one, a Job that is there is an orphan unless it runs.
    pub migration: Option<&'a MigrationJob>,
    /// What the cluster knows.
    pub capabilities: &'a Capabilities,
    /// Who asks for metrics.
    pub operator: &'a OperatorIdentity,
}

/// Everything that should be there, in the order of [`crate::kinds::ChildKind`]. Of ConfigMaps it is only that of
/// [`BuildInput::config`]: those that a held role refers to are left as they are.
#[must_use]
pub fn build(input: &BuildInput<'_>) -> Vec<Child> {
    let cluster = input.cluster;
    let mut children: Vec<Child> =
        Role::ALL.iter().map(|role| service_account::of_role(cluster, *role)).collect();
    children.extend([
        service_account::of_jobs(cluster),
        secret::signing_keys(input),
        secret::internal_tls(input),
        secret::admin_token(input),
        config_map::config_map(input),
    ]);
    if cluster.network_policy().enabled {
        children.extend(Role::ALL.iter().map(|role| network_policy::of_role(input, *role)));
        children.push(network_policy::of_jobs(cluster));
    }
    children.push(service::of_chat(cluster, input.gateways.newest));
    children.extend(Role::ALL.iter().map(|role| service::of_role(cluster, *role)));
    children.extend(Role::ALL.iter().map(|role| pod_disruption_budget::of_role(cluster, *role)));
    children.extend(input.migration.map(|migration| job::migrate(cluster, migration)));
    children.extend(Role::ALL.iter().filter_map(|role| deployment::of_role(input, *role)));
    children.extend(horizontal_pod_autoscaler::of_gateways(cluster));
    if let Some(Exposure { host, route }) = cluster.exposure() {
        match route {
            Route::Ingress(ingress) => children.push(ingress::ingress(cluster, host, ingress)),
            Route::HttpRoute(route) if input.capabilities.gateway_api => {
                children.push(http_route::http_route(cluster, host, route));
            }
            Route::HttpRoute(_) => {}
        }
    }
    if cluster.monitoring().enabled && input.capabilities.prometheus {
        children.push(service_monitor::service_monitor(cluster));
        children.push(prometheus_rule::prometheus_rule(cluster));
    }
    children
}

/// The Job that drops the keyspace, for a `ChatCluster` that is being deleted, valid or not. It needs nothing that is
/// made for that.
#[must_use]
pub fn drop_job(cluster: &ChatCluster, image: &ImageSpec) -> Child {
    job::drop_keyspace(cluster, image)
}
