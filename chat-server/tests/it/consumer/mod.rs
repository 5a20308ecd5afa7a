//! Consumers of the logs get each committed event at least once, in order per channel, whatever dies. One that counts
//! events on condition of its position misses and doubles nothing.

mod cassandra;
mod killed;
mod recorder;
mod scenarios;
mod sqlite;
mod world;
