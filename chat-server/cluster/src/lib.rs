//! The processes that share a store and a bus, as each of them knows the others: from their digests, every two seconds.
//!
//! `members` decides who lives, `digest` is what a process says of itself, `heads` notices logs that go further than
//! what was seen of them. All of it is pure; `process`, which every process runs, reads the bus, gives it signals and time,
//! and hands on what comes of it to those who listen.
//!
//! `owner` computes which of them owns a channel, and `hop` hands sends to it, over connections that `tls` secures.

pub mod config;
mod digest;
mod heads;
pub mod hop;
pub mod listen;
mod members;
pub mod metrics;
pub mod owner;
pub mod process;
pub mod tls;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use chat_domain::{
    bus::{Digest, Signal},
    chat::{are_strangers, now_ms},
};
use chat_protocol::{ChannelId, Generation, Seq};
use parking_lot::{Mutex, RwLock};
use rand::RngExt as _;

pub use digest::OnlineSum;
pub use heads::Claims;
pub use members::{Change, Node};

use members::Members;

/// Heads in one digest at most.
const HEADS: usize = 1_024;
/// A head is repeated in every digest for this long, so that one lost digest loses nothing.
const HEADS_FOR: Duration = Duration::from_secs(7);

/// How soon a process that has just been heard of hears of this one.
const GREET_WITHIN: Duration = Duration::from_millis(500);

/// This process among the others.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// Its name, unique in the cluster.
    pub name: String,
    /// Where others reach it (`host:port`); `None` when it takes no appends for others.
    pub address: Option<String>,
    /// Whether it holds sockets: only then does it own channels.
    pub owner: bool,
    /// How often it says that it lives, give or take a tenth.
    pub digest_every: Duration,
    /// For how long another one may be silent before it counts as dead. At least three times `digest_every`.
    pub dead_after: Duration,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            name: "folkmoot".into(),
            address: None,
            owner: true,
            digest_every: Duration::from_secs(2),
            dead_after: Duration::from_secs(6),
        }
    }
}

/// Who lives, and what this process says of itself.
pub struct Cluster {
    name: Arc<str>,
    /// When this life began: the clock on the wall, in milliseconds, so that a later life has a larger one.
    epoch: u64,
    address: Option<Arc<str>>,
    digest_every: Duration,
    /// The life of the store that this process works on. Others are strangers.
    generation: RwLock<Option<Generation>>,
    owning: AtomicBool,
    left: AtomicBool,
    members: Mutex<Members>,
    owners: RwLock<Arc<[Node]>>,
    followers: RwLock<Arc<[Node]>>,
    /// When the next digest is due.
    next: Mutex<Instant>,
}

impl Cluster {
    /// A process that knows nobody yet. Its first digest is due at once.
    #[must_use]
    pub fn new(options: ClusterOptions) -> Arc<Self> {
        let name: Arc<str> = options.name.into();
        let now = Instant::now();
        let members = Members::new(Arc::clone(&name), options.digest_every, options.dead_after, now);
        let cluster = Self {
            name,
            epoch: now_ms(),
            address: options.address.map(Into::into),
            digest_every: options.digest_every,
            generation: RwLock::new(None),
            owning: AtomicBool::new(options.owner),
            left: AtomicBool::new(false),
            members: Mutex::new(members),
            owners: RwLock::new(Arc::from([])),
            followers: RwLock::new(Arc::from([])),
            next: Mutex::new(now),
        };
        cluster.refresh_owners(&cluster.members.lock());
        Arc::new(cluster)
    }

    /// This process's name.
    #[must_use]
    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// This process's life, see [`Digest::epoch`].
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// This process works on this generation of the store: others count if theirs is the same. Those who were known are
    /// so again when they say so.
    pub fn begin(&self, generation: Option<Generation>) -> Vec<Change> {
        let mut members = self.members.lock();
        if std::mem::replace(&mut *self.generation.write(), generation) == generation {
            return Vec::new();
        }
        let changes = members.begin(generation);
        self.refresh_owners(&members);
        // Others need not wait for it.
        *self.next.lock() = Instant::now();
        changes
    }

    /// The generation of the store that this process works on, as far as is known.
    #[must_use]
    pub fn generation(&self) -> Option<Generation> {
        *self.generation.read()
    }

