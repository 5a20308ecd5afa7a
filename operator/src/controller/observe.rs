//! What is there: the first step of a reconcile. Reads only.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt as _};

use super::{
    Controller, ReconcileError,
    build::Capabilities,
    context::ask,
    gateways,
    rollout::{Revision, RoleState},
};
use crate::{
    datastore::Report,
    keys::SecretData,
    kinds::ChildKind,
    live::{Children, DeploymentState, Detail, Key, Pods, ReplicaSets},
    names,
    role::Role,
    scaling::{decide as scaling, memory::Gateways},
    secrets::{self, Secrets},
    validate::ValidatedCluster,
};

/// What gateways reported is good for this long. They are asked more often while this process leads.
const FRESH: Duration = Duration::from_secs(10);

/// All that decisions are made from, beside the `ChatCluster`.
#[derive(Debug, Clone)]
pub struct Observed {
    /// Objects that are there.
    pub children: Children,
    /// Pods that are there.
    pub pods: Pods,
    /// `ReplicaSet`s of gateways that are there.
    pub replica_sets: ReplicaSets,
    /// What is in the Secrets that are referred to.
    pub secrets: Secrets,
    /// The keys that are in use; `None`: there are none.
    pub keys: Option<SecretData>,
    /// The certificates that are in use; `None`: there are none.
    pub certificates: Option<SecretData>,
    /// The token by which gateways are ordered to drain; `None`: there is none.
    pub admin_token: Option<SecretData>,
    /// How the engines do.
    pub datastores: Report,
    /// What gateways reported.
    pub gateways: Gateways,
    /// What the cluster knows.
    pub capabilities: Capabilities,
}

impl Observed {
    /// How a role's Deployment does; `None`: there is none.
    #[must_use]
    pub fn deployment(&self, cluster: &str, role: Role) -> Option<&DeploymentState> {
        deployment(&self.children, cluster, role)
    }

    /// What is known of the roles, for [`super::rollout::plan`].
    #[must_use]
    pub fn roles(&self, cluster: &str) -> [RoleState; 3] {
        Role::ALL.map(|role| match self.deployment(cluster, role) {
            None => RoleState::Missing,
            Some(state) => RoleState::Running {
                revision: Revision { image: state.image.clone(), config: state.config.clone() },
                has_pods: state.replicas > 0,
                // Nothing waits for the last gateway to have been there for long enough.
                settled: if role == Role::Gateway { state.is_replaced() } else { state.is_settled() },
                stalled: state.stalled.clone().map(|why| self.with_trouble(role, why)),
            },
        })
    }

    /// A Deployment only says that it waited long enough; its pods say for what.
    fn with_trouble(&self, role: Role, why: String) -> String {
        match self.trouble(role.as_str()) {
            Some(trouble) => format!("{why}: {trouble}"),
            None => why,
        }
    }

    /// What keeps a pod of this component from running.
    #[must_use]
    pub fn trouble(&self, component: &str) -> Option<&str> {
        self.pods
            .values()
            .find_map(|pod| pod.trouble.as_deref().filter(|_| pod.component == component && !pod.ready))
    }
}

/// How a role's Deployment does.
#[must_use]
pub fn deployment<'a>(children: &'a Children, cluster: &str, role: Role) -> Option<&'a DeploymentState> {
    let child = children.get(&(ChildKind::Deployment, names::role(cluster, role)))?;
    match &child.detail {
        Detail::Deployment(state) if !child.deleting => Some(state),
        _ => None,
    }
}

impl Controller {
    /// Reads everything that decisions are made from.
    pub(super) async fn observe(
        self: &Arc<Self>,
        key: &Key,
        cluster: &ValidatedCluster,
    ) -> Result<Observed, ReconcileError> {
        let mut children = self.live.children(key);
        // Children of an earlier `ChatCluster` of the same name are deleted with that one.
        children.retain(|_, child| child.owner.as_ref().is_none_or(|uid| *uid == cluster.identity().uid));
        let pods = self.live.pods(key);
        let secrets = self
            .secrets
            .read(&self.client, &self.live, &key.namespace, &cluster.referenced_secrets())
            .await?;
        let fresh = if scaling::leaving(cluster.status()).is_some() { gateways::SAMPLE_EVERY } else { FRESH };
        let (datastores, ()) =
            tokio::join!(self.look_at_engines(key, cluster, &secrets), self.ask_gateways(key, &pods, fresh));
        let uid = &cluster.identity().uid;
        Ok(Observed {
            keys: self.our_secret(key, uid, &children, &names::signing_keys(&key.name)).await?,
            certificates: self.our_secret(key, uid, &children, &names::internal_tls(&key.name)).await?,
            admin_token: self.our_secret(key, uid, &children, &names::admin_token(&key.name)).await?,
            replica_sets: self.live.replica_sets(key),
            gateways: self.gateways_of(key),
            children,
            pods,
            secrets,
            datastores,
            capabilities: *self.capabilities.lock(),
        })
    }

    /// What is in a Secret of ours. Watches lag, and keys must not be made twice: when none was seen, it is asked for.
    async fn our_secret(
        &self,
        key: &Key,
        uid: &str,
        children: &Children,
        name: &str,
    ) -> Result<Option<SecretData>, ReconcileError> {
        let seen = children.get(&(ChildKind::Secret, name.to_owned()));
        if let Some(Detail::Secret(data)) = seen.filter(|child| !child.deleting).map(|child| &child.detail) {
            return Ok(Some(data.clone()));
        }
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &key.namespace);
        let found = ask(format!("give the Secret {name}"), api.get_opt(name)).await?;
        let owned = |secret: &Secret| secret.owner_references().iter().any(|owner| owner.uid == uid);
        Ok(found
            .filter(|secret| secret.metadata.deletion_timestamp.is_none() && owned(secret))
            .map(|secret| secrets::data_of(&secret)))
    }
}
