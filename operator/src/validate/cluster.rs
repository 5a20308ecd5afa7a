//! A `ChatCluster` that was validated.

use std::{collections::BTreeSet, sync::Arc};

use folkmoot_crds::{
    ApiSpec, AuthSpec, CassandraSpec, ChatCluster, ChatClusterStatus, ExposureSpec, FileStore, FilesSpec,
    GatewaySpec, HttpRouteSpec, ImageSpec, IngressSpec, MonitoringSpec, NetworkPolicySpec, PAUSED_ANNOTATION,
    PulsarSpec, S3Spec, SchedulingSpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt as _;

use crate::{identity::Identity, names, secrets};

/// A `ChatCluster` whose spec was checked. What the spec leaves to the operator, or could say in a contradictory way,
/// is settled here; the spec itself is not accessible.
#[derive(Debug, Clone)]
pub struct ValidatedCluster {
    object: Arc<ChatCluster>,
    identity: Identity,
    image: ImageSpec,
    keyspace: String,
    pulsar_namespace: String,
    files: Files,
    exposure: Option<Exposure>,
}

/// Where files are stored.
#[derive(Debug, Clone, PartialEq)]
pub enum Files {
    /// In Cassandra, beside everything else.
    Cassandra,
    /// In an object store.
    S3(S3Spec),
}

/// How a chat is reached from outside of Kubernetes.
#[derive(Debug, Clone, PartialEq)]
pub struct Exposure {
    /// Host name of the chat.
    pub host: String,
    /// What leads there.
    pub route: Route,
}

/// What leads to a chat.
#[derive(Debug, Clone, PartialEq)]
pub enum Route {
    /// An Ingress controller.
    Ingress(IngressSpec),
    /// The Gateway API.
    HttpRoute(HttpRouteSpec),
}

/// `None` if the spec contradicts itself.
pub(super) fn files(spec: &FilesSpec) -> Option<Files> {
    match (spec.store, &spec.s3) {
        (FileStore::Cassandra, None) => Some(Files::Cassandra),
        (FileStore::S3, Some(s3)) => Some(Files::S3(s3.clone())),
        _ => None,
    }
}

/// `None` if the spec names no route, or two.
pub(super) fn exposure(spec: &ExposureSpec) -> Option<Exposure> {
    let route = match (&spec.ingress, &spec.http_route) {
        (Some(ingress), None) => Route::Ingress(ingress.clone()),
        (None, Some(route)) => Route::HttpRoute(route.clone()),
        _ => return None,
    };
    Some(Exposure { host: spec.host.clone(), route })
}

impl ValidatedCluster {
    pub(super) fn new(
        object: Arc<ChatCluster>,
        image: ImageSpec,
        files: Files,
        exposure: Option<Exposure>,
    ) -> Self {
        Self {
            identity: Identity::of(&object),
            keyspace: names::keyspace(&object),
            pulsar_namespace: names::pulsar_namespace(&object),
            object,
            image,
            files,
            exposure,
        }
    }

    /// Namespace, name and uid.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Name of the `ChatCluster`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.identity.name
    }

    /// Namespace of the `ChatCluster`.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.identity.namespace
    }

    /// Metadata of the `ChatCluster`.
    #[must_use]
    pub fn metadata(&self) -> &ObjectMeta {
        &self.object.metadata
    }

    /// The status that was written last, as the watch shows it.
    #[must_use]
    pub fn status(&self) -> Option<&ChatClusterStatus> {
        self.object.status.as_ref()
    }

    /// Whether the operator only looks, and changes nothing.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        is_paused(&self.object)
    }

    /// The image that all roles are to run in the end: that of the spec, or the operator's default.
    #[must_use]
    pub const fn image(&self) -> &ImageSpec {
        &self.image
    }

    /// Name of the keyspace in Cassandra.
    #[must_use]
    pub fn keyspace(&self) -> &str {
        &self.keyspace
    }

    /// Name of the namespace in Pulsar, without the tenant.
    #[must_use]
    pub fn pulsar_namespace(&self) -> &str {
        &self.pulsar_namespace
    }

    /// Where files are stored.
    #[must_use]
    pub const fn files(&self) -> &Files {
        &self.files
    }

    /// Largest file, in bytes.
    #[must_use]
    pub fn max_file_bytes(&self) -> u32 {
        self.object.spec.files.max_bytes
    }

    /// How the chat is reached from outside; `None`: not at all.
    #[must_use]
    pub const fn exposure(&self) -> Option<&Exposure> {
        self.exposure.as_ref()
    }

    /// `spec.cassandra`. The name of the keyspace is [`Self::keyspace`].
    #[must_use]
    pub fn cassandra(&self) -> &CassandraSpec {
        &self.object.spec.cassandra
    }

    /// `spec.pulsar`. The name of the namespace is [`Self::pulsar_namespace`].
    #[must_use]
    pub fn pulsar(&self) -> &PulsarSpec {
        &self.object.spec.pulsar
    }

    /// `spec.gateway`. A `horizontalPodAutoscaler` is set only with `mode: External`.
    #[must_use]
    pub fn gateway(&self) -> &GatewaySpec {
        &self.object.spec.gateway
    }

    /// `spec.api`: the processes that serve REST.
    #[must_use]
    pub fn api(&self) -> &ApiSpec {
        &self.object.spec.api
    }

    /// `spec.auth`: the processes that issue tokens.
    #[must_use]
    pub fn auth(&self) -> &AuthSpec {
        &self.object.spec.auth
    }

    /// `spec.scheduling`: where pods may run.
    #[must_use]
    pub fn scheduling(&self) -> &SchedulingSpec {
        &self.object.spec.scheduling
    }

    /// `spec.networkPolicy`: whether there are any.
    #[must_use]
    pub fn network_policy(&self) -> &NetworkPolicySpec {
        &self.object.spec.network_policy
    }

    /// `spec.monitoring`: objects for the Prometheus operator.
    #[must_use]
    pub fn monitoring(&self) -> &MonitoringSpec {
        &self.object.spec.monitoring
    }

    /// Names of all Secrets that the spec refers to.
    #[must_use]
    pub fn referenced_secrets(&self) -> BTreeSet<String> {
        secrets::referenced(&self.object)
    }

    /// `spec.settings`: each value is one line.
    pub fn settings(&self) -> impl Iterator<Item = (&str, &str)> {
        self.object.spec.settings.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }
}

/// Whether a `ChatCluster`, valid or not, has the annotation with which the operator only looks.
#[must_use]
pub fn is_paused(cluster: &ChatCluster) -> bool {
    cluster.annotations().get(PAUSED_ANNOTATION).is_some_and(|value| value != "false")
}