    /// The processes that may own channels, this one included when it may, in order of name. Cheap.
    #[must_use]
    pub fn owners(&self) -> Arc<[Node]> {
        Arc::clone(&self.owners.read())
    }

    /// The processes that run consumers of the logs, this one included, in order of name. Cheap.
    #[must_use]
    pub fn followers(&self) -> Arc<[Node]> {
        Arc::clone(&self.followers.read())
    }

    /// Whether a process of version 0.1.0 lives, which leaves no notes for consumers.
    #[must_use]
    pub fn has_older(&self) -> bool {
        self.members.lock().has_older()
    }

    /// The names of all other processes that live.
    #[must_use]
    pub fn others(&self) -> Vec<Arc<str>> {
        self.members.lock().names()
    }

    /// Takes what a signal says about processes.
    pub fn hear(&self, signal: &Signal, now: Instant) -> Vec<Change> {
        let mut members = self.members.lock();
        let changes = match signal {
            Signal::Digest(digest) if digest.node == self.name => {
                if digest.epoch == self.epoch {
                    members.echo(now);
                } else if digest.epoch > self.epoch {
                    tracing::error!(name = %self.name, "another process has this name; names must be unique");
                }
                return Vec::new();
            }
            Signal::Digest(digest) => {
                let changes = members.hear(digest, now);
                if changes.iter().any(|change| matches!(change, Change::Joined { .. })) {
                    // A newcomer should not have to wait to learn of this process; not all of them at once, though.
                    let soon = now + GREET_WITHIN.mul_f64(rand::rng().random_range(0.0..=1.0));
                    let mut next = self.next.lock();
                    *next = soon.min(*next);
                }
                changes
            }
            Signal::Gone { node, epoch } => members.gone(node, *epoch, now),
            _ => return Vec::new(),
        };
        self.refresh_owners(&members);
        changes
    }

    /// Whether a digest is of a process on another generation of the store.
    pub fn is_strange(&self, digest: &Digest) -> bool {
        are_strangers(self.generation(), digest.generation)
    }

    /// Whether a digest is the word of another process that lives, as far as is known.
    pub fn believes(&self, digest: &Digest) -> bool {
        self.members.lock().epoch_of(&digest.node) == Some(digest.epoch)
    }

    /// Lets time pass: who has been silent for too long is dead.
    pub fn tick(&self, now: Instant) -> Vec<Change> {
        let mut members = self.members.lock();
        let changes = members.tick(now);
        if !changes.is_empty() {
            self.refresh_owners(&members);
        }
        changes
    }

    /// This process's digest, when it is time to publish it. `online` is who is at it, as published before; `heads`
    /// gives up to so many last positions of logs that it wrote to within that time.
    pub fn digest(
        &self,
        now: Instant,
        online: OnlineSum,
        heads: impl FnOnce(usize, Duration) -> Vec<(ChannelId, Seq)>,
    ) -> Option<Arc<Digest>> {
        if self.left.load(Ordering::Acquire) {
            return None;
        }
        {
            let mut next = self.next.lock();
            if now < *next {
                return None;
            }
            // Never in step with others, who may have been started by the same command.
            *next = now + self.digest_every.mul_f64(rand::rng().random_range(0.9..=1.1));
        }
        Some(Arc::new(Digest {
            node: Arc::clone(&self.name),
            epoch: self.epoch,
            address: self.address.clone(),
            owner: self.owning.load(Ordering::Acquire),
            online: online.count,
            checksum: online.checksum,
            heads: heads(HEADS, HEADS_FOR),
            follows: true,
            generation: self.generation(),
        }))
    }

    /// Owns no channels from now on; others are notified at once.
    pub fn stop_owning(&self) {
        self.owning.store(false, Ordering::Release);
        *self.next.lock() = Instant::now();
        self.refresh_owners(&self.members.lock());
    }

    /// The last thing that this process says of itself.
    #[must_use]
    pub fn leave(&self) -> Signal {
        self.left.store(true, Ordering::Release);
        self.stop_owning();
        Signal::Gone { node: Arc::clone(&self.name), epoch: self.epoch }
    }

