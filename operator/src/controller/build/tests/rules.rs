//! What must hold for every spec.

use std::collections::BTreeSet;

use folkmoot_crds::{ChatCluster, ChatClusterSpec};
use serde_json::{Value, json};

use super::{
    super::{BuildInput, Config, GatewayNumbers, SecretHashes, build, drop_job},
    specs::{self, built, built_with, cluster, image, named, secrets, validated, with},
};
use crate::{
    controller::rollout::{Revision, RolePlan, RolloutPlan, RolloutStep},
    keys::SecretData,
    kinds::{Child, ChildKind},
    names,
    secrets::Secrets,
};

/// Every child of every spec, and the Jobs of deletion.
fn every_child() -> Vec<(&'static str, Child)> {
    let mut children = Vec::new();
    for (variant, cluster) in specs::all() {
        children.extend(built(&cluster).into_iter().map(|child| (variant, child)));
        children.push((variant, drop_job(&cluster, &image(&cluster))));
    }
    children
}

/// Every pod template: of which child, metadata and spec.
fn every_template() -> Vec<(String, Value)> {
    every_child()
        .into_iter()
        .filter(|(_, child)| matches!(child.kind, ChildKind::Deployment | ChildKind::Job))
        .map(|(variant, child)| {
            (format!("{variant} {}", child.name()), child.object.data["spec"]["template"].clone())
        })
        .collect()
}

fn matches(selector: &Value, labels: &Value) -> bool {
    let equal = selector["matchLabels"].as_object().into_iter().flatten();
    let among = selector["matchExpressions"].as_array().into_iter().flatten();
    equal.into_iter().all(|(key, value)| labels[key] == *value)
        && among.into_iter().all(|expression| {
            assert_eq!(expression["operator"], "In");
            let key = expression["key"].as_str().unwrap();
            expression["values"].as_array().unwrap().contains(&labels[key])
        })
}

/// The rules of <https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted>.
#[test]
fn pods_pass_the_restricted_level() {
    let templates = every_template();
    assert!(templates.len() > 20);
    for (name, template) in templates {
        let spec = &template["spec"];
        for field in ["hostNetwork", "hostPID", "hostIPC", "initContainers", "ephemeralContainers"] {
            assert!(spec[field].is_null(), "{name} {field}");
        }
        let pod = &spec["securityContext"];
        assert_eq!(pod["runAsNonRoot"], true, "{name}");
        assert_ne!(pod["runAsUser"], 0, "{name}");
        assert_eq!(pod["seccompProfile"]["type"], "RuntimeDefault", "{name}");
        for volume in spec["volumes"].as_array().unwrap() {
            let kinds: Vec<&String> =
                volume.as_object().unwrap().keys().filter(|key| *key != "name").collect();
            assert!(kinds == ["emptyDir"] || kinds == ["projected"], "{name} {volume}");
        }
        for container in spec["containers"].as_array().unwrap() {
            let security = &container["securityContext"];
            assert_eq!(security["allowPrivilegeEscalation"], false, "{name}");
            assert_eq!(security["capabilities"], json!({"drop": ["ALL"]}), "{name}");
            assert_eq!(security["runAsNonRoot"], true, "{name}");
            assert!(security["privileged"].is_null(), "{name}");
            // More than the level asks for.
            assert_eq!(security["readOnlyRootFilesystem"], true, "{name}");
            for port in container["ports"].as_array().into_iter().flatten() {
                assert!(port["hostPort"].is_null() && port["name"].is_string(), "{name}");
            }
        }
        assert_eq!(spec["automountServiceAccountToken"], false, "{name}");
        assert_eq!(spec["enableServiceLinks"], false, "{name}");
    }
}

