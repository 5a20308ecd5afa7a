//! Two owners who take over one orphaned channel at once: one of them gets it. 200 rounds, on both stores.
//! On Cassandra the two come through different processes; on SQLite there is one.

use std::sync::Arc;

use chat_cassandra::{CassandraStore, migrate::migrate};
use chat_domain::{
    bus::{Bus, local::LocalBus},
    chat::{Actor, Chat},
    store::Store,
};
use chat_protocol::{
    ChannelId, ChannelKind, UserId,
    rest::{CreateChannel, Role},
};
use chat_sqlite::SqliteStore;

use crate::harness::people::stored;
use crate::keyspace::Keyspace;

/// Rounds that go on beside each other: what takes long is waiting for the store.
const LANES: usize = 10;
const ROUNDS_OF_A_LANE: usize = 20;

/// Two processes, each with an owner; the same process twice where a store has only one.
struct Two {
    one: Arc<Chat>,
    other: Arc<Chat>,
    store: Arc<dyn Store>,
    founder: Actor,
    owners: [Actor; 2],
}

impl Two {
    async fn on(one: Arc<dyn Store>, other: Arc<dyn Store>) -> Self {
        let bus: Arc<dyn Bus> = Arc::new(LocalBus::new());
        let founder = stored(&*one, "founder", Role::Owner).await;
        let owners = [stored(&*one, "one", Role::Owner).await, stored(&*one, "other", Role::Owner).await];
        let same = Arc::ptr_eq(&one, &other);
        let store = Arc::clone(&one);
        let one = Chat::new(one, Arc::clone(&bus));
        let other = if same { Arc::clone(&one) } else { Chat::new(other, bus) };
        Self { one, other, store, founder, owners }
    }

    /// A private channel that its last member has left.
    async fn orphan(&self, name: String) -> ChannelId {
        let (kind, topic, members) = (ChannelKind::Private, String::new(), Vec::new());
        let create = CreateChannel { kind, name, topic, members };
        let channel = self.one.create_channel(&self.founder, create).await.unwrap().id;
        self.one.leave(&self.founder, channel).await.unwrap();
        channel
    }

    async fn rounds(&self, lane: usize) {
        for round in 0..ROUNDS_OF_A_LANE {
            let channel = self.orphan(format!("{lane} {round}")).await;
            let [first, second] = &self.owners;
            let later = async {
                // The two meet at different points.
                for _ in 0..round {
                    tokio::task::yield_now().await;
                }
                self.other.take_over(second, channel).await
            };
            let (a, b) = tokio::join!(self.one.take_over(first, channel), later);
            let members = self.store.members(channel, None, 10).await.unwrap();
            let members: Vec<UserId> = members.iter().map(|member| member.user).collect();
            let refused = match (a, b) {
                (Ok(_), Err(refused)) => {
                    assert_eq!(members, [first.user], "in round {round}");
                    refused
                }
                (Err(refused), Ok(_)) => {
                    assert_eq!(members, [second.user], "in round {round}");
                    refused
                }
                (a, b) => panic!("one of them gets it in round {round}: {a:?} {b:?}"),
            };
            let nowhere = self.one.take_over(first, ChannelId::new()).await.unwrap_err();
            assert_eq!(refused, nowhere, "it says nothing of what is there");
        }
    }

    async fn all(self) {
        futures_util::future::join_all((0..LANES).map(|lane| self.rounds(lane))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_owners_gets_an_orphaned_channel_on_sqlite() {
    let dir = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&dir.path().join("folkmoot.db")).unwrap());
    Two::on(Arc::clone(&store), store).await.all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_owners_gets_an_orphaned_channel_on_cassandra() {
    let keyspace = Keyspace::create().await;
    migrate(&keyspace.cql, &keyspace.name).await.unwrap();
    let store = || -> Arc<dyn Store> { Arc::new(CassandraStore::new(Arc::clone(&keyspace.cql))) };
    Two::on(store(), store()).await.all().await;
    keyspace.drop().await;
}
