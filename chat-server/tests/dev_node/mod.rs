//! A keyspace of its own for a test.
#![allow(dead_code, reason = "each test uses its part")]

use std::{sync::Arc, time::Duration};

use chat_server::store::cassandra::{
    cql::Cql, migrate::create_keyspace, options::CassandraOptions, scylla_driver::ScyllaCql,
};

pub(crate) struct Keyspace {
    pub(crate) name: String,
    pub(crate) cql: Arc<dyn Cql>,
}

impl Keyspace {
    pub(crate) async fn create() -> Self {
        let name = format!("dev_directory_{}", &uuid::Uuid::new_v4().simple().to_string()[..12]);
        create_keyspace(&connect(None).await, &name, &[("dc1".into(), 1)]).await.unwrap();
        let cql = connect(Some(&name)).await;
        Self { name, cql }
    }

    pub(crate) async fn drop(self) {
        self.cql.schema(&format!("DROP KEYSPACE {}", self.name)).await.unwrap();
    }
}

pub(crate) async fn connect(keyspace: Option<&str>) -> Arc<dyn Cql> {
    let options = CassandraOptions {
        keyspace: keyspace.map(Into::into),
        request_timeout: Duration::from_secs(10),
        ..CassandraOptions::default()
    };
    Arc::new(ScyllaCql::connect(options).await.unwrap())
}
