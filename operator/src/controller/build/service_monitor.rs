//! What Prometheus reads.

use folkmoot_crds::ChatCluster;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt as _;
use serde_json::json;

use super::{
    meta::{child, metadata},
    ports,
};
use crate::{
    role::Role,
    kinds::{Child, ChildKind},
    names::{self, Component},
};

/// The admin ports of all roles.
pub(super) fn service_monitor(cluster: &ChatCluster) -> Child {
    let name = cluster.name_any();
    child(
        ChildKind::ServiceMonitor,
        &json!({
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "ServiceMonitor",
            "metadata": monitoring_metadata(cluster),
            "spec": {
                // Of the Services, by which series are distinguished in the PrometheusRule.
                "targetLabels": [names::INSTANCE_LABEL, names::COMPONENT_LABEL],
                "selector": {
                    "matchLabels": names::instance(&name),
                    "matchExpressions": [{
                        "key": names::COMPONENT_LABEL,
                        "operator": "In",
                        "values": Role::ALL.map(Role::as_str),
                    }],
                },
                "endpoints": [{"port": ports::ADMIN_NAME, "path": "/metrics"}],
            },
        }),
    )
}

/// Metadata with the labels by which somebody's Prometheus selects what it reads; they do not replace ours.
pub(super) fn monitoring_metadata(cluster: &ChatCluster) -> ObjectMeta {
    let mut metadata = metadata(cluster, cluster.name_any(), Component::Shared);
    let labels = metadata.labels.get_or_insert_default();
    for (key, value) in &cluster.spec.monitoring.labels {
        labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    metadata
}
