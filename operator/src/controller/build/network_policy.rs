//! Which connections pods may open and take: each component is selected by one policy that has a rule for all that it needs, and
//! nothing else.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::networking::v1::{
        NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyIngressRule, NetworkPolicyPeer,
        NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, LabelSelectorRequirement},
        util::intstr::IntOrString,
    },
};

use super::{
    BuildInput, OperatorIdentity,
    meta::{child, metadata, selector},
    ports,
};
use crate::{
    kinds::{Child, ChildKind},
    names::{self, Component},
    role::Role,
    validate::ValidatedCluster,
};

/// Policy of a role.
pub(super) fn of_role(input: &BuildInput<'_>, role: Role) -> Child {
    let cluster = input.cluster;
    let mut ingress = vec![public(cluster, role)];
    ingress.extend(admin(input, role));
    let mut egress = vec![dns(), anywhere(ports::cassandra(cluster)), anywhere(ports::pulsar(cluster))];
    // To hand a message to the gateway that owns its channel.
    egress.push(to(selector(cluster.identity(), Component::Role(Role::Gateway)), ports::HOP));
    match role {
        Role::Gateway => {
            ingress.push(from(vec![peer(roles(cluster, &Role::ALL))], ports::HOP));
            egress.push(to(roles(cluster, &[Role::Auth, Role::Api]), ports::PUBLIC));
        }
        Role::Api => {
            let object_store = ports::object_store(cluster);
            egress.extend((!object_store.is_empty()).then(|| anywhere(object_store)));
        }
        Role::Auth => {}
    }
    policy(cluster, names::role(cluster.name(), role), Component::Role(role), ingress, egress)
}

/// Policy of the Jobs: they connect to Cassandra, and nobody connects to them.
pub(super) fn of_jobs(cluster: &ValidatedCluster) -> Child {
    let egress = vec![dns(), anywhere(ports::cassandra(cluster))];
    policy(cluster, names::migrate(cluster.name()), Component::Migrate, Vec::new(), egress)
}

fn public(cluster: &ValidatedCluster, role: Role) -> NetworkPolicyIngressRule {
    // Controllers and load balancers may be anywhere, also outside of the cluster's network.
    let is_reached_from_anywhere = role == Role::Gateway || cluster.exposure().is_some();
    let gateways = || vec![peer(selector(cluster.identity(), Component::Role(Role::Gateway)))];
    let peers = if is_reached_from_anywhere { Vec::new() } else { gateways() };
    from(peers, ports::PUBLIC)
}

fn admin(input: &BuildInput<'_>, role: Role) -> Option<NetworkPolicyIngressRule> {
    let mut peers = Vec::new();
    if role == Role::Gateway {
        peers.push(operator(input.operator));
    }
    let monitoring = &input.cluster.network_policy().monitoring_namespace_labels;
    if !monitoring.is_empty() {
        peers.push(NetworkPolicyPeer {
            namespace_selector: Some(matching(monitoring.clone())),
            ..NetworkPolicyPeer::default()
        });
    }
    (!peers.is_empty()).then(|| from(peers, ports::ADMIN))
}

fn operator(operator: &OperatorIdentity) -> NetworkPolicyPeer {
    let namespace = [("kubernetes.io/metadata.name".to_owned(), operator.namespace.clone())].into();
    NetworkPolicyPeer {
        namespace_selector: Some(matching(namespace)),
        pod_selector: Some(matching(operator.pod_labels.clone())),
        ip_block: None,
    }
}

fn dns() -> NetworkPolicyEgressRule {
    // Rules are about pods' own ports, and those of OpenShift's DNS listen on 5353.
    let ports =
        [53, 5353].into_iter().flat_map(|number| ["UDP", "TCP"].map(|protocol| port(protocol, number)));
    NetworkPolicyEgressRule { ports: Some(ports.collect()), to: None }
}

fn anywhere(numbers: std::collections::BTreeSet<i32>) -> NetworkPolicyEgressRule {
    let ports = numbers.into_iter().map(|number| port("TCP", number)).collect();
    NetworkPolicyEgressRule { ports: Some(ports), to: None }
}

fn to(pods: LabelSelector, number: i32) -> NetworkPolicyEgressRule {
    NetworkPolicyEgressRule { ports: Some(vec![port("TCP", number)]), to: Some(vec![peer(pods)]) }
}

fn from(peers: Vec<NetworkPolicyPeer>, number: i32) -> NetworkPolicyIngressRule {
    NetworkPolicyIngressRule {
        ports: Some(vec![port("TCP", number)]),
        from: (!peers.is_empty()).then_some(peers),
    }
}

fn port(protocol: &str, number: i32) -> NetworkPolicyPort {
    NetworkPolicyPort {
        protocol: Some(protocol.to_owned()),
        port: Some(IntOrString::Int(number)),
        end_port: None,
    }
}

fn peer(pods: LabelSelector) -> NetworkPolicyPeer {
    NetworkPolicyPeer { pod_selector: Some(pods), ..NetworkPolicyPeer::default() }
}

fn matching(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector { match_labels: (!labels.is_empty()).then_some(labels), match_expressions: None }
}

fn roles(cluster: &ValidatedCluster, roles: &[Role]) -> LabelSelector {
    LabelSelector {
        match_labels: Some(names::instance(cluster.name())),
        match_expressions: Some(vec![LabelSelectorRequirement {
            key: names::COMPONENT_LABEL.to_owned(),
            operator: "In".to_owned(),
            values: Some(roles.iter().map(|role| role.as_str().to_owned()).collect()),
        }]),
    }
}

fn policy(
    cluster: &ValidatedCluster,
    name: String,
    component: Component,
    ingress: Vec<NetworkPolicyIngressRule>,
    egress: Vec<NetworkPolicyEgressRule>,
) -> Child {
    child(
        ChildKind::NetworkPolicy,
        &NetworkPolicy {
            metadata: metadata(cluster.identity(), name, component),
            spec: Some(NetworkPolicySpec {
                pod_selector: Some(selector(cluster.identity(), component)),
                policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
                ingress: (!ingress.is_empty()).then_some(ingress),
                egress: Some(egress),
            }),
        },
    )
}
