//! Other gateways, under load.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kind_tests::{
    chat::Endpoint,
    command::kubectl,
    gateways::{self, DEPLOYMENT, Gateways},
    load::{Accounts, Load, Shape},
    scene::Scene,
    wait::until,
};
use serde_json::json;

/// Each of two waits until the clients of the one before are back.
const REPLACED: Duration = Duration::from_secs(200);
/// How often somebody may have to connect again in one roll-out.
const TWICE: u32 = 2;

pub(crate) async fn nobody_notices(scene: Scene) -> Result<()> {
    let Some(endpoint) = gateways::serve(&scene, &json!({ "replicas": 2 })).await? else { return Ok(()) };
    let mut accounts = Accounts::make(&scene, 180, 20).await?;

    let next = scene.settings.image("next");
    one(&scene, &endpoint, "another image", &accounts.take(60)?, async || {
        scene.change(&json!({ "spec": { "image": { "reference": next } } })).await.map(drop)
    })
    .await?;
    one(&scene, &endpoint, "another setting", &accounts.take(60)?, async || {
        scene.change(&json!({ "spec": { "settings": { "gateway.max_in_flight": "31" } } })).await.map(drop)
    })
    .await?;
    one(&scene, &endpoint, "kubectl rollout restart", &accounts.take(60)?, async || {
        let target = format!("deployment/{DEPLOYMENT}");
        let arguments = ["-n", scene.namespace.as_str(), "rollout", "restart", target.as_str()];
        kubectl(&arguments, "").await?.succeeded().map(drop)
    })
    .await
}

/// One roll-out under load: every gateway is another one afterwards.
async fn one<F, Fut>(
    scene: &Scene,
    endpoint: &Endpoint,
    name: &str,
    accounts: &Accounts,
    change: F,
) -> Result<()>
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = Result<()>>,
{
    let gateways = Gateways(scene);
    let before = gateways.names().await?;
    let load = Load::start(endpoint, accounts, Shape::of(20.0)).await?;
    let began = Instant::now();
    change().await?;
    until(&format!("{name}: other gateways"), REPLACED, async || {
        let now = gateways.names().await?;
        ensure!(now.iter().all(|pod| !before.contains(pod)), "of {before:?} there are still some: {now:?}");
        gateways.are(2).await
    })
    .await?;
    scene.until_ready(REPLACED).await?;
    let took = began.elapsed();
    let ended = load.end().await?;
    ended.kept_all().with_context(|| name.to_owned())?;
    let most = ended.report.reconnects.most_by_client;
    ensure!(most <= TWICE, "{name}: expected nobody to reconnect more than twice, somebody did {most} times");
    println!(
        "rollout: {name} after {:.1} s, at most {most} reconnects each; {}",
        took.as_secs_f64(),
        ended.title()
    );
    Ok(())
}
