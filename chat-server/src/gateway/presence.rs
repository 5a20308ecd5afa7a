//! Who is online, and who wants to know. Pure: time and messages come in, changes come out.
//!
//! Each gateway says who is at it, over the bus; a user is online while at least one gateway says so. Leaving
//! is said after a grace time, so that a reconnect is no news.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use chat_protocol::{PresenceStatus, UserId, UserPresence};

/// How long after the last socket went a user counts as gone.
pub(super) const GRACE: Duration = Duration::from_secs(1);

/// The presence of all users, as this gateway knows it, and the watch lists of its sockets.
#[derive(Default)]
pub(super) struct Presence {
    /// Users and the gateways that they are at.
    online: HashMap<UserId, HashSet<Arc<str>>>,
    /// Users of this gateway without a socket, and since when.
    leaving: HashMap<UserId, Instant>,
    /// Sockets of this gateway, and whom they watch.
    watching: HashMap<u64, Vec<UserId>>,
    /// The same, the other way round.
    watchers: HashMap<UserId, HashSet<u64>>,
    /// Changes that watchers have not been told yet; the last one of a user counts.
    untold: HashMap<UserId, PresenceStatus>,
}

impl Presence {
    /// A user's first socket came to this gateway. True when that is news for the bus.
    pub(super) fn arrived(&mut self, user: UserId) -> bool {
        self.leaving.remove(&user).is_none()
    }

    /// A user's last socket left this gateway.
    pub(super) fn left(&mut self, user: UserId, now: Instant) {
        self.leaving.insert(user, now);
    }

    /// Users who have been gone for the grace time: news for the bus, once.
    pub(super) fn departed(&mut self, now: Instant) -> Vec<UserId> {
        let gone: Vec<UserId> = self
            .leaving
            .iter()
            .filter(|(_, since)| now.duration_since(**since) >= GRACE)
            .map(|(user, _)| *user)
            .collect();
        for user in &gone {
            self.leaving.remove(user);
        }
        gone
    }

    /// News from the bus.
    pub(super) fn apply(&mut self, gateway: &Arc<str>, user: UserId, status: PresenceStatus) {
        let before = self.status(user);
        match status {
            PresenceStatus::Online => {
                self.online.entry(user).or_default().insert(Arc::clone(gateway));
            }
            PresenceStatus::Offline => {
                if let Some(gateways) = self.online.get_mut(&user) {
                    gateways.remove(gateway);
                    if gateways.is_empty() {
                        self.online.remove(&user);
                    }
                }
            }
        }
        let after = self.status(user);
        if before != after && self.watchers.contains_key(&user) {
            self.untold.insert(user, after);
        }
    }

    pub(super) fn status(&self, user: UserId) -> PresenceStatus {
        if self.online.contains_key(&user) { PresenceStatus::Online } else { PresenceStatus::Offline }
    }

    /// Replaces a socket's watch list. Answers how all of them are now.
    pub(super) fn watch(&mut self, conn: u64, mut users: Vec<UserId>) -> Vec<UserPresence> {
        self.unwatch(conn);
        users.sort_unstable();
        users.dedup();
        let now = users.iter().map(|user| UserPresence { user: *user, status: self.status(*user) }).collect();
        for user in &users {
            self.watchers.entry(*user).or_default().insert(conn);
        }
        if !users.is_empty() {
            self.watching.insert(conn, users);
        }
        now
    }

    /// Forgets a socket's watch list.
    pub(super) fn unwatch(&mut self, conn: u64) {
        for user in self.watching.remove(&conn).unwrap_or_default() {
            if let Some(watchers) = self.watchers.get_mut(&user) {
                watchers.remove(&conn);
                if watchers.is_empty() {
                    self.watchers.remove(&user);
                }
            }
        }
    }

    /// What each watching socket must be told since the last call, in one piece each.
    pub(super) fn tell(&mut self) -> HashMap<u64, Vec<UserPresence>> {
        let mut told: HashMap<u64, Vec<UserPresence>> = HashMap::new();
        for (user, status) in std::mem::take(&mut self.untold) {
            for conn in self.watchers.get(&user).into_iter().flatten() {
                told.entry(*conn).or_default().push(UserPresence { user, status });
            }
        }
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gateway(name: &str) -> Arc<str> {
        Arc::from(name)
    }

    #[test]
    fn a_user_is_online_while_one_gateway_says_so() {
        let (mut presence, user) = (Presence::default(), UserId::new());
        presence.watch(1, vec![user]);
        presence.apply(&gateway("a"), user, PresenceStatus::Online);
        presence.apply(&gateway("b"), user, PresenceStatus::Online);
        assert_eq!(presence.tell()[&1], [UserPresence { user, status: PresenceStatus::Online }]);
        presence.apply(&gateway("a"), user, PresenceStatus::Offline);
        assert!(presence.tell().is_empty());
        presence.apply(&gateway("b"), user, PresenceStatus::Offline);
        assert_eq!(presence.tell()[&1], [UserPresence { user, status: PresenceStatus::Offline }]);
    }

    #[test]
    fn a_reconnect_within_the_grace_time_is_no_news() {
        let (mut presence, user, start) = (Presence::default(), UserId::new(), Instant::now());
        assert!(presence.arrived(user));
        presence.left(user, start);
        assert!(presence.departed(start + GRACE / 2).is_empty());
        assert!(!presence.arrived(user));
        assert!(presence.departed(start + GRACE * 2).is_empty());
        presence.left(user, start);
        assert_eq!(presence.departed(start + GRACE), [user]);
        assert!(presence.departed(start + GRACE * 2).is_empty());
        assert!(presence.arrived(user));
    }

    #[test]
    fn watchers_hear_only_of_those_they_watch_now() {
        let mut presence = Presence::default();
        let (ada, grace) = (UserId::new(), UserId::new());
        presence.watch(1, vec![ada, ada]);
        assert_eq!(presence.watch(1, vec![grace]).len(), 1);
        presence.apply(&gateway("a"), ada, PresenceStatus::Online);
        assert!(presence.tell().is_empty());
        presence.apply(&gateway("a"), grace, PresenceStatus::Online);
        presence.unwatch(1);
        assert!(presence.tell().is_empty());
        assert!(presence.watchers.is_empty() && presence.watching.is_empty());
    }
}
