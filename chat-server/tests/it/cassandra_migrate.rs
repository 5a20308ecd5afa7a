//! Tables are made and brought to a version by any number of processes at once.

use std::process::{Command, Output, Stdio};

use chat_cassandra::config::CassandraConfig;
use chat_cassandra::{
    cql::{Statement, Value},
    migrate::{
        MigrateError, Report, check_version, create_keyspace, drop_keyspace, migrate, migrate_by, version,
    },
    schema::{STEPS, Step},
};

use crate::harness::engines;
use crate::keyspace::{Keyspace, unbound};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_at_once_migrate_once() {
    let keyspace = Keyspace::create().await;
    let before = check_version(&keyspace.cql).await.unwrap_err();
    assert!(matches!(before, MigrateError::Older { found: 0, .. }), "{before}");

    let mut at_once = tokio::task::JoinSet::new();
    for _ in 0..3 {
        // Sessions of their own, as other processes have.
        let (cql, name) = (keyspace.connect().await, keyspace.name.clone());
        at_once.spawn(async move { migrate(&cql, &name).await.unwrap() });
    }
    let mut reports = at_once.join_all().await;
    reports.sort_by_key(|report| report.from);
    let to = version();
    assert_eq!(reports, [Report { from: 0, to }, Report { from: to, to }, Report { from: to, to }]);
    check_version(&keyspace.cql).await.unwrap();
    keyspace
        .cql
        .prepare(Statement::read("SELECT head FROM events WHERE channel = ? AND bucket = ?"))
        .await
        .unwrap();
    keyspace.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_server_runs_on_the_next_versions_tables_but_not_beyond() {
    let keyspace = Keyspace::create().await;
    let (cql, name) = (&keyspace.cql, &*keyspace.name);
    assert_eq!(migrate(cql, name).await.unwrap().from, 0);

    let now = version();
    let next = Step { statements: &[&["ALTER TABLE users ADD IF NOT EXISTS motto text"]], works_with: now };
    let steps = [STEPS, &[next]].concat();
    assert_eq!(migrate_by(cql, name, &steps).await.unwrap(), Report { from: now, to: now + 1 });
    check_version(cql).await.unwrap();
    // It must not take the newer tables for its own, though.
    let refused = migrate(cql, name).await.unwrap_err();
    assert!(
        matches!(refused, MigrateError::Newer { expected, found } if (expected, found) == (now, now + 1)),
        "{refused}"
    );

    let contraction = Step { statements: &[], works_with: now + 1 };
    let steps = [&steps[..], &[contraction]].concat();
    migrate_by(cql, name, &steps).await.unwrap();
    assert!(matches!(check_version(cql).await.unwrap_err(), MigrateError::Newer { .. }));
    keyspace.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lease_whose_holder_died_runs_out() {
    let keyspace = Keyspace::create().await;
    let cql = &keyspace.cql;
    migrate_by(cql, &keyspace.name, &[]).await.unwrap();
    let hold = Statement::conditional(
        "INSERT INTO schema_state (what, owner, since) VALUES ('lease', ?, 0) IF NOT EXISTS USING TTL 2",
    );
    let held = cql.execute(hold, vec![Value::Uuid(uuid::Uuid::new_v4())]).await.unwrap();
    assert!(held[0].applied());
    assert_eq!(migrate(cql, &keyspace.name).await.unwrap(), Report { from: 0, to: version() });
    keyspace.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_that_are_not_plain_are_refused() {
    let cql = unbound(&engines::cassandra().await).await;
    for name in ["", "Chat", "1chat", "chat; DROP KEYSPACE system", "chät"] {
        let error = create_keyspace(&cql, name, &[("dc1".into(), 1)]).await.unwrap_err();
        assert!(matches!(error, MigrateError::Keyspace(_)), "{error}");
        let error = drop_keyspace(&cql, name).await.unwrap_err();
        assert!(matches!(error, MigrateError::Keyspace(_)), "{error}");
    }
    for copies in [vec![], vec![("dc1".into(), 0)], vec![("dc1': 1} --".into(), 1)]] {
        let error = create_keyspace(&cql, "chat", &copies).await.unwrap_err();
        assert!(matches!(error, MigrateError::Replication { .. }), "{error}");
    }
}

/// `chat-server drop` on a keyspace, with what it printed.
fn drop_by_command(config: &CassandraConfig, confirm: &str) -> Output {
    let setting = |key: &str, value: &str| ["--set".to_owned(), format!("cassandra.{key}={value}")];
    Command::new(env!("CARGO_BIN_EXE_chat-server"))
        .args(["drop", "--confirm", confirm, "--set", "store.engine=cassandra"])
        .args(setting("contact_points", &config.contact_points.join(",")))
        .args(setting("keyspace", &config.keyspace))
        .args(setting("request_timeout_ms", &config.request_timeout.as_millis().to_string()))
        .args(setting("user", &config.user))
        .args(setting("password_file", &config.password_file.display().to_string()))
        .args(setting("ca_file", &config.ca_file.display().to_string()))
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn drop_removes_the_keyspace_that_is_named_twice_and_no_other() {
    let config = engines::cassandra().await;
    let cql = unbound(&config).await;
    let there = async || {
        let names =
            Statement::read("SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?");
        !cql.execute(names, vec![Value::Text(config.keyspace.clone())]).await.unwrap().is_empty()
    };
    create_keyspace(&cql, &config.keyspace, &config.copies()).await.unwrap();
    assert!(there().await);

    let refused = drop_by_command(&config, "folkmoot");
    assert!(!refused.status.success());
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains(&format!("--confirm {}", config.keyspace)), "{said}");
    assert!(there().await);

    for expected in ["dropped", "was not there"] {
        let done = drop_by_command(&config, &config.keyspace);
        assert!(done.status.success(), "{done:?}");
        assert_eq!(
            String::from_utf8(done.stdout).unwrap(),
            format!("keyspace {}: {expected}\n", config.keyspace)
        );
        assert!(!there().await);
    }
}
