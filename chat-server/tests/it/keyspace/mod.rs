//! A keyspace of a test's own.

pub(crate) mod faulty;

use std::sync::Arc;

use chat_cassandra::config::CassandraConfig;
use chat_cassandra::{
    cql::Cql, migrate::create_keyspace, options::CassandraOptions, scylla_driver::ScyllaCql,
};

use crate::harness::engines;

/// One without tables. It is removed by [`Self::drop`], or by a later run.
pub(crate) struct Keyspace {
    pub(crate) name: String,
    pub(crate) cql: Arc<dyn Cql>,
    config: CassandraConfig,
}

impl Keyspace {
    pub(crate) async fn create() -> Self {
        let config = engines::cassandra().await;
        let name = config.keyspace.clone();
        create_keyspace(&unbound(&config).await, &name, &config.copies()).await.unwrap();
        Self { cql: bound(&config).await, name, config }
    }

    /// Opens another session.
    pub(crate) async fn connect(&self) -> Arc<dyn Cql> {
        bound(&self.config).await
    }

    /// How a session with it is made.
    pub(crate) fn options(&self) -> CassandraOptions {
        CassandraOptions::read(&self.config).unwrap()
    }

    pub(crate) async fn drop(self) {
        self.cql.schema(&format!("DROP KEYSPACE {}", self.name)).await.unwrap();
    }
}

async fn bound(config: &CassandraConfig) -> Arc<dyn Cql> {
    Arc::new(ScyllaCql::connect(CassandraOptions::read(config).unwrap()).await.unwrap())
}

/// A session with no keyspace.
pub(crate) async fn unbound(config: &CassandraConfig) -> Arc<dyn Cql> {
    Arc::new(engines::connect(config).await)
}
