//! Whom guests watch: only people whom they share a channel with. Of anybody else they get what they would get of somebody who
//! does not exist.
//!
//! The store is asked when a guest begins to watch. Whoever comes to a channel or leaves one may change that, for themselves and
//! for those who watch them: at once nothing more is said, and the store is asked again.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Weak},
};

use chat_domain::chat::{Actor, ChatError};
use chat_protocol::{PresenceStatus, ServerFrame, UserId, UserPresence, rest::Role};
use futures_util::{StreamExt as _, stream};
use tokio::sync::watch;

use super::{Gateway, conn::Conn, presence::Presence};

/// Guests about whom the store is asked at the same time.
const AT_ONCE: usize = 16;

/// Whom the guests among the sockets want to watch.
#[derive(Default)]
pub(super) struct Guests {
    asked: HashMap<u64, Asked>,
    /// Sockets about which the store must be asked again.
    outdated: HashSet<u64>,
    last_version: u64,
}

struct Asked {
    guest: UserId,
    /// Sorted, each of them once.
    users: Vec<UserId>,
    /// Another one whenever what the store said may be no longer true.
    version: u64,
}

impl Guests {
    /// A guest wants to watch these.
    pub(super) fn ask(&mut self, conn: u64, guest: UserId, mut users: Vec<UserId>) {
        users.sort_unstable();
        users.dedup();
        self.last_version += 1;
        self.outdated.remove(&conn);
        self.asked.insert(conn, Asked { guest, users, version: self.last_version });
    }

    pub(super) fn forget(&mut self, conn: u64) {
        self.asked.remove(&conn);
        self.outdated.remove(&conn);
    }

    /// Whom a socket wants to watch, as of which version.
    fn asked(&self, conn: u64) -> Option<(u64, Vec<UserId>)> {
        self.asked.get(&conn).map(|asked| (asked.version, asked.users.clone()))
    }

    fn is_current(&self, conn: u64, version: u64) -> bool {
        self.asked.get(&conn).is_some_and(|asked| asked.version == version)
    }

    /// Somebody came to a channel or left one; `None`: anybody may have. Answers whose watching must stop until the store was asked.
    pub(super) fn moved(&mut self, user: Option<UserId>) -> Vec<u64> {
        let mut stop = Vec::new();
        for (conn, asked) in &mut self.asked {
            if user.is_none_or(|user| asked.guest == user || asked.users.binary_search(&user).is_ok()) {
                self.last_version += 1;
                asked.version = self.last_version;
                stop.push(*conn);
            }
        }
        self.outdated.extend(&stop);
        stop
    }

    /// Sockets about which the store must be asked, with their users.
    fn take_outdated(&mut self) -> Vec<(u64, UserId)> {
        let outdated = std::mem::take(&mut self.outdated);
        outdated.into_iter().filter_map(|conn| Some((conn, self.asked.get(&conn)?.guest))).collect()
    }
}

impl Presence {
    /// Lets a guest's socket watch those of whom it wants it that the store says it may, if that was said as of the current version.
    /// Answers how all whom it asked for are now: those it may not watch are where nobody is.
    fn grant(&mut self, conn: u64, version: u64, visible: &HashSet<UserId>) -> Option<Vec<UserPresence>> {
        if !self.guests.is_current(conn, version) {
            return None;
        }
        let (_, users) = self.guests.asked(conn)?;
        let (seen, hidden): (Vec<_>, Vec<_>) = users.into_iter().partition(|user| visible.contains(user));
        let mut now = self.put_watch(conn, seen);
        now.extend(hidden.into_iter().map(|user| UserPresence { user, status: PresenceStatus::Offline }));
        Some(now)
    }
}

impl Gateway {
    /// Whom a socket watches from now on, answered with how they are.
    pub(super) async fn watch(
        &self,
        conn: &Conn,
        actor: &Actor,
        users: Vec<UserId>,
    ) -> Result<(), ChatError> {
        if actor.role != Role::Guest {
            let users = self.presence.lock().watch(conn.id, users);
            conn.send(&ServerFrame::Presence { users });
            return Ok(());
        }
        {
            let mut presence = self.presence.lock();
            presence.unwatch(conn.id);
            presence.guests.ask(conn.id, actor.user, users);
        }
        self.grant(conn, actor).await
    }

