//! What should be there. Infallible, and sees no client.

pub mod config;

use std::collections::BTreeMap;

use folkmoot_crds::{ChatCluster, ImageSpec};

use crate::{
    controller::rollout::RolloutPlan, datastore::cassandra::migration::MigrationJob, keys::SecretData,
    kinds::Child,
};
pub use config::{Config, SecretHashes};

/// Kinds of add-ons that the cluster knows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// `HTTPRoute`.
    pub gateway_api: bool,
    /// `ServiceMonitor` and `PrometheusRule`.
    pub prometheus: bool,
}

/// Where the operator's own pods are, which ask gateways for their connections.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OperatorIdentity {
    /// Their namespace.
    pub namespace: String,
    /// Labels that select them in it.
    pub pod_labels: BTreeMap<String, String>,
}

/// All that decides what should be there.
#[derive(Debug, Clone, Copy)]
pub struct BuildInput<'a> {
    /// The `ChatCluster`, with name, namespace and uid.
    pub cluster: &'a ChatCluster,
    /// The image that all roles are to run in the end; that of the spec, or the operator's default.
    pub image: &'a ImageSpec,
    /// Which role runs what now.
    pub rollout: &'a RolloutPlan,
    /// The configuration that all roles are to run in the end.
    pub config: &'a Config,
    /// Keys that sign access tokens.
    pub keys: &'a SecretData,
    /// Certificates by which processes know each other.
    pub certificates: &'a SecretData,
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
    let _ = input;
    Vec::new()
}

/// The Job that drops the keyspace, for a `ChatCluster` that is being deleted. It needs nothing but its ServiceAccount and
/// NetworkPolicy, which the API server keeps until the `ChatCluster` is gone.
#[must_use]
pub fn drop_job(cluster: &ChatCluster, image: &ImageSpec) -> Child {
    let _ = image;
    Child {
        kind: crate::kinds::ChildKind::Job,
        object: kube::core::DynamicObject::new(
            &crate::names::drop_job(cluster.metadata.name.as_deref().unwrap_or_default()),
            &crate::kinds::ChildKind::Job.resource(),
        ),
    }
}
