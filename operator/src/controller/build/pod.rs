//! What the pods of roles and of Jobs have in common: they pass the `restricted` level of Pod Security Admission, may write only
//! to memory of their own, and have no token.

use std::collections::BTreeMap;

use folkmoot_crds::{CredentialsRef, ImagePullPolicy, ImageSpec, SchedulingSpec};
use k8s_openapi::api::core::v1::{
    Capabilities, Container, EmptyDirVolumeSource, EnvVar, EnvVarSource, LocalObjectReference,
    ObjectFieldSelector, PodSecurityContext, PodSpec, SeccompProfile, SecretKeySelector, SecurityContext,
    Volume, VolumeMount,
};

use super::{
    config::{self, DATA_DIR},
    mounts::{self, Mount},
};

/// Name of the one container.
pub(super) const CONTAINER: &str = "chat-server";
/// User and group of the image.
const USER: i64 = 65532;

/// A variable with a value.
pub(super) fn value(name: impl Into<String>, value: impl Into<String>) -> EnvVar {
    EnvVar { name: name.into(), value: Some(value.into()), value_from: None }
}

/// A variable with a field of the pod.
pub(super) fn field(name: &str, path: &str) -> EnvVar {
    let field = ObjectFieldSelector { api_version: Some("v1".to_owned()), field_path: path.to_owned() };
    EnvVar {
        name: name.to_owned(),
        value: None,
        value_from: Some(EnvVarSource { field_ref: Some(field), ..EnvVarSource::default() }),
    }
}

/// Variables with values.
pub(super) fn values(variables: BTreeMap<String, String>) -> Vec<EnvVar> {
    variables.into_iter().map(|(name, text)| value(name, text)).collect()
}

/// The variable with the user name for Cassandra. The password is a file.
pub(super) fn cassandra_user(login: Option<&CredentialsRef>) -> Option<EnvVar> {
    login.map(|login| {
        let key = SecretKeySelector { name: login.name.clone(), key: "username".to_owned(), optional: None };
        EnvVar {
            name: config::variable("cassandra.user"),
            value: None,
            value_from: Some(EnvVarSource { secret_key_ref: Some(key), ..EnvVarSource::default() }),
        }
    })
}

/// A pod of `container`, to which image, security and files are added.
pub(super) fn pod(
    scheduling: &SchedulingSpec,
    image: (&str, &ImageSpec),
    service_account: String,
    secrets: &[Mount],
    container: Container,
) -> PodSpec {
    let (reference, spec) = image;
    let (mut volumes, mut volume_mounts) = (Vec::new(), Vec::new());
    for (name, path) in [("tmp", "/tmp"), ("data", DATA_DIR)] {
        volumes.push(Volume {
            name: name.to_owned(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Volume::default()
        });
        volume_mounts.push(VolumeMount {
            name: name.to_owned(),
            mount_path: path.to_owned(),
            ..VolumeMount::default()
        });
    }
    if let Some((volume, mount)) = mounts::volume(secrets) {
        volumes.push(volume);
        volume_mounts.push(mount);
    }
    let container = Container {
        name: CONTAINER.to_owned(),
        image: Some(reference.to_owned()),
        image_pull_policy: Some(pull_policy(spec.pull_policy).to_owned()),
        security_context: Some(container_security()),
        // The last lines of the log say why a process did not start, and stand in `kubectl describe` then.
        termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
        volume_mounts: Some(volume_mounts),
        ..container
    };
    let pull_secrets: Vec<LocalObjectReference> =
        spec.pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() }).collect();
    PodSpec {
        automount_service_account_token: Some(false),
        containers: vec![container],
        // Variables of every Service of the namespace, which could be taken for settings.
        enable_service_links: Some(false),
        image_pull_secrets: (!pull_secrets.is_empty()).then_some(pull_secrets),
        node_selector: (!scheduling.node_selector.is_empty()).then(|| scheduling.node_selector.clone()),
        priority_class_name: scheduling.priority_class_name.clone(),
        security_context: Some(pod_security()),
        service_account_name: Some(service_account),
        tolerations: (!scheduling.tolerations.is_empty()).then(|| scheduling.tolerations.clone()),
        volumes: Some(volumes),
        ..PodSpec::default()
    }
}

fn pod_security() -> PodSecurityContext {
    PodSecurityContext {
        run_as_non_root: Some(true),
        run_as_user: Some(USER),
        run_as_group: Some(USER),
        fs_group: Some(USER),
        seccomp_profile: Some(runtime_default()),
        ..PodSecurityContext::default()
    }
}

fn container_security() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        read_only_root_filesystem: Some(true),
        run_as_non_root: Some(true),
        seccomp_profile: Some(runtime_default()),
        ..SecurityContext::default()
    }
}

fn runtime_default() -> SeccompProfile {
    SeccompProfile { type_: "RuntimeDefault".to_owned(), localhost_profile: None }
}

const fn pull_policy(policy: ImagePullPolicy) -> &'static str {
    match policy {
        ImagePullPolicy::Always => "Always",
        ImagePullPolicy::IfNotPresent => "IfNotPresent",
        ImagePullPolicy::Never => "Never",
    }
}
