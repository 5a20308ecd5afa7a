//! How many pods of a role may be taken away at once, by whoever drains nodes.

use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec},
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::meta::{child, metadata, selector};
use crate::{
    kinds::{Child, ChildKind},
    names::{self, Component},
    role::Role,
    validate::ValidatedCluster,
};

/// Budget of a role. One at a time: with `minAvailable` a role of one replica could never leave its node.
pub(super) fn of_role(cluster: &ValidatedCluster, role: Role) -> Child {
    let component = Component::Role(role);
    child(
        ChildKind::PodDisruptionBudget,
        &PodDisruptionBudget {
            metadata: metadata(cluster.identity(), names::role(cluster.name(), role), component),
            spec: Some(PodDisruptionBudgetSpec {
                max_unavailable: Some(IntOrString::Int(1)),
                selector: Some(selector(cluster.identity(), component)),
                // A pod that does not get ready serves nobody, and must not keep its node from being drained.
                unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
                min_available: None,
            }),
            status: None,
        },
    )
}
