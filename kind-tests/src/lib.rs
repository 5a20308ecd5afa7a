//! End-to-end tests of the operator: on a real Kubernetes, with a real Cassandra and Pulsar, through nothing but what a user
//! of the cluster has too. `scripts/kind-tests.sh` makes the cluster and runs them.
//!
//! This library is what the tests in `tests/e2e` are written in: [`scene`] is a test's own namespace, [`wait`] how it waits,
//! [`cassandra`], [`pulsar`] and [`chat`] ask the engines and the chat themselves, [`audit`] tells who asked the API server for
//! what, [`operator`] handles the operator's processes, [`document`] reads the commands of a page, and [`runner`] runs the tests beside each other.

pub mod audit;
pub mod cassandra;
pub mod chat;
pub mod children;
pub mod command;
pub mod document;
pub mod manifest;
pub mod operator;
pub mod pulsar;
pub mod runner;
pub mod scene;
pub mod settings;
pub mod wait;
