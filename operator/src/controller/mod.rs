//! One reconcile, step by step:
//!
//! 1. [`observe`]: what is there, from the watches; what is in referenced Secrets, how the engines do, how many sockets there
//!    are. Reads only.
//! 2. [`validate`]: what only a person can put right. Pure.
//! 3. decide: keys, certificates, the migration, [`rollout`], [`scaling`]. Pure.
//! 4. [`build`]: everything that should be there. Pure and infallible.
//! 5. [`apply`]: server-side apply of what differs, deletion of what should not be there. [`gateways`]: pods that leave are marked,
//!    ordered to drain, deleted. A spec is touched once: when others begin to write the number of gateways.
//! 6. [`status`]: what is shown to a person, computed from what was applied. Pure; written only when it differs, with events for
//!    what changed.
//!
//! [`finalize`] takes the place of 2 to 5 when the `ChatCluster` is being deleted. Waiting is an outcome, never an error.

pub mod apply;
pub mod build;
mod context;
pub mod decide;
pub mod events;
pub mod finalize;
mod gateways;
pub mod observe;
pub mod rollout;
pub mod scaling;
mod secrets;
pub mod status;
pub mod validate;
#[cfg(test)]
mod world;
#[cfg(test)]
pub(crate) use world::cluster as world_cluster;

use std::{sync::Arc, time::Duration};

use folkmoot_crds::ChatCluster;
use rand::RngExt as _;
use tokio::time::Instant;

use crate::live::Key;
use apply::{Outcome, Resources};
pub use context::{Controller, Options, ReconcileError};
use decide::Decided;
use observe::Observed;

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
            self.begun(&key, began);
            let result = tokio::time::timeout(DEADLINE, self.reconcile(&key)).await;
            self.ended(&key);
            let (outcome, again) = match result {
                Ok(Ok(again)) => {
                    self.failures.lock().remove(&key);
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
        let mut failures = self.failures.lock();
        let count = failures.entry(key.clone()).or_insert(0);
        let pause = FIRST_RETRY * 2_u32.saturating_pow(*count);
        *count = count.saturating_add(1).min(10);
        pause.min(LAST_RETRY)
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
        self.remember(key, &cluster);
        if cluster.metadata.deletion_timestamp.is_some() {
            return self.finalize(key, &cluster).await;
        }
        self.leadership.check()?;
        self.keep_finalizer(&cluster).await?;

        let image = match decide::problems(&cluster, self.options.default_image.as_ref()) {
            Ok(image) => image,
            Err(problems) => {
                let view = status::View::invalid(&cluster, &self.live.children(key), &problems);
                self.tell(&cluster, &view, &[]).await?;
                return Ok(Again::OnChange);
            }
        };
        let observed = self.observe(key, &cluster).await?;
        let decided = decide::decide(&cluster, &image, &observed, jiff::Timestamp::now(), rand::random)?;
        let mut notices = observed.notices();
        let applied = if decide::is_paused(&cluster) {
            Ok(Outcome::Paused)
        } else if !decided.missing.is_empty() {
            Ok(Outcome::SecretsMissing)
        } else {
            let prepared = Resources::prepared(&cluster, &image, &decided, &observed, &self.options);
            self.change(key, &cluster, &observed, &decided, prepared).await.map(Outcome::Applied)
        };
        let (outcome, failed) = match applied {
            Ok(outcome) => (outcome, None),
            Err(error @ ReconcileError::NotLeader(_)) => return Err(error),
            // What was seen is not the newest: the change that was missed is on its way.
            Err(error) if error.code() == Some(409) => {
                tracing::debug!(chatcluster = %key, error = &error as &dyn std::error::Error, "looking again");
                self.remember_sent(key, None);
                return Ok(Again::After(FIRST_RETRY));
            }
            // What cannot be done is reported, and tried again.
            Err(error) => (Outcome::Refused(error.told()), Some(error)),
        };
        match outcome {
            Outcome::Applied(_) => notices.extend(decided.notices()),
            // Somebody else may change the number meanwhile.
            _ => self.remember_sent(key, None),
        }
        let view = status::View::of(&cluster, &image, &observed, &decided, &outcome);
        self.tell(&cluster, &view, &notices).await?;
        if let Some(error) = failed {
            return Err(error);
        }
        Ok(Again::After(decided.again(&observed, jiff::Timestamp::now()).min(WELL)))
    }

    async fn change(
        &self,
        key: &Key,
        cluster: &ChatCluster,
        observed: &Observed,
        decided: &Decided,
        prepared: Resources<apply::Prepared>,
    ) -> Result<Resources<apply::Applied>, ReconcileError> {
        let applied = self.apply(key, cluster, &observed.children, decided, prepared).await?;
        self.act(key, observed, decided).await?;
        self.hand_over(key, cluster, &decided.scaling).await?;
        Ok(applied)
    }
}
