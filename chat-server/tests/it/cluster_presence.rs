//! Who is online, over several gateways: those that come, stop, die, and come back with everybody at once.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use PresenceStatus::{Offline, Online};
use chat_cluster::OnlineSum;
use chat_domain::bus::{Bus as _, BusMessage, Digest, Signal};
use chat_protocol::{ClientFrame, PresenceStatus, ServerFrame, UserId, UserPresence};

use crate::harness;
use crate::harness::{
    cluster::TestCluster,
    ws::{DEADLINE, Incoming, TestSocket},
};

async fn watch(socket: &mut TestSocket, users: Vec<UserId>) {
    socket.send(&ClientFrame::Watch { id: None, users }).await;
}

async fn until(socket: &mut TestSocket, who: UserId, status: PresenceStatus) {
    let wanted = UserPresence { user: who, status };
    socket
        .until(|frame| match frame {
            ServerFrame::Presence { users } => users.contains(&wanted).then_some(()),
            _ => None,
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn presence_crosses_gateways_and_a_newcomer_learns_it_without_news() {
    let cluster = TestCluster::new();
    let (ada, grace) = (cluster.user("ada").await, cluster.user("grace").await);
    let (a, b) = (cluster.gateway("a").await, cluster.gateway("b").await);
    let mut watcher = a.connect(&ada).await;
    watch(&mut watcher, vec![grace.user]).await;
    until(&mut watcher, grace.user, Offline).await;
    let socket = b.connect(&grace).await;
    until(&mut watcher, grace.user, Online).await;

    let c = cluster.gateway("c").await;
    let mut newcomer = c.connect(&ada).await;
    watch(&mut newcomer, vec![grace.user]).await;
    until(&mut newcomer, grace.user, Online).await;

    drop(socket);
    for socket in [&mut watcher, &mut newcomer] {
        until(socket, grace.user, Offline).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_at_a_killed_gateway_is_offline_and_who_is_at_another_is_not() {
    let cluster = TestCluster::new();
    let (ada, grace, linus) =
        (cluster.user("ada").await, cluster.user("grace").await, cluster.user("linus").await);
    let (a, b) = (cluster.gateway("a").await, cluster.gateway("b").await);
    let mut watcher = a.connect(&ada).await;
    watch(&mut watcher, vec![grace.user, linus.user]).await;
    let _sockets = (b.connect(&grace).await, b.connect(&linus).await);
    until(&mut watcher, grace.user, Online).await;
    a.knows(&b).await;
    b.kill();
    // Linus comes back at once, and is never offline for anybody.
    let _back = a.connect(&linus).await;
    let mut news = Vec::new();
    while !news.contains(&UserPresence { user: grace.user, status: Offline }) {
        if let Incoming::Frame(ServerFrame::Presence { users }) = watcher.next().await {
            news.extend(users);
        }
    }
    assert!(!news.contains(&UserPresence { user: linus.user, status: Offline }), "{news:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_sent_away_by_a_drain_stays_online_throughout() {
    let cluster = TestCluster::new();
    let (ada, grace, linus) =
        (cluster.user("ada").await, cluster.user("grace").await, cluster.user("linus").await);
    let (a, b) = (cluster.gateway("a").await, cluster.gateway("b").await);
    let mut watcher = a.connect(&ada).await;
    watch(&mut watcher, vec![grace.user, linus.user]).await;
    let (mut moves, mut stays_away) = (b.connect(&grace).await, b.connect(&linus).await);
    for user in [grace.user, linus.user] {
        watch(&mut watcher, vec![grace.user, linus.user]).await;
        until(&mut watcher, user, Online).await;
    }
    let drained = tokio::spawn(b.drain());
    moves.closed().await;
    stays_away.closed().await;
    drained.await.expect("drains");
    let _moved = a.connect(&grace).await;
    let mut news = Vec::new();
    while !news.contains(&UserPresence { user: linus.user, status: Offline }) {
        if let Incoming::Frame(ServerFrame::Presence { users }) = watcher.next().await {
            news.extend(users);
        }
    }
    assert!(!news.contains(&UserPresence { user: grace.user, status: Offline }), "{news:?}");
}

/// A gateway that exists only by what it says.
struct Said {
    cluster: Arc<harness::cluster::TestBus>,
    name: Arc<str>,
    users: Vec<UserId>,
}

impl Said {
    async fn publish(&self, signal: Signal) {
        self.cluster.publish(BusMessage::Signal(signal)).await.expect("is published");
    }

    async fn digest(&self) {
        let OnlineSum { count, checksum } = self.users.iter().collect();
        let digest = Digest {
            node: Arc::clone(&self.name),
            epoch: 1,
            address: None,
            owner: true,
            online: count,
            checksum,
            heads: Vec::new(),
            follows: true,
            generation: None,
        };
        self.publish(Signal::Digest(Arc::new(digest))).await;
    }

    async fn came(&mut self, users: &[UserId]) {
        self.users.extend(users);
        for users in users.chunks(100) {
            let (gateway, online) = (Arc::clone(&self.name), users.to_vec());
            self.publish(Signal::Presence { gateway, epoch: 1, online, offline: Vec::new() }).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_who_come_back_after_their_gateway_died_make_no_storm() {
    const USERS: usize = 10_000;
    let cluster = TestCluster::new();
    let ada = cluster.user("ada").await;
    let real = cluster.gateway("real").await;
    let said =
        |name: &str| Said { cluster: Arc::clone(&cluster.bus), name: Arc::from(name), users: Vec::new() };
    let (mut dies, mut lives) = (said("dies"), said("lives"));
    let users: Vec<UserId> = (0..USERS).map(|_| UserId::new()).collect();
    dies.digest().await;
    lives.digest().await;
    dies.came(&users).await;
    dies.digest().await;

    // One socket watches as many as one may: some of those who come back in time, and some of those who do not.
    let (early, late) = users.split_at(USERS / 2);
    let most = chat_protocol::limits::MAX_WATCHED_USERS / 2;
    let watched: HashSet<UserId> = early[..most].iter().chain(&late[..most]).copied().collect();
    let mut watcher = real.connect(&ada).await;
    watch(&mut watcher, watched.iter().copied().collect()).await;
    let mut known: HashMap<UserId, PresenceStatus> = HashMap::new();
    while known.len() < watched.len() || known.values().any(|status| *status == Offline) {
        if let Incoming::Frame(ServerFrame::Presence { users }) = watcher.next().await {
            known.extend(users.into_iter().map(|u| (u.user, u.status)));
        }
    }

    // From here on "dies" says nothing any more; "lives" goes on.
    lives.came(early).await;
    let (mut frames, mut changes) = (0, Vec::new());
    let began = Instant::now();
    let mut came_late = false;
    let mut digests = tokio::time::interval(Duration::from_secs(2));
    loop {
        tokio::select! {
            _ = digests.tick() => lives.digest().await,
            incoming = watcher.next() => if let Incoming::Frame(ServerFrame::Presence { users }) = incoming {
                frames += 1;
                // What was asked for and what is reported may overlap once, at the beginning.
                changes.extend(users.into_iter().filter(|u| known.insert(u.user, u.status) != Some(u.status)));
            },
        }
        let offline = changes.iter().filter(|change| change.status == Offline).count();
        if offline == most && !came_late {
            came_late = true;
            lives.came(late).await;
        }
        if changes.len() >= 2 * most {
            break;
        }
        assert!(began.elapsed() < DEADLINE, "{} changes in {frames} frames", changes.len());
    }
    // Each who came late: gone and back. Each who came early: nothing at all.
    let of_late: HashSet<UserId> = late[..most].iter().copied().collect();
    assert!(changes.iter().all(|change| of_late.contains(&change.user)));
    assert_eq!(changes.len(), 2 * most);
    // All who were lost are lost in one frame, and who is watched from before may be reported once more; they come back in at most as
    // many as there were signals of it, and in fewer where one turn takes several.
    let signals = late.len() / 100;
    assert!(frames <= signals + 2, "{frames} frames for {} changes", changes.len());
}
