//! What the operator talks to, in memory: an API server, and engines that are well.

// Each test uses a part of it.
#![allow(dead_code)]

#[path = "api_server.rs"]
pub(crate) mod api_server;
#[path = "engines.rs"]
pub(crate) mod engines;
#[path = "store.rs"]
pub(crate) mod store;
