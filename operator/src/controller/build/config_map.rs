//! The settings. One ConfigMap for each configuration: pods that start again read what they began with, whatever the target is.

use k8s_openapi::api::core::v1::ConfigMap;

use super::{
    BuildInput,
    meta::{child, metadata},
};
use crate::{
    kinds::{Child, ChildKind},
    names::{self, Component},
};

/// The ConfigMap of the target configuration.
pub(super) fn config_map(input: &BuildInput<'_>) -> Child {
    let name = names::config(input.cluster.name(), &input.config.hash);
    child(
        ChildKind::ConfigMap,
        &ConfigMap {
            metadata: metadata(input.cluster.identity(), name, Component::Shared),
            data: Some(input.config.variables.clone()),
            immutable: Some(true),
            binary_data: None,
        },
    )
}
