//! One reconcile, step by step.

pub mod build;
pub mod rollout;
pub mod validate;
