//! All sockets of a person get every move of their read marker, whatever moved it, and none that they get is older than one
//! before.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use chat_cassandra::{CassandraStore, migrate::migrate};
use chat_domain::{
    bus::{Bus as _, BusMessage, Signal},
    chat::Chat,
    store::Store,
};
use chat_gateway::GatewayOptions;
use chat_protocol::{ChannelId, ClientFrame, ClientId, Seq, ServerFrame};
use futures_util::future::join_all;
use tokio::time::timeout;

use crate::harness::{
    cluster::{TestCluster, TestGateway},
    wait::DEADLINE,
    ws::TestSocket,
};
use crate::keyspace::Keyspace;

const ROUNDS: u64 = 200;
/// Marks at the same time.
const AT_ONCE: u64 = 4;

struct World {
    cluster: TestCluster,
    a: TestGateway,
    b: TestGateway,
}

impl World {
    async fn on(cluster: TestCluster, stores: [Arc<dyn Store>; 2]) -> Self {
        let [own, other] = stores;
        let options = |name: &str| GatewayOptions { name: name.into(), ..GatewayOptions::default() };
        let a = cluster.process_on(own, options("a")).await;
        let b = cluster.process_on(other, options("b")).await;
        Self { cluster, a, b }
    }

    async fn sqlite() -> Self {
        let cluster = TestCluster::new();
        let stores = [Arc::clone(&cluster.store), Arc::clone(&cluster.store)];
        Self::on(cluster, stores).await
    }
}

/// The next move that a socket gets, and what is unread by it.
async fn moved(socket: &mut TestSocket) -> (Seq, Option<u64>) {
    let read = socket.until(|frame| match frame {
        ServerFrame::Read { seq, unread, .. } => Some((seq, unread)),
        _ => None,
    });
    // Pings come all the time.
    timeout(DEADLINE, read).await.expect("the marker moves in time")
}

