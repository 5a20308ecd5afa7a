//! Who lives. Pure: digests, farewells and time come in; who joined and who died comes out.
//!
//! A process that says nothing for long enough is dead, unless it is the bus that says nothing: as long as this
//! process does not even hear itself, nobody is given up.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use chat_domain::{bus::Digest, chat::are_strangers};
use chat_protocol::Generation;

/// Digests of those who said farewell are not believed for this long: one may have been overtaken.
const REMEMBER_GONE: Duration = Duration::from_secs(60);

/// A process that may own channels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node {
    /// Name of the process.
    pub name: Arc<str>,
    /// Where it takes appends (`host:port`).
    pub address: Arc<str>,
}

/// What changed among the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Heard for the first time, or again after it was given up.
    Joined {
        /// Name of the process.
        node: Arc<str>,
    },
    /// Fell silent, or began another life.
    Died {
        /// Name of the process.
        node: Arc<str>,
    },
    /// Stopped in good order.
    Left {
        /// Name of the process.
        node: Arc<str>,
    },
}

struct Member {
    epoch: u64,
    address: Option<Arc<str>>,
    owner: bool,
    follows: bool,
    heard: Instant,
}

/// The other processes of the cluster, as their digests show them.
pub(super) struct Members {
    own: Arc<str>,
    /// Of the store that this process works on.
    generation: Option<Generation>,
    dead_after: Duration,
    /// This process must have heard itself that much later than a silent one.
    proof: Duration,
    /// Hearing nothing of itself for longer means that the bus carries nothing.
    deaf_after: Duration,
    others: HashMap<Arc<str>, Member>,
    gone: HashMap<Arc<str>, (u64, Instant)>,
    /// When this process's own digest last came back.
    echo: Instant,
}

impl Members {
    pub(super) fn new(own: Arc<str>, digest_every: Duration, dead_after: Duration, now: Instant) -> Self {
        Self {
            own,
            generation: None,
            dead_after,
            proof: dead_after.saturating_sub(digest_every.mul_f64(1.25)),
            deaf_after: digest_every.mul_f64(2.25),
            others: HashMap::new(),
            gone: HashMap::new(),
            echo: now,
        }
    }

    /// This process heard itself: the bus carries.
    pub(super) fn echo(&mut self, now: Instant) {
        if now.duration_since(self.echo) > self.deaf_after {
            // The bus was away, or this process was. Nobody's silence meant anything: everybody begins anew.
            for member in self.others.values_mut() {
                member.heard = now;
            }
        }
        self.echo = now;
    }

    /// This process works on this generation of the store. Everybody is a stranger until the next digest.
    pub(super) fn begin(&mut self, generation: Option<Generation>) -> Vec<Change> {
        self.generation = generation;
        self.others.drain().map(|(node, _)| Change::Died { node }).collect()
    }

    pub(super) fn hear(&mut self, digest: &Digest, now: Instant) -> Vec<Change> {
        if digest.node == self.own
            || self.gone.get(&digest.node).is_some_and(|(last, _)| digest.epoch <= *last)
        {
            return Vec::new();
        }
        let node = &digest.node;
        if are_strangers(self.generation, digest.generation) {
            // What it commits is in another store, or in what this one was before.
            let known = self.others.remove(node).is_some();
            return if known { vec![Change::Died { node: Arc::clone(node) }] } else { Vec::new() };
        }
        let before = self.others.get(node).map(|member| member.epoch);
        if before.is_some_and(|before| digest.epoch < before) {
            return Vec::new();
        }
        let member = Member {
            epoch: digest.epoch,
            address: digest.address.clone(),
            owner: digest.owner,
            follows: digest.follows,
            heard: now,
        };
        self.others.insert(Arc::clone(node), member);
        match before {
            Some(before) if before == digest.epoch => Vec::new(),
            Some(_) => {
                vec![Change::Died { node: Arc::clone(node) }, Change::Joined { node: Arc::clone(node) }]
            }
            None => vec![Change::Joined { node: Arc::clone(node) }],
        }
    }

    pub(super) fn gone(&mut self, node: &Arc<str>, epoch: u64, now: Instant) -> Vec<Change> {
        if self.others.get(node).is_none_or(|member| member.epoch > epoch) {
            return Vec::new();
        }
        self.others.remove(node);
        self.gone.insert(Arc::clone(node), (epoch, now));
        vec![Change::Left { node: Arc::clone(node) }]
    }

    pub(super) fn tick(&mut self, now: Instant) -> Vec<Change> {
        self.gone.retain(|_, (_, at)| now.duration_since(*at) < REMEMBER_GONE);
        let (dead_after, proof, echo) = (self.dead_after, self.proof, self.echo);
        let dead = self.others.extract_if(|_, member| {
            now.duration_since(member.heard) >= dead_after && echo.duration_since(member.heard) >= proof
        });
        dead.map(|(node, _)| Change::Died { node }).collect()
    }

    pub(super) fn epoch_of(&self, node: &str) -> Option<u64> {
        self.others.get(node).map(|member| member.epoch)
    }

    pub(super) fn names(&self) -> Vec<Arc<str>> {
        self.others.keys().cloned().collect()
    }

    /// Those that may own channels, with `own` among them, in order of name.
    pub(super) fn owners(&self, own: Option<Node>) -> Vec<Node> {
        let others = self.others.iter().filter(|(_, member)| member.owner).filter_map(|(name, member)| {
            Some(Node { name: Arc::clone(name), address: Arc::clone(member.address.as_ref()?) })
        });
        let mut owners: Vec<Node> = others.chain(own).collect();
        owners.sort_unstable();
        owners
    }

