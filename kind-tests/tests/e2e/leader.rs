//! Several operators, one of which writes.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kind_tests::{
    audit::{self, Entry},
    operator::Operator,
    scene::Scene,
    wait::until,
};
use kube::{
    ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;

/// Longest time that is waited for a write. How long it took is printed; that depends on the machine.
const WRITTEN: Duration = Duration::from_secs(60);
/// A child whose state costs no pod anything.
const CHILD: &str = "chat-gateway";

pub(crate) async fn another_takes_over_and_two_never_write(scene: Scene) -> Result<()> {
    scene.small_chat().await?;
    let operator = Operator::of(&scene);
    operator.until_whole().await?;
    let began = Timestamp::now();

    repaired(&scene, Instant::now()).await.context("all is well")?;
    let first = operator.leader().await?;
    let hung = Instant::now();
    if operator.hang(&first, true).await? {
        let took = repaired(&scene, hung).await.context("the leader hangs")?;
        println!("leader: another wrote {:.1} s after one hung", took.as_secs_f64());
        let second = operator.leader().await?;
        ensure!(second.uid() != first.uid(), "expected another leader than {}", first.name_any());
        // It believes that it leads, until it looks at its clock.
        operator.hang(&first, false).await?;
        for _ in 0..5 {
            repaired(&scene, Instant::now()).await.context("the former leader goes on")?;
        }
        operator.until_whole().await?;
    }

    let last = operator.leader().await?;
    let killed = Instant::now();
    operator.kill(&last).await?;
    let took = repaired(&scene, killed).await.context("the leader was killed")?;
    println!("leader: somebody wrote {:.1} s after the leader was killed", took.as_secs_f64());
    operator.until_whole().await?;

    let Some(log) = &scene.settings.audit_log else { return Ok(()) };
    let entries = audit::of_accounts_in(log, &scene.settings.system)?;
    let since = entries.into_iter().filter(|entry| entry.request_received_timestamp >= began).collect();
    one_writes_at_a_time(since, &first.name_any())
}

/// Changes a child, and waits until somebody put it right: how long after `since` that was seen. Then the same for one that is gone.
async fn repaired(scene: &Scene, since: Instant) -> Result<Duration> {
    let api = scene.api::<PodDisruptionBudget>();
    let somebody = PatchParams { field_manager: Some("somebody".into()), ..PatchParams::default() };
    api.patch(CHILD, &somebody, &Patch::Merge(json!({ "spec": { "maxUnavailable": 7 } }))).await?;
    until("a child to be put right", WRITTEN, async || {
        let spec = api.get(CHILD).await?.spec.unwrap_or_default();
        let now = serde_json::to_value(spec.max_unavailable)?;
        ensure!(now == 1, "maxUnavailable is {now}");
        Ok(())
    })
    .await?;
    let took = since.elapsed();
    api.delete(CHILD, &DeleteParams::default()).await?;
    until("a child to be there again", WRITTEN, async || {
        api.get(CHILD).await?;
        Ok(())
    })
    .await?;
    Ok(took)
}

/// Whoever writes is the one that wrote the Lease last.
fn one_writes_at_a_time(mut entries: Vec<Entry>, first: &str) -> Result<()> {
    entries.retain(|entry| entry.is_write() && (200..300).contains(&entry.code()));
    let is_lease =
        |entry: &Entry| entry.object_ref.as_ref().is_some_and(|object| object.resource == "leases");
    let (leases, writes): (Vec<_>, Vec<_>) = entries.into_iter().partition(is_lease);
    let mut writers = vec![];
    for write in &writes {
        // Answered before this was asked: an answer that crossed it settles nothing.
        let before = leases.iter().rfind(|lease| lease.stage_timestamp <= write.request_received_timestamp);
        let after = leases.iter().find(|lease| lease.stage_timestamp > write.request_received_timestamp);
        let holder = before.map_or(first, |lease| lease.pod());
        let crossing = after.is_some_and(|lease| {
            lease.request_received_timestamp <= write.stage_timestamp && lease.pod() == write.pod()
        });
        if write.pod() != holder && !crossing {
            bail!("expected {holder} to be the only one who writes: {}", write.title());
        }
        if writers.last() != Some(&write.pod()) {
            writers.push(write.pod());
        }
    }
    ensure!(writers.len() >= 2, "expected several to have written, one after another: {writers:?}");
    println!("leader: {} writes, by {} leaders in turn", writes.len(), writers.len());
    Ok(())
}
