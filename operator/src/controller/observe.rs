//! What is there. Reads only.

use std::{sync::Arc, time::Duration};

use folkmoot_crds::ChatCluster;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt as _};
use tokio::time::timeout;

use super::{
    Controller, ReconcileError,
    build::Capabilities,
    context::ask,
    decide,
    events::Notice,
    gateways,
    rollout::{Revision, RoleState},
    scaling::{self, Gateways},
};
use crate::{
    datastore::{Health, Mode, Report},
    keys::SecretData,
    kinds::ChildKind,
    live::{Children, DeploymentState, Detail, Key, Pods, ReplicaSets},
    names,
    role::Role,
    secrets::{self, Secrets},
};

/// Engines that answer do so within this time.
const AT_ONCE: Duration = Duration::from_millis(1_500);
/// Those that take longer are looked at again after this time.
const ASK_AGAIN: SignedDuration = SignedDuration::from_secs(1);
/// What gateways said is good for this long. They are asked more often while this process leads.
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
    /// Sockets that all gateways hold together, when all said so.
    pub connections: Option<u64>,
    /// What gateways said.
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

    /// What was put right while looking.
    #[must_use]
    pub fn notices(&self) -> Vec<Notice> {
        self.datastores
            .repaired
            .iter()
            .map(|action| Notice::normal("PulsarRepaired", format!("{action}")))
            .collect()
    }
}

/// A number of sockets as a status has it.
pub(super) fn told(connections: u64) -> i64 {
    i64::try_from(connections).unwrap_or(i64::MAX)
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
    pub(super) async fn observe(
        self: &Arc<Self>,
        key: &Key,
        cluster: &Arc<ChatCluster>,
    ) -> Result<Observed, ReconcileError> {
        let mut children = self.live.children(key);
        // Those of one that had the same name go with it.
        children.retain(|_, child| child.owner.is_none() || child.owner == cluster.metadata.uid);
        let pods = self.live.pods(key);
        let secrets = self
            .secrets
            .read(&self.client, &self.live, &key.namespace, &secrets::referenced(cluster))
            .await?;
        let fresh = if scaling::leaving(cluster).is_some() { gateways::SAMPLE_EVERY } else { FRESH };
        let (datastores, ()) = tokio::join!(
            self.ask_engines(key, cluster, &secrets),
            self.ask_gateways(key, cluster, &pods, fresh)
        );
        let (connections, gateways) = self.gateways_of(key);
        Ok(Observed {
            keys: self.our_secret(key, cluster, &children, &names::signing_keys(&key.name)).await?,
            certificates: self.our_secret(key, cluster, &children, &names::internal_tls(&key.name)).await?,
            admin_token: self.our_secret(key, cluster, &children, &names::admin_token(&key.name)).await?,
            replica_sets: self.live.replica_sets(key),
            children,
            pods,
            secrets,
            datastores,
            connections,
            gateways,
            capabilities: *self.capabilities.lock(),
        })
    }

    /// What the engines say; what they said last, when they take their time: nothing waits for one that hangs. Its answer is looked
    /// at when it comes.
    async fn ask_engines(
        self: &Arc<Self>,
        key: &Key,
        cluster: &Arc<ChatCluster>,
        secrets: &Secrets,
    ) -> Report {
        if self.asking.lock().insert(key.clone()) {
            let (controller, cluster, secrets) = (Arc::clone(self), Arc::clone(cluster), secrets.clone());
            let key = key.clone();
            let mut asked = tokio::spawn(async move {
                let mode = if decide::is_paused(&cluster) { Mode::Observe } else { Mode::Repair };
                let namespace = names::pulsar_namespace(&cluster);
                let report = controller.datastores.check(&cluster, &namespace, &secrets, mode).await;
                controller.asking.lock().remove(&key);
                let last = controller.reports.lock().insert(key.clone(), report.clone());
                if last.is_none_or(|last| (last.cassandra, last.pulsar) != (report.cassandra, report.pulsar))
                {
                    controller.queue.touch(key);
                }
            });
            // What is left of it goes on by itself.
            let _ = timeout(AT_ONCE, &mut asked).await;
        }
        let soon = Timestamp::now() + ASK_AGAIN;
        let mut reports = self.reports.lock();
        match reports.get_mut(key) {
            Some(last) => {
                let repaired = std::mem::take(&mut last.repaired);
                Report { repaired, due: last.due.max(soon), ..last.clone() }
            }
            None => Report {
                cassandra: Health::Unknown,
                pulsar: Health::Unknown,
                repaired: Vec::new(),
                due: soon,
            },
        }
    }

    /// What is in a Secret of ours. Watches lag, and keys must not be made twice: when none was seen, it is asked for.
    async fn our_secret(
        &self,
        key: &Key,
        cluster: &ChatCluster,
        children: &Children,
        name: &str,
    ) -> Result<Option<SecretData>, ReconcileError> {
        let seen = children.get(&(ChildKind::Secret, name.to_owned()));
        if let Some(Detail::Secret(data)) = seen.filter(|child| !child.deleting).map(|child| &child.detail) {
            return Ok(Some(data.clone()));
        }
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &key.namespace);
        let found = ask(format!("give the Secret {name}"), api.get_opt(name)).await?;
        let owned = |secret: &Secret| {
            secret.owner_references().iter().any(|owner| Some(&owner.uid) == cluster.metadata.uid.as_ref())
        };
        Ok(found
            .filter(|secret| secret.metadata.deletion_timestamp.is_none() && owned(secret))
            .map(|secret| secrets::data_of(&secret)))
    }
}
