//! The consumers of the logs that a server runs: one line for each, in every process of a cluster.

use std::sync::Arc;

use chat_follow::Consumer;

/// All of them. How one is written is in CONTRIBUTING.md.
#[must_use]
pub fn all() -> Vec<Arc<dyn Consumer>> {
    vec![]
}
