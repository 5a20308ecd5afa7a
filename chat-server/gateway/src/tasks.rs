//! What a gateway does without being asked: passes on what the bus brings, publishes who came and went, notifies watchers, pings
//! the silent.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use chat_cluster::{
    Change,
    process::{self, Listener, Turn},
};
use chat_domain::bus::{CommittedEvent, Digest, Signal};
use chat_protocol::{ChannelId, CloseCode, EventBody, Generation, PresenceStatus, Seq, ServerFrame, UserId};

use super::{
    Gateway,
    answer::USERS_PER_SIGNAL,
    places::Moved,
    presence::{DRAIN_GRACE, GRACE},
    wire,
};

/// How often silent sockets are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

impl Listener for Gateway {
    fn committed(&self, event: &Arc<CommittedEvent>) {
        match *event.body {
            // Whoever joins gets the event of it, and all that follow.
            EventBody::MemberJoined { user } => {
                for conn in self.conns_of(user) {
                    self.hub().subscribe(event.channel, &conn);
                }
                self.feed.committed(event);
                self.somebody_moved(Some(user));
            }
            // Whoever leaves gets the event of it, and nothing that follows.
            EventBody::MemberLeft { user } => {
                self.feed.committed(event);
                self.hub().depart(event.channel, &self.conns_of(user));
                self.somebody_moved(Some(user));
            }
            _ => self.feed.committed(event),
        }
        if let Some(reader) = event.reader {
            // It had read all that others wrote before.
            let CommittedEvent { channel, seq, .. } = **event;
            self.moved(reader, Moved { channel, seq, unread: Some(0), head: Some(seq) });
        }
    }

    fn missed(&self) {
        self.feed.missed();
        self.somebody_moved(None);
    }

    fn begins(&self, generation: Option<Generation>) {
        self.begin(generation);
    }

    fn heard(&self, signal: &Signal) {
        match signal {
            Signal::Typing { channel, user } => {
                let frame = wire::server_frame(&ServerFrame::Typing { channel: *channel, user: *user });
                self.hub().signal(*channel, &frame, *user);
            }
            Signal::Read { user, channel, seq, unread, head, .. } => {
                self.moved(*user, Moved { channel: *channel, seq: *seq, unread: *unread, head: *head });
            }
            Signal::SessionRevoked { session } => {
                let users = self.users.lock();
                for conn in users.values().flatten() {
                    if conn.actor().is_some_and(|actor| actor.session == *session) {
                        conn.close(CloseCode::SessionRevoked);
                    }
                }
            }
            Signal::AuthVersion { user, version } => {
                for conn in self.conns_of(*user) {
                    if conn.actor().is_some_and(|actor| actor.auth_version < *version) {
                        conn.close(CloseCode::Unauthenticated);
                    }
                }
            }
            Signal::Attempts { .. } | Signal::Gone { .. } => {}
            Signal::Digest(digest) => self.compare_users(digest),
            Signal::Online { node, epoch, part, parts, users } => {
                if node != self.cluster.name() {
                    self.presence.lock().roster.part(node, *epoch, (*part, *parts), users);
                }
            }
            Signal::OnlineWanted { node } => {
                let mut presence = self.presence.lock();
                if node == self.cluster.name() {
                    presence.answer.want();
                } else {
                    presence.roster.asked(node, Instant::now());
                }
            }
            Signal::Presence { gateway, epoch, online, offline } => {
                if gateway != self.cluster.name() {
                    let mut presence = self.presence.lock();
                    for (users, status) in
                        [(online, PresenceStatus::Online), (offline, PresenceStatus::Offline)]
                    {
                        for user in users {
                            presence.roster.apply(gateway, *epoch, *user, status);
                        }
                    }
                }
            }
        }
    }

    fn changed(&self, change: &Change) {
        match change {
            Change::Joined { .. } => {}
            Change::Left { node } => self.presence.lock().roster.left(node, Instant::now()),
            Change::Died { node } => self.presence.lock().roster.died(node),
        }
        self.feed.changed(change);
    }

    fn heads(&self, heads: &[(ChannelId, Seq)]) {
        self.feed.heads(heads);
    }

    fn turn(&self, now: Instant) -> Turn {
        self.feed.turn(now);
        let (turn, due) = {
            let mut presence = self.presence.lock();
            presence.depart(now, if self.is_draining() { DRAIN_GRACE } else { GRACE });
            presence.roster.tick(now);
            let (name, epoch) = (self.cluster.name(), self.cluster.epoch());
            let mut signals = Vec::new();
            let (online, offline) = presence.news();
            let change = |online: &[UserId], offline: &[UserId]| Signal::Presence {
                gateway: Arc::clone(name),
                epoch,
                online: online.to_vec(),
                offline: offline.to_vec(),
            };
            signals.extend(online.chunks(USERS_PER_SIGNAL).map(|users| change(users, &[])));
            signals.extend(offline.chunks(USERS_PER_SIGNAL).map(|users| change(&[], users)));
            let presence = &mut *presence;
            signals.extend(presence.answer.turn((name, epoch), presence.roster.own(), now));
            (Turn { signals, online: Some(presence.roster.own_sum()) }, presence.take_changes())
        };
        if !due.is_empty() {
            let users = self.users.lock();
            for conn in users.values().flatten() {
                if let Some(changes) = due.get(&conn.id) {
                    conn.send(&ServerFrame::Presence { users: changes.clone() });
                }
            }
        }
        turn
    }
}

impl Gateway {
    /// Starts the gateway's own tasks; they end when it is dropped. It must also be among the listeners of the process.
    pub fn spawn(self: &Arc<Self>) {
        tokio::spawn(sweep_loop(Arc::downgrade(self)));
        self.spawn_guests();
        self.spawn_ageing();
    }

    /// A read marker moved: all sockets of its user get it.
    fn moved(&self, user: UserId, moved: Moved) {
        for conn in self.conns_of(user) {
            conn.moved(moved);
        }
    }

    fn compare_users(&self, digest: &Digest) {
        // One that came late, of a process that has left, would bring its users back for ever.
        if self.cluster.believes(digest) && self.presence.lock().roster.digest(digest, Instant::now()) {
            let (chat, wanted) =
                (Arc::clone(&self.chat), Signal::OnlineWanted { node: Arc::clone(&digest.node) });
            tokio::spawn(async move { process::publish(&chat, wanted).await });
        }
    }

    fn sweep(&self) {
        let ping = wire::ping_frame();
        let users = self.users.lock();
        for conn in users.values().flatten() {
            let silent = Duration::from_secs(conn.silent_seconds());
            if conn.actor().is_some_and(|actor| self.verifier.revoked().contains(actor.session)) {
                // Its signal was missed.
                conn.close(CloseCode::SessionRevoked);
            } else if conn.actor().is_some_and(|actor| self.verifier.is_outdated(actor)) {
                // The same.
                conn.close(CloseCode::Unauthenticated);
            } else if silent >= self.options.idle_timeout {
                conn.close(CloseCode::IdleTimeout);
            } else if silent >= self.options.ping_after {
                conn.push_ephemeral(&ping);
            }
        }
    }
}

async fn sweep_loop(gateway: Weak<Gateway>) {
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(gateway) = gateway.upgrade() else { return };
        gateway.sweep();
    }
}
