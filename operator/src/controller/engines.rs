//! How the engines do, and what is put right in Pulsar. No reconcile waits for an engine that hangs: what takes long
//! goes on by itself, and what came of it is looked at when it ends.

use std::{future::Future, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use tokio::time::timeout;

use super::{Controller, ReconcileError, decide::Decided, events::Notice, memory::EngineMemory};
use crate::{
    datastore::{Engines, Health, Known, Report},
    live::Key,
    secrets::Secrets,
    validate::ValidatedCluster,
};

/// Engines that answer do so within this time.
const AT_ONCE: Duration = Duration::from_millis(1_500);
/// Those that take longer are looked at again after this time.
const ASK_AGAIN: SignedDuration = SignedDuration::from_secs(1);

fn engines<'a>(cluster: &'a ValidatedCluster, secrets: &'a Secrets) -> Engines<'a> {
    Engines {
        cassandra: cluster.cassandra(),
        pulsar: cluster.pulsar(),
        pulsar_namespace: cluster.pulsar_namespace(),
        secrets,
    }
}

impl Controller {
    /// What the engines answer; what they answered last, when they take longer. Only reads.
    pub(super) async fn look_at_engines(
        self: &Arc<Self>,
        key: &Key,
        cluster: &ValidatedCluster,
        secrets: &Secrets,
    ) -> Report {
        if let Some(known) = self.occupy_engines(key) {
            let (controller, key) = (Arc::clone(self), key.clone());
            let (cluster, secrets) = (cluster.clone(), secrets.clone());
            in_the_background(async move {
                let known = controller.datastores.look(&engines(&cluster, &secrets), &known).await;
                controller.release_engines(&key, &cluster, |memory| memory.known = known);
            })
            .await;
        }
        let report = self.memories.with(key, |memory| memory.engines.known.report());
        let report = report.unwrap_or_else(|| Known::default().report());
        Report { due: report.due.max(Timestamp::now() + ASK_AGAIN), ..report }
    }

    /// Puts right what differs in Pulsar, if that was decided. Answers how Pulsar does now, and what is worth an event.
    pub(super) async fn repair_pulsar(
        self: &Arc<Self>,
        key: &Key,
        cluster: &ValidatedCluster,
        secrets: &Secrets,
        decided: &Decided,
    ) -> Result<(Health, Vec<Notice>), ReconcileError> {
        if !decided.repair.is_empty() {
            self.leadership.check()?;
            if self.occupy_engines(key).is_some() {
                let (controller, key, actions) = (Arc::clone(self), key.clone(), decided.repair.clone());
                let (cluster, secrets) = (cluster.clone(), secrets.clone());
                in_the_background(async move {
                    let mut done = Vec::new();
                    let engines = engines(&cluster, &secrets);
                    let outcome = controller.datastores.repair(&engines, &actions, &mut done).await;
                    controller.release_engines(&key, &cluster, |memory| {
                        memory.known.repaired(outcome);
                        memory.repaired.extend(done);
                    });
                })
                .await;
            }
        }
        let found = self.memories.with(key, |memory| {
            let engines = &mut memory.engines;
            (engines.known.report().pulsar, std::mem::take(&mut engines.repaired))
        });
        let (pulsar, repaired) = found.unwrap_or((Health::Unknown, Vec::new()));
        let pulsar = if decided.repair.is_empty() { decided.pulsar.clone() } else { pulsar };
        let notices = repaired.iter().map(|action| Notice::normal("PulsarRepaired", action.to_string()));
        Ok((pulsar, notices.collect()))
    }

    /// What is known of the engines, for somebody who speaks to them from now on; `None` while somebody else does.
    fn occupy_engines(&self, key: &Key) -> Option<Known> {
        let occupied = self.memories.with(key, |memory| {
            let engines = &mut memory.engines;
            (!std::mem::replace(&mut engines.is_busy, true)).then(|| engines.known.clone())
        });
        occupied.flatten()
    }

    /// Remembers what came of that; a reconcile follows when it is news.
    fn release_engines(
        &self,
        key: &Key,
        cluster: &ValidatedCluster,
        remember: impl FnOnce(&mut EngineMemory),
    ) {
        let is_news = self.memories.with_uid(key, &cluster.identity().uid, |memory| {
            let engines = &mut memory.engines;
            engines.is_busy = false;
            let before = engines.known.report();
            remember(engines);
            let now = engines.known.report();
            (before.cassandra, before.pulsar, before.drift) != (now.cassandra, now.pulsar, now.drift)
                || !engines.repaired.is_empty()
        });
        if is_news == Some(true) {
            self.queue.touch(key.clone());
        }
    }
}

/// Waits for a task, for a moment.
async fn in_the_background(task: impl Future<Output = ()> + Send + 'static) {
    let _ = timeout(AT_ONCE, tokio::spawn(task)).await;
}
