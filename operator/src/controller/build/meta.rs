//! What all children have in common: name, labels, owner.

use folkmoot_crds::ChatCluster;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::{ResourceExt as _, core::DynamicObject};
use serde::Serialize;

use crate::{
    kinds::{Child, ChildKind},
    names::{self, Component},
};

/// Metadata of a child.
pub(super) fn metadata(cluster: &ChatCluster, name: impl Into<String>, component: Component) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        namespace: cluster.namespace(),
        labels: Some(names::labels(&cluster.name_any(), component)),
        owner_references: Some(vec![names::owner(cluster)]),
        ..ObjectMeta::default()
    }
}

/// Selects the pods of a component.
pub(super) fn selector(cluster: &ChatCluster, component: Component) -> LabelSelector {
    LabelSelector {
        match_labels: Some(names::selector(&cluster.name_any(), component)),
        match_expressions: None,
    }
}

/// A child from its typed, or literal, form.
pub(super) fn child(kind: ChildKind, object: &impl Serialize) -> Child {
    let object: DynamicObject = serde_json::to_value(object)
        .and_then(serde_json::from_value)
        .expect("objects of Kubernetes are JSON with metadata");
    Child { kind, object }
}
