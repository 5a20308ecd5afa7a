//! The kinds of objects that are made for a `ChatCluster`, and what is remembered of those that are there.

use k8s_openapi::api::{
    apps::v1::Deployment,
    autoscaling::v2::HorizontalPodAutoscaler,
    batch::v1::Job,
    core::v1::{ConfigMap, Secret, Service, ServiceAccount},
    networking::v1::{Ingress, NetworkPolicy},
    policy::v1::PodDisruptionBudget,
};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};

/// A kind of child. The order is that in which children are applied: what others refer to comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ChildKind {
    /// Identity of pods.
    ServiceAccount,
    /// Keys and certificates.
    Secret,
    /// Settings of the pods.
    ConfigMap,
    /// Which connections there may be.
    NetworkPolicy,
    /// Names that lead to pods.
    Service,
    /// How many pods may be away at once.
    PodDisruptionBudget,
    /// Migrations, and the end of a keyspace.
    Job,
    /// The pods of a role.
    Deployment,
    /// Who decides how many gateways there are, if neither the operator nor a person does.
    HorizontalPodAutoscaler,
    /// The way in, by a controller.
    Ingress,
    /// The way in, by the Gateway API.
    HttpRoute,
    /// What Prometheus reads.
    ServiceMonitor,
    /// What Prometheus warns of.
    PrometheusRule,
}

impl ChildKind {
    /// All kinds, in the order in which they are applied.
    pub const ALL: [Self; 13] = [
        Self::ServiceAccount,
        Self::Secret,
        Self::ConfigMap,
        Self::NetworkPolicy,
        Self::Service,
        Self::PodDisruptionBudget,
        Self::Job,
        Self::Deployment,
        Self::HorizontalPodAutoscaler,
        Self::Ingress,
        Self::HttpRoute,
        Self::ServiceMonitor,
        Self::PrometheusRule,
    ];

    /// Whether it comes with an add-on that a cluster may lack.
    #[must_use]
    pub const fn is_optional(self) -> bool {
        matches!(self, Self::HttpRoute | Self::ServiceMonitor | Self::PrometheusRule)
    }

    /// How the API server names it.
    #[must_use]
    pub fn resource(self) -> ApiResource {
        let named = |group: &str, version: &str, kind: &str, plural: &str| {
            ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
        };
        match self {
            Self::ServiceAccount => ApiResource::erase::<ServiceAccount>(&()),
            Self::Secret => ApiResource::erase::<Secret>(&()),
            Self::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
            Self::NetworkPolicy => ApiResource::erase::<NetworkPolicy>(&()),
            Self::Service => ApiResource::erase::<Service>(&()),
            Self::PodDisruptionBudget => ApiResource::erase::<PodDisruptionBudget>(&()),
            Self::Job => ApiResource::erase::<Job>(&()),
            Self::Deployment => ApiResource::erase::<Deployment>(&()),
            Self::HorizontalPodAutoscaler => ApiResource::erase::<HorizontalPodAutoscaler>(&()),
            Self::Ingress => ApiResource::erase::<Ingress>(&()),
            Self::HttpRoute => named("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes"),
            Self::ServiceMonitor => named("monitoring.coreos.com", "v1", "ServiceMonitor", "servicemonitors"),
            Self::PrometheusRule => named("monitoring.coreos.com", "v1", "PrometheusRule", "prometheusrules"),
        }
    }
}

/// An object that should be there, as it is sent in a server-side apply.
#[derive(Debug, Clone, PartialEq)]
pub struct Child {
    /// Kind of the object.
    pub kind: ChildKind,
    /// The object: type, name, namespace, labels, owner and everything that the operator decides about it.
    pub object: DynamicObject,
}

impl Child {
    /// Name of the object.
    #[must_use]
    pub fn name(&self) -> &str {
        self.object.metadata.name.as_deref().unwrap_or_default()
    }
}
