//! `folkmoot-operator plan`: what would be made or changed, without changing anything.

use std::{io::Read as _, sync::Arc};

use anyhow::{Context as _, bail};
use folkmoot_crds::{AutoscalingMode, ChatCluster, ImagePullPolicy, ImageSpec};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

use crate::{
    addons,
    cli::PlanArgs,
    controller::{
        build::{self, BuildInput, Capabilities, Config, GatewayNumbers, OperatorIdentity, SecretHashes},
        rollout::{self, Revision, RoleState},
    },
    keys::{SecretData, admin, signing},
    kinds::{Child, ChildKind},
    names::FIELD_MANAGER,
    scaling::decide as scaling,
    secrets::{self, Secrets},
    validate::{ValidatedCluster, validate},
};

/// Stands for what nobody should read.
const REDACTED: &str = "(redacted)";

/// Prints what an apply of the `ChatCluster` in a file would make, or change.
///
/// # Errors
/// When the file cannot be read, is not a valid `ChatCluster`, or the API server refuses.
pub fn plan(args: &PlanArgs) -> anyhow::Result<()> {
    let mut cluster = read(args)?;
    if cluster.metadata.namespace.is_none() {
        cluster.metadata.namespace = Some(args.namespace.clone());
    }
    let default = ImageSpec {
        reference: args.default_image.clone(),
        pull_policy: ImagePullPolicy::default(),
        pull_secrets: Vec::new(),
    };
    if let Err(errors) = cluster.validate_cel() {
        bail!(
            "the ChatCluster is not valid:\n  {}",
            errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  ")
        );
    }
    let valid = validated(&cluster, &default)?;
    if args.live { live(cluster, &default) } else { offline(&valid) }
}

fn validated(cluster: &ChatCluster, default_image: &ImageSpec) -> anyhow::Result<ValidatedCluster> {
    validate(&Arc::new(cluster.clone()), Some(default_image)).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("the ChatCluster is not valid:\n  {}", lines.join("\n  "))
    })
}

fn read(args: &PlanArgs) -> anyhow::Result<ChatCluster> {
    let mut text = String::new();
    if args.file.as_os_str() == "-" {
        std::io::stdin().read_to_string(&mut text).context("failed to read standard input")?;
    } else {
        text = std::fs::read_to_string(&args.file)
            .with_context(|| format!("failed to read {}", args.file.display()))?;
    }
    serde_saphyr::from_str(&text)
        .with_context(|| format!("there is no valid ChatCluster in {}", args.file.display()))
}

/// Everything that should be there in the end, with keys that are nobody's.
fn children(cluster: &ValidatedCluster, capabilities: &Capabilities, secrets: &SecretHashes) -> Vec<Child> {
    let config = Config::of(cluster, secrets);
    let target = Revision { image: cluster.image().reference.clone(), config: config.hash.clone() };
    let rollout = rollout::plan(&target, true, &[RoleState::Missing, RoleState::Missing, RoleState::Missing]);
    let keys: SecretData = [(signing::FILE, REDACTED)].into_iter().collect();
    let certificates: SecretData =
        ["ca.crt", "tls.crt", "tls.key"].into_iter().map(|key| (key, REDACTED)).collect();
    build::build(&BuildInput {
        cluster,
        rollout: &rollout,
        config: &config,
        keys: &keys,
        certificates: &certificates,
        admin_token: &[(admin::TOKEN, REDACTED)].into_iter().collect(),
        gateways: GatewayNumbers { replicas: scaling::at_first(cluster), newest: None },
        migration: None,
        capabilities,
        operator: &OperatorIdentity::default(),
    })
}

