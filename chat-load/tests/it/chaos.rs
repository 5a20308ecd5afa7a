//! Chaos over a server that is not what it says, and a script that is not a cluster.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use chat_load::chaos::{ChaosError, Cluster, Findings, Settings, chaos, fault::Fault};

use crate::fake;

fn script(directory: &Path, text: &str) -> Cluster {
    let script = directory.join("cluster.sh");
    fs::write(&script, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    Cluster { script }
}

async fn run(fault: fake::Fault, chaos_fault: Fault, text: &str) -> (Result<Findings, ChaosError>, String) {
    let directory = tempfile::tempdir().unwrap();
    let (urls, accounts) = fake::serve(fault, 20, 10).await;
    let tokens = directory.path().join("tokens.jsonl");
    let lines: Vec<String> = accounts.iter().map(|a| serde_json::to_string(a).unwrap()).collect();
    fs::write(&tokens, lines.join("\n")).unwrap();
    let done = directory.path().join("done");
    let settings = Settings {
        cluster: script(directory.path(), &text.replace("DONE", done.to_str().unwrap())),
        api: urls[1].clone(),
        urls: urls.to_vec(),
        tokens,
        sockets: 20,
        rate: 100.0,
        warmup: 0.5,
        only: vec![chaos_fault],
        lasts: Some(Duration::from_millis(500)),
        after: Duration::from_secs(1),
    };
    let findings = tokio::task::spawn_blocking(move || chaos(&settings)).await.unwrap();
    (findings, fs::read_to_string(done).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_is_made_and_healed_and_what_it_cost_is_reported() {
    let (findings, done) = run(fake::Fault::Gateway, Fault::GatewayKilled, "echo $1 $2 >> DONE").await;
    let findings = findings.unwrap();
    assert_eq!(done, "kill gateway1\nstart gateway1\n");
    let row = &findings.rows[0];
    assert_eq!(row.broken, [0, 0, 0], "{findings:#?}");
    assert!(row.sent > 50 && row.acked == row.sent && row.cut >= 5, "{row:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_that_nobody_is_informed_of_misses_its_bar() {
    let (findings, done) = run(fake::Fault::None, Fault::AllNodesHang, "echo $1 $2 >> DONE").await;
    let findings = findings.unwrap();
    assert_eq!(done.lines().filter(|line| line.starts_with("stop cassandra")).count(), 3);
    assert_eq!(done.lines().filter(|line| line.starts_with("cont cassandra")).count(), 3);
    let missed =
        findings.missed().any(|what| what == "all of Cassandra hangs: no send was answered with overloaded");
    assert!(missed, "{findings:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_misses_its_bar() {
    let (findings, _) = run(fake::Fault::Forget, Fault::None, "exit 9").await;
    let findings = findings.unwrap();
    assert!(findings.rows[0].broken[0] > 0);
    assert!(findings.missed().next().is_some_and(|what| what.contains("lost")), "{findings:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_does_not_obey_is_an_error() {
    let (findings, _) = run(fake::Fault::None, Fault::NodeKilled, "exit 3").await;
    let error = findings.unwrap_err();
    assert!(matches!(error, ChaosError::Cluster(_)), "{error}");
}
