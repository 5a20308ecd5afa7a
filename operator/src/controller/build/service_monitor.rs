//! What Prometheus reads.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::json;

use super::{
    meta::{child, metadata},
    ports,
};
use crate::{
    kinds::{Child, ChildKind},
    names::{self, Component},
    role::Role,
    validate::ValidatedCluster,
};

/// The admin ports of all roles.
pub(super) fn service_monitor(cluster: &ValidatedCluster) -> Child {
    let name = cluster.name();
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
                    "matchLabels": names::instance(name),
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
pub(super) fn monitoring_metadata(cluster: &ValidatedCluster) -> ObjectMeta {
    let mut metadata = metadata(cluster.identity(), cluster.name(), Component::Shared);
    let labels = metadata.labels.get_or_insert_default();
    for (key, value) in &cluster.monitoring().labels {
        labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    metadata
}