#[test]
fn every_pod_is_selected_by_one_policy_for_both_directions() {
    for (variant, cluster) in specs::all() {
        let children = built(&cluster);
        for (name, template) in every_template().iter().filter(|(name, _)| name.starts_with(variant)) {
            let policies: Vec<&Child> = children
                .iter()
                .filter(|child| child.kind == ChildKind::NetworkPolicy)
                .filter(|child| {
                    matches(&child.object.data["spec"]["podSelector"], &template["metadata"]["labels"])
                })
                .collect();
            assert_eq!(policies.len(), 1, "{name}");
            let spec = &policies[0].object.data["spec"];
            assert_eq!(spec["policyTypes"], json!(["Ingress", "Egress"]), "{name}");
        }
    }
    let off = built(&cluster(with("networkPolicy", json!({"enabled": false}))));
    assert!(off.iter().all(|child| child.kind != ChildKind::NetworkPolicy));
}

#[test]
fn selectors_match_templates_and_nothing_of_others() {
    for (variant, cluster) in specs::all() {
        let children = built(&cluster);
        let deployments: Vec<&Child> =
            children.iter().filter(|child| child.kind == ChildKind::Deployment).collect();
        assert_eq!(deployments.len(), 3);
        let selected = |selector: &Value| -> Vec<&str> {
            deployments
                .iter()
                .filter(|child| {
                    matches(selector, &child.object.data["spec"]["template"]["metadata"]["labels"])
                })
                .map(|child| child.name())
                .collect()
        };
        for child in &children {
            let spec = &child.object.data["spec"];
            match child.kind {
                ChildKind::Deployment | ChildKind::PodDisruptionBudget => {
                    assert_eq!(selected(&spec["selector"]), [child.name()], "{variant}");
                }
                ChildKind::Service => {
                    let expected = if child.name() == "chat" { "chat-gateway" } else { child.name() };
                    assert_eq!(selected(&json!({"matchLabels": spec["selector"]})), [expected], "{variant}");
                }
                _ => {}
            }
        }
        // Selectors cannot be changed: what they are made of must never depend on anything but the name.
        for deployment in deployments {
            let labels = deployment.object.data["spec"]["selector"]["matchLabels"].as_object().unwrap();
            let keys: Vec<&str> = labels.keys().map(String::as_str).collect();
            assert_eq!(keys, [names::COMPONENT_LABEL, names::INSTANCE_LABEL, names::NAME_LABEL]);
        }
    }
}

#[test]
fn children_are_named_labelled_and_owned_and_come_in_order() {
    for (variant, cluster) in specs::all() {
        let children = built(&cluster);
        assert!(children.is_sorted_by_key(|child| child.kind), "{variant}");
        let mut seen = BTreeSet::new();
        for child in &children {
            let (kind, metadata) = (child.kind, &child.object.metadata);
            let name = child.name();
            assert!(seen.insert((kind, name.to_owned())), "{variant} {kind:?} {name} twice");
            assert!(name.starts_with("chat"), "{name}");
            assert_eq!(metadata.namespace.as_deref(), Some("team"), "{name}");
            let labels = metadata.labels.as_ref().unwrap();
            assert_eq!(labels[names::MANAGED_BY_LABEL], names::FIELD_MANAGER, "{name}");
            assert_eq!(labels[names::INSTANCE_LABEL], "chat", "{name}");
            assert!(labels.values().all(|value| value.len() <= 63), "{labels:?}");
            let owner = &metadata.owner_references.as_ref().unwrap()[0];
            assert_eq!((owner.kind.as_str(), owner.controller), ("ChatCluster", Some(true)), "{name}");
            let types = child.object.types.as_ref().unwrap();
            assert_eq!(
                (&types.kind, &types.api_version),
                (&kind.resource().kind, &kind.resource().api_version)
            );
        }
    }
}

#[test]
fn names_fit_when_that_of_the_chat_is_as_long_as_it_may_be() {
    let mut cluster = named("everything");
    cluster.metadata.name = Some("a".repeat(folkmoot_crds::MAX_NAME));
    for child in built(&cluster) {
        assert!(child.name().len() <= 63, "{}", child.name());
    }
    assert!(drop_job(&cluster, &image(&cluster)).name().len() <= 63);
}