fn offline(cluster: &ValidatedCluster) -> anyhow::Result<()> {
    let capabilities = Capabilities { gateway_api: true, prometheus: true };
    for child in children(cluster, &capabilities, &SecretHashes::default()) {
        println!("---\n{}", yaml(&redacted(&child.object))?);
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn live(mut cluster: ChatCluster, default_image: &ImageSpec) -> anyhow::Result<()> {
    let client = Client::try_default().await.context("found no cluster through KUBECONFIG")?;
    let namespace = cluster.namespace().unwrap_or_default();
    let clusters: Api<ChatCluster> = Api::namespaced(client.clone(), &namespace);
    let found = clusters.get_opt(&cluster.name_any()).await.context("failed to look up the ChatCluster")?;
    if let Some(found) = &found {
        if let Err(errors) = cluster.validate_cel_update(found) {
            bail!(
                "the change is refused:\n  {}",
                errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  ")
            );
        }
        cluster.metadata.uid = found.metadata.uid.clone();
        // How many gateways there are is in it, where the operator decides that.
        cluster.status = found.status.clone();
    }
    let cluster = validated(&cluster, default_image)?;
    let capabilities = addons::discover(&client, Capabilities::default()).await;
    let secrets = SecretHashes::of(&cluster, &read_secrets(&client, &cluster).await?);
    let mut changes = 0;
    for child in children(&cluster, &capabilities, &secrets) {
        let api: Api<DynamicObject> =
            Api::namespaced_with(client.clone(), &namespace, &child.kind.resource());
        let name = child.name().to_owned();
        let before = api
            .get_opt(&name)
            .await
            .with_context(|| format!("failed to read the {:?} {name}", child.kind))?;
        // Keys are made by the operator alone; what is in them is not compared.
        if child.kind == ChildKind::Secret && before.is_some() {
            continue;
        }
        let after = if before.is_some() {
            let params = PatchParams::apply(FIELD_MANAGER).force().dry_run();
            let mut object = child.object.clone();
            // Refused with an owner that is not there.
            if cluster.identity().uid.is_empty() {
                object.metadata.owner_references = None;
            }
            let planned = api.patch(&name, &params, &Patch::Apply(&object)).await;
            planned.with_context(|| format!("failed to try to apply the {:?} {name}", child.kind))?
        } else {
            child.object.clone()
        };
        let before = before.map(|object| yaml(&compared(&object))).transpose()?.unwrap_or_default();
        let after = yaml(&compared(&after))?;
        if before != after {
            changes += 1;
            println!("--- {:?} {name}{}", child.kind, if before.is_empty() { " (new)" } else { "" });
            print!("{}", difference(&before, &after));
        }
    }
    if let Some(line) = about_gateways(&cluster) {
        println!("{line}");
    }
    println!("{changes} objects would change");
    Ok(())
}

/// Who decides how many gateways there are, where that is not just what the spec says.
fn about_gateways(cluster: &ValidatedCluster) -> Option<String> {
    let status = scaling::status(cluster.status()).cloned().unwrap_or_default();
    let desired = scaling::at_first(cluster);
    if let Some(settings) = scaling::settings(cluster) {
        let why = status.reason.map(|why| format!(" ({why})")).unwrap_or_default();
        let (min, max) = (settings.min_replicas, settings.max_replicas);
        return Some(format!(
            "the operator decides how many gateways there are, from {min} to {max}: {desired} now{why}"
        ));
    }
    let runs = status.desired_replicas.filter(|_| status.mode == Some(AutoscalingMode::Operator))?;
    Some(format!(
        "{runs} would be written into spec.gateway.replicas, since that many run; from then on others write it"
    ))
}

/// What is in the Secrets that are referred to, since the configuration's hash covers some of it.
async fn read_secrets(client: &Client, cluster: &ValidatedCluster) -> anyhow::Result<Secrets> {
    let api: Api<Secret> = Api::namespaced(client.clone(), cluster.namespace());
    let mut found = Secrets::new();
    for name in cluster.referenced_secrets() {
        match api.get_opt(&name).await.with_context(|| format!("failed to read the Secret {name}"))? {
            Some(secret) => drop(found.insert(name, secrets::data_of(&secret))),
            None => println!("the Secret {name} is missing; nothing would be changed before it is there"),
        }
    }
    Ok(found)
}

fn yaml(value: &Value) -> anyhow::Result<String> {
    serde_saphyr::to_string(value).context("failed to write YAML")
}

fn redacted(object: &DynamicObject) -> Value {
    let mut value = serde_json::to_value(object).unwrap_or_default();
    if value["kind"] == "Secret"
        && let Some(data) = value["data"].as_object_mut()
    {
        data.values_mut().for_each(|value| *value = json!(REDACTED));
    }
    value
}

/// An object without what changes by itself.
fn compared(object: &DynamicObject) -> Value {
    let mut value = redacted(object);
    if let Some(fields) = value.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = value["metadata"].as_object_mut() {
        for key in ["managedFields", "resourceVersion", "generation", "creationTimestamp", "uid"] {
            metadata.remove(key);
        }
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.retain(|key, _| {
                key != crate::names::APPLIED && !key.starts_with("deployment.kubernetes.io/")
            });
        }
    }
    value
}

/// Lines that differ, with three lines around them.
fn difference(before: &str, after: &str) -> String {
    similar::TextDiff::from_lines(before, after).unified_diff().context_radius(3).to_string()
}

#[cfg(test)]
mod tests {
    use folkmoot_crds::{ChatClusterStatus, GatewayStatus, ScalingStatus};

    use super::*;

    #[test]
    fn the_plan_names_who_decides_about_gateways() {
        let mut cluster = crate::controller::world_cluster(&json!({
            "gateway": { "replicas": 9, "autoscaling": { "minReplicas": 2, "maxReplicas": 5 } },
        }));
        let about = |cluster: &ChatCluster| {
            let image = cluster.spec.image.clone().unwrap();
            about_gateways(&validated(cluster, &image).unwrap())
        };
        let first = about(&cluster).unwrap();
        assert_eq!(first, "the operator decides how many gateways there are, from 2 to 5: 2 now");
        let scaling = ScalingStatus {
            mode: Some(AutoscalingMode::Operator),
            desired_replicas: Some(4),
            reason: Some("enough".into()),
            ..ScalingStatus::default()
        };
        let gateway = GatewayStatus { scaling: Some(scaling), ..GatewayStatus::default() };
        cluster.status = Some(ChatClusterStatus { gateway: Some(gateway), ..ChatClusterStatus::default() });
        assert!(about(&cluster).unwrap().ends_with("4 now (enough)"));
        cluster.spec.gateway.autoscaling = None;
        assert!(about(&cluster).unwrap().starts_with("4 would be written"));
        cluster.status = None;
        assert_eq!(about(&cluster), None);
    }
}
