//! Runs the commands of the documentation.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use folkmoot_crds::ChatCluster;
use kind_tests::{
    command,
    document::{self, LINE, blocks},
    manifest,
    scene::{CHAT, Scene},
    settings::Settings,
    wait::until,
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::process::Command;

/// The namespace that the document speaks of.
const NAMESPACE: &str = "folkmoot";
/// All of it, on a machine that also runs everything else.
const ALL: Duration = Duration::from_secs(900);

/// On a cluster that was made for the tests only: what it installs and deletes is everybody's.
pub(crate) async fn a_reader_gets_what_the_page_says(scene: Scene) -> Result<()> {
    if !scene.settings.is_ours {
        println!("document: not on a cluster that is somebody's");
        return Ok(());
    }
    let page = scene.settings.root.join("docs/kubernetes.md");
    let blocks = blocks(&std::fs::read_to_string(&page)?).with_context(|| page.display().to_string())?;
    nothing_is_installed(&scene).await?;
    backends(&scene).await?;
    let login = tokio::spawn(log_in(scene.client.clone(), scene.settings.clone()));
    let done = run(&scene, &document::script(&blocks)).await;
    login.abort();
    let said = done?;
    ensure!(said.contains("Does it work?"), "expected grace to read what ada sent: {said}");
    for block in blocks {
        match block.skipped {
            Some(reason) => println!("document: line {} was not run: {reason}", block.line),
            None => ensure!(
                said.contains(&format!("{LINE}{}\n", block.line)),
                "line {} was not reached",
                block.line
            ),
        }
    }
    let gone = Api::<ChatCluster>::namespaced(scene.client.clone(), NAMESPACE).get_opt(CHAT).await?;
    ensure!(gone.is_none(), "expected the chat to be deleted");
    Ok(())
}

/// Takes away what the other tests had installed, as the page says it.
async fn nothing_is_installed(scene: &Scene) -> Result<()> {
    let system = scene.settings.system.as_str();
    for release in ["folkmoot", "folkmoot-crds"] {
        let mut helm = Command::new("helm");
        helm.args(["uninstall", release, "--namespace", system, "--ignore-not-found", "--wait"]);
        command::run(&mut helm, "").await?.succeeded()?;
    }
    let kind = ["delete", "crd", "chatclusters.folkmoot.dev", "--ignore-not-found", "--timeout=60s"];
    command::kubectl(&kind, "").await?.succeeded()?;
    Ok(())
}

/// Services with the names of those that the chart `folkmoot-dev-backends` has, which lead to the engines of these tests.
async fn backends(scene: &Scene) -> Result<()> {
    let settings = &scene.settings;
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE } });
    apply(&namespace).await?;
    let cassandra = settings.cassandra.contact_points.first().context("expected a contact point")?;
    service("cassandra", &[("cql", 9042, cassandra.as_str())]).await?;
    let address = |url: &str| {
        url.split_once("://").map_or(url, |(_, address)| address).trim_end_matches('/').to_owned()
    };
    let (broker, admin) = (address(&settings.pulsar.url), address(&settings.pulsar.admin_url));
    service("pulsar", &[("pulsar", 6650, broker.as_str()), ("http", 8080, admin.as_str())]).await?;
    for secret in manifest::secrets(settings) {
        apply(&secret).await?;
    }
    Ok(())
}

async fn service(name: &str, ports: &[(&str, u16, &str)]) -> Result<()> {
    let (mut listened, mut led_to, mut host) = (vec![], vec![], String::new());
    for (name, port, address) in ports {
        let (address, target) = address.rsplit_once(':').context("expected host:port of an engine")?;
        listened.push(json!({ "name": name, "port": port }));
        led_to.push(json!({ "name": name, "port": target.parse::<u16>()? }));
        address.clone_into(&mut host);
    }
    let metadata = json!({ "name": name, "labels": { "kubernetes.io/service-name": name } });
    apply(&json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": { "ports": listened } })).await?;
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata, "addressType": "IPv4",
        "endpoints": [{ "addresses": [host] }], "ports": led_to,
    });
    apply(&slice).await
}

async fn apply(object: &Value) -> Result<()> {
    let arguments =
        ["--namespace", NAMESPACE, "apply", "--server-side", "--field-manager=kind-tests", "-f", "-"];
    // A namespace is in none.
    let arguments = if object["kind"] == "Namespace" { &arguments[2..] } else { &arguments[..] };
    command::kubectl(arguments, &object.to_string()).await?.succeeded().map(drop)
}

/// The engines of these tests ask for logins, those of the chart do not: whoever is made gets them.
async fn log_in(client: Client, settings: Arc<Settings>) -> Result<()> {
    let api: Api<ChatCluster> = Api::namespaced(client, NAMESPACE);
    let ten_lines = manifest::ten_lines(&settings);
    let mut patch = json!({ "spec": {} });
    for (engine, field) in [("cassandra", "credentialsSecretRef"), ("pulsar", "tokenSecretRef")] {
        let value = &ten_lines["spec"][engine][field];
        if !value.is_null() {
            patch["spec"][engine][field] = value.clone();
        }
    }
    let parameters = PatchParams { field_manager: Some(manifest::MANAGER.into()), ..PatchParams::default() };
    until("the chat to get the login", ALL, async || {
        api.patch(CHAT, &parameters, &Patch::Merge(&patch)).await?;
        Ok(())
    })
    .await
}

/// What the script says, all of it.
async fn run(scene: &Scene, script: &str) -> Result<String> {
    let programs = &scene.settings.programs;
    let path = format!("{}:{}", std::env::var("PATH")?, programs.display());
    let home = tempfile::tempdir()?;
    let mut shell = Command::new("bash");
    shell
        .args(["-c", &format!("exec 2>&1\n{script}")])
        .current_dir(&scene.settings.root)
        .env("PATH", path)
        .env("FOLKMOOT_CONFIG_DIR", home.path());
    let said = command::run_for(&mut shell, "", ALL).await?;
    ensure!(said.status.success(), "expected every command to succeed, got {}:\n{}", said.status, said.out);
    Ok(said.out)
}
