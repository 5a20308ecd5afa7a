//! The reference of `ChatCluster`, for people: one table for each part of the resource.

use serde_json::Value;

use crate::manifest;

/// The files that are generated from this crate: paths from the root of the repository, and what they hold.
#[must_use]
pub fn generated_files() -> [(&'static str, String); 2] {
    [
        ("charts/folkmoot-crds/templates/chatclusters.yaml", manifest::yaml()),
        ("docs/chatcluster.md", markdown()),
    ]
}

fn markdown() -> String {
    String::new()
}

#[allow(dead_code)]
fn schema() -> Value {
    Value::Null
}
