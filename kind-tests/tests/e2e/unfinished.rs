//! Fewer gateways, by an operator that does not live to see it, or for somebody who thinks again.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use folkmoot_crds::LeavingStatus;
use kind_tests::{
    gateways::{self, Gateways},
    load::{Accounts, Load, Shape},
    operator::{LEASE, Operator},
    scene::Scene,
    wait::until,
};
use serde_json::json;

/// Long enough for the operator to be killed meanwhile.
const DRAIN: Duration = Duration::from_secs(10);
/// Another one leads, waits for the drain, and lowers the number; on a machine that runs nothing else.
const DONE: Duration = LEASE.saturating_add(DRAIN).saturating_add(Duration::from_secs(90));

/// Asks for one of three, and waits for the plan.
async fn begin(scene: &Scene) -> Result<LeavingStatus> {
    scene.change(&json!({ "spec": { "gateway": { "replicas": 1 } } })).await?;
    let leaving = until("the plan in the status", Duration::from_secs(30), async || {
        Gateways(scene).scaling().await?.leaving.context("expected some to be leaving")
    })
    .await?;
    ensure!(leaving.pods.len() == 2 && leaving.to == 1, "expected two of three to leave: {leaving:?}");
    Ok(leaving)
}

pub(crate) async fn a_plan_outlives_its_operator(scene: Scene) -> Result<()> {
    let fields = json!({ "replicas": 3, "drainSeconds": DRAIN.as_secs() });
    let Some(endpoint) = gateways::serve(&scene, &fields).await? else { return Ok(()) };
    let (gateways, operator) = (Gateways(&scene), Operator::of(&scene));
    operator.until_whole().await?;
    let mut accounts = Accounts::make(&scene, 60, 20).await?;
    let load = Load::start(&endpoint, &accounts.take(60)?, Shape::of(20.0)).await?;

    let leaving = begin(&scene).await?;
    let (all, began) = (gateways.names().await?, Instant::now());
    ensure!(all.len() == 3, "expected the plan to be reported before anything goes: {all:?}");
    operator.kill(&operator.leader().await?).await?;

    until("the plan to be completed", DONE, async || gateways.are(1).await).await?;
    let took = began.elapsed();
    let stayed = gateways.names().await?;
    ensure!(
        stayed.iter().all(|name| all.contains(name) && !leaving.pods.contains(name)),
        "expected those to go that the plan named, {leaving:?}: {stayed:?} of {all:?} stayed"
    );
    let ended = load.end().await?;
    ended.kept_all()?;
    println!(
        "unfinished: the plan was completed {:.1} s after its operator was killed; {}",
        took.as_secs_f64(),
        ended.title()
    );
    operator.until_whole().await
}

pub(crate) async fn a_plan_may_be_taken_back(scene: Scene) -> Result<()> {
    let fields = json!({ "replicas": 3, "drainSeconds": DRAIN.as_secs() });
    let Some(endpoint) = gateways::serve(&scene, &fields).await? else { return Ok(()) };
    let gateways = Gateways(&scene);
    let accounts = Accounts::make(&scene, 60, 20).await?;
    let load = Load::start(&endpoint, &accounts, Shape::of(20.0)).await?;

    let leaving = begin(&scene).await?;
    scene.change(&json!({ "spec": { "gateway": { "replicas": 3 } } })).await?;
    // A gateway that was ordered to drain takes nobody any more, so it is replaced when it is empty.
    until("others in place of those that were to leave", DONE, async || {
        gateways.are(3).await?;
        let names = gateways.names().await?;
        ensure!(!names.iter().any(|name| leaving.pods.contains(name)), "{leaving:?} are still in {names:?}");
        Ok(())
    })
    .await?;
    let ended = load.end().await?;
    ended.kept_all()?;
    println!("taken-back: {}", ended.title());
    Ok(())
}
