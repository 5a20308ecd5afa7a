//! Somebody else who decides about the number of gateways.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use folkmoot_crds::AutoscalingMode;
use k8s_openapi::api::{autoscaling::v2::HorizontalPodAutoscaler, core::v1::Pod};
use kind_tests::{
    command::kubectl,
    gateways::{self, Gateways},
    load::{Accounts, Load, Shape},
    operator::Operator,
    scene::{CHAT, Scene},
    wait::until,
};
use kube::api::ListParams;
use serde_json::{Value, json};

/// A step on a machine that runs other tests meanwhile.
const STEP: Duration = Duration::from_secs(90);

pub(crate) async fn somebody_else_may_decide(scene: Scene) -> Result<()> {
    let Some(endpoint) = gateways::serve(&scene, &json!({})).await? else { return Ok(()) };
    let gateways = Gateways(&scene);
    let mut accounts = Accounts::make(&scene, 40, 20).await?;
    let load = Load::start(&endpoint, &accounts.take(40)?, Shape::of(10.0)).await?;

    mode(&scene, &json!({ "mode": "External", "maxReplicas": 3, "horizontalPodAutoscaler": { "metric": "folkmoot_gateway_connections" } })).await?;
    an_autoscaler_is_made(&scene).await?;
    scale(&scene, 2).await?;
    until("two gateways by kubectl scale", STEP, async || gateways.are(2).await).await?;
    let two = gateways.names().await?;
    selects_them(&scene, &two).await?;

    // The operator decides, among limits that leave things as they are: what is written by others is not followed any more.
    mode(
        &scene,
        &json!({ "mode": "Operator", "minReplicas": 2, "maxReplicas": 3, "horizontalPodAutoscaler": null }),
    )
    .await?;
    until("the operator to decide", STEP, async || {
        let told = gateways.scaling().await?;
        ensure!(told.mode == Some(AutoscalingMode::Operator), "the status says {told:?}");
        Ok(())
    })
    .await?;
    scene.until_gone::<HorizontalPodAutoscaler>("chat-gateway", STEP).await?;
    scale(&scene, 1).await?;
    stays(&scene, &two).await.context("the number to be the operator's")?;

    // And back: the number that runs is the first that others see, though something else was written meanwhile.
    mode(&scene, &json!({ "mode": "External", "minReplicas": 1 })).await?;
    until("the number that runs in the spec", STEP, async || {
        let told = gateways.scaling().await?;
        let replicas = scene.chat().await?.spec.gateway.replicas;
        ensure!(
            replicas == 2 && told.mode == Some(AutoscalingMode::External),
            "it is {replicas}, and {told:?}"
        );
        Ok(())
    })
    .await?;
    stays(&scene, &two).await.context("nothing to jump")?;
    scale(&scene, 1).await?;
    until("one gateway by kubectl scale", STEP, async || gateways.are(1).await).await?;
    ensure!(two.contains(&gateways.names().await?[0]), "expected one of the two to stay");

    let ended = load.end().await?;
    ended.kept_all()?;
    println!("external: {}", ended.title());
    Ok(())
}

/// The gateways are these and stay these, however often the operator looks at them.
async fn stays(scene: &Scene, names: &[String]) -> Result<()> {
    let gateways = Gateways(scene);
    for _ in 0..3 {
        Operator::of(scene).has_looked().await?;
        let now = gateways.names().await?;
        ensure!(now == *names, "there are {now:?}, not {names:?}");
        let leaving = gateways.scaling().await?.leaving;
        ensure!(leaving.is_none(), "some are leaving: {leaving:?}");
    }
    Ok(())
}

async fn mode(scene: &Scene, autoscaling: &Value) -> Result<()> {
    scene.change(&json!({ "spec": { "gateway": { "autoscaling": autoscaling } } })).await.map(drop)
}

async fn scale(scene: &Scene, replicas: u32) -> Result<()> {
    let replicas = format!("--replicas={replicas}");
    let target = format!("chat/{CHAT}");
    let arguments = ["-n", scene.namespace.as_str(), "scale", target.as_str(), replicas.as_str()];
    kubectl(&arguments, "").await?.succeeded().map(drop)
}

/// One that steers the chat, not its Deployment, which the operator alone writes.
async fn an_autoscaler_is_made(scene: &Scene) -> Result<()> {
    let found = until("the HorizontalPodAutoscaler", STEP, async || {
        Ok(scene.api::<HorizontalPodAutoscaler>().get("chat-gateway").await?)
    })
    .await?;
    let spec = serde_json::to_value(&found.spec)?;
    let target = json!({ "apiVersion": "folkmoot.dev/v1alpha1", "kind": "ChatCluster", "name": CHAT });
    ensure!(spec["scaleTargetRef"] == target, "expected it to steer the chat: {spec}");
    ensure!(spec["maxReplicas"] == 3, "expected the limits of the spec: {spec}");
    ensure!(
        spec["metrics"].to_string().contains("folkmoot_gateway_connections"),
        "expected it to look at the sockets: {spec}"
    );
    Ok(())
}

/// The selector of the scale subresource, by which autoscalers find whom to measure.
async fn selects_them(scene: &Scene, names: &[String]) -> Result<()> {
    let path =
        format!("/apis/folkmoot.dev/v1alpha1/namespaces/{}/chatclusters/{CHAT}/scale", scene.namespace);
    let scale: Value =
        serde_json::from_str(&kubectl(&["get", "--raw", path.as_str()], "").await?.succeeded()?)?;
    ensure!(scale["spec"]["replicas"] == 2 && scale["status"]["replicas"] == 2, "expected two: {scale}");
    let selector = scale["status"]["selector"].as_str().context("expected a selector")?;
    let pods = scene.api::<Pod>().list(&ListParams::default().labels(selector)).await?.items;
    let mut found: Vec<_> = pods.iter().map(kube::ResourceExt::name_any).collect();
    found.sort();
    ensure!(found == names, "expected {selector} to select {names:?}, not {found:?}");
    Ok(())
}
