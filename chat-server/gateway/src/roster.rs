//! Which users are at which gateway. Pure.
//!
//! Every gateway says who comes and goes, and in its digests how many there are and what their checksum is. Whoever's
//! picture does not match asks for all of them. A gateway that dies takes all its users with it, in one piece.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use chat_cluster::OnlineSum;
use chat_domain::bus::Digest;
use chat_protocol::{PresenceStatus, UserId};

/// Digests in a row that must not match before all users are asked for: one may have overtaken a change.
const MISMATCHES: u32 = 2;
/// The answer to a question may take this long before it is asked again; so may a part after the one before.
const ASK_AGAIN: Duration = Duration::from_secs(3);
/// Who was at a gateway that stopped in good order counts as online for so much longer: they are on their way to
/// another one.
const MOVING: Duration = Duration::from_secs(3);

/// The users of one gateway.
#[derive(Default)]
struct Set {
    epoch: u64,
    users: HashSet<UserId>,
    sum: OnlineSum,
    /// Whether it has matched a digest in this life of the gateway.
    known: bool,
    mismatches: u32,
    asked: Option<Instant>,
    incoming: Option<Incoming>,
    expires: Option<Instant>,
}

/// An answer of which not all parts are here.
struct Incoming {
    next: u32,
    users: HashSet<UserId>,
    /// What happened since its first part; newer than all of them.
    since: HashMap<UserId, PresenceStatus>,
}

/// At how many gateways users are, and whose status changed.
#[derive(Default)]
struct Count {
    at: HashMap<UserId, u32>,
    /// Users who came or went, and how they were before.
    changed: HashMap<UserId, PresenceStatus>,
}

impl Count {
    fn status(&self, user: UserId) -> PresenceStatus {
        if self.at.contains_key(&user) { PresenceStatus::Online } else { PresenceStatus::Offline }
    }

    fn more(&mut self, user: UserId) {
        let count = self.at.entry(user).or_default();
        *count += 1;
        if *count == 1 {
            self.changed.entry(user).or_insert(PresenceStatus::Offline);
        }
    }

    fn less(&mut self, user: UserId) {
        let Some(count) = self.at.get_mut(&user) else { return };
        *count -= 1;
        if *count == 0 {
            self.at.remove(&user);
            self.changed.entry(user).or_insert(PresenceStatus::Online);
        }
    }
}

impl Set {
    fn put(&mut self, count: &mut Count, user: UserId, status: PresenceStatus) -> bool {
        let changed = match status {
            PresenceStatus::Online => self.users.insert(user),
            PresenceStatus::Offline => self.users.remove(&user),
        };
        match status {
            PresenceStatus::Online if changed => {
                self.sum.add(user);
                count.more(user);
            }
            PresenceStatus::Offline if changed => {
                self.sum.remove(user);
                count.less(user);
            }
            _ => {}
        }
        changed
    }

    fn replace(&mut self, count: &mut Count, users: &HashSet<UserId>) {
        // First who is new, then who is not there any more.
        for user in users {
            self.put(count, *user, PresenceStatus::Online);
        }
        let gone: Vec<UserId> = self.users.difference(users).copied().collect();
        for user in gone {
            self.put(count, user, PresenceStatus::Offline);
        }
    }
}

/// All gateways' users, as this one knows them.
#[derive(Default)]
pub(super) struct Roster {
    own: Set,
    others: HashMap<Arc<str>, Set>,
    count: Count,
}

impl Roster {
    pub(super) fn status(&self, user: UserId) -> PresenceStatus {
        self.count.status(user)
    }

    /// A user came to or left this gateway. False when that is no news.
    pub(super) fn put_own(&mut self, user: UserId, status: PresenceStatus) -> bool {
        self.own.put(&mut self.count, user, status)
    }

    /// Who is at this gateway.
    pub(super) const fn own(&self) -> &HashSet<UserId> {
        &self.own.users
    }

    /// What this gateway's digest says of them.
    pub(super) const fn own_sum(&self) -> OnlineSum {
        self.own.sum
    }

    /// Another gateway says who came and who left.
    pub(super) fn apply(&mut self, gateway: &str, epoch: u64, user: UserId, status: PresenceStatus) {
        // Without a digest, nobody would notice when it dies; the digest will show what is missing.
        let Some(set) = self.others.get_mut(gateway).filter(|set| set.epoch == epoch) else { return };
        set.put(&mut self.count, user, status);
        if let Some(incoming) = &mut set.incoming {
            incoming.since.insert(user, status);
        }
    }

