//! The way in, by the Gateway API.

use folkmoot_crds::{HttpRouteSpec, ParentReference};
use serde_json::{Value, json};

use super::{
    meta::{child, metadata},
    paths::{ROUTES, Route},
    ports,
};
use crate::{
    kinds::{Child, ChildKind},
    names::Component,
    validate::ValidatedCluster,
};

/// The route of a host.
pub(super) fn http_route(cluster: &ValidatedCluster, host: &str, spec: &HttpRouteSpec) -> Child {
    let name = cluster.name();
    let rules: Vec<Value> = ROUTES.iter().map(|route| rule(name, route)).collect();
    let parents: Vec<Value> = spec.parent_refs.iter().map(parent).collect();
    child(
        ChildKind::HttpRoute,
        &json!({
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": metadata(cluster.identity(), name, Component::Shared),
            "spec": {"parentRefs": parents, "hostnames": [host], "rules": rules},
        }),
    )
}

fn rule(cluster: &str, route: &Route) -> Value {
    let kind = if route.is_exact { "Exact" } else { "PathPrefix" };
    json!({
        "matches": [{"path": {"type": kind, "value": route.path}}],
        "backendRefs": [{
            "group": "",
            "kind": "Service",
            "name": route.service(cluster),
            "port": ports::SERVICE,
            "weight": 1,
        }],
    })
}

fn parent(parent: &ParentReference) -> Value {
    let mut reference = json!({"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": parent.name});
    for (key, value) in [("namespace", &parent.namespace), ("sectionName", &parent.section_name)] {
        if let Some(value) = value {
            reference[key] = json!(value);
        }
    }
    reference
}
