//! Apache Pulsar: tenant, namespace, policies and topics.

pub mod client;
pub mod desired;
mod http;
pub mod plan;
