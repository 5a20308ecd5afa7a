//! Tests of the load generator, in one program: what they share is compiled and linked once.
#![allow(clippy::unwrap_used, reason = "a test says by panicking that it failed")]

mod chaos;
mod checker;
mod command_line;
mod fake;
mod recorded_run;
mod truth;
