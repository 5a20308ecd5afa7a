//! A role's pods.

use folkmoot_crds::ChatCluster;
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            ConfigMapEnvSource, Container, ContainerPort, EnvFromSource, EnvVar, HTTPGetAction, Lifecycle,
            LifecycleHandler, PodSpec, PodTemplateSpec, Probe, ResourceRequirements, SleepAction,
            TopologySpreadConstraint,
        },
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::ObjectMeta, util::intstr::IntOrString},
};
use kube::ResourceExt as _;

use super::{
    BuildInput, config,
    meta::{child, metadata, selector},
    mounts, pod, ports,
};
use crate::{
    controller::rollout::{Revision, Role, RolePlan},
    kinds::{Child, ChildKind},
    names::{self, Component},
};

/// Seconds until load balancers have heard that a pod leaves.
const LEAVE_SECONDS: i64 = 5;
/// What a process may take to end beyond the time over which it sends sockets away, with [`LEAVE_SECONDS`]. chat-server ends
/// itself 30 s after that time.
const END_SECONDS: i64 = 45;
/// For roles without sockets.
const END_SECONDS_WITHOUT_SOCKETS: i64 = 60;

/// That of a role, if it is to be there.
pub(super) fn of_role(input: &BuildInput<'_>, role: Role) -> Option<Child> {
    let plan = input.rollout.of(role)?;
    let cluster = input.cluster;
    let component = Component::Role(role);
    let mut metadata = metadata(cluster, names::role(&cluster.name_any(), role), component);
    metadata.annotations = Some(revision(&plan.revision));
    metadata
        .labels
        .get_or_insert_default()
        .insert(names::VERSION_LABEL.to_owned(), names::image_version(&plan.revision.image));
    let deployment = Deployment {
        metadata,
        spec: DeploymentSpec {
            replicas: Some(replicas(cluster, role)),
            // Said in any case: what nobody owns anybody may set, and a roll-out that somebody paused by hand would never end.
            paused: Some(plan.held),
            min_ready_seconds: Some(2),
            progress_deadline_seconds: Some(600),
            revision_history_limit: Some(3),
            selector: selector(cluster, component),
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
                    labels: Some(names::labels(&cluster.name_any(), component)),
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

fn replicas(cluster: &ChatCluster, role: Role) -> i32 {
    match role {
        Role::Auth => cluster.spec.auth.replicas,
        Role::Api => cluster.spec.api.replicas,
        Role::Gateway => cluster.spec.gateway.replicas,
    }
}

fn pod_spec(input: &BuildInput<'_>, role: Role, plan: &RolePlan) -> PodSpec {
    let cluster = input.cluster;
    let name = cluster.name_any();
    let container = Container {
        args: Some(vec!["serve".to_owned(), "--roles".to_owned(), role.as_str().to_owned()]),
        env: Some(env(cluster, role)),
        env_from: Some(vec![EnvFromSource {
            config_map_ref: Some(ConfigMapEnvSource {
                name: names::config(&name, &plan.revision.config),
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
    let image = (plan.revision.image.as_str(), input.image);
    let secrets = mounts::of_roles(cluster);
    PodSpec {
        termination_grace_period_seconds: Some(grace(cluster, role)),
        topology_spread_constraints: Some(
            ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
                .map(|key| spread(cluster, role, key))
                .into(),
        ),
        ..pod::pod(cluster, image, names::role(&name, role), &secrets, container)
    }
}

fn env(cluster: &ChatCluster, role: Role) -> Vec<EnvVar> {
    let mut env = vec![
        pod::field("POD_NAME", "metadata.name"),
        pod::value(config::variable("cluster.name"), "$(POD_NAME)"),
    ];
    env.extend(pod::cassandra_user(cluster.spec.cassandra.credentials_secret_ref.as_ref()));
    if role == Role::Gateway {
        let (name, namespace) = (cluster.name_any(), cluster.namespace().unwrap_or_default());
        let url = |role| format!("http://{}.{namespace}:{}", names::role(&name, role), ports::SERVICE);
        env.extend([
            pod::field("POD_IP", "status.podIP"),
            pod::value(config::variable("cluster.listen"), format!("[::]:{}", ports::HOP)),
            pod::value(config::variable("cluster.advertise"), format!("$(POD_IP):{}", ports::HOP)),
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

fn grace(cluster: &ChatCluster, role: Role) -> i64 {
    let gateway = &cluster.spec.gateway;
    match (role, gateway.termination_grace_period_seconds) {
        (Role::Gateway, Some(seconds)) => i64::from(seconds),
        (Role::Gateway, None) => i64::from(gateway.drain_seconds) + END_SECONDS,
        (Role::Auth | Role::Api, _) => END_SECONDS_WITHOUT_SOCKETS,
    }
}

/// What the spec says, else what a small chat needs. No limit of CPU: throttled, an ack waits although the node is idle.
fn resources(cluster: &ChatCluster, role: Role) -> ResourceRequirements {
    let (given, cpu, memory, limit) = match role {
        Role::Auth => (&cluster.spec.auth.resources, "100m", "128Mi", "512Mi"),
        Role::Api => (&cluster.spec.api.resources, "100m", "128Mi", "512Mi"),
        Role::Gateway => (&cluster.spec.gateway.resources, "200m", "256Mi", "1Gi"),
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

fn spread(cluster: &ChatCluster, role: Role, key: &str) -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        topology_key: key.to_owned(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(selector(cluster, Component::Role(role))),
        // Otherwise the pods that are being replaced would count, and the new ones end up where those are not.
        match_label_keys: Some(vec!["pod-template-hash".to_owned()]),
        ..TopologySpreadConstraint::default()
    }
}
