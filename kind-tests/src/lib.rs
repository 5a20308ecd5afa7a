//! End-to-end tests of the operator: on a real Kubernetes, with a real Cassandra and Pulsar, through nothing but what a user
//! of the cluster has too. `scripts/kind-tests.sh` makes the cluster and runs them.
//!
//! This library is what the tests in `tests/e2e` are written in: [`scene`] is a test's own namespace, [`wait`] how it waits,
//! [`cassandra`], [`pulsar`] and [`chat`] ask the engines and the chat themselves, [`audit`] shows who asked the API server for
//! what, [`operator`] and [`gateways`] handle processes, [`fault`] kills them, [`load`] holds sockets through whatever happens, [`document`] reads the
//! commands of a page, and [`runner`] runs the tests beside each other. [`chaos`] is the long form of some of them, which
//! scripts/chaos-cluster.sh runs.

pub mod audit;
pub mod cassandra;
pub mod chaos;
pub mod chat;
pub mod children;
pub mod command;
pub mod document;
pub mod fault;
pub mod gateways;
pub mod load;
pub mod manifest;
pub mod operator;
pub mod process;
pub mod pulsar;
pub mod runner;
pub mod scene;
pub mod settings;
pub mod wait;
