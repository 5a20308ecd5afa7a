//! Cassandra itself, asked past the chat.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context as _, Result};
use scylla::client::{session::Session, session_builder::SessionBuilder};

use crate::settings::Settings;

/// A session of our own, without the chat's settings.
pub struct Cassandra {
    session: Session,
}

impl Cassandra {
    /// Connects, without TLS: what is asked is no secret, and the processes' own connections show that TLS works.
    ///
    /// # Errors
    /// When it cannot be reached or refuses the login.
    pub async fn connect(settings: &Settings) -> Result<Self> {
        let mut builder = SessionBuilder::new().known_nodes(&settings.cassandra.contact_points);
        if let Some((user, password)) = &settings.cassandra.credentials {
            builder = builder.user(user, password);
        }
        let session = builder.build().await.context("expected Cassandra to let us in")?;
        Ok(Self { session })
    }

    /// How a keyspace is copied; `None` when there is no such keyspace.
    ///
    /// # Errors
    /// When Cassandra does not answer.
    pub async fn replication(&self, keyspace: &str) -> Result<Option<BTreeMap<String, String>>> {
        let question = "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = ?";
        let answer = self.session.query_unpaged(question, (keyspace,)).await?.into_rows_result()?;
        let row = answer.maybe_first_row::<(HashMap<String, String>,)>()?;
        Ok(row.map(|(replication,)| replication.into_iter().collect()))
    }

    /// The tables of a keyspace.
    ///
    /// # Errors
    /// When Cassandra does not answer.
    pub async fn tables(&self, keyspace: &str) -> Result<BTreeSet<String>> {
        let question = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?";
        let answer = self.session.query_unpaged(question, (keyspace,)).await?.into_rows_result()?;
        answer.rows::<(String,)>()?.map(|row| Ok(row?.0)).collect()
    }

    /// The version that the tables of a keyspace say they are at.
    ///
    /// # Errors
    /// When Cassandra does not answer, or there is no such keyspace.
    pub async fn schema_version(&self, keyspace: &str) -> Result<i32> {
        let question = format!("SELECT version FROM {keyspace}.schema_state WHERE what = 'tables'");
        let answer = self.session.query_unpaged(question, ()).await?.into_rows_result()?;
        Ok(answer.first_row::<(i32,)>()?.0)
    }
}
