//! A keyspace of a test's own on the Cassandra that tests use.

use std::sync::Arc;

use chat_server::store::cassandra::{
    cql::Cql, options::CassandraOptions, schema::MIGRATIONS, scylla_driver::ScyllaCql,
};

/// Where Cassandra is.
fn options() -> CassandraOptions {
    let address = std::env::var("FOLKMOOT_TEST_CASSANDRA").unwrap_or_else(|_| "127.0.0.1:9042".into());
    CassandraOptions { contact_points: vec![address], ..CassandraOptions::default() }
}

/// Makes a keyspace with all tables and opens a session on it. Its name comes with it.
pub(crate) async fn make() -> (Arc<dyn Cql>, String) {
    let keyspace = format!("dev_log_{}", uuid::Uuid::new_v4().simple());
    let admin = ScyllaCql::connect(options()).await.unwrap();
    let replication = "{'class': 'NetworkTopologyStrategy', 'dc1': 1}";
    admin.schema(&format!("CREATE KEYSPACE {keyspace} WITH replication = {replication}")).await.unwrap();
    let cql =
        ScyllaCql::connect(CassandraOptions { keyspace: Some(keyspace.clone()), ..options() }).await.unwrap();
    for statement in MIGRATIONS.iter().flat_map(|step| step.iter()).flat_map(|part| part.iter()) {
        cql.schema(statement).await.unwrap();
    }
    (Arc::new(cql), keyspace)
}

/// Removes it.
pub(crate) async fn remove(cql: &dyn Cql, keyspace: &str) {
    cql.schema(&format!("DROP KEYSPACE {keyspace}")).await.unwrap();
}
