//! Coming back costs the store little, and while it is away what is recent is still served.

use std::{sync::Arc, time::Duration};

use chat_domain::chat::Actor;
use chat_protocol::{ChannelId, ClientId, ErrorCode, Seq};
use futures_util::future::join_all;

use crate::harness::moody_store::{Mood, MoodyStore};
use crate::harness::{
    cluster::{TestCluster, TestGateway},
    ws::DEADLINE,
};

fn moody() -> (TestCluster, Arc<MoodyStore>) {
    let mut moody = None;
    let cluster = TestCluster::on(|store| {
        let store = MoodyStore::new(store);
        moody = Some(Arc::clone(&store));
        store
    });
    (cluster, moody.expect("was made"))
}

async fn say(process: &TestGateway, actor: &Actor, channel: ChannelId, text: &str) -> Seq {
    let id = ClientId(uuid::Uuid::new_v4());
    process.chat.send(actor, channel, id, text.into(), vec![], None).await.expect("is committed").seq
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reconnect_costs_one_read() {
    const TIMES: usize = 20;
    let (cluster, store) = moody();
    let a = cluster.gateway("a").await;
    let ada = cluster.user("ada").await;
    for n in 0..10 {
        let channel = a.channel(&ada, &[], &format!("channel {n}")).await;
        say(&a, &ada, channel, "hello").await;
    }
    drop(a.connect(&ada).await);
    let before = store.calls();
    for _ in 0..TIMES {
        let mut socket = a.connect(&ada).await;
        let channel = socket.channels[7];
        let (missed, head, recovered) = socket.sync(channel.channel, channel.head - 1).await;
        assert_eq!((missed.len(), head, recovered), (1, channel.head, true));
    }
    let calls = store.calls() - before;
    // What is read now and then in the background may be among them.
    assert!((TIMES..TIMES + 3).contains(&calls), "{calls} calls for {TIMES} reconnects");
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_come_back_at_once_share_what_they_read() {
    const USERS: usize = 40;
    let (cluster, store) = moody();
    let a = cluster.gateway("a").await;
    let owner = cluster.user("owner").await;
    let users = join_all((0..USERS).map(|n| {
        let cluster = &cluster;
        async move { cluster.user(&format!("user{n}")).await }
    }))
    .await;
    let members: Vec<&Actor> = users.iter().collect();
    let channels = [a.channel(&owner, &members, "one").await, a.channel(&owner, &members, "two").await];
    for channel in channels {
        say(&a, &owner, channel, "hello").await;
    }
    // It has seen nothing of these channels.
    let cold = cluster.gateway("cold").await;
    let before = store.calls();
    // Slower than all of them come, and far fewer calls than if nothing was shared, though some come late.
    store.be(Mood::Slow(Duration::from_secs(1)));
    let mut sockets = join_all(users.iter().map(|user| cold.connect(user))).await;
    let synced = join_all(sockets.iter_mut().map(|socket| {
        let head = socket.head(channels[0]);
        async move { (socket.sync(channels[0], head - 1).await, head) }
    }))
    .await;
    for ((missed, _, recovered), head) in synced {
        assert!(recovered);
        assert_eq!(missed.iter().map(|event| event.seq).collect::<Vec<_>>(), [head]);
    }
    let calls = store.calls() - before;
    // Each user's channels; their heads, and one sync (the channel's kind, its head, its events), of which each user would
    // make four alone.
    assert!(calls < 3 * USERS, "{calls} calls for {USERS} users");
}

#[tokio::test(flavor = "multi_thread")]
async fn recent_history_is_served_while_the_store_is_away() {
    let (cluster, store) = moody();
    let (gateway, api) = (cluster.gateway("gateway").await, cluster.gateway("api").await);
    let (ada, grace, stranger) =
        (cluster.user("ada").await, cluster.user("grace").await, cluster.user("stranger").await);
    let channel = gateway.channel(&ada, &[&grace], "outage").await;
    let mut socket = gateway.connect(&grace).await;
    // What the api process remembers of permissions it has learnt from earlier requests.
    api.chat.events(&grace, channel, 0, 1).await.expect("is read");
    api.chat.events(&ada, channel, 0, 1).await.expect("is read");
    let first = say(&gateway, &ada, channel, "one").await;
    let second = say(&gateway, &ada, channel, "two").await;
    let head = say(&gateway, &ada, channel, "three").await;
    gateway
        .chat
        .edit(&ada, channel, ClientId(uuid::Uuid::new_v4()), second, "deux".into())
        .await
        .expect("is edited");
    while socket.event().await.seq <= head {}
    let has_all = async {
        // The bus reaches the other process when it does.
        while api.gateway.recent_head(channel) != Some(head + 1) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, has_all).await.expect("in time");

    store.be(Mood::Away);
    let (events, end, recovered) = socket.sync(channel, first).await;
    assert_eq!((events.len(), end, recovered), (3, head + 1, true));
    for process in [&gateway, &api] {
        let page = process.chat.events(&grace, channel, first, 2).await.expect("from memory");
        assert_eq!(page.items.iter().map(|event| event.seq).collect::<Vec<_>>(), [second, head]);
        assert_eq!(page.next, Some(head));
        let page = process.chat.messages(&grace, channel, Seq::MAX, 2).await.expect("from memory");
        let texts: Vec<&str> = page.items.iter().map(|message| message.text.as_str()).collect();
        assert_eq!(texts, ["three", "deux"]);
        // Of whom nothing is known nothing is believed.
        let refused = process.chat.events(&stranger, channel, first, 2).await.expect_err("is not known");
        assert_eq!(refused.code, ErrorCode::Unavailable);
    }
    store.be(Mood::Well);
    assert_eq!(api.chat.messages(&grace, channel, Seq::MAX, 50).await.expect("is read").items.len(), 3);

    // Who has left is not served from memory either.
    gateway.chat.leave(&grace, channel).await.expect("has left");
    let forgotten = async {
        while api.gateway.recent_head(channel) != Some(head + 2) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, forgotten).await.expect("in time");
    store.be(Mood::Away);
    for process in [&gateway, &api] {
        assert!(process.chat.events(&grace, channel, first, 2).await.is_err());
    }
}
