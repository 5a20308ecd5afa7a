//! A role's pods.

use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            ConfigMapEnvSource, Container, ContainerPort, EnvFromSource, EnvVar, HTTPGetAction, Lifecycle,
            LifecycleHandler, PodSpec, PodTemplateSpec, Probe, ResourceRequirements, SleepAction, Toleration,
            TopologySpreadConstraint,
        },
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};

use super::{
    BuildInput, config,
    meta::{child, metadata, selector},
    mounts, pod, ports,
};
use crate::{
    controller::rollout::{Revision, RolePlan},
    kinds::{Child, ChildKind},
    names::{self, Component},
    role::Role,
    validate::ValidatedCluster,
};

/// Seconds until load balancers have heard that a pod leaves.
const LEAVE_SECONDS: i64 = 5;
/// What a process may take to end beyond the time over which it sends sockets away, with [`LEAVE_SECONDS`]. chat-server ends
/// itself 30 s after that time.
const END_SECONDS: i64 = 45;
/// Until the last of those who were sent away are back.
const COME_BACK_SECONDS: i32 = 10;
/// A pod that is not ready for long enough by then does not get ready; the time for which it must be comes on top.
const PROGRESS_SECONDS: i32 = 598;
/// For how long gateways stay on a node that does not answer any more.
const SILENT_SECONDS: i64 = 30;
/// [`END_SECONDS`] of roles without sockets.
const END_SECONDS_WITHOUT_SOCKETS: i64 = 60;

/// The Deployment of a role, if it is to be there.
pub(super) fn of_role(input: &BuildInput<'_>, role: Role) -> Option<Child> {
    let plan = input.rollout.of(role)?;
    let cluster = input.cluster;
    let component = Component::Role(role);
    let mut metadata = metadata(cluster.identity(), names::role(cluster.name(), role), component);
    metadata.annotations = Some(revision(&plan.revision));
    metadata
        .labels
        .get_or_insert_default()
        .insert(names::VERSION_LABEL.to_owned(), names::image_version(&plan.revision.image));
    let deployment = Deployment {
        metadata,
        spec: DeploymentSpec {
            replicas: Some(replicas(input, role)),
            // Said in any case: what nobody owns anybody may set, and a roll-out that somebody paused by hand would never end.
            paused: Some(plan.held),
            min_ready_seconds: Some(min_ready(cluster, role)),
            progress_deadline_seconds: Some(min_ready(cluster, role) + PROGRESS_SECONDS),
            revision_history_limit: Some(3),
            selector: selector(cluster.identity(), component),
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".to_owned()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    annotations: Some(revision(&plan.revision)),
                    labels: Some(names::labels(cluster.name(), component)),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod_spec(input, role, plan)),
            },
        },
        status: None,
    };
    Some(child(ChildKind::Deployment, &deployment))
}

fn revision(revision: &Revision) -> std::collections::BTreeMap<String, String> {
    [(names::IMAGE, &revision.image), (names::CONFIG, &revision.config)]
        .map(|(key, value)| (key.to_owned(), value.clone()))
        .into()
}

fn replicas(input: &BuildInput<'_>, role: Role) -> i32 {
    match role {
        Role::Auth => input.cluster.auth().replicas,
        Role::Api => input.cluster.api().replicas,
        Role::Gateway => input.gateways.replicas,
    }
}

/// How long a pod must have been ready before the next one is replaced. Of gateways that is until the sockets of the one before
/// have come back: whoever replaces them, one drains at a time.
fn min_ready(cluster: &ValidatedCluster, role: Role) -> i32 {
    match role {
        Role::Auth | Role::Api => 2,
        Role::Gateway => i32::try_from(cluster.gateway().drain_seconds).unwrap_or(3_600) + COME_BACK_SECONDS,
    }
}

fn pod_spec(input: &BuildInput<'_>, role: Role, plan: &RolePlan) -> PodSpec {
    let cluster = input.cluster;
    let name = cluster.name();
    let container = Container {
        args: Some(vec!["serve".to_owned(), "--roles".to_owned(), role.as_str().to_owned()]),
        env: Some(env(cluster, role)),
        env_from: Some(vec![EnvFromSource {
            config_map_ref: Some(ConfigMapEnvSource {
                name: names::config(name, &plan.revision.config),
                optional: None,
            }),
            ..EnvFromSource::default()
        }]),
        lifecycle: Some(Lifecycle {
            pre_stop: Some(LifecycleHandler {
                sleep: Some(SleepAction { seconds: LEAVE_SECONDS }),
                ..LifecycleHandler::default()
            }),
            ..Lifecycle::default()
        }),
        // It waits up to two minutes for Cassandra by itself.
        startup_probe: Some(probe("/healthz", 2, 90)),
        readiness_probe: Some(probe("/readyz/process", 2, 2)),
        liveness_probe: Some(probe("/healthz", 10, 6)),
        ports: Some(container_ports(role)),
        resources: Some(resources(cluster, role)),
        ..Container::default()
    };
    let image = (plan.revision.image.as_str(), cluster.image());
    let secrets = mounts::of_role(cluster, role);
    let pod = pod::pod(cluster.scheduling(), image, names::role(name, role), &secrets, container);
    PodSpec {
        tolerations: if role == Role::Gateway { tolerations(pod.tolerations) } else { pod.tolerations },
        termination_grace_period_seconds: Some(grace(cluster, role)),
        topology_spread_constraints: Some(
            [names::ZONE_LABEL, "kubernetes.io/hostname"].map(|key| spread(cluster, role, key)).into(),
        ),
        ..pod
    }
}