    fn refresh_owners(&self, members: &Members) {
        let own = self
            .address
            .as_ref()
            .filter(|_| self.owning.load(Ordering::Acquire))
            .map(|address| Node { name: Arc::clone(&self.name), address: Arc::clone(address) });
        let owners = members.owners(own);
        replace(&self.owners, owners);
        let left = self.left.load(Ordering::Acquire);
        replace(&self.followers, members.followers(Some(&self.name).filter(|_| !left)));
    }
}

fn replace(known: &RwLock<Arc<[Node]>>, nodes: Vec<Node>) {
    let mut known = known.write();
    if **known != *nodes {
        *known = nodes.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(name: &str, address: Option<&str>) -> Arc<Cluster> {
        Cluster::new(ClusterOptions {
            name: name.into(),
            address: address.map(str::to_owned),
            ..ClusterOptions::default()
        })
    }

    fn names(cluster: &Cluster) -> Vec<String> {
        cluster.owners().iter().map(|node| node.name.to_string()).collect()
    }

    fn digest(cluster: &Cluster, now: Instant) -> Signal {
        let digest = cluster.digest(now, OnlineSum::default(), |_, _| Vec::new());
        Signal::Digest(digest.expect("is due"))
    }

    #[test]
    fn owners_are_those_that_can_be_reached_and_will_stay() {
        let (a, b, api) = (cluster("a", Some("a:1")), cluster("b", Some("b:1")), cluster("api", None));
        let now = Instant::now();
        assert_eq!((names(&a), names(&api)), (vec!["a".into()], vec![]));
        for signal in [digest(&a, now), digest(&b, now), digest(&api, now)] {
            a.hear(&signal, now);
            api.hear(&signal, now);
        }
        assert_eq!(names(&a), ["a", "b"]);
        assert_eq!(names(&api), ["a", "b"]);
        b.stop_owning();
        a.hear(&digest(&b, Instant::now()), now);
        assert_eq!(names(&a), ["a"]);
        a.stop_owning();
        assert!(names(&a).is_empty());
    }

    #[test]
    fn processes_on_another_generation_of_the_store_own_nothing_here() {
        let (a, b, old) = (cluster("a", Some("a:1")), cluster("b", Some("b:1")), cluster("old", Some("o:1")));
        let (before, after) = (Some(Generation::new()), Some(Generation::new()));
        a.begin(before);
        b.begin(before);
        let now = Instant::now();
        for other in [&b, &old] {
            a.hear(&digest(other, now), now);
        }
        assert_eq!(names(&a), ["a", "b", "old"], "who does not say counts");
        // It has noticed first.
        b.begin(after);
        let strange = digest(&b, Instant::now());
        assert_eq!(a.hear(&strange, now), [Change::Died { node: "b".into() }]);
        assert_eq!(names(&a), ["a", "old"]);
        assert_eq!(a.hear(&strange, now), []);
        let Signal::Digest(of_a) = digest(&a, Instant::now()) else { panic!("a digest") };
        assert!(b.is_strange(&of_a) && !b.believes(&of_a));
        assert_eq!(a.begin(after), [Change::Died { node: "old".into() }], "known again when it says so");
        assert_eq!(a.hear(&strange, now), [Change::Joined { node: "b".into() }]);
        assert_eq!(names(&a), ["a", "b"]);
        assert_eq!(a.begin(after), []);
    }

    #[test]
    fn a_newcomer_is_greeted_soon() {
        let (a, b) = (cluster("a", None), cluster("b", None));
        let now = Instant::now();
        digest(&a, now);
        a.hear(&digest(&b, now), now);
        assert!(a.digest(now + GREET_WITHIN, OnlineSum::default(), |_, _| vec![]).is_some());
    }

    #[test]
    fn digests_come_at_their_time_and_none_follows_the_farewell() {
        let a = cluster("a", None);
        let now = Instant::now();
        assert!(matches!(digest(&a, now), Signal::Digest(d) if d.owner));
        assert!(a.digest(now + Duration::from_secs(1), OnlineSum::default(), |_, _| vec![]).is_none());
        assert!(a.digest(now + Duration::from_secs(3), OnlineSum::default(), |_, _| vec![]).is_some());
        assert_eq!(a.leave(), Signal::Gone { node: Arc::clone(a.name()), epoch: a.epoch() });
        assert!(a.digest(now + Duration::from_secs(60), OnlineSum::default(), |_, _| vec![]).is_none());
    }
}
