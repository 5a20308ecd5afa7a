//! The manifest of the resource's definition.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt as _;

use crate::ChatCluster;

const HEAD: &str =
    "# Generated from crds/ by `cargo run -p folkmoot-crds --bin crdgen`; a test keeps it fresh.\n";

/// The definition of `ChatCluster`. It is kept when its chart is uninstalled, since with it all chats would go.
#[must_use]
pub fn definition() -> CustomResourceDefinition {
    let mut definition = ChatCluster::crd();
    definition.metadata.annotations =
        Some([("helm.sh/resource-policy".to_owned(), "keep".to_owned())].into_iter().collect());
    definition
}

/// The same as YAML.
///
/// # Panics
/// When the definition cannot be written as YAML, which the tests would show.
#[must_use]
pub fn yaml() -> String {
    let body = serde_saphyr::to_string(&definition()).expect("a definition can be written as YAML");
    format!("{HEAD}{body}")
}
