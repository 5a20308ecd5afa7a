//! Identities of pods. None of them asks the API server for anything, so none gets a token.

use k8s_openapi::api::core::v1::ServiceAccount;

use super::meta::{child, metadata};
use crate::{
    kinds::{Child, ChildKind},
    names::{self, Component},
    role::Role,
    validate::ValidatedCluster,
};

/// Identity of a role's pods.
pub(super) fn of_role(cluster: &ValidatedCluster, role: Role) -> Child {
    account(cluster, names::role(cluster.name(), role), Component::Role(role))
}

/// Identity of the pods of Jobs.
pub(super) fn of_jobs(cluster: &ValidatedCluster) -> Child {
    account(cluster, names::migrate(cluster.name()), Component::Migrate)
}

fn account(cluster: &ValidatedCluster, name: String, component: Component) -> Child {
    child(
        ChildKind::ServiceAccount,
        &ServiceAccount {
            metadata: metadata(cluster.identity(), name, component),
            automount_service_account_token: Some(false),
            ..ServiceAccount::default()
        },
    )
}