async fn says(socket: &mut TestSocket, channel: ChannelId, seen: Option<Seq>) -> Seq {
    let id = ClientId(uuid::Uuid::new_v4());
    socket.send(&ClientFrame::Send { id, channel, text: "hi".into(), files: vec![], seen }).await;
    socket.acked(id).await.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moves_that_come_late_are_not_sent() {
    let world = World::sqlite().await;
    let ada = world.cluster.user("ada").await;
    let channel = world.a.channel(&ada, &[], "den").await;
    let mut socket = world.a.connect(&ada).await;
    for seq in [7, 5, 8, 6, 9] {
        let read =
            Signal::Read { user: ada.user, channel, seq, unread: Some(0), head: None, generation: None };
        world.cluster.bus.publish(BusMessage::Signal(read)).await.unwrap();
    }
    for expected in [7, 8, 9] {
        assert_eq!(moved(&mut socket).await.0, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_move_from_before_the_welcome_is_not_sent() {
    let world = World::sqlite().await;
    let ada = world.cluster.user("ada").await;
    let channel = world.a.channel(&ada, &[], "den").await;
    for _ in 0..9 {
        let id = ClientId(uuid::Uuid::new_v4());
        world.a.chat.send(&ada, channel, id, "hi".into(), vec![], None).await.unwrap();
    }
    world.a.chat.mark_read(&ada, channel, 8).await.unwrap();
    let mut socket = world.b.connect(&ada).await;
    for seq in [5, 9] {
        let read =
            Signal::Read { user: ada.user, channel, seq, unread: Some(0), head: None, generation: None };
        world.cluster.bus.publish(BusMessage::Signal(read)).await.unwrap();
    }
    // The welcome says 8, which may be sent once more.
    let mut seq = moved(&mut socket).await.0;
    if seq == 8 {
        seq = moved(&mut socket).await.0;
    }
    assert_eq!(seq, 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_move_that_is_sent_is_where_the_marker_stands() {
    let world = World::sqlite().await;
    let (ada, grace) = (world.cluster.user("ada").await, world.cluster.user("grace").await);
    let channel = world.a.channel(&ada, &[&grace], "den").await;
    let mut end = 0;
    for _ in 0..ROUNDS {
        let id = ClientId(uuid::Uuid::new_v4());
        end = world.a.chat.send(&ada, channel, id, "hi".into(), vec![], None).await.unwrap().seq;
    }
    let mut sockets = [world.a.connect(&grace).await, world.b.connect(&grace).await];
    let marks = async {
        let mut seq = 3;
        while seq <= end {
            let under_way = (0..AT_ONCE).map(|n| {
                let process = if n % 2 == 0 { &world.a } else { &world.b };
                process.chat.mark_read(&grace, channel, (seq + n).min(end))
            });
            for marked in join_all(under_way).await {
                marked.unwrap();
            }
            seq += AT_ONCE;
        }
    };
    let watch = async |socket: &mut TestSocket| {
        let mut last = 0;
        while last < end {
            let (seq, _) = moved(socket).await;
            assert!(seq >= last, "{seq} came behind {last}");
            last = seq;
        }
    };
    let [a, b] = &mut sockets;
    tokio::join!(marks, watch(a), watch(b));
}

/// A message of somebody who has seen everything moves their marker, and all their sockets get it.
async fn seen(world: &World) {
    let (ada, grace) = (world.cluster.user("ada").await, world.cluster.user("grace").await);
    let channel = world.a.channel(&ada, &[&grace], "seen").await;
    let mut own = world.a.connect(&grace).await;
    let mut others = [world.a.connect(&grace).await, world.b.connect(&grace).await];
    let mut adas = world.b.connect(&ada).await;
    let seq = says(&mut adas, channel, None).await;
    let first = says(&mut own, channel, Some(seq)).await;
    let all = others.iter_mut().chain([&mut own]);
    for socket in all {
        assert_eq!(moved(socket).await, (first, Some(0)));
    }
    // Through REST as well.
    let id = ClientId(uuid::Uuid::new_v4());
    let second = world.b.chat.send(&grace, channel, id, "hi".into(), vec![], Some(first)).await.unwrap().seq;
    for socket in others.iter_mut().chain([&mut own]) {
        assert_eq!(moved(socket).await, (second, Some(0)));
    }
    // Who has not seen everything, or does not say so, moves nothing.
    let unseen = says(&mut adas, channel, None).await;
    says(&mut own, channel, Some(second)).await;
    says(&mut own, channel, None).await;
    world.a.chat.mark_read(&grace, channel, unseen).await.unwrap();
    for socket in others.iter_mut().chain([&mut own]) {
        assert_eq!(moved(socket).await.0, unseen);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_moves_its_senders_marker_says_so_on_sqlite() {
    seen(&World::sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moves_are_what_they_say_on_cassandra() {
    let keyspace = Keyspace::create().await;
    migrate(&keyspace.cql, &keyspace.name).await.unwrap();
    let stores = [keyspace.connect().await, keyspace.connect().await];
    let stores = stores.map(|cql| Arc::new(CassandraStore::new(cql)) as Arc<dyn Store>);
    let cluster = TestCluster::with_store(Arc::clone(&stores[0]));
    let world = World::on(cluster, stores).await;
    seen(&world).await;
    a_message_and_a_move_that_cross_leave_the_right_number(&world).await;
    what_is_shown_counts_up_to_the_head_beside_it(&world).await;
    keyspace.drop().await;
}

/// What is unread, as docs/protocol.md says that a client counts it.
#[derive(Default)]
struct Count {
    counted: (u64, Seq),
    live: Vec<Seq>,
}

impl Count {
    fn unread(&self) -> u64 {
        let (count, head) = self.counted;
        count + self.live.iter().filter(|seq| **seq > head).count() as u64
    }

    /// Takes frames until both the message at `message` and the marker at `marker` were there.
    async fn follow(&mut self, socket: &mut TestSocket, message: Seq, marker: Seq) {
        let (mut message, mut marker) = (Some(message), Some(marker));
        let both = socket.until(|frame| {
            match frame {
                ServerFrame::Event(event) => {
                    self.live.push(event.seq);
                    message = message.filter(|seq| *seq != event.seq);
                }
                ServerFrame::Read { seq, unread, head, .. } => {
                    self.counted = (unread.expect("is counted"), head.expect("says up to where"));
                    marker = marker.filter(|marker| *marker != seq);
                }
                _ => {}
            }
            (message.is_none() && marker.is_none()).then_some(())
        });
        timeout(DEADLINE, both).await.expect("both come in time");
    }
}

async fn a_message_and_a_move_that_cross_leave_the_right_number(world: &World) {
    let (linus, ken) = (world.cluster.user("linus").await, world.cluster.user("ken").await);
    let channel = world.a.channel(&linus, &[&ken], "cross").await;
    let mut sockets = [world.a.connect(&linus).await, world.b.connect(&linus).await];
    let mut counts = [Count::default(), Count::default()];
    let mut head = sockets[0].head(channel);
    for round in 0..ROUNDS {
        let id = ClientId(uuid::Uuid::new_v4());
        let (sent, marked) = tokio::join!(
            world.a.chat.send(&ken, channel, id, "hi".into(), vec![], None),
            world.b.chat.mark_read(&linus, channel, head)
        );
        let (message, marker) = (sent.unwrap().seq, marked.unwrap());
        for (socket, count) in sockets.iter_mut().zip(&mut counts) {
            count.follow(socket, message, marker).await;
            assert_eq!(count.unread(), 1, "in round {round}: {:?}", count.counted);
        }
        let shown = world.a.chat.channel(&linus, channel).await.unwrap();
        assert_eq!((shown.head, shown.unread), (message, Some(1)), "in round {round}");
        head = message;
    }
}

/// While somebody writes and deletes, whoever looks sees a number that is right at the end of the log that stands beside it.
async fn what_is_shown_counts_up_to_the_head_beside_it(world: &World) {
    let (dennis, barbara) = (world.cluster.user("dennis").await, world.cluster.user("barbara").await);
    let channel = world.a.channel(&dennis, &[&barbara], "shown").await;
    let first = world.a.chat.channel(&dennis, channel).await.unwrap().head;
    world.a.chat.mark_read(&dennis, channel, first).await.unwrap();
    let done = AtomicBool::new(false);
    let write = async {
        // What is unread behind each event.
        let mut unread = BTreeMap::from([(first, 0)]);
        for round in 0..ROUNDS {
            let (now, id) =
                (unread.values().next_back().copied().unwrap(), || ClientId(uuid::Uuid::new_v4()));
            let sent =
                world.a.chat.send(&barbara, channel, id(), "hi".into(), vec![], None).await.unwrap().seq;
            unread.insert(sent, now + 1);
            if round % 3 == 0 {
                let deleted = world.a.chat.delete(&barbara, channel, id(), sent).await.unwrap().seq;
                unread.insert(deleted, now);
            }
        }
        done.store(true, Ordering::Release);
        unread
    };
    let look = async |chat: &Chat| {
        let mut seen = Vec::new();
        while !done.load(Ordering::Acquire) {
            let shown = chat.channel(&dennis, channel).await.unwrap();
            seen.push((shown.head, shown.unread.unwrap()));
            let page = chat.my_channels(&dennis, None, 50).await.unwrap().items;
            let shown = page.iter().find(|shown| shown.id == channel).unwrap();
            seen.push((shown.head, shown.unread.unwrap()));
        }
        seen
    };
    let (unread, here, there) = tokio::join!(write, look(&world.a.chat), look(&world.b.chat));
    for (head, shown) in here.into_iter().chain(there) {
        assert_eq!(Some(&shown), unread.get(&head), "up to {head}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_and_moves_that_cross_leave_the_right_number_on_sqlite() {
    let world = World::sqlite().await;
    a_message_and_a_move_that_cross_leave_the_right_number(&world).await;
    what_is_shown_counts_up_to_the_head_beside_it(&world).await;
}
