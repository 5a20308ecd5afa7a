//! One reconcile, step by step.

pub mod build;
pub mod rollout;
