//! What is refused by the log as it stands never lands behind it: nothing behind the archiving of a channel, nothing of
//! somebody behind their leaving, whatever was under way at the same time, through sockets and through what REST calls.

use std::{collections::HashMap, sync::Arc};

use chat_cassandra::{CassandraStore, migrate::migrate};
use chat_domain::{
    chat::{Actor, ChatError},
    store::Store,
};
use chat_gateway::GatewayOptions;
use chat_protocol::{
    ChannelId, ClientId, ErrorCode, EventBody, Seq, ServerFrame, UserId, rest::UpdateChannel,
};
use futures_util::future::join_all;

use crate::harness::{
    cluster::{TestCluster, TestGateway},
    ws::TestSocket,
};
use crate::keyspace::Keyspace;

const ROUNDS: usize = 200;
/// Sends of one round through each door.
const SENDS: usize = 3;

/// Without a limit on how often a socket may send.
fn options(name: &str) -> GatewayOptions {
    GatewayOptions {
        name: name.into(),
        commands_per_second: 100_000,
        command_burst: 100_000,
        ..GatewayOptions::default()
    }
}

/// Two processes, each with a store of its own on the same data.
struct World {
    cluster: TestCluster,
    a: TestGateway,
    b: TestGateway,
}

impl World {
    async fn start(own: Arc<dyn Store>, other: Arc<dyn Store>) -> Self {
        let cluster = TestCluster::with_store(Arc::clone(&own));
        let a = cluster.process_on(own, options("a")).await;
        let b = cluster.process_on(other, options("b")).await;
        Self { cluster, a, b }
    }

    /// Sends of one person through both doors of both processes at once, while `meanwhile` goes on. Positions of what was
    /// acknowledged.
    async fn send_during(
        &self,
        socket: &mut TestSocket,
        (actor, channel): (&Actor, ChannelId),
        meanwhile: impl Future<Output = ()>,
    ) -> Vec<Seq> {
        let mut under_way = Vec::new();
        for n in 0..SENDS {
            under_way.push(socket.say(channel, &format!("by socket {n}")).await);
        }
        let rest = [&self.a, &self.b].into_iter().flat_map(|process| {
            (0..SENDS).map(move |n| {
                let (id, text) = (ClientId(uuid::Uuid::new_v4()), format!("by REST {n}"));
                process.chat.send(actor, channel, id, text, vec![], None)
            })
        });
        let (sent, ()) = tokio::join!(join_all(rest), meanwhile);
        let mut acked = Vec::new();
        for outcome in sent {
            match outcome {
                Ok(committed) => acked.push(committed.seq),
                Err(error) => assert!(is_denied(&error), "{error:?}"),
            }
        }
        while !under_way.is_empty() {
            let (id, seq) = socket
                .until(|frame| match frame {
                    ServerFrame::Ack { id, seq, .. } => Some((id, Some(seq))),
                    ServerFrame::Error { id: Some(id), code, .. } => {
                        assert!(denies(code), "{code:?}");
                        Some((id, None))
                    }
                    _ => None,
                })
                .await;
            under_way.retain(|waiting| *waiting != id);
            acked.extend(seq);
        }
        acked
    }

    /// The bodies of a log, with their authors.
    async fn log(&self, channel: ChannelId) -> Vec<(Seq, UserId, EventBody)> {
        let (mut events, mut after) = (Vec::new(), 0);
        loop {
            let page = self.cluster.store.events(channel, after, 1_000).await.unwrap();
            let Some(last) = page.last() else { return events };
            after = last.seq;
            events.extend(
                page.iter().map(|event| {
                    (event.seq, event.by, serde_json::from_str::<EventBody>(&event.body).unwrap())
                }),
            );
        }
    }
}

fn denies(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::Archived | ErrorCode::NotFound | ErrorCode::Forbidden)
}

fn is_denied(error: &ChatError) -> bool {
    denies(error.code)
}

/// Every message of a log stands where its author was a member and the channel not archived; what was acked is there.
fn check(log: &[(Seq, UserId, EventBody)], acked: &[Seq]) {
    let (mut archived, mut members) = (false, HashMap::new());
    let mut messages = Vec::new();
    for (seq, by, body) in log {
        match body {
            EventBody::Archived { archived: now } => archived = *now,
            EventBody::MemberJoined { user } => drop(members.insert(*user, true)),
            EventBody::MemberLeft { user } => drop(members.insert(*user, false)),
            EventBody::Message { .. } => {
                assert!(!archived, "{seq} stands behind the archiving");
                assert_eq!(members.get(by), Some(&true), "{seq} stands behind its author's leaving");
                messages.push(*seq);
            }
            _ => {}
        }
    }
    for seq in acked {
        assert!(messages.contains(seq), "{seq} was acknowledged");
    }
}

async fn archiving(world: &World) {
    let (ada, grace) = (world.cluster.user("ada").await, world.cluster.user("grace").await);
    let channel = world.a.channel(&ada, &[&grace], "archived").await;
    let mut socket = world.b.connect(&grace).await;
    let set = async |archived| {
        let change = UpdateChannel { archived: Some(archived), ..UpdateChannel::default() };
        world.a.chat.update_channel(&ada, channel, change).await.unwrap();
    };
    let mut acked = Vec::new();
    for _ in 0..ROUNDS {
        acked.extend(world.send_during(&mut socket, (&grace, channel), set(true)).await);
        set(false).await;
    }
    check(&world.log(channel).await, &acked);
    assert!(!acked.is_empty(), "some were in time");
}

async fn removal(world: &World) {
    let (ada, grace) = (world.cluster.user("ada").await, world.cluster.user("grace").await);
    let channel = world.a.channel(&ada, &[&grace], "left").await;
    let mut socket = world.b.connect(&grace).await;
    let mut acked = Vec::new();
    for round in 0..ROUNDS {
        let goes = async {
            if round % 2 == 0 {
                world.a.chat.remove_member(&ada, channel, grace.user).await.unwrap();
            } else {
                world.b.chat.leave(&grace, channel).await.unwrap();
            }
        };
        acked.extend(world.send_during(&mut socket, (&grace, channel), goes).await);
        world.a.chat.add_members(&ada, channel, vec![grace.user]).await.unwrap();
    }
    check(&world.log(channel).await, &acked);
    assert!(!acked.is_empty(), "some were in time");
}

async fn sqlite() -> World {
    let cluster = TestCluster::new();
    let store = Arc::clone(&cluster.store);
    let a = cluster.process_on(Arc::clone(&store), options("a")).await;
    let b = cluster.process_on(store, options("b")).await;
    World { cluster, a, b }
}

async fn cassandra() -> (World, Keyspace) {
    let keyspace = Keyspace::create().await;
    migrate(&keyspace.cql, &keyspace.name).await.unwrap();
    let stores = [keyspace.connect().await, keyspace.connect().await];
    let [own, other] = stores.map(|cql| Arc::new(CassandraStore::new(cql)) as Arc<dyn Store>);
    (World::start(own, other).await, keyspace)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_lands_behind_the_archiving_on_sqlite() {
    archiving(&sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_somebody_lands_behind_their_leaving_on_sqlite() {
    removal(&sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_lands_behind_the_archiving_on_cassandra() {
    let (world, keyspace) = cassandra().await;
    archiving(&world).await;
    keyspace.drop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_somebody_lands_behind_their_leaving_on_cassandra() {
    let (world, keyspace) = cassandra().await;
    removal(&world).await;
    keyspace.drop().await;
}
