//! What is wrong with a `ChatCluster` that the rules of its definition do not see, or would not have let pass: the definition in
//! the cluster may be an older one.

use folkmoot_crds::ChatCluster;

use crate::datastore::Secrets;

/// Something that only a person can put right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Path of the field, such as `spec.cassandra.contactPoints[0]`.
    pub field: String,
    /// What was expected there. It names no secret.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Checks the resource alone; the outcome changes only with it (`InvalidSpec`).
///
/// # Errors
/// All that is wrong, in the order of the fields.
pub fn validate(cluster: &ChatCluster) -> Result<(), Vec<Problem>> {
    let _ = cluster;
    Ok(())
}

/// Checks that every Secret that the resource refers to is there and has what is needed (`SecretMissing`).
///
/// # Errors
/// All that is missing.
pub fn validate_secrets(cluster: &ChatCluster, secrets: &Secrets) -> Result<(), Vec<Problem>> {
    let _ = (cluster, secrets);
    Ok(())
}