/// Those of the spec, and for half a minute those of a node that is silent, where Kubernetes would wait for five minutes: nothing of a
/// gateway is lost with it, and those that are left hold the sockets of all.
fn tolerations(given: Option<Vec<Toleration>>) -> Option<Vec<Toleration>> {
    let mut tolerations = given.unwrap_or_default();
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        let is_given = |one: &Toleration| one.key.as_deref().is_none_or(|given| given == key);
        if !tolerations.iter().any(is_given) {
            tolerations.push(Toleration {
                key: Some(key.to_owned()),
                operator: Some("Exists".to_owned()),
                effect: Some("NoExecute".to_owned()),
                toleration_seconds: Some(SILENT_SECONDS),
                value: None,
            });
        }
    }
    Some(tolerations)
}

fn env(cluster: &ValidatedCluster, role: Role) -> Vec<EnvVar> {
    let mut env = vec![
        pod::field("POD_NAME", "metadata.name"),
        pod::value(config::variable("cluster.name"), "$(POD_NAME)"),
    ];
    env.extend(pod::cassandra_user(cluster.cassandra().credentials_secret_ref.as_ref()));
    if role == Role::Gateway {
        let (name, namespace) = (cluster.name(), cluster.namespace());
        let url = |role| format!("http://{}.{namespace}:{}", names::role(name, role), ports::SERVICE);
        env.extend([
            pod::field("POD_IP", "status.podIP"),
            pod::value(config::variable("cluster.listen"), format!("[::]:{}", ports::HOP)),
            pod::value(config::variable("cluster.advertise"), format!("$(POD_IP):{}", ports::HOP)),
            pod::value(config::variable("server.admin_token_file"), mounts::Path::AdminToken.in_pod()),
            pod::value(config::variable("server.api_url"), url(Role::Api)),
            pod::value(config::variable("server.auth_url"), url(Role::Auth)),
        ]);
    }
    env
}

fn container_ports(role: Role) -> Vec<ContainerPort> {
    let mut named = vec![(ports::PUBLIC_NAME, ports::PUBLIC), (ports::ADMIN_NAME, ports::ADMIN)];
    if role == Role::Gateway {
        named.push((ports::HOP_NAME, ports::HOP));
    }
    named
        .into_iter()
        .map(|(name, port)| ContainerPort {
            name: Some(name.to_owned()),
            container_port: port,
            protocol: Some("TCP".to_owned()),
            ..ContainerPort::default()
        })
        .collect()
}

fn probe(path: &str, period_seconds: i32, failures: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::String(ports::ADMIN_NAME.to_owned()),
            scheme: Some("HTTP".to_owned()),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(2),
        failure_threshold: Some(failures),
        success_threshold: Some(1),
        ..Probe::default()
    }
}

fn grace(cluster: &ValidatedCluster, role: Role) -> i64 {
    let gateway = cluster.gateway();
    match (role, gateway.termination_grace_period_seconds) {
        (Role::Gateway, Some(seconds)) => i64::from(seconds),
        (Role::Gateway, None) => i64::from(gateway.drain_seconds) + END_SECONDS,
        (Role::Auth | Role::Api, _) => END_SECONDS_WITHOUT_SOCKETS,
    }
}

/// What the spec says, else what a small chat needs. No limit of CPU: throttled, an ack waits although the node is idle.
fn resources(cluster: &ValidatedCluster, role: Role) -> ResourceRequirements {
    let (given, cpu, memory, limit) = match role {
        Role::Auth => (&cluster.auth().resources, "100m", "128Mi", "512Mi"),
        Role::Api => (&cluster.api().resources, "100m", "128Mi", "512Mi"),
        Role::Gateway => (&cluster.gateway().resources, "200m", "256Mi", "1Gi"),
    };
    if *given != ResourceRequirements::default() {
        return given.clone();
    }
    let quantity = |key: &str, value: &str| (key.to_owned(), Quantity(value.to_owned()));
    ResourceRequirements {
        requests: Some([quantity("cpu", cpu), quantity("memory", memory)].into()),
        limits: Some([quantity("memory", limit)].into()),
        claims: None,
    }
}

fn spread(cluster: &ValidatedCluster, role: Role, key: &str) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: key.to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(selector(cluster.identity(), Component::Role(role))),
        // Otherwise the pods that are being replaced would count, and the new ones end up where those are not.
        match_label_keys: Some(vec!["pod-template-hash".to_owned()]),
        ..TopologySpreadConstraint::default()
    }
}