#[test]
fn add_ons_that_the_cluster_lacks_are_left_out() {
    let cluster = validated(&named("http-route"));
    let config = Config::of(&cluster, &SecretHashes::default());
    let empty = SecretData::default();
    let none = RolloutPlan { auth: None, api: None, gateway: None, step: RolloutStep::AwaitingSchema };
    let children = build(&BuildInput {
        cluster: &cluster,
        rollout: &none,
        config: &config,
        keys: &empty,
        certificates: &empty,
        admin_token: &empty,
        gateways: GatewayNumbers { replicas: 2, newest: None },
        migration: None,
        capabilities: &super::super::Capabilities::default(),
        operator: &super::super::OperatorIdentity::default(),
    });
    let found: BTreeSet<ChildKind> = children.iter().map(|child| child.kind).collect();
    assert!(found.iter().all(|kind| !kind.is_optional()));
    // And neither roles before there are tables, nor a Job when there is nothing to do.
    assert!(!found.contains(&ChildKind::Deployment) && !found.contains(&ChildKind::Job));
}

#[test]
fn what_rolls_pods() {
    let (before, secrets_before) = (named("everything"), secrets());
    let hash = |cluster: &ChatCluster, secrets: &Secrets| {
        let cluster = validated(cluster);
        Config::of(&cluster, &SecretHashes::of(&cluster, secrets)).hash
    };
    let base = hash(&before, &secrets_before);
    let check_secret = |name: &str, key: &str, rolls: bool| {
        let mut secrets = secrets();
        secrets.get_mut(name).unwrap().insert(key, "another");
        assert_eq!(hash(&before, &secrets) != base, rolls, "{name}/{key}");
    };
    check_secret("cassandra-login", "username", true);
    check_secret("cassandra-login", "password", true);
    check_secret("engines", "ca.pem", true);
    check_secret("s3", "credentials", true);
    check_secret("pulsar", "token", false);
    check_secret("pulsar-admin", "token", false);
    check_secret("cassandra-owner", "password", false);

    let check_spec = |rolls: bool, change: fn(&mut ChatClusterSpec)| {
        let mut cluster = before.clone();
        change(&mut cluster.spec);
        assert_eq!(hash(&cluster, &secrets_before) != base, rolls);
    };
    check_spec(true, |spec| spec.gateway.drain_seconds += 1);
    check_spec(true, |spec| {
        spec.settings.insert("gateway.max_in_flight".into(), "65".into()).map_or((), drop)
    });
    check_spec(true, |spec| spec.pulsar.token_secret_ref.as_mut().unwrap().name = "other".into());
    check_spec(true, |spec| spec.cassandra.contact_points.truncate(1));
    check_spec(false, |spec| spec.pulsar.partitions += 1);
    check_spec(false, |spec| spec.gateway.replicas += 1);
    check_spec(false, |spec| spec.auth.key_rotation_days += 1);
    check_spec(false, |spec| spec.cassandra.replication.clear());
}

#[test]
fn keys_and_tokens_are_no_part_of_a_pod_template() {
    let templates = |secrets: &Secrets| {
        let plan = |target: &Revision| Some(RolePlan { revision: target.clone(), held: false });
        built_with(&named("everything"), secrets, plan)
            .into_iter()
            .filter(|child| child.kind == ChildKind::Deployment)
            .map(|child| child.object.data)
            .collect::<Vec<_>>()
    };
    let mut rotated = secrets();
    rotated.get_mut("pulsar").unwrap().insert("token", "next");
    assert_eq!(templates(&secrets()), templates(&rotated));
    rotated.get_mut("cassandra-login").unwrap().insert("password", "next");
    assert_ne!(templates(&secrets()), templates(&rotated));
}

