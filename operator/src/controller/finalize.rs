//! The end of a `ChatCluster`. With `deletionPolicy: Retain` nothing is in its way. With `Delete` a finalizer holds it until keyspace
//! and topics are gone, but never for longer than five minutes: an engine that is gone for good must not hold it for ever.

use std::time::Duration;

use folkmoot_crds::{ChatCluster, DeletionPolicy};
use jiff::{SignedDuration, Timestamp};
use kube::{
    Api, ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{Again, Controller, ReconcileError, build, context::ask, events::Notice};
use crate::{
    identity::Identity,
    kinds::ChildKind,
    live::{Detail, JobState, Key},
    names::{self, FINALIZER},
    role::Role,
    secrets, times,
    validate::is_paused,
};

/// What cannot be deleted by then is left behind.
const DELETION_TIMEOUT: SignedDuration = SignedDuration::from_mins(5);
/// Between two looks, where there is no watch.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

impl Controller {
    /// The finalizer is there exactly while the policy asks for it.
    pub(super) async fn keep_finalizer(&self, cluster: &ChatCluster) -> Result<(), ReconcileError> {
        let wanted = cluster.spec.deletion_policy == DeletionPolicy::Delete && !is_paused(cluster);
        let has = has_finalizer(cluster);
        // Pausing takes nothing away.
        if wanted == has || is_paused(cluster) {
            return Ok(());
        }
        let mut finalizers: Vec<String> =
            cluster.finalizers().iter().filter(|finalizer| *finalizer != FINALIZER).cloned().collect();
        if wanted {
            finalizers.push(FINALIZER.to_owned());
        }
        self.set_finalizers(cluster, finalizers).await
    }

    /// Goes one step further towards the end.
    pub(super) async fn finalize(&self, key: &Key, cluster: &ChatCluster) -> Result<Again, ReconcileError> {
        if !has_finalizer(cluster) {
            return Ok(Again::OnChange);
        }
        self.leadership.check()?;
        let mut left = Vec::new();
        if cluster.spec.deletion_policy == DeletionPolicy::Delete {
            let since = cluster.metadata.deletion_timestamp.as_ref().map(times::of_api);
            let is_late =
                since.is_some_and(|since| Timestamp::now().duration_since(since) > DELETION_TIMEOUT);
            left = self.delete_data(key, cluster).await?;
            if !left.is_empty() && !is_late {
                return Ok(Again::After(LOOK_AGAIN));
            }
        }
        if !left.is_empty() {
            let note = format!("left behind after five minutes: {}", left.join("; "));
            tracing::error!(chatcluster = %key, note, "not everything of a deleted ChatCluster could be deleted");
            let notice = Notice::warning("DataLeftBehind", note);
            self.publish(cluster, vec![(notice.warning, notice.reason.to_owned(), notice.note)]).await;
        }
        let others =
            cluster.finalizers().iter().filter(|finalizer| *finalizer != FINALIZER).cloned().collect();
        self.set_finalizers(cluster, others).await?;
        Ok(Again::OnChange)
    }

    /// Deletes the processes first, then what they wrote. Answers what is not gone yet, and why.
    async fn delete_data(&self, key: &Key, cluster: &ChatCluster) -> Result<Vec<String>, ReconcileError> {
        let children = self.live.children(key);
        for ((kind, name), child) in &children {
            let is_ours = child.owner == cluster.metadata.uid;
            if *kind == ChildKind::Deployment && is_ours && !child.deleting {
                self.delete(key, *kind, name, &child.uid).await?;
            }
        }
        let is_of_a_role = |component: &str| Role::ALL.iter().any(|role| role.as_str() == component);
        let writing = self.live.pods(key).values().filter(|pod| is_of_a_role(&pod.component)).count();
        if writing > 0 {
            return Ok(vec![format!("{writing} pods that have not ended")]);
        }
        let mut left = Vec::new();
        left.extend(self.delete_keyspace(key, cluster).await?);
        left.extend(self.delete_namespace(key, cluster).await?);
        Ok(left)
    }

    async fn delete_keyspace(
        &self,
        key: &Key,
        cluster: &ChatCluster,
    ) -> Result<Option<String>, ReconcileError> {
        let keyspace = names::keyspace(cluster);
        let Some(image) = cluster.spec.image.as_ref().or(self.options.default_image.as_ref()) else {
            return Ok(Some(format!("the keyspace {keyspace}, since no image is known")));
        };
        let job = build::drop_job(cluster, image);
        let children = self.live.children(key);
        let live = children.get(&(ChildKind::Job, job.name().to_owned()));
        Ok(match live.map(|child| &child.detail) {
            Some(Detail::Job(JobState::Succeeded)) => None,
            Some(Detail::Job(JobState::Failed { message, .. })) => {
                Some(format!("the keyspace {keyspace}: {message}"))
            }
            Some(_) => Some(format!("the keyspace {keyspace}, which is being dropped")),
            None => {
                self.apply_one(key, &Identity::of(cluster), &job, None, false).await?;
                Some(format!("the keyspace {keyspace}, which is being dropped"))
            }
        })
    }

    async fn delete_namespace(
        &self,
        key: &Key,
        cluster: &ChatCluster,
    ) -> Result<Option<String>, ReconcileError> {
        if self.memories.with(key, |memory| memory.is_pulsar_deleted) == Some(true) {
            return Ok(None);
        }
        let namespace = names::pulsar_namespace(cluster);
        let secrets = self
            .secrets
            .read(&self.client, &self.live, &key.namespace, &secrets::referenced(cluster))
            .await?;
        match self.datastores.delete_pulsar(&cluster.spec.pulsar, &namespace, &secrets).await {
            Ok(()) => {
                self.memories.with(key, |memory| memory.is_pulsar_deleted = true);
                Ok(None)
            }
            Err(fault) => {
                Ok(Some(format!("the namespace {}/{namespace}: {fault}", cluster.spec.pulsar.tenant)))
            }
        }
    }

    async fn set_finalizers(
        &self,
        cluster: &ChatCluster,
        finalizers: Vec<String>,
    ) -> Result<(), ReconcileError> {
        self.leadership.check()?;
        let key = Key::of(cluster);
        // With the version: refused when somebody else changed them meanwhile.
        let patch = Patch::Merge(json!({ "metadata": {
            "finalizers": finalizers,
            "resourceVersion": cluster.metadata.resource_version,
        } }));
        let api: Api<ChatCluster> = Api::namespaced(self.client.clone(), &key.namespace);
        let params = PatchParams::default();
        match ask("change the finalizers", api.patch(&key.name, &params, &patch)).await {
            // It is gone.
            Err(error) if error.code() == Some(404) => Ok(()),
            written => written.map(drop),
        }
    }
}

fn has_finalizer(cluster: &ChatCluster) -> bool {
    cluster.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}
