//! Engines that are not there: at first, meanwhile, and for ever.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kind_tests::{
    chat, manifest,
    scene::{CHAT, READY, Scene, condition, conditions},
    wait::until,
};
use kube::{ResourceExt as _, api::DeleteParams};
use serde_json::{Value, json};

/// How soon the operator says that an engine is away, or back.
const REPORT_TIMEOUT: Duration = Duration::from_secs(60);
/// How soon a chat whose data is retained is gone, whatever its engines do.
const GONE: Duration = Duration::from_secs(60);
/// How long the operator tries to delete what is in an engine that does not answer.
const GIVEN_UP: Duration = Duration::from_secs(5 * 60);

/// A name for an engine in this namespace. Behind it is nothing until [`come`].
async fn name(scene: &Scene, engine: &str, ports: &[(&str, u16)]) -> Result<()> {
    let ports: Vec<_> = ports.iter().map(|(name, port)| json!({ "name": name, "port": port })).collect();
    let service = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": engine }, "spec": { "ports": ports } });
    scene.apply(&service).await
}

/// Leads the name to an address.
async fn come(scene: &Scene, engine: &str, address: &str, ports: &[(&str, u16)]) -> Result<()> {
    let ports: Vec<_> =
        ports.iter().map(|(name, port)| json!({ "name": name, "port": port, "protocol": "TCP" })).collect();
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": { "name": engine, "labels": { "kubernetes.io/service-name": engine } },
        "addressType": "IPv4",
        "ports": ports,
        "endpoints": [{ "addresses": [address], "conditions": { "ready": true } }],
    });
    scene.apply(&slice).await
}

async fn go(scene: &Scene, engine: &str) -> Result<()> {
    scene.api::<EndpointSlice>().delete(engine, &DeleteParams::default()).await?;
    Ok(())
}

/// Host and port of `scheme://host:port` or `host:port`.
fn parts(address: &str) -> Result<(String, u16)> {
    let bare = address.rsplit("://").next().unwrap_or_default().trim_end_matches('/');
    let (host, port) = bare.rsplit_once(':').with_context(|| format!("expected a port in {address}"))?;
    Ok((host.to_owned(), port.parse()?))
}

/// Where the engines are, and the spec by which pods look for them under names of this namespace. Certificates are for the engines' own
/// addresses, so these connections are plain.
struct Engines {
    cassandra: (String, u16),
    pulsar: (String, u16),
    admin: (String, u16),
}

impl Engines {
    fn of(scene: &Scene) -> Result<Self> {
        let settings = &scene.settings;
        let cassandra = settings.cassandra.contact_points.first().context("expected a contact point")?;
        Ok(Self {
            cassandra: parts(cassandra)?,
            pulsar: parts(&settings.pulsar.url)?,
            admin: parts(&settings.pulsar.admin_url)?,
        })
    }

    async fn name(&self, scene: &Scene) -> Result<Value> {
        name(scene, "cassandra", &[("cql", self.cassandra.1)]).await?;
        name(scene, "pulsar", &[("binary", self.pulsar.1), ("http", self.admin.1)]).await?;
        scene.make_secrets().await?;
        let (namespace, mut object) = (&scene.namespace, manifest::small(&scene.settings));
        let spec = &mut object["spec"];
        spec["cassandra"]["contactPoints"] =
            json!([format!("cassandra.{namespace}.svc:{}", self.cassandra.1)]);
        spec["pulsar"]["url"] = json!(format!("pulsar://pulsar.{namespace}.svc:{}", self.pulsar.1));
        spec["pulsar"]["adminUrl"] = json!(format!("http://pulsar.{namespace}.svc:{}", self.admin.1));
        for engine in ["cassandra", "pulsar"] {
            if let Some(fields) = spec[engine].as_object_mut() {
                fields.remove("caSecretRef");
            }
        }
        Ok(object)
    }

    async fn cassandra_comes(&self, scene: &Scene) -> Result<()> {
        come(scene, "cassandra", &self.cassandra.0, &[("cql", self.cassandra.1)]).await
    }

    async fn pulsar_comes(&self, scene: &Scene) -> Result<()> {
        let ports = [("binary", self.pulsar.1), ("http", self.admin.1)];
        come(scene, "pulsar", &self.pulsar.0, &ports).await
    }
}

