//! Who is online, and who wants to know. Pure: time and messages come in, changes come out.
//!
//! Each gateway says who is at it, over the bus; a user is online while at least one gateway says so (`roster`). Leaving
//! is said after a grace time, so that a reconnect is no news. What changes is gathered: for the bus into one signal,
//! for each watching socket into one frame, both once a turn.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use chat_protocol::{PresenceStatus, UserId, UserPresence};

use super::{answer::Answer, guests::Guests, roster::Roster};

/// How long after the last socket went a user counts as gone.
pub(super) const GRACE: Duration = Duration::from_secs(1);
/// The same while the gateway drains: whoever was sent away is on the way to another one.
pub(super) const DRAIN_GRACE: Duration = Duration::from_secs(5);

/// The presence of all users, as this gateway knows it, and the watch lists of its sockets.
#[derive(Default)]
pub(super) struct Presence {
    /// Who is at which gateway.
    pub(super) roster: Roster,
    /// What others get of this gateway's users when they ask.
    pub(super) answer: Answer,
    /// Users of this gateway without a socket, and since when.
    leaving: HashMap<UserId, Instant>,
    /// Who came to and left this gateway; not published to the bus yet.
    news: HashMap<UserId, PresenceStatus>,
    /// Sockets of this gateway, and whom they watch.
    watching: HashMap<u64, Vec<UserId>>,
    /// The same, the other way round.
    watchers: HashMap<UserId, HashSet<u64>>,
    /// Whom guests want to watch.
    pub(super) guests: Guests,
}

impl Presence {
    /// A user's first socket came to this gateway.
    pub(super) fn arrived(&mut self, user: UserId) {
        if self.leaving.remove(&user).is_none() {
            self.put(user, PresenceStatus::Online);
        }
    }

    /// A user's last socket left this gateway.
    pub(super) fn left(&mut self, user: UserId, now: Instant) {
        self.leaving.insert(user, now);
    }

    /// Users who have been without a socket for the grace time are gone.
    pub(super) fn depart(&mut self, now: Instant, grace: Duration) {
        let gone: Vec<UserId> = self
            .leaving
            .extract_if(|_, since| now.duration_since(*since) >= grace)
            .map(|(user, _)| user)
            .collect();
        for user in gone {
            self.put(user, PresenceStatus::Offline);
        }
    }

    fn put(&mut self, user: UserId, status: PresenceStatus) {
        if self.roster.put_own(user, status) {
            self.news.insert(user, status);
        }
    }

    /// Who came and who left since the last call, for the bus.
    pub(super) fn news(&mut self) -> (Vec<UserId>, Vec<UserId>) {
        let (mut online, mut offline) = (Vec::new(), Vec::new());
        for (user, status) in std::mem::take(&mut self.news) {
            match status {
                PresenceStatus::Online => online.push(user),
                PresenceStatus::Offline => offline.push(user),
            }
        }
        (online, offline)
    }

    /// Replaces a socket's watch list. Answers how all of them are now.
    pub(super) fn watch(&mut self, conn: u64, users: Vec<UserId>) -> Vec<UserPresence> {
        self.guests.forget(conn);
        self.put_watch(conn, users)
    }

    pub(super) fn put_watch(&mut self, conn: u64, mut users: Vec<UserId>) -> Vec<UserPresence> {
        self.stop(conn);
        users.sort_unstable();
        users.dedup();
        let now = users.iter().map(|user| UserPresence { user: *user, status: self.roster.status(*user) });
        let now = now.collect();
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
        self.guests.forget(conn);
        self.stop(conn);
    }

    /// A socket gets no changes any more.
    pub(super) fn stop(&mut self, conn: u64) {
        for user in self.watching.remove(&conn).unwrap_or_default() {
            if let Some(watchers) = self.watchers.get_mut(&user) {
                watchers.remove(&conn);
                if watchers.is_empty() {
                    self.watchers.remove(&user);
                }
            }
        }
    }

    /// What each watching socket must be sent since the last call, in one piece each.
    pub(super) fn take_changes(&mut self) -> HashMap<u64, Vec<UserPresence>> {
        let mut changes: HashMap<u64, Vec<UserPresence>> = HashMap::new();
        for (user, status) in self.roster.changes() {
            for conn in self.watchers.get(&user).into_iter().flatten() {
                changes.entry(*conn).or_default().push(UserPresence { user, status });
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reconnect_within_the_grace_time_is_no_news() {
        let (mut presence, user, start) = (Presence::default(), UserId::new(), Instant::now());
        presence.arrived(user);
        assert_eq!(presence.news(), (vec![user], vec![]));
        presence.left(user, start);
        presence.depart(start + GRACE / 2, GRACE);
        presence.arrived(user);
        presence.depart(start + GRACE * 2, GRACE);
        assert_eq!(presence.news(), (vec![], vec![]));
        presence.left(user, start);
        presence.depart(start + GRACE, GRACE);
        assert_eq!(presence.news(), (vec![], vec![user]));
        presence.depart(start + GRACE * 2, GRACE);
        assert_eq!(presence.news(), (vec![], vec![]));
        presence.arrived(user);
        assert_eq!(presence.news(), (vec![user], vec![]));
    }

    #[test]
    fn watchers_hear_only_of_those_they_watch_now() {
        let mut presence = Presence::default();
        let (ada, grace) = (UserId::new(), UserId::new());
        presence.watch(1, vec![ada, ada]);
        assert_eq!(presence.watch(1, vec![grace]).len(), 1);
        presence.arrived(ada);
        assert!(presence.take_changes().is_empty());
        presence.arrived(grace);
        assert_eq!(
            presence.take_changes()[&1],
            [UserPresence { user: grace, status: PresenceStatus::Online }]
        );
        presence.left(grace, Instant::now());
        presence.depart(Instant::now() + GRACE, GRACE);
        presence.unwatch(1);
        assert!(presence.take_changes().is_empty());
        assert!(presence.watchers.is_empty() && presence.watching.is_empty());
    }
}
