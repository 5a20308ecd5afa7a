//! The operator: brings what is there in line with each `ChatCluster`, and reports how far it is.
//!
//! I/O is in `controller::{observe, engines, apply, gateways, status, finalize}`, `live`, `datastore`'s clients,
//! `lease` and `sampler`; all that decides is pure. Modules lie in layers: `tests/it/layers.rs` allows no circle of
//! imports among them.

pub mod addons;
pub mod cli;
pub mod controller;
pub mod datastore;
pub mod health;
pub mod identity;
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
pub mod validate;
