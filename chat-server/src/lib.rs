//! Folkmoot's chat server: one binary with the roles `gateway`, `api` and `auth`.
//!
//! This crate puts the parts together: `app` the roles, `engines` what they run on, `config` what can be set. The parts are
//! crates of their own, beside this one. ARCHITECTURE.md has the map and the invariants.

pub mod admin;
pub mod app;
pub mod cli;
pub mod config;
pub mod consumers;
pub mod dev;
pub mod engines;
pub mod http_server;
pub mod metrics;
pub mod owner;
pub mod seed;
pub mod telemetry;