    /// Those that run consumers of the logs, with `own` among them, in order of name. Nobody's address matters here.
    pub(super) fn followers(&self, own: Option<&Arc<str>>) -> Vec<Node> {
        let others = self.others.iter().filter(|(_, member)| member.follows).map(|(name, _)| name);
        let node = |name: &Arc<str>| Node { name: Arc::clone(name), address: Arc::from("") };
        let mut followers: Vec<Node> = others.chain(own).map(node).collect();
        followers.sort_unstable();
        followers
    }

    /// Whether a process of version 0.1.0 lives.
    pub(super) fn has_older(&self) -> bool {
        self.others.values().any(|member| !member.follows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn digest(node: &str, epoch: u64) -> Digest {
        Digest {
            node: node.into(),
            epoch,
            address: Some(format!("{node}:1").into()),
            owner: true,
            online: 0,
            checksum: 0,
            heads: Vec::new(),
            follows: true,
            generation: None,
        }
    }

    fn members(now: Instant) -> Members {
        Members::new("own".into(), 2 * SECOND, 6 * SECOND, now)
    }

    fn died(node: &str) -> Change {
        Change::Died { node: node.into() }
    }

    fn joined(node: &str) -> Change {
        Change::Joined { node: node.into() }
    }

    /// Digests of "own" and "other" every two seconds from `from` on.
    fn live(members: &mut Members, start: Instant, from: u32, to: u32, other: bool) {
        for second in (from..to).step_by(2) {
            members.echo(start + SECOND * second);
            if other {
                members.hear(&digest("other", 1), start + SECOND * second);
            }
            assert_eq!(members.tick(start + SECOND * second), [], "second {second}");
        }
    }

    #[test]
    fn who_is_silent_while_the_bus_carries_is_dead_after_six_seconds() {
        let start = Instant::now();
        let mut members = members(start);
        assert_eq!(members.hear(&digest("other", 1), start), [joined("other")]);
        live(&mut members, start, 0, 11, true);
        live(&mut members, start, 12, 15, false);
        assert_eq!(members.tick(start + SECOND * 16 - SECOND / 5), []);
        assert_eq!(members.tick(start + SECOND * 16), [died("other")]);
        assert!(members.owners(None).is_empty());
        // It had only been stopped.
        assert_eq!(members.hear(&digest("other", 1), start + SECOND * 30), [joined("other")]);
    }

    #[test]
    fn while_the_bus_is_away_nobody_dies_and_after_it_all_begin_anew() {
        let start = Instant::now();
        let mut members = members(start);
        members.hear(&digest("other", 1), start);
        live(&mut members, start, 0, 11, true);
        for second in 11..40 {
            assert_eq!(members.tick(start + SECOND * second), [], "second {second}");
        }
        // The first to be heard again is oneself.
        members.echo(start + SECOND * 40);
        assert_eq!(members.tick(start + SECOND * 40), []);
        live(&mut members, start, 42, 45, false);
        assert_eq!(members.tick(start + SECOND * 46), [died("other")]);
    }

    #[test]
    fn followers_are_all_but_those_of_an_older_version() {
        let now = Instant::now();
        let mut members = members(now);
        let names = |members: &Members| -> Vec<String> {
            members.followers(Some(&"own".into())).iter().map(|node| node.name.to_string()).collect()
        };
        members.hear(&digest("other", 1), now);
        assert!(!members.has_older());
        members.hear(&Digest { follows: false, ..digest("before", 1) }, now);
        assert!(members.has_older());
        assert_eq!(names(&members), ["other", "own"]);
        members.gone(&"before".into(), 1, now);
        assert!(!members.has_older());
    }

    #[test]
    fn another_life_is_another_process_and_the_old_one_says_nothing_more() {
        let start = Instant::now();
        let mut members = members(start);
        members.hear(&digest("other", 5), start);
        assert_eq!(members.hear(&digest("other", 5), start), []);
        assert_eq!(members.hear(&digest("other", 6), start), [died("other"), joined("other")]);
        assert_eq!(members.hear(&digest("other", 5), start), []);
        assert_eq!(members.gone(&"other".into(), 5, start), []);
        assert_eq!(members.owners(None).len(), 1);
    }

    #[test]
    fn a_stranger_joins_never_and_who_becomes_one_is_gone() {
        let start = Instant::now();
        let mut members = members(start);
        let [own, other] = [(); 2].map(|()| Some(Generation::new()));
        let of = |node, generation| Digest { generation, ..digest(node, 1) };
        assert_eq!(members.begin(own), []);
        assert_eq!(members.hear(&of("strange", other), start), []);
        assert!(members.owners(None).is_empty() && members.names().is_empty());
        assert_eq!(members.hear(&of("same", own), start), [joined("same")]);
        assert_eq!(members.hear(&of("of 0.1.0", None), start), [joined("of 0.1.0")]);
        assert_eq!(members.hear(&of("same", other), start), [died("same")]);
        assert_eq!(members.hear(&of("same", other), start), []);
        assert_eq!(members.names(), ["of 0.1.0".into()]);
        assert_eq!(members.begin(other), [died("of 0.1.0")]);
        assert_eq!(members.hear(&of("strange", other), start), [joined("strange")]);
    }

    #[test]
    fn who_has_left_is_not_brought_back_by_a_digest_that_was_overtaken() {
        let start = Instant::now();
        let mut members = members(start);
        members.hear(&digest("other", 5), start);
        assert_eq!(members.gone(&"other".into(), 5, start), [Change::Left { node: "other".into() }]);
        assert_eq!(members.hear(&digest("other", 5), start), []);
        assert_eq!(members.epoch_of("other"), None);
        assert_eq!(members.hear(&digest("other", 6), start), [joined("other")]);
        assert_eq!(members.epoch_of("other"), Some(6));
        assert_eq!(members.gone(&"nobody".into(), 1, start), []);
    }
}
