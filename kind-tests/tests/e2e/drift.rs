//! What somebody changes by hand, and what nobody changes.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use kind_tests::{
    audit,
    children::{Child, differences, essence},
    manifest,
    operator::Operator,
    pulsar::Pulsar,
    scene::{CHAT, READY, Scene, condition, status},
    wait::until,
};
use kube::{
    Resource as _, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::{Value, json};

/// Until when a child must be back: before the operator would look again anyway, since engines are asked every 30 s. How soon it
/// was is printed; that depends on the machine.
const BACK: Duration = Duration::from_secs(20);
/// The same for a policy of a topic.
const POLICY_BACK: Duration = Duration::from_secs(120);
/// How often an unchanged chat is looked at.
const RESYNCS: usize = 20;

pub(crate) async fn what_somebody_changes_comes_back(scene: Scene) -> Result<()> {
    scene.make_secrets().await?;
    let mut object = manifest::small(&scene.settings);
    object["spec"]["exposure"] = json!({ "host": "chat.example.org", "ingress": {} });
    scene.apply(&object).await?;
    scene.until_ready(READY).await?;
    nothing_is_written_when_nothing_changed(&scene).await?;
    let mut slowest = each_child_comes_back(&scene).await?;
    policies_come_back(&scene).await?;
    slowest = slowest.max(another_way_in(&scene).await?);
    what_earlier_versions_made_goes(&scene).await?;
    println!("drift: the slowest child was back after {:.2} s", slowest.as_secs_f64());
    a_paused_chat_is_left_alone(&scene).await
}

/// Versions of everything that the operator may write.
async fn versions(scene: &Scene) -> Result<BTreeMap<String, String>> {
    let children = scene.children().await?.into_iter();
    let version = |child: Child| (child.title(), child.object.resource_version().unwrap_or_default());
    Ok(children.map(version).collect())
}

async fn nothing_is_written_when_nothing_changed(scene: &Scene) -> Result<()> {
    let operator = Operator::of(scene);
    // Kubernetes counts pods as available only a drain window after they are ready.
    let before = until("everything to rest", Duration::from_secs(180), async || {
        for child in scene.children().await? {
            let status = &child.object.data["status"];
            let is_there = status["availableReplicas"] == status["replicas"];
            ensure!(child.kind.plural != "deployments" || is_there, "{} is not all available", child.title());
        }
        let before = versions(scene).await?;
        operator.has_looked().await?;
        ensure!(versions(scene).await? == before, "something changes still");
        Ok(before)
    })
    .await?;
    let (reported, began) = (status(&scene.chat().await?), Timestamp::now());
    for _ in 0..RESYNCS / 2 {
        operator.has_looked().await?;
    }
    let after = versions(scene).await?;
    ensure!(before == after, "expected no child to be written: {before:?} {after:?}");
    let now = status(&scene.chat().await?);
    ensure!(now == reported, "expected the status to stay: {reported:?} {now:?}");
    let Some(log) = &scene.settings.audit_log else { return Ok(()) };
    let writes: Vec<_> = audit::of_accounts_in(log, &scene.settings.system)?
        .into_iter()
        .filter(|entry| entry.is_write() && entry.request_received_timestamp > began)
        .filter(|entry| entry.object_ref.as_ref().is_some_and(|object| object.namespace == scene.namespace))
        .map(|entry| entry.title())
        .collect();
    ensure!(writes.is_empty(), "expected no write in {RESYNCS} resyncs: {writes:#?}");
    Ok(())
}

/// Changed and deleted, each; the longest time until one was back.
async fn each_child_comes_back(scene: &Scene) -> Result<Duration> {
    let mut slowest = Duration::ZERO;
    let children = scene.children().await?;
    ensure!(children.len() >= 20, "expected more children than {:?}", titles(&children));
    for child in &children {
        slowest = slowest.max(changed(scene, child).await?).max(deleted(scene, child).await?);
    }
    // Those that were deleted last made new pods.
    scene.until_ready(READY).await?;
    Ok(slowest)
}

async fn changed(scene: &Scene, child: &Child) -> Result<Duration> {
    let (api, wanted) = (child.kind.api(&scene.client, &scene.namespace), child.essence());
    let somebody = PatchParams { field_manager: Some("somebody".into()), ..PatchParams::default() };
    let changed = api.patch(child.name(), &somebody, &Patch::Merge(child.kind.tampering())).await?;
    ensure!(essence(&changed) != wanted, "expected a change of {}", child.title());
    let began = Instant::now();
    until(&format!("{} to be as it was", child.title()), BACK, async || {
        let found = essence(&api.get(child.name()).await?);
        ensure!(found == wanted, "{}", differences(&wanted, &found).join("; "));
        Ok(())
    })
    .await?;
    Ok(began.elapsed())
}

async fn deleted(scene: &Scene, child: &Child) -> Result<Duration> {
    let api = child.kind.api(&scene.client, &scene.namespace);
    let was = api.get(child.name()).await?.uid();
    api.delete(child.name(), &DeleteParams::background()).await?;
    let began = Instant::now();
    until(&format!("{} to be there again", child.title()), BACK, async || {
        let found = api.get(child.name()).await?;
        ensure!(found.uid() != was && found.metadata.deletion_timestamp.is_none(), "it is the old one");
        Ok(())
    })
    .await?;
    Ok(began.elapsed())
}

async fn policies_come_back(scene: &Scene) -> Result<()> {
    let namespace = status(&scene.chat().await?).pulsar_namespace.context("expected its namespace")?;
    let pulsar = Pulsar::new(&scene.settings)?;
    let retention = format!("/namespaces/{namespace}/retention");
    let wanted = pulsar.get(&retention).await?.context("expected a retention")?;
    // More than before: Pulsar refuses what is below the quota of backlogs.
    pulsar.post(&retention, &json!({ "retentionTimeInMinutes": 77, "retentionSizeInMB": 2048 })).await?;
    pulsar.delete(&format!("/namespaces/{namespace}/messageTTL")).await?;
    let began = Instant::now();
    until("the policies to be as they were", POLICY_BACK, async || {
        let (kept, ttl) = (
            pulsar.get(&retention).await?.unwrap_or_default(),
            pulsar.get(&format!("/namespaces/{namespace}/messageTTL")).await?.unwrap_or_default(),
        );
        ensure!(kept == wanted && ttl == 900, "expected {wanted} and 900 s: {kept} {ttl}");
        Ok(())
    })
    .await?;
    println!("drift: the policies of the topics were back after {:.1} s", began.elapsed().as_secs_f64());
    Ok(())
}

/// An `HTTPRoute` in place of an Ingress, and neither policies nor objects for Prometheus: what is not wanted any more goes, and
/// what comes is guarded like the rest.
async fn another_way_in(scene: &Scene) -> Result<Duration> {
    let route = json!({ "ingress": null, "httpRoute": { "parentRefs": [{ "name": "edge" }] } });
    let off = json!({ "enabled": false });
    let spec = json!({ "exposure": route, "networkPolicy": off, "monitoring": off });
    scene.change(&json!({ "spec": spec })).await?;
    let gone = ["Ingress", "NetworkPolicy", "ServiceMonitor", "PrometheusRule"];
    let children = until("what is not wanted to be gone", Duration::from_secs(20), async || {
        let children = scene.children().await?;
        let left: Vec<_> = titles(&children)
            .into_iter()
            .filter(|title| gone.iter().any(|kind| title.starts_with(kind)))
            .collect();
        ensure!(left.is_empty(), "there are {left:?}");
        ensure!(children.iter().any(|child| child.kind.kind == "HTTPRoute"), "there is no HTTPRoute");
        Ok(children)
    })
    .await?;
    let mut slowest = Duration::ZERO;
    for child in children.iter().filter(|child| child.kind.kind == "HTTPRoute") {
        slowest = slowest.max(changed(scene, child).await?).max(deleted(scene, child).await?);
    }
    scene.change(&json!({ "spec": { "exposure": null } })).await?;
    until("no way in from outside", BACK, async || {
        let left = titles(&scene.children().await?);
        ensure!(!left.iter().any(|title| title.starts_with("HTTPRoute")), "there are {left:?}");
        Ok(())
    })
    .await?;
    scene.until_ready(READY).await?;
    Ok(slowest)
}

/// Objects of the chat that this version of the operator has no use for.
async fn what_earlier_versions_made_goes(scene: &Scene) -> Result<()> {
    let owner =
        scene.chat().await?.controller_owner_ref(&()).context("expected the ChatCluster to be one")?;
    let labels = json!({
        "app.kubernetes.io/name": "folkmoot",
        "app.kubernetes.io/instance": CHAT,
        "app.kubernetes.io/component": "shared",
        "app.kubernetes.io/managed-by": "folkmoot-operator",
    });
    let bodies = [
        ("v1", "ServiceAccount", json!({})),
        ("v1", "Secret", json!({})),
        ("v1", "ConfigMap", json!({})),
        ("v1", "Service", json!({ "spec": { "ports": [{ "port": 80 }] } })),
        (
            "policy/v1",
            "PodDisruptionBudget",
            json!({ "spec": { "selector": { "matchLabels": { "no": "pod" } } } }),
        ),
    ];
    for (version, kind, mut object) in bodies {
        object["apiVersion"] = json!(version);
        object["kind"] = json!(kind);
        object["metadata"] = json!({ "name": "chat-former", "labels": labels, "ownerReferences": [owner] });
        scene.apply(&object).await?;
    }
    until("what an earlier version made to be gone", BACK, async || {
        let children = scene.children().await?;
        let left: Vec<_> =
            titles(&children).into_iter().filter(|title| title.ends_with(" chat-former")).collect();
        ensure!(left.is_empty(), "there are {left:?}");
        Ok(())
    })
    .await
}

async fn a_paused_chat_is_left_alone(scene: &Scene) -> Result<()> {
    scene.change(&json!({ "metadata": { "annotations": { "folkmoot.dev/paused": "true" } } })).await?;
    until("the status to say that it is paused", Duration::from_secs(20), async || {
        let reported = condition(&scene.chat().await?, "Progressing").context("expected the condition")?;
        ensure!(reported.status == "False" && reported.reason == "Paused", "it is {reported:?}");
        Ok(())
    })
    .await?;
    let children = scene.children().await?;
    let budget = children.iter().find(|child| child.kind.kind == "PodDisruptionBudget");
    let budget = budget.context("expected a PodDisruptionBudget")?;
    let api = budget.kind.api(&scene.client, &scene.namespace);
    api.delete(budget.name(), &DeleteParams::default()).await?;
    // Several times: what it watches may reach it late.
    for _ in 0..3 {
        Operator::of(scene).has_looked().await?;
        ensure!(api.get_opt(budget.name()).await?.is_none(), "{} is back", budget.title());
    }
    let resume: Value = json!({ "metadata": { "annotations": { "folkmoot.dev/paused": null } } });
    scene.change(&resume).await?;
    until(&format!("{} of {CHAT} to be there again", budget.title()), BACK, async || {
        api.get(budget.name()).await?;
        Ok(())
    })
    .await
}

fn titles(children: &[Child]) -> Vec<String> {
    children.iter().map(Child::title).collect()
}
