//! Tests of the operator against an API server and engines, in one program: what they share is compiled and linked once.
#![allow(clippy::unwrap_used, reason = "a test says by panicking that it failed")]

mod datastores;
mod fake;
mod harness;
mod layers;
mod lease;
mod monitoring;
mod reconcile;
mod scaling;
