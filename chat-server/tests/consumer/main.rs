//! Consumers of the logs get each committed event at least once, in order per channel, whatever dies. One that counts
//! events on condition of its position misses and doubles nothing.
#![allow(clippy::unwrap_used, reason = "a test says by panicking that it failed")]

#[path = "../conformance/fixtures.rs"]
#[allow(dead_code, reason = "used in part")]
mod fixtures;
#[path = "../harness/mod.rs"]
mod harness;
#[path = "../keyspace/mod.rs"]
mod keyspace;

mod cassandra;
mod killed;
mod recorder;
mod scenarios;
mod sqlite;
mod world;
