//! The end of a chat whose data is to go with it.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use kind_tests::{
    cassandra::Cassandra,
    children::JOB,
    manifest,
    pulsar::Pulsar,
    scene::{READY, Scene, status},
    wait::until,
};
use serde_json::json;

/// Sockets leave, pods end, a Job drops the keyspace.
const GONE: Duration = Duration::from_secs(120);

pub(crate) async fn keyspace_and_topics_go_when_asked_for(scene: Scene) -> Result<()> {
    scene.make_secrets().await?;
    let mut object = manifest::small(&scene.settings);
    object["spec"]["deletionPolicy"] = json!("Delete");
    scene.apply(&object).await?;
    let reported = status(&scene.until_ready(READY).await?);
    let keyspace = reported.keyspace.context("expected the keyspace's name")?;
    let namespace = reported.pulsar_namespace.context("expected the namespace of Pulsar")?;
    let (cassandra, pulsar) = (Cassandra::connect(&scene.settings).await?, Pulsar::new(&scene.settings)?);
    let namespace = format!("/namespaces/{namespace}");
    ensure!(cassandra.replication(&keyspace).await?.is_some(), "expected the keyspace {keyspace}");
    ensure!(pulsar.get(&namespace).await?.is_some(), "expected {namespace}");

    let began = Instant::now();
    scene.delete_chat(GONE).await?;
    println!("deletion: gone with its data after {:.1} s", began.elapsed().as_secs_f64());
    ensure!(cassandra.replication(&keyspace).await?.is_none(), "expected the keyspace {keyspace} to be gone");
    ensure!(pulsar.get(&namespace).await?.is_none(), "expected {namespace} to be gone");
    until("everything of it to be gone", Duration::from_secs(60), async || {
        let mut left = scene.children().await?;
        left.extend(scene.children_of(JOB).await?);
        let left: BTreeSet<_> = left.iter().map(kind_tests::children::Child::title).collect();
        ensure!(left.is_empty(), "there are {left:?}");
        Ok(())
    })
    .await
}
