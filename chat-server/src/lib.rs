//! Folkmoot's chat server: one binary with the roles `gateway`, `api` and `auth`.
//!
//! `chat` is the domain and knows traits only; `store`, `bus` and `blob` implement them; `gateway`, `api` and
//! `auth` are the doors. ARCHITECTURE.md has the map and the invariants.

pub mod admin;
pub mod api;
pub mod app;
pub mod auth;
pub mod blob;
pub mod bus;
pub mod chat;
pub mod cli;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod consumers;
pub mod dev;
pub mod engines;
pub mod follow;
pub mod gateway;
pub mod http;
pub mod http_server;
pub mod listen;
pub mod metrics;
pub mod owner;
pub mod seed;
pub mod store;
pub mod telemetry;
