//! Another version of the operator alone.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kind_tests::{
    children::OF_CHAT,
    command,
    operator::Operator,
    scene::{READY, Scene},
    wait::until,
};
use kube::{ResourceExt as _, api::ListParams};
use tokio::process::Command;

pub(crate) async fn a_new_operator_restarts_nothing(scene: Scene) -> Result<()> {
    scene.small_chat().await?;
    let (pods, generations) = (pods(&scene).await?, generations(&scene).await?);
    let operator = Operator::of(&scene);
    let before = operator.leader().await?;
    install(&scene, &["--set", "image.tag=next"]).await?;
    operator.until_whole().await?;
    let leader = until("the new operator to lead", READY, async || {
        let leader = operator.leader().await?;
        ensure!(leader.uid() != before.uid(), "the old one does");
        Ok(leader)
    })
    .await?;
    until("the new operator to look at the chat", READY, async || {
        let reconciles = operator.metric(&leader, "folkmoot_operator_reconciles_total").await?;
        ensure!(reconciles >= 1.0, "it did {reconciles} times");
        Ok(())
    })
    .await?;
    // It works: a change is followed.
    scene.touch().await?;
    scene.until_ready(READY).await?;
    ensure!(
        self::pods(&scene).await? == pods,
        "expected the same pods: {pods:?} {:?}",
        self::pods(&scene).await?
    );
    let now = self::generations(&scene).await?;
    ensure!(now == generations, "expected the Deployments to stay: {generations:?} {now:?}");
    Ok(())
}

/// `helm upgrade` of the operator, with these arguments more.
pub(crate) async fn install(scene: &Scene, arguments: &[&str]) -> Result<()> {
    let chart = scene.settings.root.join("charts/folkmoot");
    let mut helm = Command::new("helm");
    helm.args(["upgrade", "folkmoot"]).arg(chart).args([
        "--namespace",
        &scene.settings.system,
        "--reuse-values",
    ]);
    helm.args(["--wait", "--timeout", "100s"]).args(arguments);
    command::run(&mut helm, "").await?.succeeded().map(drop).context("expected helm to upgrade the operator")
}

async fn pods(scene: &Scene) -> Result<BTreeMap<String, Option<String>>> {
    let pods = scene.pods().await?.into_iter();
    // A Job that did its work may be cleared away.
    let lasting = pods.filter(|pod| !pod.name_any().contains("-migrate-"));
    Ok(lasting.map(|pod| (pod.name_any(), pod.uid())).collect())
}

async fn generations(scene: &Scene) -> Result<BTreeMap<String, Option<i64>>> {
    let deployments = scene.api::<Deployment>().list(&ListParams::default().labels(OF_CHAT)).await?.items;
    Ok(deployments
        .into_iter()
        .map(|deployment| (deployment.name_any(), deployment.metadata.generation))
        .collect())
}
