//! The operator: makes what a `ChatCluster` says true, and says how far it is.
//!
//! I/O is in `controller::{observe, apply, gateways, status, finalize}`, `live`, `datastore`'s clients, `lease` and `sampler`; all that decides
//! is pure.

pub mod addons;
pub mod cli;
pub mod controller;
pub mod datastore;
pub mod health;
pub mod keys;
pub mod kinds;
pub mod lease;
pub mod live;
pub mod metrics;
pub mod names;
pub mod plan;
pub mod queue;
pub mod role;
pub mod run;
pub mod sampler;
pub mod scaling;
pub mod secrets;
pub mod times;