    /// Another gateway says how many there are. True when it must be asked who they are.
    pub(super) fn digest(&mut self, digest: &Digest, now: Instant) -> bool {
        let set = self.others.entry(Arc::clone(&digest.node)).or_default();
        if digest.epoch < set.epoch {
            return false;
        }
        if digest.epoch > set.epoch {
            set.replace(&mut self.count, &HashSet::new());
            *set = Set { epoch: digest.epoch, ..Set::default() };
        }
        set.expires = None;
        if set.sum == (OnlineSum { count: digest.online, checksum: digest.checksum }) {
            (set.known, set.mismatches) = (true, 0);
            return false;
        }
        set.mismatches += 1;
        let sure = !set.known || set.mismatches >= MISMATCHES;
        let asked_lately = set.asked.is_some_and(|at| now.duration_since(at) < ASK_AGAIN);
        if sure && !asked_lately {
            set.asked = Some(now);
        }
        sure && !asked_lately
    }

    /// Somebody else asked that gateway: the answer is for all.
    pub(super) fn asked(&mut self, gateway: &str, now: Instant) {
        if let Some(set) = self.others.get_mut(gateway) {
            set.asked = Some(now);
        }
    }

    /// A part of an answer.
    pub(super) fn part(&mut self, gateway: &str, epoch: u64, (part, parts): (u32, u32), users: &[UserId]) {
        let Some(set) = self.others.get_mut(gateway).filter(|set| set.epoch == epoch) else { return };
        if part == 0 {
            set.incoming = Some(Incoming { next: 0, users: HashSet::new(), since: HashMap::new() });
        }
        let Some(incoming) = set.incoming.as_mut().filter(|incoming| incoming.next == part) else {
            // One was lost: the next digest will not match, and it is asked again.
            set.incoming = None;
            return;
        };
        incoming.next += 1;
        incoming.users.extend(users);
        if incoming.next < parts {
            return;
        }
        if let Some(Incoming { mut users, since, .. }) = set.incoming.take() {
            for (user, status) in since {
                match status {
                    PresenceStatus::Online => users.insert(user),
                    PresenceStatus::Offline => users.remove(&user),
                };
            }
            set.replace(&mut self.count, &users);
            set.mismatches = 0;
        }
    }

    /// A gateway died, and its users with it.
    pub(super) fn died(&mut self, gateway: &str) {
        if let Some(mut set) = self.others.remove(gateway) {
            set.replace(&mut self.count, &HashSet::new());
        }
    }

    /// A gateway stopped in good order; its users have a moment to appear elsewhere.
    pub(super) fn left(&mut self, gateway: &str, now: Instant) {
        if let Some(set) = self.others.get_mut(gateway) {
            set.expires = Some(now + MOVING);
        }
    }

    /// Lets time pass.
    pub(super) fn tick(&mut self, now: Instant) {
        let expired = |set: &Set| set.expires.is_some_and(|at| now >= at);
        let gone: Vec<Arc<str>> = self
            .others
            .iter()
            .filter(|(_, set)| expired(set))
            .map(|(gateway, _)| Arc::clone(gateway))
            .collect();
        for gateway in gone {
            self.died(&gateway);
        }
    }

