//! What names leave behind in Cassandra, by servers of 0.1.0 too.

use std::sync::Arc;

use chat_cassandra::{
    CassandraStore,
    cql::{Statement, Value},
    migrate::migrate,
};
use chat_domain::{
    clock::now_ms,
    store::{Appended, DirectoryStore as _, LogStore as _, NewEvent, Refusal},
};
use chat_protocol::{
    ChannelId, ChannelKind, EventBody, UserId,
    rest::{Role, User},
};

use crate::keyspace::Keyspace;

async fn migrated() -> Keyspace {
    let keyspace = Keyspace::create().await;
    migrate(&keyspace.cql, &keyspace.name).await.unwrap();
    keyspace
}

/// A server of 0.1.0 reserves the names of private channels as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_private_channel_reserved_is_free_at_once() {
    let keyspace = migrated().await;
    let store = CassandraStore::new(Arc::clone(&keyspace.cql));
    let ada = UserId::new();
    let create = async |kind: ChannelKind, name: &str| {
        let channel = ChannelId::new();
        let body =
            EventBody::ChannelCreated { channel_kind: kind, name: Some(name.into()), topic: String::new() };
        let event = NewEvent::of_server(ada, now_ms(), body);
        (channel, store.append(channel, vec![event]).await.unwrap().remove(0))
    };
    let reserve = async |name: &str, channel: ChannelId| {
        let statement = Statement::conditional(
            "INSERT INTO channel_names (name_key, channel, reserved_at) VALUES (?, ?, ?) IF NOT EXISTS",
        );
        let now = i64::try_from(now_ms()).unwrap();
        let values = vec![Value::Text(name.into()), Value::Uuid(channel.0), Value::BigInt(now)];
        assert!(keyspace.cql.execute(statement, values).await.unwrap()[0].applied());
    };
    let (secret, _) = create(ChannelKind::Private, "layoffs").await;
    reserve("layoffs", secret).await;
    assert_eq!(create(ChannelKind::Public, "Layoffs").await.1, Appended::New { seq: 1 });
    assert_eq!(create(ChannelKind::Public, "layoffs").await.1, Appended::Refused(Refusal::NameTaken));
    // A channel that is being made may still become a public one.
    reserve("plans", ChannelId::new()).await;
    assert_eq!(create(ChannelKind::Public, "plans").await.1, Appended::Refused(Refusal::NameTaken));
    keyspace.drop().await;
}

/// What a server of 0.1.0 made is found and compared as well, once `migrate` has run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_before_are_folded_once() {
    let keyspace = migrated().await;
    let store = CassandraStore::new(Arc::clone(&keyspace.cql));
    let execute = async |statement: &'static str, values: Vec<Value>| {
        keyspace.cql.execute(Statement::conditional(statement), values).await.unwrap();
    };
    let text = |text: &str| Value::Text(text.into());
    let ada = User {
        id: UserId::new(),
        handle: "countess".into(),
        display_name: "Ada Lovelace".into(),
        role: Role::Member,
        created_at: now_ms(),
        deactivated: false,
    };
    assert!(store.create_user(&ada).await.unwrap());
    for prefix in ["l", "lo", "lov", "lovel", "lovelace"] {
        let delete = Statement::write("DELETE FROM users_by_name WHERE prefix = ? AND handle = ?");
        keyspace.cql.execute(delete, vec![text(prefix), text(&ada.handle)]).await.unwrap();
    }
    // More than are read at a time, most of them listed by 0.1.0 as well as by us.
    for n in 0..520 {
        let other = User {
            id: UserId::new(),
            handle: format!("other-{n}"),
            display_name: format!("Other {n}"),
            ..ada.clone()
        };
        assert!(store.create_user(&other).await.unwrap());
    }
    let channel = ChannelId::new();
    let create = |name: &str| {
        let body = EventBody::ChannelCreated {
            channel_kind: ChannelKind::Public,
            name: Some(name.into()),
            topic: String::new(),
        };
        vec![NewEvent::of_server(ada.id, now_ms(), body)]
    };
    store.append(channel, create("cafe\u{301}")).await.unwrap();
    execute("DELETE FROM channel_names WHERE name_key = ? IF EXISTS", vec![text("caf\u{e9}")]).await;
    store.append(ChannelId::new(), create("Tea AI")).await.unwrap();
    execute("DELETE FROM channel_names WHERE name_key = ? IF EXISTS", vec![text(" w Tea Al")]).await;
    // What `other-10` looks like.
    execute("DELETE FROM handles WHERE handle = ? IF EXISTS", vec![text("other-lo")]).await;
    execute("DELETE FROM schema_state WHERE what = ? IF EXISTS", vec![text("names")]).await;
    assert_eq!(store.list_users(Some("lovelace"), None, 10).await.unwrap(), []);

    for _again in 0..2 {
        migrate(&keyspace.cql, &keyspace.name).await.unwrap();
        assert_eq!(store.list_users(Some("lovelace"), None, 10).await.unwrap().first(), Some(&ada));
        let alike = User { id: UserId::new(), handle: "other-1o".into(), ..ada.clone() };
        assert!(!store.create_user(&alike).await.unwrap(), "other-10 is there");
        for name in ["caf\u{e9}", "Tea Al"] {
            let taken = store.append(ChannelId::new(), create(name)).await.unwrap();
            assert_eq!(taken, [Appended::Refused(Refusal::NameTaken)], "{name}");
        }
    }
    keyspace.drop().await;
}
