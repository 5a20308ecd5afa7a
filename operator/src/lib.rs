//! The operator: makes what a `ChatCluster` says true, and says how far it is.
//!
//! I/O is in `controller::{observe, apply, finalize}`, `live`, `datastore::*::client`, `lease` and `sampler`; all that decides is pure.

pub mod controller;
pub mod datastore;
pub mod keys;
pub mod kinds;
pub mod names;
pub mod sampler;
