//! What a gateway does without being asked: reads the bus, tells watchers, pings the silent.

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use chat_protocol::{CloseCode, EventBody, PresenceStatus, ServerFrame};

use super::{Gateway, wire};
use crate::bus::{BusError, BusMessage, CommittedEvent, Signal, Subscription};

/// How often watchers are told what changed.
const TELL_EVERY: Duration = Duration::from_millis(200);
/// How often silent sockets are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// Messages handled before others may run.
const BUS_BATCH: usize = 64;

impl Gateway {
    /// Starts the gateway's tasks; they end when the gateway is dropped or the bus closes. What was published
    /// before this call is not seen: call it before the first socket comes.
    pub fn spawn(self: &Arc<Self>) {
        tokio::spawn(bus_loop(Arc::downgrade(self), self.chat.bus().subscribe()));
        tokio::spawn(presence_loop(Arc::downgrade(self)));
        tokio::spawn(sweep_loop(Arc::downgrade(self)));
    }

    fn handle(self: &Arc<Self>, message: &BusMessage) {
        match message {
            BusMessage::Event(event) => self.handle_event(event),
            BusMessage::Signal(signal) => self.handle_signal(signal),
        }
    }

    fn handle_event(&self, event: &CommittedEvent) {
        self.chat.observe(event);
        match event.body {
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

    fn handle_signal(&self, signal: &Signal) {
        match signal {
            Signal::Typing { channel, user } => {
                let frame = wire::server_frame(&ServerFrame::Typing { channel: *channel, user: *user });
                self.hub.signal(*channel, &frame, *user);
            }
            Signal::Read { user, channel, seq } => {
                let frame = wire::server_frame(&ServerFrame::Read { channel: *channel, seq: *seq });
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
            Signal::Digest(_) | Signal::Gone { .. } | Signal::Online { .. } | Signal::OnlineWanted { .. } => {
            }
            Signal::Presence { gateway, user, status } => {
                self.presence.lock().apply(gateway, *user, *status);
            }
        }
    }

    fn tell_watchers(&self) {
        let (departed, told) = {
            let mut presence = self.presence.lock();
            (presence.departed(Instant::now()), presence.tell())
        };
        for user in departed {
            self.say(user, PresenceStatus::Offline);
        }
        if told.is_empty() {
            return;
        }
        let users = self.users.lock();
        for conn in users.values().flatten() {
            if let Some(changes) = told.get(&conn.id) {
                conn.send(&ServerFrame::Presence { users: changes.clone() });
            }
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

async fn presence_loop(gateway: Weak<Gateway>) {
    let mut ticks = tokio::time::interval(TELL_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(gateway) = gateway.upgrade() else { return };
        gateway.tell_watchers();
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
