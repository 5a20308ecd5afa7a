//! Apache Pulsar: tenant, namespace, policies and topics.

pub mod plan;
