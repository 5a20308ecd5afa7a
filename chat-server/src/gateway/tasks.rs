//! What a gateway does without being asked: reads the bus, says what it has to say to the other processes, tells
//! watchers, pings the silent.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use chat_protocol::{CloseCode, EventBody, PresenceStatus, ServerFrame, UserId};

use super::{
    Gateway,
    answer::USERS_PER_SIGNAL,
    presence::{DRAIN_GRACE, GRACE},
    wire,
};
use crate::{
    bus::{BusError, BusMessage, CommittedEvent, Digest, Signal, Subscription},
    cluster::Change,
};

/// How often the bus and the watchers are told what changed.
const TELL_EVERY: Duration = Duration::from_millis(200);
/// How often silent sockets are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// A publish that takes longer is given up: digests show what was lost by it.
const PUBLISH_WITHIN: Duration = Duration::from_secs(1);
/// How long the bus may take to bring an event before it is read from the store.
const TAIL_GRACE: Duration = Duration::from_secs(1);
/// When a process dies, channels with events in this time may lack some that it committed and did not publish.
const ACTIVE: Duration = Duration::from_secs(60);
/// Messages handled before others may run.
const BUS_BATCH: usize = 64;

impl Gateway {
    /// Starts the gateway's tasks; they end when the gateway is dropped or the bus closes. What was published
    /// before this call is not seen: call it before the first socket comes.
    pub fn spawn(self: &Arc<Self>) {
        tokio::spawn(bus_loop(Arc::downgrade(self), self.chat.bus().subscribe()));
        tokio::spawn(turn_loop(Arc::downgrade(self)));
        tokio::spawn(sweep_loop(Arc::downgrade(self)));
        self.spawn_ageing();
    }

    fn handle(self: &Arc<Self>, message: &BusMessage) {
        match message {
            BusMessage::Event(event) => self.handle_event(event),
            BusMessage::Signal(signal) => self.handle_signal(signal),
        }
    }

    fn handle_event(&self, event: &CommittedEvent) {
        self.chat.observe(event);
        match *event.body {
            // Whoever joins gets the event of it, and all that follow.
            EventBody::MemberJoined { user } => {
                for conn in self.conns_of(user) {
                    self.hub.subscribe(event.channel, &conn);
                }
                self.hub.deliver(event);
            }
            // Whoever leaves gets the event of it, and nothing that follows.
            EventBody::MemberLeft { user } => {
                self.hub.deliver(event);
                self.hub.depart(event.channel, &self.conns_of(user));
            }
            _ => self.hub.deliver(event),
        }
    }

    fn handle_signal(self: &Arc<Self>, signal: &Signal) {
        match signal {
            Signal::Typing { channel, user } => {
                let frame = wire::server_frame(&ServerFrame::Typing { channel: *channel, user: *user });
                self.hub.signal(*channel, &frame, *user);
            }
            Signal::Read { user, channel, seq, unread } => {
                let (channel, seq, unread) = (*channel, *seq, *unread);
                let frame = wire::server_frame(&ServerFrame::Read { channel, seq, unread });
                for conn in self.conns_of(*user) {
                    conn.push(std::slice::from_ref(&frame));
                }
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
            Signal::Attempts { .. } => {}
            Signal::Digest(digest) => {
                self.processes_changed(&self.cluster.hear(signal, Instant::now()));
                self.handle_digest(digest);
            }
            Signal::Gone { .. } => self.processes_changed(&self.cluster.hear(signal, Instant::now())),
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

    fn handle_digest(self: &Arc<Self>, digest: &Digest) {
        let now = Instant::now();
        // One that came late, of a process that has left, would bring its users back for ever.
        if self.cluster.believes(digest) && self.presence.lock().roster.digest(digest, now) {
            self.publish_soon(Signal::OnlineWanted { node: Arc::clone(&digest.node) });
        }
        self.compare_heads(digest, now);
    }

    fn compare_heads(&self, digest: &Digest, now: Instant) {
        for (channel, head) in &digest.heads {
            if self.hub.lacks(*channel, *head) {
                self.claims.lock().note(*channel, *head, now);
            }
        }
    }

    fn processes_changed(&self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Joined { node } => tracing::info!(%node, "process joined"),
                Change::Left { node } => {
                    tracing::info!(%node, "process left");
                    self.presence.lock().roster.left(node, Instant::now());
                }
                Change::Died { node } => {
                    tracing::warn!(%node, "process died");
                    self.presence.lock().roster.died(node);
                    // It may have committed what it did not come to publish.
                    self.hub.repair_active(ACTIVE);
                }
            }
        }
    }

    /// One turn of all that is done every [`TELL_EVERY`]. Answers what is to be published, in this order.
    fn turn(&self) -> Vec<Signal> {
        let now = Instant::now();
        self.processes_changed(&self.cluster.tick(now));
        let due = self.claims.lock().due(now, TAIL_GRACE);
        for (channel, head) in due {
            if self.hub.repair_to(channel, head) {
                self.metrics.tail_repairs.inc();
            }
        }
        let (signals, told) = {
            let mut presence = self.presence.lock();
            self.metrics
                .cluster_processes
                .set(i64::try_from(self.cluster.others().len() + 1).unwrap_or(i64::MAX));
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
            // Behind the news: its checksum is of what was said before it.
            let heads = |limit, within| self.chat.recent_heads(limit, within);
            if let Some(digest) = self.cluster.digest(now, presence.roster.own_sum(), heads) {
                signals.push(Signal::Digest(digest));
            }
            (signals, presence.tell())
        };
        for signal in &signals {
            if let Signal::Digest(digest) = signal {
                // What the bus does not even bring back to its publisher is missing here, too.
                self.compare_heads(digest, now);
            }
        }
        if !told.is_empty() {
            let users = self.users.lock();
            for conn in users.values().flatten() {
                if let Some(changes) = told.get(&conn.id) {
                    conn.send(&ServerFrame::Presence { users: changes.clone() });
                }
            }
        }
        signals
    }

    /// Publishes a signal; that it gets lost is shown by digests.
    pub(super) async fn publish(&self, signal: Signal) {
        let published = self.chat.bus().publish(BusMessage::Signal(signal));
        match tokio::time::timeout(PUBLISH_WITHIN, published).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, "signal was not published"),
            Err(_) => tracing::debug!("signal was not published in time"),
        }
    }

    fn publish_soon(self: &Arc<Self>, signal: Signal) {
        let gateway = Arc::clone(self);
        tokio::spawn(async move { gateway.publish(signal).await });
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
        drop(users);
        self.hub.forget_idle();
    }
}

async fn bus_loop(gateway: Weak<Gateway>, mut subscription: Box<dyn Subscription>) {
    loop {
        let mut next = Some(subscription.next().await);
        let Some(gateway) = gateway.upgrade() else { return };
        let mut handled = 0;
        while let Some(message) = next {
            match message {
                Ok(message) => gateway.handle(&message),
                Err(BusError::Missed(count)) => {
                    tracing::warn!(count, "bus messages were missed; repairing from the store");
                    gateway.chat.forget_all();
                    gateway.hub.repair_all();
                }
                Err(BusError::Closed) => return,
            }
            handled += 1;
            next = if handled < BUS_BATCH { subscription.try_next() } else { None };
        }
        drop(gateway);
        tokio::task::yield_now().await;
    }
}

async fn turn_loop(gateway: Weak<Gateway>) {
    let mut ticks = tokio::time::interval(TELL_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(gateway) = gateway.upgrade() else { return };
        for signal in gateway.turn() {
            gateway.publish(signal).await;
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
