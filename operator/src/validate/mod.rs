//! Validation: from a `ChatCluster`, as somebody wrote it, to a [`ValidatedCluster`], from which everything else is
//! made. Pure.

mod cluster;
mod rules;
mod secrets;

use std::{fmt, sync::Arc};

use folkmoot_crds::{ChatCluster, ImageSpec};

pub use cluster::{Exposure, Files, Route, ValidatedCluster, is_paused};
pub use secrets::validate_secrets;

/// Something that only a person can put right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path of the field, such as `spec.cassandra.contactPoints[0]`.
    pub field: String,
    /// What was expected there. It names no secret.
    pub message: String,
}

impl Problem {
    fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Checks a `ChatCluster` alone; the outcome changes only with it (`InvalidSpec`). `default_image` is run where the
/// spec names no image.
///
/// # Errors
/// All problems, in the order of the fields.
pub fn validate(
    cluster: &Arc<ChatCluster>,
    default_image: Option<&ImageSpec>,
) -> Result<ValidatedCluster, Vec<Problem>> {
    let mut problems = rules::problems(cluster);
    let spec = &cluster.spec;
    let files = cluster::files(&spec.files);
    if files.is_none() {
        problems.push(Problem::new("spec.files.s3", "must be set with store: S3, and only with it"));
    }
    let exposure = spec.exposure.as_ref().map(cluster::exposure);
    if exposure == Some(None) {
        problems.push(Problem::new("spec.exposure", "must have exactly one of ingress and httpRoute"));
    }
    problems.extend(rules::settings(spec));
    let image = spec.image.as_ref().or(default_image);
    if image.is_none() {
        let message = "there is no image: this operator was started without a default one";
        problems.push(Problem::new("spec.image", message));
    }
    match (files, image) {
        (Some(files), Some(image)) if problems.is_empty() => {
            Ok(ValidatedCluster::new(Arc::clone(cluster), image.clone(), files, exposure.flatten()))
        }
        _ => Err(problems),
    }
}
