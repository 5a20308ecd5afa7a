//! Names that lead to pods: one for each role, and one for the whole chat, which gateways serve.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Service, ServicePort, ServiceSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

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

/// Service of the whole chat: gateways hand REST on, so that it works without anything that routes by path. `newest`
/// is the template of gateways that takes new sockets, while others are being replaced by it.
pub(super) fn of_chat(cluster: &ValidatedCluster, newest: Option<&str>) -> Child {
    let mut selector = names::selector(cluster.name(), Component::Role(Role::Gateway));
    selector.extend(newest.map(|hash| (names::TEMPLATE_LABEL.to_owned(), hash.to_owned())));
    service(cluster, cluster.name().to_owned(), Component::Shared, selector, vec![public()])
}

/// Service of a role. Its admin port is for what reads metrics.
pub(super) fn of_role(cluster: &ValidatedCluster, role: Role) -> Child {
    let name = names::role(cluster.name(), role);
    let admin = port(ports::ADMIN_NAME, ports::ADMIN, ports::ADMIN_NAME);
    let component = Component::Role(role);
    let selector = names::selector(cluster.name(), component);
    service(cluster, name, component, selector, vec![public(), admin])
}

fn public() -> ServicePort {
    port(ports::PUBLIC_NAME, ports::SERVICE, ports::PUBLIC_NAME)
}

fn port(name: &str, port: i32, target: &str) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port,
        protocol: Some("TCP".to_owned()),
        target_port: Some(IntOrString::String(target.to_owned())),
        ..ServicePort::default()
    }
}

fn service(
    cluster: &ValidatedCluster,
    name: String,
    component: Component,
    selector: BTreeMap<String, String>,
    ports: Vec<ServicePort>,
) -> Child {
    child(
        ChildKind::Service,
        &Service {
            metadata: metadata(cluster.identity(), name, component),
            spec: Some(ServiceSpec {
                type_: Some("ClusterIP".to_owned()),
                selector: Some(selector),
                ports: Some(ports),
                ..ServiceSpec::default()
            }),
            status: None,
        },
    )
}