#[test]
fn a_held_role_is_paused_with_what_it_runs() {
    let held = Revision { image: "folkmoot/chat-server:0.0.9".into(), config: "0123456789".into() };
    let children =
        built_with(&named("minimal"), &secrets(), |_| Some(RolePlan { revision: held.clone(), held: true }));
    for child in children.iter().filter(|child| child.kind == ChildKind::Deployment) {
        let spec = &child.object.data["spec"];
        assert_eq!(spec["paused"], true);
        let container = &spec["template"]["spec"]["containers"][0];
        assert_eq!(container["image"], "folkmoot/chat-server:0.0.9");
        assert_eq!(container["envFrom"][0]["configMapRef"]["name"], "chat-config-0123456789");
        let annotations = child.object.metadata.annotations.as_ref().unwrap();
        assert_eq!(annotations[names::IMAGE], held.image);
        assert_eq!(annotations[names::CONFIG], held.config);
        assert_eq!(spec["template"]["metadata"]["annotations"], json!(annotations));
    }
    // The ConfigMap is that of the target.
    assert!(
        children
            .iter()
            .any(|child| { child.kind == ChildKind::ConfigMap && child.name() != "chat-config-0123456789" })
    );
}

#[test]
fn files_that_settings_name_are_mounted() {
    for (variant, cluster) in specs::all() {
        let children = built(&cluster);
        let variables = Config::of(&validated(&cluster), &SecretHashes::default()).variables;
        for child in children.iter().filter(|child| child.kind == ChildKind::Deployment) {
            let spec = &child.object.data["spec"]["template"]["spec"];
            let mounted: BTreeSet<String> = spec["volumes"][2]["projected"]["sources"]
                .as_array()
                .unwrap()
                .iter()
                .map(|source| {
                    format!(
                        "/etc/folkmoot/secrets/{}",
                        source["secret"]["items"][0]["path"].as_str().unwrap()
                    )
                })
                .collect();
            let env = spec["containers"][0]["env"].as_array().unwrap();
            let own = env.iter().filter_map(|variable| variable["value"].as_str()).map(str::to_owned);
            let named: BTreeSet<String> =
                variables.values().cloned().chain(own).filter(|value| value.starts_with("/etc/")).collect();
            assert_eq!(mounted, named, "{variant} {}", child.name());
        }
    }
}

