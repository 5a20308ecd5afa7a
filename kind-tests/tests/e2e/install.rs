//! What a user does first.

use std::{collections::BTreeSet, time::Instant};

use anyhow::{Context as _, Result, ensure};
use folkmoot_crds::ChatCluster;
use kind_tests::{
    cassandra::Cassandra,
    chat,
    command::kubectl,
    manifest,
    pulsar::Pulsar,
    scene::{FRESH, READY, Scene, conditions, status},
    wait::until,
};
use serde_json::json;

use crate::pods;

pub(crate) async fn ten_lines_become_a_chat(scene: Scene) -> Result<()> {
    scene.make_secrets().await?;
    let began = Instant::now();
    scene.apply(&manifest::ten_lines(&scene.settings)).await?;
    let chat = scene.until_ready(FRESH).await?;
    println!("install: ready after {:.1} s", began.elapsed().as_secs_f64());

    let endpoint = chat::endpoint(&scene).await?;
    chat::works(&scene, &endpoint).await.context("register, send, receive")?;
    engines_have_what_the_spec_says(&scene, &chat).await?;
    pods::are_restricted(&scene).await?;
    status_reports(&scene).await?;
    it_scales(&scene).await
}

/// Asked from the engines themselves.
async fn engines_have_what_the_spec_says(scene: &Scene, chat: &ChatCluster) -> Result<()> {
    let reported = status(chat);
    let keyspace = reported.keyspace.context("expected the keyspace's name in the status")?;
    let cassandra = Cassandra::connect(&scene.settings).await?;
    let replication = cassandra.replication(&keyspace).await?.context("expected the keyspace")?;
    ensure!(
        replication["class"].ends_with("NetworkTopologyStrategy") && replication["dc1"] == "1",
        "expected one copy in dc1: {replication:?}"
    );
    let tables = cassandra.tables(&keyspace).await?;
    let wanted = ["events", "channels", "members", "users", "sessions", "passwords", "files", "schema_state"];
    let missing: BTreeSet<_> = wanted.iter().filter(|table| !tables.contains(**table)).collect();
    ensure!(missing.is_empty(), "expected tables {missing:?} beside {tables:?}");
    ensure!(cassandra.schema_version(&keyspace).await? >= 1, "expected the tables to be at a version");

    let namespace = reported.pulsar_namespace.context("expected the namespace of Pulsar in the status")?;
    let (tenant, _) = namespace.split_once('/').context("expected tenant/namespace")?;
    let pulsar = Pulsar::new(&scene.settings)?;
    pulsar.get(&format!("/tenants/{tenant}")).await?.context("expected the tenant")?;
    let policies =
        pulsar.get(&format!("/namespaces/{namespace}")).await?.context("expected the namespace")?;
    let retention = json!({ "retentionTimeInMinutes": 15, "retentionSizeInMB": 1024 });
    ensure!(policies["retention_policies"] == retention, "expected {retention}: {policies}");
    ensure!(policies["message_ttl_in_seconds"] == 900, "expected a TTL of 900 s: {policies}");
    let quota = &policies["backlog_quota_map"]["destination_storage"];
    ensure!(
        quota["limitSize"] == 512 << 20 && quota["policy"] == "consumer_backlog_eviction",
        "expected a quota of 512 MiB: {policies}"
    );
    let events = pulsar.get(&format!("/persistent/{namespace}/events/partitions")).await?;
    ensure!(
        events.as_ref().is_some_and(|topic| topic["partitions"] == 8),
        "expected 8 partitions: {events:?}"
    );
    let topics = pulsar.get(&format!("/non-persistent/{namespace}")).await?.unwrap_or_default();
    ensure!(topics.to_string().contains("/ephemeral"), "expected the topic of presence: {topics}");
    Ok(())
}

/// In the columns that people see, in events and in `kubectl explain`.
async fn status_reports(scene: &Scene) -> Result<()> {
    let namespace = scene.namespace.as_str();
    let table = kubectl(&["-n", namespace, "get", "chats"], "").await?.succeeded()?;
    let (head, row) = table.split_once('\n').context("expected a row")?;
    for column in ["READY", "VERSION", "REPLICAS", "CONNECTIONS", "URL", "AGE"] {
        ensure!(head.contains(column), "expected a column {column}: {table}");
    }
    let version = scene.settings.version.as_str();
    ensure!(
        row.contains("True") && row.contains(version),
        "expected it to be ready with version {version}: {table}"
    );
    let chat = scene.chat().await?;
    let reported = status(&chat);
    ensure!(
        reported.url.as_ref().is_some_and(|url| url.contains(&format!("chat.{namespace}"))),
        "expected the URL within the cluster: {:?}",
        reported.url
    );
    let kinds: BTreeSet<_> = reported.conditions.iter().map(|condition| condition.type_.as_str()).collect();
    let wanted = [
        "CassandraReady",
        "Degraded",
        "GatewayAvailable",
        "Progressing",
        "PulsarReady",
        "Ready",
        "SchemaCurrent",
    ];
    ensure!(kinds.into_iter().eq(wanted), "expected the conditions {wanted:?}: {}", conditions(&chat));
    let events = [
        "-n",
        namespace,
        "get",
        "events",
        "--field-selector",
        "involvedObject.kind=ChatCluster",
        "-o",
        "name",
    ];
    let events = kubectl(&events, "").await?.succeeded()?;
    ensure!(!events.trim().is_empty(), "expected events of the ChatCluster");
    Ok(())
}

async fn it_scales(scene: &Scene) -> Result<()> {
    let scale = ["-n", scene.namespace.as_str(), "scale", "chat/chat", "--replicas=1"];
    kubectl(&scale, "").await?.succeeded()?;
    until("one gateway", READY, async || {
        let reported = status(&scene.chat().await?).gateway.unwrap_or_default();
        ensure!(reported.replicas == 1 && reported.ready_replicas == 1, "there are {reported:?}");
        Ok(())
    })
    .await
}
