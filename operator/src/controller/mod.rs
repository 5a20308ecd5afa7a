//! One reconcile, step by step:
//!
//! 1. [`validate`](crate::validate): from the `ChatCluster` to a
//!    [`ValidatedCluster`](crate::validate::ValidatedCluster), which all further steps take. Pure.
//! 2. [`observe`]: what is there, from the watches; what is in referenced Secrets, how the [`engines`] do, how many
//!    sockets there are. Reads only.
//! 3. [`decide`]: keys, certificates, the migration, what is put right in Pulsar, [`rollout`], the number of gateways
//!    ([`scaling`](crate::scaling)). Pure.
//! 4. [`build`]: everything that should be there. Pure and infallible.
//! 5. [`apply`]: what differs in Pulsar is put right ([`engines`]); server-side apply of what differs, deletion of
//!    what should not be there; [`gateways`] that leave are marked, ordered to drain, deleted. A spec is touched
//!    once: when others begin to write the number of gateways.
//! 6. [`status`]: what is shown to a person, computed from what was observed and applied. Pure; written only when it
//!    differs, with [`events`] for what changed.
//!
//! [`finalize`] takes the place of all that when the `ChatCluster` is being deleted. Waiting is an outcome, never an error.

pub mod apply;
pub mod build;
mod context;
pub mod decide;
mod engines;
pub mod events;
pub mod finalize;
mod gateways;
mod memory;
pub mod observe;
pub mod rollout;
#[cfg(test)]
mod scaling_tests;
mod secrets;
pub mod status;
#[cfg(test)]
mod world;
#[cfg(test)]
pub(crate) use world::cluster as world_cluster;

use std::{sync::Arc, time::Duration};

use kube::ResourceExt as _;
use rand::RngExt as _;
use tokio::time::Instant;

use crate::{live::Key, role::Role, validate::validate};
use apply::{Outcome, Resources};
pub use context::{Controller, Options, ReconcileError};

/// A `ChatCluster` that is well is looked at this often, since its engines are not watched.
const WELL: Duration = Duration::from_secs(30);
/// The first pause after a failure; it doubles.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// The longest pause after a failure.
const LAST_RETRY: Duration = Duration::from_secs(60);
/// Longest time for one reconcile. Its parts have shorter ones.
const DEADLINE: Duration = Duration::from_secs(120);

/// When a `ChatCluster` is looked at again, if nothing changes before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// After this long.
    After(Duration),
    /// Only when something changes.
    OnChange,
}

impl Controller {
    /// Works on what is due, for as long as this process may write; ends when it may not any more, without finishing what it does.
    pub async fn run(self: &Arc<Self>, workers: usize) {
        let mut leadership = self.leadership.clone();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(Arc::clone(self).watch_gateways());
        for _ in 0..workers {
            let controller = Arc::clone(self);
            tasks.spawn(controller.work());
        }
        leadership.lost().await;
        tasks.shutdown().await;
    }

    async fn work(self: Arc<Self>) {
        loop {
            let key = self.queue.next().await;
            let began = Instant::now();
            self.memories.begin(&key, began);
            let result = tokio::time::timeout(DEADLINE, self.reconcile(&key)).await;
            self.memories.end(&key);
            let (outcome, again) = match result {
                Ok(Ok(again)) => {
                    self.memories.with(&key, |memory| memory.failures = 0);
                    ("ok", again)
                }
                Ok(Err(ReconcileError::NotLeader(_))) => ("not_leader", Again::OnChange),
                Ok(Err(error)) => {
                    tracing::warn!(chatcluster = %key, error = &error as &dyn std::error::Error, "reconcile failed, trying again");
                    ("error", Again::After(self.backoff(&key)))
                }
                Err(_) => {
                    tracing::error!(chatcluster = %key, "a reconcile took longer than two minutes, trying again");
                    ("timeout", Again::After(self.backoff(&key)))
                }
            };
            self.metrics.reconciled(outcome, began.elapsed());
            self.queue.done(&key);
            if let Again::After(pause) = again {
                // Spread, so that many that began together do not stay together.
                self.queue.after(key, pause.mul_f64(rand::rng().random_range(0.8..1.0)));
            }
        }
    }

    fn backoff(&self, key: &Key) -> Duration {
        let failures = self.memories.with(key, |memory| {
            let before = memory.failures;
            memory.failures = before.saturating_add(1).min(10);
            before
        });
        LAST_RETRY.min(FIRST_RETRY * 2_u32.saturating_pow(failures.unwrap_or(0)))
    }

    /// One reconcile.
    ///
    /// # Errors
    /// When the API server cannot be asked or refuses, or this process may not write.
    pub async fn reconcile(self: &Arc<Self>, key: &Key) -> Result<Again, ReconcileError> {
        if !self.live.is_synced() {
            return Ok(Again::After(FIRST_RETRY));
        }
        let Some(cluster) = self.live.cluster(key) else {
            self.forget(key);
            return Ok(Again::OnChange);
        };
        self.memories.belongs_to(key, &cluster.uid().unwrap_or_default());
        if cluster.metadata.deletion_timestamp.is_some() {
            return self.finalize(key, &cluster).await;
        }
        self.leadership.check()?;
        self.keep_finalizer(&cluster).await?;

        let object = cluster;
        let cluster = match validate(&object, self.options.default_image.as_ref()) {
            Ok(cluster) => cluster,
            Err(problems) => {
                let view = status::View::invalid(&object, &self.live.children(key), &problems);
                self.write_status(&object, &view, &[]).await?;
                return Ok(Again::OnChange);
            }
        };
        let observed = self.observe(key, &cluster).await?;
        let desired = observed.deployment(&key.name, Role::Gateway).map(|live| live.desired);
        let decision = self.decide_number(key, &cluster, &observed.pods, desired);
        let (decided, changes) =
            decide::decide(&cluster, &observed, decision, jiff::Timestamp::now(), rand::random)?;
        let (pulsar, mut notices) = self.repair_pulsar(key, &cluster, &observed.secrets, &decided).await?;
        let applied = match Resources::prepared(&cluster, &decided, changes, &observed, &self.options) {
            Err(hold) => Ok(Outcome::Held(hold)),
            Ok(prepared) => {
                let applied = self.apply(key, &cluster, &observed, &decided, prepared).await;
                applied.map(|resources| Outcome::Applied(Box::new(resources)))
            }
        };
        let (outcome, failed) = match applied {
            Ok(outcome) => (outcome, None),
            Err(error @ ReconcileError::NotLeader(_)) => return Err(error),
            // What was seen is not the newest: the change that was missed is on its way.
            Err(error) if error.code() == Some(409) => {
                tracing::debug!(chatcluster = %key, error = &error as &dyn std::error::Error, "looking again");
                self.remember_requested(key, None);
                return Ok(Again::After(FIRST_RETRY));
            }
            // What cannot be done is reported, and tried again.
            Err(error) => (Outcome::Refused(error.message()), Some(error)),
        };
        match &outcome {
            Outcome::Applied(resources) => notices.extend_from_slice(resources.notices()),
            // Somebody else may change the number meanwhile.
            _ => self.remember_requested(key, None),
        }
        let view = status::View::of(&cluster, &observed, &decided, &pulsar, &outcome);
        self.write_status(&object, &view, &notices).await?;
        if let Some(error) = failed {
            return Err(error);
        }
        Ok(Again::After(decided.again(&observed, jiff::Timestamp::now()).min(WELL)))
    }
}