    /// Asks the store whom a guest may watch, until it has said so of the state that there is.
    async fn grant(&self, conn: &Conn, actor: &Actor) -> Result<(), ChatError> {
        loop {
            let Some((version, users)) = self.presence.lock().guests.asked(conn.id) else { return Ok(()) };
            let visible = match self.chat.visible(actor, &users).await {
                Ok(visible) => visible,
                Err(error) => {
                    // What is not known is not shown.
                    let users = self.presence.lock().grant(conn.id, version, &HashSet::new());
                    if let Some(users) = users {
                        conn.send(&ServerFrame::Presence { users });
                    }
                    return Err(error);
                }
            };
            let users = self.presence.lock().grant(conn.id, version, &visible);
            if let Some(users) = users {
                conn.send(&ServerFrame::Presence { users });
                return Ok(());
            }
        }
    }

    /// Somebody came to a channel or left one; `None`: anybody may have.
    pub(super) fn somebody_moved(&self, user: Option<UserId>) {
        let mut presence = self.presence.lock();
        let outdated = presence.guests.moved(user);
        for conn in &outdated {
            presence.stop(*conn);
        }
        if !outdated.is_empty() {
            self.guests_moved.send_replace(());
        }
    }

    /// Starts to ask the store about guests again when something changes.
    pub(super) fn spawn_guests(self: &Arc<Self>) {
        tokio::spawn(guests_loop(Arc::downgrade(self), self.guests_moved.subscribe()));
    }

    async fn grant_again(&self) {
        let outdated = self.presence.lock().guests.take_outdated();
        let granted: Vec<_> =
            outdated.into_iter().map(|(conn, guest)| self.grant_one_again(conn, guest)).collect();
        stream::iter(granted).buffer_unordered(AT_ONCE).collect::<()>().await;
    }

    async fn grant_one_again(&self, conn: u64, guest: UserId) {
        let Some(conn) = self.conns_of(guest).into_iter().find(|other| other.id == conn) else { return };
        let Some(actor) = conn.actor() else { return };
        if let Err(error) = self.grant(&conn, actor).await {
            tracing::debug!(%guest, %error, "a guest watches nobody any more");
        }
    }
}

async fn guests_loop(gateway: Weak<Gateway>, mut moved: watch::Receiver<()>) {
    while moved.changed().await.is_ok() {
        let Some(gateway) = gateway.upgrade() else { return };
        gateway.grant_again().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_store_said_before_somebody_moved_does_not_count() {
        let (mut presence, guest, ada, grace) =
            (Presence::default(), UserId::new(), UserId::new(), UserId::new());
        presence.arrived(ada);
        presence.arrived(grace);
        presence.guests.ask(1, guest, vec![ada, grace]);
        let visible = HashSet::from([ada, grace]);
        let (version, users) = presence.guests.asked(1).expect("was asked");
        assert_eq!(users.len(), 2);
        assert_eq!(presence.guests.moved(Some(UserId::new())), Vec::<u64>::new());
        assert_eq!(presence.guests.moved(Some(grace)), [1]);
        assert_eq!(presence.grant(1, version, &visible), None);

        assert_eq!(presence.guests.take_outdated(), [(1, guest)]);
        let (version, _) = presence.guests.asked(1).expect("was asked");
        let now = presence.grant(1, version, &HashSet::from([ada])).expect("is current");
        let status = |user| now.iter().find(|now| now.user == user).map(|now| now.status);
        assert_eq!(status(ada), Some(PresenceStatus::Online));
        assert_eq!(status(grace), Some(PresenceStatus::Offline), "whom one may not see is where nobody is");
        // What moves oneself moves all.
        assert_eq!(presence.guests.moved(Some(guest)), [1]);
        presence.unwatch(1);
        assert!(presence.guests.take_outdated().is_empty());
        assert_eq!(presence.guests.moved(None), Vec::<u64>::new());
    }
}
