//! A gateway that dies, and a node that is emptied.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{Node, Pod};
use kind_tests::{
    command::kubectl,
    gateways::{self, Gateways},
    load::{Accounts, Load, Shape},
    operator::Operator,
    scene::{READY, Scene},
    wait::until,
};
use kube::{Api, api::ListParams};
use serde_json::json;

/// How soon all gateways are there again.
const BACK: Duration = Duration::from_secs(90);

pub(crate) async fn a_dead_gateway_and_an_empty_node_cost_nothing(scene: Scene) -> Result<()> {
    let Some(endpoint) = gateways::serve(&scene, &json!({ "replicas": 2 })).await? else { return Ok(()) };
    let gateways = Gateways(&scene);
    let mut accounts = Accounts::make(&scene, 60, 20).await?;
    let load = Load::start(&endpoint, &accounts.take(60)?, Shape::of(20.0)).await?;

    let pods = gateways.pods().await?;
    let killed = pods.first().context("expected gateways")?;
    gateways::kill(&scene, killed).await?;
    until("a killed gateway to be noticed", BACK, async || {
        let ready = gateways.pods().await?.iter().filter(|pod| gateways::is_ready(pod)).count();
        ensure!(ready < 2 || restarts(&gateways.pods().await?) > restarts(&pods), "{ready} are ready");
        Ok(())
    })
    .await?;
    until("a killed gateway to be back", BACK, async || gateways.are(2).await).await?;

    let cleared = empty_its_node(&scene, &gateways).await;
    // Whatever came of it, other tests need the node.
    if let Ok((node, _)) = &cleared {
        kubectl(&["uncordon", node.as_str()], "").await?.succeeded()?;
    }
    let (node, took) = cleared?;
    let ended = load.end().await?;
    ended.kept_all()?;
    println!("node: {node} was empty after {:.1} s; {}", took.as_secs_f64(), ended.title());
    Operator::of(&scene).until_whole().await?;
    scene.until_ready(READY).await.map(drop)
}

fn restarts(pods: &[Pod]) -> i32 {
    pods.iter().map(gateways::restarts).sum()
}

/// Cordons and drains a node with a gateway on it, as whoever upgrades nodes does: its name, and how long it took.
async fn empty_its_node(scene: &Scene, gateways: &Gateways<'_>) -> Result<(String, Duration)> {
    let nodes: Api<Node> = Api::all(scene.client.clone());
    let nodes: BTreeSet<_> =
        nodes.list(&ListParams::default()).await?.items.iter().map(kube::ResourceExt::name_any).collect();
    ensure!(nodes.len() >= 2, "expected two nodes, one to go to: {nodes:?}");
    let places = places(&gateways.pods().await?);
    let node = places.iter().next().context("expected gateways to be on nodes")?.clone();
    let began = Instant::now();
    let drain = ["drain", node.as_str(), "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=110s"];
    let drained = kubectl(&drain, "").await?.succeeded().context("kubectl drain");
    let settled = match drained {
        Ok(_) => {
            let took = began.elapsed();
            until("the gateways to be elsewhere", BACK, async || {
                gateways.are(2).await?;
                let places = self::places(&gateways.pods().await?);
                ensure!(!places.contains(&node), "one is on {node}");
                Ok(())
            })
            .await
            .map(|()| took)
        }
        Err(error) => Err(error),
    };
    if settled.is_err() {
        kubectl(&["uncordon", node.as_str()], "").await?.succeeded()?;
    }
    settled.map(|took| (node, took))
}

fn places(pods: &[Pod]) -> BTreeSet<String> {
    pods.iter().filter_map(|pod| pod.spec.as_ref()?.node_name.clone()).collect()
}
