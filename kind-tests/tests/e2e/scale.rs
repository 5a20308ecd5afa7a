//! As many gateways as the sockets need.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use folkmoot_crds::AutoscalingMode;
use kind_tests::{
    gateways::{self, Gateways},
    load::{Accounts, Load, Shape},
    scene::Scene,
    wait::until,
};
use parking_lot::Mutex;
use serde_json::{Value, json};

/// Sockets that a gateway is to hold.
const TARGET: usize = 30;
/// Those that stay all the time: one gateway is enough for them.
const STAY: usize = 25;
/// Those that come and go: with them three are needed.
const COME: usize = 65;
/// How long the operator waits until it believes that fewer are enough.
const STABLE: Duration = Duration::from_secs(10);
/// A step on a machine that runs other tests meanwhile. scripts/chaos-cluster.sh judges the time on one that does nothing else.
const STEP: Duration = Duration::from_secs(90);

pub(crate) async fn gateways_follow_their_sockets(scene: Scene) -> Result<()> {
    let autoscaling = json!({
        "mode": "Operator",
        "minReplicas": 1,
        "maxReplicas": 4,
        "targetConnectionsPerPod": TARGET,
        "bufferPercent": 0,
        "stabilizationSeconds": STABLE.as_secs(),
    });
    let Some(endpoint) = gateways::serve(&scene, &json!({ "autoscaling": autoscaling })).await? else {
        return Ok(());
    };
    let gateways = Gateways(&scene);
    let mut accounts = Accounts::make(&scene, 90, 5).await?;
    let stay = Load::start(&endpoint, &accounts.take(STAY)?, Shape::of(5.0)).await?;
    gateways.are(1).await.context("one is enough at first")?;
    let first = gateways.names().await?;

    let come = Load::start(&endpoint, &accounts.take(COME)?, Shape::of(5.0)).await?;
    let began = Instant::now();
    until("three gateways for 90 sockets", STEP, async || gateways.are(3).await).await?;
    let (told, up) = (gateways.scaling().await?, began.elapsed());
    ensure!(
        told.desired_replicas == Some(3)
            && told.mode == Some(AutoscalingMode::Operator)
            && told.last_scale_up.is_some()
            && told.reason.as_ref().is_some_and(|reason| !reason.is_empty()),
        "expected the status to say why there are three: {told:?}"
    );

    // They were all on the first one, since there was no other: the new ones are empty.
    come.end().await?.kept_all().context("those who came and went")?;
    let began = Instant::now();
    let marked = watch_the_way_down(&gateways).await?;
    let down = began.elapsed();
    ensure!(gateways.names().await? == first, "expected the occupied gateway to stay, not another");
    ensure!(!marked.is_empty(), "expected those that go to be marked for the ReplicaSet");
    ensure!(first.iter().all(|name| !marked.contains(name)), "expected only empty ones to be: {marked:?}");
    ensure!(down >= STABLE / 2, "expected a wait before there were fewer, it was {down:?}");

    let stayed = stay.end().await?;
    stayed.kept_all().context("those who stayed")?;
    ensure!(stayed.timeline.cuts.is_empty(), "expected nobody to notice: {:?}", stayed.timeline.cuts);
    tells_the_story(&gateways).await?;
    one_that_was_emptied_for_nothing_is_replaced(&scene, &gateways).await?;
    println!(
        "scale: three gateways after {:.1} s, one again {:.1} s after the sockets went; {}",
        up.as_secs_f64(),
        down.as_secs_f64(),
        stayed.title()
    );
    Ok(())
}

/// Waits until there is one again; those that were said to cost least meanwhile.
async fn watch_the_way_down(gateways: &Gateways<'_>) -> Result<BTreeSet<String>> {
    let marked = Mutex::new(BTreeSet::new());
    until("one gateway again", STABLE + STEP, async || {
        let now = gateways.marked().await?;
        marked.lock().extend(now);
        gateways.are(1).await
    })
    .await?;
    Ok(marked.into_inner())
}

/// Whoever looks later sees how many there were, and why.
async fn tells_the_story(gateways: &Gateways<'_>) -> Result<()> {
    until("events about more and about fewer gateways", Duration::from_secs(20), async || {
        let events = gateways.events().await?;
        let about: Vec<_> = events.iter().filter(|event| event.to_lowercase().contains("gateway")).collect();
        for word in ["up", "down"] {
            ensure!(
                about.iter().any(|event| {
                    let reason = event.split(':').next().unwrap_or_default().to_lowercase();
                    reason.contains("scal") && reason.contains(word)
                }),
                "expected an event about scaling {word}: {events:#?}"
            );
        }
        Ok(())
    })
    .await
}

/// A gateway that was ordered to send its sockets away takes none any more. When there may be no fewer after all and no more than there
/// are, another one takes its place.
async fn one_that_was_emptied_for_nothing_is_replaced(scene: &Scene, gateways: &Gateways<'_>) -> Result<()> {
    let autoscale = async |fields: Value| {
        scene.change(&json!({ "spec": { "gateway": { "autoscaling": fields } } })).await.map(drop)
    };
    autoscale(json!({ "minReplicas": 2, "maxReplicas": 2, "stabilizationSeconds": 0 })).await?;
    until("two gateways", STEP, async || gateways.are(2).await).await?;
    autoscale(json!({ "minReplicas": 1 })).await?;
    let leaving = until("one of two to be on its way out", STEP, async || {
        gateways.scaling().await?.leaving.context("expected one to be leaving")
    })
    .await?;
    autoscale(json!({ "minReplicas": 2 })).await?;
    until("another one in its place", STEP, async || {
        let names = gateways.names().await?;
        ensure!(
            !names.iter().any(|name| leaving.pods.contains(name)),
            "of {leaving:?} there is still {names:?}"
        );
        gateways.are(2).await
    })
    .await
}
