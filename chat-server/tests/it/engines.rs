//! The engines that the other tests use: real ones, which let in who has the password or the token, over TLS that is
//! checked.
#![allow(clippy::large_futures, reason = "the Pulsar client's are, and there are few")]

use std::io::Write as _;

use chat_cassandra::{
    cql::{Cql as _, Statement, Value},
    options::{CassandraOptions, Credentials},
    scylla_driver::ScyllaCql,
};
use chat_server::{
    config::{BusEngine, Config, StoreEngine},
    engines::{Migrated, migrate},
};
use pulsar::{Authentication, Pulsar, TokioExecutor};
use reqwest::{Method, StatusCode};

use crate::harness::engines;

const VERSION: Statement = Statement::read("SELECT release_version FROM system.local");

#[tokio::test]
async fn cassandra_asks_for_the_password_and_proves_who_it_is() {
    let config = engines::cassandra().await;
    let options = CassandraOptions { keyspace: None, ..CassandraOptions::read(&config).unwrap() };
    let rows = ScyllaCql::connect(options.clone()).await.unwrap().execute(VERSION, Vec::new()).await.unwrap();
    let Some(Value::Text(version)) = rows[0].get("release_version") else { panic!("no version in {rows:?}") };
    assert!(version.starts_with("5."), "{version}");

    // The same port takes connections without TLS.
    ScyllaCql::connect(CassandraOptions { ca_file: None, ..options.clone() }).await.unwrap();

    let credentials = Some(Credentials { user: "cassandra".into(), password: "wrong".into() });
    assert!(ScyllaCql::connect(CassandraOptions { credentials, ..options.clone() }).await.is_err());
    assert!(ScyllaCql::connect(CassandraOptions { credentials: None, ..options.clone() }).await.is_err());

    let mut unrelated = tempfile::NamedTempFile::new().unwrap();
    unrelated.write_all(stranger().as_bytes()).unwrap();
    let ca_file = Some(unrelated.path().to_owned());
    assert!(ScyllaCql::connect(CassandraOptions { ca_file, ..options }).await.is_err());
}

#[tokio::test]
async fn pulsar_asks_for_the_token_and_proves_who_it_is() {
    let config = engines::pulsar().await;
    let authority = std::fs::read(&config.ca_file).unwrap();
    let token = std::fs::read(&config.token_file).unwrap();
    let topic = format!("non-persistent://{}/{}/hello", config.tenant, config.namespace);
    let created = engines::admin(
        &config,
        Method::PUT,
        &format!("/namespaces/{}/{}", config.tenant, config.namespace),
        "{}",
    )
    .await;
    assert!(created.status().is_success(), "{}", created.status());

    publish(&config.url, &authority, Some(token.clone()), &topic).await.unwrap();
    assert!(publish(&config.url, &authority, None, &topic).await.is_err());
    assert!(publish(&config.url, &authority, Some(b"wrong".to_vec()), &topic).await.is_err());
    assert!(publish(&config.url, stranger().as_bytes(), Some(token), &topic).await.is_err());

    let without = chat_pulsar::config::PulsarConfig { token_file: "".into(), ..config };
    let answer = engines::admin(&without, Method::GET, "/tenants", "").await;
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn each_can_be_migrated_without_the_other() {
    let mut config = Config { store: StoreEngine::Cassandra, bus: BusEngine::Pulsar, ..Config::default() };
    config.cassandra = engines::cassandra().await;
    // Nobody listens on port 1.
    config.pulsar.admin_url = "http://127.0.0.1:1".into();
    migrate(&config, Some(Migrated::Cassandra)).await.unwrap();
    let keyspace = &config.cassandra.keyspace;
    let cql = ScyllaCql::connect(CassandraOptions::read(&config.cassandra).unwrap()).await.unwrap();
    cql.prepare(Statement::read("SELECT id FROM channels")).await.unwrap();
    cql.schema(&format!("DROP KEYSPACE {keyspace}")).await.unwrap();

    config.cassandra.contact_points = vec!["127.0.0.1:1".into()];
    config.pulsar = engines::pulsar().await;
    migrate(&config, Some(Migrated::Pulsar)).await.unwrap();
    let topics = format!("/persistent/{}/{}/partitioned", config.pulsar.tenant, config.pulsar.namespace);
    let topics = engines::admin(&config.pulsar, Method::GET, &topics, "").await.text().await.unwrap();
    assert!(topics.contains("/events\""), "{topics}");
}

/// An authority that vouches for nobody here.
fn stranger() -> String {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
}

async fn publish(
    url: &str,
    authority: &[u8],
    token: Option<Vec<u8>>,
    topic: &str,
) -> Result<(), pulsar::Error> {
    let retries = pulsar::ConnectionRetryOptions { max_retries: 1, ..Default::default() };
    let mut client = Pulsar::builder(url, TokioExecutor)
        .with_certificate_chain(authority.to_vec())
        .with_connection_retry_options(retries);
    if let Some(token) = token {
        client = client.with_auth(Authentication { name: "token".into(), data: token });
    }
    let client = client.build().await?;
    let mut producer = client.producer().with_topic(topic).build().await?;
    producer.send_non_blocking("hello".to_owned()).await?.await?;
    Ok(())
}