#[test]
fn gateways_are_replaced_one_drain_after_the_other() {
    for (variant, cluster) in specs::all() {
        let children = built(&cluster);
        let of = |name: &str| {
            let found =
                children.iter().find(|child| child.kind == ChildKind::Deployment && child.name() == name);
            found.unwrap().object.data["spec"].clone()
        };
        let gateway = of("chat-gateway");
        let drain = i64::from(cluster.spec.gateway.drain_seconds);
        let ready = gateway["minReadySeconds"].as_i64().unwrap();
        assert_eq!(ready, drain + 10, "{variant}");
        // Not a second less than a pod may take to start, which is three minutes.
        assert!(gateway["progressDeadlineSeconds"].as_i64().unwrap() >= ready + 180, "{variant}");
        assert_eq!(gateway["strategy"]["rollingUpdate"], json!({"maxSurge": 1, "maxUnavailable": 0}));
        assert!(gateway["template"]["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap() >= drain + 45);
        for name in ["chat-api", "chat-auth"] {
            assert_eq!(
                (&of(name)["minReadySeconds"], &of(name)["progressDeadlineSeconds"]),
                (&json!(2), &json!(600))
            );
        }
    }
}

#[test]
fn an_autoscaler_is_made_on_request_and_writes_the_scale_of_the_chat() {
    let built_for = |mode: &str, autoscaler: Option<Value>| {
        let mut autoscaling = json!({
            "mode": mode, "minReplicas": 2, "maxReplicas": 9, "targetConnectionsPerPod": 1_200,
        });
        if let Some(autoscaler) = autoscaler {
            autoscaling["horizontalPodAutoscaler"] = autoscaler;
        }
        let spec = with("gateway", json!({"replicas": 4, "autoscaling": autoscaling}));
        built(&cluster(spec))
    };
    let autoscaler = |children: &[Child]| {
        children
            .iter()
            .find(|child| child.kind == ChildKind::HorizontalPodAutoscaler)
            .map(|child| child.object.clone())
    };
    assert_eq!(autoscaler(&built_for("Operator", None)), None);
    assert_eq!(autoscaler(&built_for("External", None)), None);
    let children = built_for("External", Some(json!({"metric": "sockets"})));
    let spec = autoscaler(&children).unwrap().data["spec"].clone();
    assert_eq!(
        spec["scaleTargetRef"],
        json!({"apiVersion": "folkmoot.dev/v1alpha1", "kind": "ChatCluster", "name": "chat"})
    );
    assert_eq!((&spec["minReplicas"], &spec["maxReplicas"]), (&json!(2), &json!(9)));
    let metric = &spec["metrics"][0]["pods"];
    assert_eq!(
        (&metric["metric"]["name"], &metric["target"]["averageValue"]),
        (&json!("sockets"), &json!("1000"))
    );
    assert_eq!(spec["behavior"]["scaleDown"]["stabilizationWindowSeconds"], 300);
    assert_eq!(spec["behavior"]["scaleUp"]["policies"][0]["value"], 20);
    let gateways = |children: &[Child]| {
        let found = children
            .iter()
            .find(|child| child.name() == "chat-gateway" && child.kind == ChildKind::Deployment);
        found.unwrap().object.data["spec"]["replicas"].clone()
    };
    assert_eq!(gateways(&children), 4, "that of whoever decides");
    assert_eq!(gateways(&built_for("Operator", None)), 2, "the fewest, to begin with");
}

#[test]
fn sockets_are_of_a_day_unless_the_spec_says_otherwise() {
    let age = |gateway: Value| {
        let config = Config::of(&validated(&cluster(with("gateway", gateway))), &SecretHashes::default());
        config.variables.get("FOLKMOOT_GATEWAY__MAX_CONNECTION_AGE_SECONDS").cloned()
    };
    assert_eq!(age(json!({})), None, "chat-server's own");
    assert_eq!(age(json!({"maxConnectionAgeSeconds": 0})).as_deref(), Some("0"));
    assert_eq!(age(json!({"maxConnectionAgeSeconds": 3_600})).as_deref(), Some("3600"));
}

/// Whoever says it twice is not believed: the operator's own values win over `settings`.
#[test]
fn settings_do_not_replace_what_the_operator_decides() {
    let spec = with("settings", json!({"server.listen": "127.0.0.1:1", "gateway.recent_events": "7"}));
    let variables = Config::of(&validated(&cluster(spec)), &SecretHashes::default()).variables;
    assert_eq!(variables["FOLKMOOT_SERVER__LISTEN"], "[::]:8080");
    assert_eq!(variables["FOLKMOOT_GATEWAY__RECENT_EVENTS"], "7");
}

#[test]
fn every_variable_is_a_setting_of_the_server() {
    let documented = include_str!("../../../../../docs/configuration.md");
    let mut section = "";
    let mut known = BTreeSet::new();
    for line in documented.lines() {
        if let Some(name) = line.strip_prefix("## `[").and_then(|rest| rest.strip_suffix("]`")) {
            section = name;
        } else if let Some((key, _)) = line.strip_prefix("| `").and_then(|rest| rest.split_once('`')) {
            known.insert(format!("FOLKMOOT_{}__{}", section.to_uppercase(), key.to_uppercase()));
        }
    }
    let check = |name: &str| assert!(known.contains(name), "{name}");
    for (_, cluster) in specs::all() {
        Config::of(&validated(&cluster), &SecretHashes::default())
            .variables
            .keys()
            .for_each(|name| check(name));
    }
    for (_, template) in every_template() {
        for variable in template["spec"]["containers"][0]["env"].as_array().unwrap() {
            let name = variable["name"].as_str().unwrap();
            if name.starts_with("FOLKMOOT_") {
                check(name);
            }
        }
    }
}

#[test]
fn nothing_secret_is_outside_of_secrets() {
    let mut secrets = secrets();
    secrets.get_mut("cassandra-login").unwrap().insert("password", "correct-horse");
    let plan = |target: &Revision| Some(RolePlan { revision: target.clone(), held: false });
    for child in built_with(&named("everything"), &secrets, plan) {
        if child.kind != ChildKind::Secret {
            assert!(!serde_json::to_string(&child.object).unwrap().contains("correct-horse"));
        }
    }
}
