//! Upgrades to another image, good and bad.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kind_tests::{
    chat::{self, Chatter},
    children::OF_CHAT,
    manifest,
    scene::{READY, Scene, conditions, status},
    wait::until,
};
use kube::{ResourceExt as _, api::ListParams};
use serde_json::json;

use crate::timeline::Timeline;

/// A tag that no node has and no registry gives.
const BAD: &str = "folkmoot/chat-server:does-not-exist";
/// How soon a step that fails is reported.
const REPORT_TIMEOUT: Duration = Duration::from_secs(90);
/// Three roles, one after another, each with pods that drain.
const REPLACED: Duration = Duration::from_secs(400);

pub(crate) async fn roles_follow_one_another_and_a_bad_image_stops(scene: Scene) -> Result<()> {
    scene.make_secrets().await?;
    let mut object = manifest::small(&scene.settings);
    // One may go while the other serves.
    object["spec"]["gateway"]["replicas"] = json!(2);
    scene.apply(&object).await?;
    scene.until_ready(READY).await?;
    let endpoint = chat::endpoint(&scene).await?;
    let chatter = Chatter::start(&endpoint, "ada").await?;
    chatter.goes_on().await?;

    let next = scene.settings.image("next");
    let timeline = Timeline::start(&scene);
    scene.change(&json!({ "spec": { "image": { "reference": next } } })).await?;
    let chat = scene.until_ready(REPLACED).await?;
    ensure!(
        status(&chat).version.as_deref() == Some("next"),
        "expected the version to be reported: {:?}",
        status(&chat)
    );
    timeline.check(&next, 2)?;
    chatter.goes_on().await?;

    let before = images(&scene).await?;
    scene.change(&json!({ "spec": { "image": { "reference": BAD } } })).await?;
    until("the failed step to be reported", REPORT_TIMEOUT, async || {
        let chat = scene.chat().await?;
        let degraded = status(&chat).conditions.into_iter().find(|reported| reported.type_ == "Degraded");
        let degraded = degraded.context("expected the condition")?;
        ensure!(
            degraded.status == "True" && degraded.message.contains("does-not-exist"),
            "{}",
            conditions(&chat)
        );
        Ok(())
    })
    .await?;
    ensure!(
        images(&scene).await? == before,
        "expected the old version to serve on: {:?}",
        images(&scene).await?
    );
    chatter.goes_on().await?;

    scene.change(&json!({ "spec": { "image": { "reference": next } } })).await?;
    scene.until_condition("Degraded", "False", READY).await?;
    scene.until_ready(READY).await?;
    ensure!(images(&scene).await? == before, "expected nothing to be replaced");
    chatter.goes_on().await?;
    let heard = chatter.end().await?;
    println!(
        "upgrade: {} messages through it all, each once; the slowest took {:.1} s",
        heard.messages,
        heard.slowest.as_secs_f64()
    );
    Ok(())
}

/// What each Deployment runs, and how often its template was changed.
async fn images(scene: &Scene) -> Result<Vec<(String, String, String)>> {
    let deployments = scene.api::<Deployment>().list(&ListParams::default().labels(OF_CHAT)).await?;
    let reported = deployments.items.into_iter().map(|deployment| {
        let spec = deployment.spec.template.spec.clone().unwrap_or_default();
        let image = spec.containers.first().and_then(|container| container.image.clone()).unwrap_or_default();
        let revision = deployment.annotations().get("deployment.kubernetes.io/revision").cloned();
        (deployment.name_any(), image, revision.unwrap_or_default())
    });
    Ok(reported.collect())
}
