//! Stores, processes and waiting.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

use chat_cluster::Node;
use chat_domain::store::{Store, follow::FollowStore};
use chat_follow::{Consumer, FollowOptions, Follower, Processes};
use chat_protocol::{ChannelId, EventBody, Seq, UserId};
use parking_lot::RwLock;

use crate::conformance::fixtures::{commit, message, new_channel};

/// How long anything may take on a machine that compiles beside it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

/// A store as the domain and consumers see it.
pub(crate) trait Logs: Store + FollowStore {}
impl<T: Store + FollowStore> Logs for T {}

pub(crate) fn as_follow(store: &Arc<dyn Logs>) -> Arc<dyn FollowStore> {
    Arc::<dyn Logs>::clone(store)
}

/// Waits for a condition.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let deadline = Instant::now() + DEADLINE;
    while !condition().await {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Short intervals, so that tests see everything soon.
pub(crate) fn options() -> FollowOptions {
    FollowOptions {
        save_every: Duration::from_millis(30),
        walk_every: Duration::from_millis(100),
        begin_after: Duration::ZERO,
        backoff: (Duration::from_millis(10), Duration::from_millis(100)),
        prepare_every: Duration::from_millis(100),
        page: 7,
        ..FollowOptions::default()
    }
}

/// Processes as a test says.
pub(crate) struct Known {
    own: Arc<str>,
    all: RwLock<Arc<[Node]>>,
}

impl Known {
    pub(crate) fn new(own: &str, all: &[&str]) -> Arc<Self> {
        let known = Self { own: own.into(), all: RwLock::new(Arc::from([])) };
        known.set(all);
        Arc::new(known)
    }

    pub(crate) fn set(&self, all: &[&str]) {
        let node = |name: &&str| Node { name: Arc::from(*name), address: Arc::from("") };
        *self.all.write() = all.iter().map(node).collect();
    }
}

impl Processes for Known {
    fn own(&self) -> Arc<str> {
        Arc::clone(&self.own)
    }

    fn followers(&self) -> Arc<[Node]> {
        Arc::clone(&self.all.read())
    }

    fn has_older(&self) -> bool {
        false
    }
}

/// Starts consumers in a process that is alone.
pub(crate) fn follow(store: &Arc<dyn Logs>, consumers: Vec<Arc<dyn Consumer>>) -> Arc<Follower> {
    follow_as(store, consumers, Known::new("a", &["a"]), &options())
}

pub(crate) fn follow_as(
    store: &Arc<dyn Logs>,
    consumers: Vec<Arc<dyn Consumer>>,
    known: Arc<Known>,
    options: &FollowOptions,
) -> Arc<Follower> {
    let processes: Arc<dyn Processes> = known;
    Follower::start(consumers, &as_follow(store), &processes, options)
}

/// Channels of one member each; their heads are 2.
pub(crate) async fn channels(store: &Arc<dyn Logs>, count: usize) -> Vec<ChannelId> {
    let mut made = Vec::new();
    for _ in 0..count {
        made.push(new_channel(&**store, &[UserId::new()]).await);
    }
    made
}

/// Writes a message; answers its position.
pub(crate) async fn say(store: &Arc<dyn Logs>, channel: ChannelId) -> Seq {
    commit(&**store, channel, message(UserId::new(), "hello")).await
}

/// A message that nobody waits for the outcome of.
pub(crate) fn a_message() -> chat_domain::store::NewEvent {
    let body = EventBody::Message { text: "hello".into(), files: vec![], deleted: false };
    crate::conformance::fixtures::event(UserId::new(), body)
}
