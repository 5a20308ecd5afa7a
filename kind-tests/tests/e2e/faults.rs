//! One part after another is killed: what `make chaos-cluster` does for ten minutes, with a fault a minute.

use anyhow::{Context as _, Result};
use kind_tests::{
    chat::Chatter,
    fault::Fault,
    gateways,
    load::{Accounts, Load, Shape},
    operator::Operator,
    scene::{READY, Scene},
};
use serde_json::json;

pub(crate) async fn every_send_is_acknowledged_whatever_dies(scene: Scene) -> Result<()> {
    let Some(endpoint) = gateways::serve(&scene, &json!({ "replicas": 2 })).await? else { return Ok(()) };
    let accounts = Accounts::make(&scene, 60, 20).await?;
    let load = Load::start(&endpoint, &accounts, Shape::of(20.0)).await?;
    let chatter = Chatter::start(&endpoint, "faults").await?;
    for fault in [Fault::Gateway, Fault::Api, Fault::Auth, Fault::Operator, Fault::Broker] {
        if fault == Fault::Broker && scene.settings.engines.is_none() {
            println!("NOT TESTED HERE: faults: Pulsar is not this run's to kill");
            continue;
        }
        fault.make(&scene).await.with_context(|| format!("expected to kill: {}", fault.name()))?;
        chatter.goes_on().await.with_context(|| format!("expected it to go on without: {}", fault.name()))?;
        scene.until_ready(READY).await?;
    }
    let (ended, heard) = (load.end().await?, chatter.end().await?);
    ended.kept_all()?;
    println!("faults: {}; the slowest send took {:.1} s", ended.title(), heard.slowest.as_secs_f64());
    Operator::of(&scene).until_whole().await
}
