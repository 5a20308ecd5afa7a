//! What pods may do.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::{
    api::{
        core::v1::{Namespace, Pod},
        networking::v1::NetworkPolicy,
    },
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use kind_tests::scene::Scene;
use kube::{Api, ResourceExt as _, api::ListParams};

/// They were admitted at the level `restricted`, no token of the API server is in them, and their connections are limited both
/// ways.
pub(crate) async fn are_restricted(scene: &Scene) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(scene.client.clone());
    let level =
        namespaces.get(&scene.namespace).await?.labels().get("pod-security.kubernetes.io/enforce").cloned();
    ensure!(
        level.as_deref() == Some("restricted"),
        "expected the namespace to enforce `restricted`, not {level:?}"
    );
    let pods = scene.pods().await?;
    ensure!(pods.len() >= 3, "expected pods of three roles: {:?}", names(&pods));
    for pod in &pods {
        let spec = pod.spec.as_ref().context("expected a spec")?;
        ensure!(
            spec.automount_service_account_token == Some(false),
            "expected {} to have no token of the API server",
            pod.name_any()
        );
    }
    limited_both_ways(scene, &scene.namespace, &pods).await?;
    let system = &scene.settings.system;
    let operators: Api<Pod> = Api::namespaced(scene.client.clone(), system);
    let operators = operators.list(&ListParams::default()).await?.items;
    limited_both_ways(scene, system, &operators).await
}

async fn limited_both_ways(scene: &Scene, namespace: &str, pods: &[Pod]) -> Result<()> {
    let policies: Api<NetworkPolicy> = Api::namespaced(scene.client.clone(), namespace);
    let policies = policies.list(&ListParams::default()).await?.items;
    for pod in pods {
        for direction in ["Ingress", "Egress"] {
            let limited = policies.iter().filter_map(|policy| policy.spec.as_ref()).any(|spec| {
                let types = spec.policy_types.as_deref().unwrap_or_default();
                types.iter().any(|kind| kind == direction)
                    && spec.pod_selector.as_ref().is_none_or(|selector| selects(selector, pod.labels()))
            });
            ensure!(limited, "expected a NetworkPolicy of kind {direction} for {}", pod.name_any());
        }
    }
    Ok(())
}

fn selects(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let wanted = selector.match_labels.clone().unwrap_or_default();
    // Expressions are not made here: one that were would be taken for no match.
    selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
        && wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

fn names(pods: &[Pod]) -> Vec<String> {
    pods.iter().map(kube::ResourceExt::name_any).collect()
}
