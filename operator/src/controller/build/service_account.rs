//! Identities of pods. None of them asks the API server for anything, so none gets a token.

use folkmoot_crds::ChatCluster;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::ResourceExt as _;

use super::meta::{child, metadata};
use crate::{
    role::Role,
    kinds::{Child, ChildKind},
    names::{self, Component},
};

/// Of a role.
pub(super) fn of_role(cluster: &ChatCluster, role: Role) -> Child {
    account(cluster, names::role(&cluster.name_any(), role), Component::Role(role))
}

/// Of the Jobs.
pub(super) fn of_jobs(cluster: &ChatCluster) -> Child {
    account(cluster, names::migrate(&cluster.name_any()), Component::Migrate)
}

fn account(cluster: &ChatCluster, name: String, component: Component) -> Child {
    child(
        ChildKind::ServiceAccount,
        &ServiceAccount {
            metadata: metadata(cluster, name, component),
            automount_service_account_token: Some(false),
            ..ServiceAccount::default()
        },
    )
}