    /// Whose status is another one than when this was last called, and how it is now.
    pub(super) fn changes(&mut self) -> Vec<(UserId, PresenceStatus)> {
        let changed = std::mem::take(&mut self.count.changed);
        let now = changed.into_iter().map(|(user, before)| (user, before, self.count.status(user)));
        now.filter(|(_, before, now)| before != now).map(|(user, _, now)| (user, now)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use PresenceStatus::{Offline, Online};

    const SECOND: Duration = Duration::from_secs(1);

    fn digest(node: &str, epoch: u64, users: &[UserId]) -> Digest {
        let sum: OnlineSum = users.iter().collect();
        Digest {
            node: node.into(),
            epoch,
            address: None,
            owner: true,
            online: sum.count,
            checksum: sum.checksum,
            heads: Vec::new(),
            follows: true,
            generation: None,
        }
    }

    fn users(count: usize) -> Vec<UserId> {
        (0..count).map(|_| UserId::new()).collect()
    }

    fn parts(roster: &mut Roster, gateway: &str, epoch: u64, users: &[UserId], parts: u32) {
        let at = |part: u32| users.len() * part as usize / parts as usize;
        for part in 0..parts {
            roster.part(gateway, epoch, (part, parts), &users[at(part)..at(part + 1)]);
        }
    }

    /// A roster that knows gateway "a" with these users.
    fn knowing(all: &[UserId], now: Instant) -> Roster {
        let mut roster = Roster::default();
        assert!(roster.digest(&digest("a", 1, all), now), "a newcomer asks at once");
        parts(&mut roster, "a", 1, all, 4);
        assert!(!roster.digest(&digest("a", 1, all), now));
        assert_eq!(roster.changes().len(), all.len());
        roster
    }

    #[test]
    fn a_picture_that_does_not_match_twice_is_replaced_by_the_answer() {
        let (now, all) = (Instant::now(), users(10));
        let mut roster = knowing(&all, now);
        // Of these changes nothing was heard.
        let other: Vec<UserId> = all[2..].iter().copied().chain(users(1)).collect();
        assert!(!roster.digest(&digest("a", 1, &other), now + SECOND * 4), "once may be by chance");
        assert!(roster.digest(&digest("a", 1, &other), now + SECOND * 6));
        assert!(!roster.digest(&digest("a", 1, &other), now + SECOND * 8), "the answer is on its way");
        parts(&mut roster, "a", 1, &other, 3);
        let mut changes = roster.changes();
        changes.sort_by_key(|(user, _)| *user);
        let mut expected = vec![(all[0], Offline), (all[1], Offline), (other[8], Online)];
        expected.sort_by_key(|(user, _)| *user);
        assert_eq!(changes, expected);
        assert!(!roster.digest(&digest("a", 1, &other), now + SECOND * 10));
    }

    #[test]
    fn what_changes_while_an_answer_comes_is_newer_than_the_answer() {
        let (now, all) = (Instant::now(), users(4));
        let (mut roster, late) = (knowing(&all, now), UserId::new());
        roster.part("a", 1, (0, 2), &all[..2]);
        roster.apply("a", 1, late, Online);
        roster.apply("a", 1, all[0], Offline);
        roster.part("a", 1, (1, 2), &all[2..]);
        assert_eq!((roster.status(late), roster.status(all[0])), (Online, Offline));
        assert_eq!(roster.status(all[3]), Online);
    }

    #[test]
    fn an_answer_with_a_hole_changes_nothing_and_it_is_asked_again() {
        let (now, all) = (Instant::now(), users(4));
        let mut roster = Roster::default();
        assert!(roster.digest(&digest("a", 1, &all), now));
        roster.part("a", 1, (0, 3), &all[..1]);
        roster.part("a", 1, (2, 3), &all[3..]);
        roster.part("a", 1, (1, 3), &all[1..3]);
        assert!(roster.changes().is_empty());
        assert!(!roster.digest(&digest("a", 1, &all), now + SECOND));
        assert!(roster.digest(&digest("a", 1, &all), now + SECOND * 3));
    }

    #[test]
    fn many_who_do_not_match_share_one_answer() {
        let (now, all) = (Instant::now(), users(4));
        let mut roster = Roster::default();
        roster.digest(&digest("a", 1, &[]), now);
        roster.digest(&digest("a", 1, &all), now);
        roster.asked("a", now + SECOND);
        assert!(!roster.digest(&digest("a", 1, &all), now + SECOND * 2));
        parts(&mut roster, "a", 1, &all, 1);
        assert_eq!(roster.changes().len(), 4);
    }

    #[test]
    fn users_of_a_dead_gateway_are_gone_at_once_unless_they_are_at_another() {
        let (now, all) = (Instant::now(), users(10));
        let mut roster = knowing(&all, now);
        assert!(!roster.digest(&digest("b", 7, &[]), now));
        for user in &all[..4] {
            roster.apply("b", 7, *user, Online);
        }
        roster.put_own(all[4], Online);
        assert!(roster.changes().is_empty(), "they are online as before");
        roster.died("a");
        let changes = roster.changes();
        assert_eq!(changes.len(), 5);
        assert!(changes.iter().all(|(user, status)| all[5..].contains(user) && *status == Offline));
        // It had died: what it still says is not believed without a digest.
        roster.apply("a", 1, all[9], Online);
        assert_eq!(roster.status(all[9]), Offline);
    }

    #[test]
    fn users_of_a_gateway_that_left_have_a_moment_to_move() {
        let (now, all) = (Instant::now(), users(2));
        let mut roster = knowing(&all, now);
        roster.left("a", now);
        roster.tick(now + MOVING / 2);
        roster.put_own(all[0], Online);
        assert!(roster.changes().is_empty());
        roster.tick(now + MOVING);
        assert_eq!(roster.changes(), [(all[1], Offline)]);
    }

    #[test]
    fn another_life_begins_without_users_and_the_old_one_is_not_believed() {
        let (now, all) = (Instant::now(), users(3));
        let mut roster = knowing(&all, now);
        assert!(!roster.digest(&digest("a", 2, &[]), now + SECOND));
        assert_eq!(roster.changes().len(), 3);
        roster.apply("a", 1, all[0], Online);
        parts(&mut roster, "a", 1, &all, 1);
        assert!(!roster.digest(&digest("a", 1, &all), now + SECOND));
        assert!(roster.changes().is_empty());
    }

    #[test]
    fn a_change_that_is_taken_back_in_time_is_none() {
        let (now, all) = (Instant::now(), users(1));
        let mut roster = knowing(&all, now);
        roster.apply("a", 1, all[0], Offline);
        roster.apply("a", 1, all[0], Online);
        assert!(roster.changes().is_empty());
    }
}
