//! Looks for the return of a store that is away, and notices one that goes while nobody asks it anything.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use chat_domain::store::{Store, StoreError};
use chat_protocol::UserId;
use uuid::Uuid;

use super::{budget::Dependency, gate::Gate};

/// How often it is looked whether a probe is due.
const TICK: Duration = Duration::from_millis(100);
/// A dependency from which nothing came for this long is probed.
const SILENCE: Duration = Duration::from_secs(1);
/// How long a probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_millis(1_500);

/// Starts a probing task for each dependency. They end with the gate's last owner.
pub(super) fn spawn<S: Store + ?Sized>(store: &Arc<S>, gate: &Arc<Gate>) {
    for dependency in Dependency::ALL {
        tokio::spawn(run(Arc::downgrade(store), Arc::downgrade(gate), dependency));
    }
}

async fn run<S: Store + ?Sized>(store: Weak<S>, gate: Weak<Gate>, dependency: Dependency) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut failed_before = false;
    loop {
        ticks.tick().await;
        let (Some(store), Some(gate)) = (store.upgrade(), gate.upgrade()) else { return };
        if !gate.wants_probe(dependency, SILENCE) {
            continue;
        }
        let answer = tokio::time::timeout(PROBE_TIMEOUT, probe(&*store, dependency)).await;
        let ok = match answer {
            // A store that is too busy, or has a bug, is there.
            Ok(Ok(()) | Err(StoreError::Overloaded { .. } | StoreError::Failed(_))) => true,
            Ok(Err(StoreError::Unavailable(_) | StoreError::UnknownOutcome(_))) | Err(_) => false,
        };
        gate.probed(dependency, ok, failed_before);
        failed_before = !ok;
    }
}

async fn probe<S: Store + ?Sized>(store: &S, dependency: Dependency) -> Result<(), StoreError> {
    match dependency {
        Dependency::Log => store.check().await,
        // A row that there never is: nobody can have it in memory.
        Dependency::Rows => store.user(UserId(Uuid::nil())).await.map(drop),
    }
}