/// Waits until the chat says which engines are away: these, and no other.
async fn until_reported(scene: &Scene, away: &[&str]) -> Result<()> {
    until(&format!("the status to say that {away:?} are away"), REPORT_TIMEOUT, async || {
        let chat = scene.chat().await?;
        let found = |kind: &str| condition(&chat, kind).with_context(|| format!("expected {kind}"));
        let degraded = found("Degraded")?;
        for engine in ["Cassandra", "Pulsar"] {
            let (is_away, health) = (away.contains(&engine), found(&format!("{engine}Ready"))?);
            ensure!(
                (health.status == "False") == is_away
                    && degraded.message.contains(&engine.to_lowercase()) == is_away,
                "{}",
                conditions(&chat)
            );
            // Which address, why, and since when.
            let names_it = health.message.contains(&engine.to_lowercase());
            ensure!(!is_away || (names_it && !health.reason.is_empty()), "{}", conditions(&chat));
        }
        ensure!((degraded.status == "True") != away.is_empty(), "{}", conditions(&chat));
        Ok(())
    })
    .await
}

pub(crate) async fn engines_may_come_later(scene: Scene) -> Result<()> {
    let engines = Engines::of(&scene)?;
    let object = engines.name(&scene).await?;
    scene.apply(&object).await?;
    until_reported(&scene, &["Cassandra", "Pulsar"]).await?;
    engines.pulsar_comes(&scene).await?;
    until_reported(&scene, &["Cassandra"]).await?;
    engines.cassandra_comes(&scene).await?;
    let began = Instant::now();
    scene.until_ready(READY).await?;
    println!("away: ready {:.1} s after the engines came", began.elapsed().as_secs_f64());
    until_reported(&scene, &[]).await?;
    let endpoint = chat::endpoint(&scene).await?;
    chat::works(&scene, &endpoint).await?;

    // One that goes later stops nothing else, and is reported too.
    let before: Vec<_> = scene.pods().await?.iter().map(kube::ResourceExt::name_any).collect();
    go(&scene, "pulsar").await?;
    until_reported(&scene, &["Pulsar"]).await?;
    scene.change(&json!({ "spec": { "gateway": { "replicas": 2 } } })).await?;
    until("the spec to be followed meanwhile", READY, async || {
        let pods: Vec<_> = scene.pods().await?.iter().map(kube::ResourceExt::name_any).collect();
        ensure!(
            pods.len() == before.len() + 1 && before.iter().all(|pod| pods.contains(pod)),
            "pods are {pods:?}"
        );
        Ok(())
    })
    .await?;
    engines.pulsar_comes(&scene).await?;
    until_reported(&scene, &[]).await?;
    scene.until_ready(READY).await.map(drop)
}

pub(crate) async fn what_is_retained_holds_nothing_up(scene: Scene) -> Result<()> {
    let object = Engines::of(&scene)?.name(&scene).await?;
    scene.apply(&object).await?;
    until_reported(&scene, &["Cassandra", "Pulsar"]).await?;
    let began = Instant::now();
    scene.delete_chat(GONE).await?;
    println!("deleted-meanwhile: gone after {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

pub(crate) async fn engines_that_stay_away_are_given_up(scene: Scene) -> Result<()> {
    let mut object = Engines::of(&scene)?.name(&scene).await?;
    object["spec"]["deletionPolicy"] = json!("Delete");
    scene.apply(&object).await?;
    until("the finalizer", REPORT_TIMEOUT, async || {
        ensure!(!scene.chat().await?.finalizers().is_empty(), "there is none");
        Ok(())
    })
    .await?;
    let began = Instant::now();
    scene.delete_chat(GIVEN_UP + Duration::from_secs(30)).await?;
    println!("given-up: gone after {:.1} s", began.elapsed().as_secs_f64());
    let arguments = [
        "-n",
        scene.namespace.as_str(),
        "get",
        "events",
        "--field-selector",
        "involvedObject.kind=ChatCluster,type=Warning",
        "-o",
        "jsonpath={.items[*].message}",
    ];
    let reported = kind_tests::command::kubectl(&arguments, "").await?.succeeded()?;
    ensure!(
        reported.contains("left"),
        "expected an event that says what of {CHAT} is left behind: {reported:?}"
    );
    Ok(())
}
