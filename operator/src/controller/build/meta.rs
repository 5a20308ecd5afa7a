//! What all children have in common: name, labels, owner.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use kube::core::DynamicObject;
use serde::Serialize;

use crate::{
    identity::Identity,
    kinds::{Child, ChildKind},
    names::{self, Component},
};

/// Metadata of a child.
pub(super) fn metadata(of: &Identity, name: impl Into<String>, component: Component) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        namespace: Some(of.namespace.clone()),
        labels: Some(names::labels(&of.name, component)),
        owner_references: Some(vec![names::owner(of)]),
        ..ObjectMeta::default()
    }
}

/// Selects the pods of a component.
pub(super) fn selector(of: &Identity, component: Component) -> LabelSelector {
    LabelSelector { match_labels: Some(names::selector(&of.name, component)), match_expressions: None }
}

/// A child from its typed, or literal, form.
pub(super) fn child(kind: ChildKind, object: &impl Serialize) -> Child {
    let object: DynamicObject = serde_json::to_value(object)
        .and_then(serde_json::from_value)
        .expect("objects of Kubernetes are JSON with metadata");
    Child { kind, object }
}
