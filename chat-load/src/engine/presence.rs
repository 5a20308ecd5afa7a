//! Presence: some connections come and go, others watch and measure how long it takes until they see it.

use std::sync::atomic::Ordering;

use chat_protocol::{ClientFrame, PresenceStatus, UserPresence};
use rand::RngExt;

use super::{Expected, Share, conn::Link, worker::Worker};
use crate::timeline::PresenceEvent;

/// Over all workers, one of the watched goes away this often, in microseconds.
const TOGGLE_US: u64 = 250_000;
/// For how long: longer than a server may take to report that they are away.
const AWAY_MS: u64 = 3_000;

impl Worker {
    pub(super) fn start_presence(&mut self, now: u64) {
        if self.plan.share.is_some() {
            let toggle = self.schedule.and_then(|schedule| schedule.toggle);
            self.next_toggle_us = toggle.map_or(u64::MAX, |toggle| toggle.first_us);
        } else if !self.plan.targets.is_empty() {
            self.next_toggle_us = now + TOGGLE_US;
        }
    }

    /// A watcher that is welcomed says whom it watches.
    pub(super) fn watch(&mut self, conn: usize) {
        if self.global(conn) >= self.plan.watchers || self.plan.targets.is_empty() {
            return;
        }
        let targets = self.plan.targets.clone();
        let watched = match self.plan.share {
            None => targets,
            Some(Share { watched_by_each: each, .. }) => {
                let first = targets.start + self.global(conn) * each;
                first.min(targets.end)..(first + each).min(targets.end)
            }
        };
        let users = watched.map(|target| self.plan.account(target).user).collect();
        if let Ok(json) = serde_json::to_vec(&ClientFrame::Watch { id: None, users }) {
            self.timeline.see(self.plan.now_us(), PresenceEvent::Watches { watcher: self.global(conn) });
            self.write(conn, &json);
        }
    }

    pub(super) fn toggle_due(&mut self, now: u64) {
        let threads = u64::from(self.plan.options.threads);
        let toggle = self.schedule.and_then(|schedule| schedule.toggle);
        let every_us = toggle.map_or(TOGGLE_US * threads, |toggle| toggle.every_us);
        while self.next_toggle_us <= now {
            self.next_toggle_us += every_us;
            // The last ones have the time to come back before the end.
            let end_us = self.schedule.map_or(0, |schedule| schedule.end_us);
            if self.next_toggle_us + AWAY_MS * 1000 >= end_us {
                self.next_toggle_us = u64::MAX;
            }
            let target = self.rng.random_range(self.plan.targets.clone());
            let conn = target as usize / usize::from(self.plan.options.threads);
            let mine = target % u32::from(self.plan.options.threads) == u32::from(self.id);
            if mine && self.conns[conn].link == Link::Live {
                self.presence_expected(conn, false);
                self.drop_for(conn, AWAY_MS, now);
            }
        }
    }

    /// From now on watchers should hear that this connection's user is there, or not.
    pub(super) fn presence_expected(&self, conn: usize, online: bool) {
        let number = self.global(conn);
        // Who comes for the first time is not waited for: watchers may not watch yet.
        if !self.plan.targets.contains(&number) || self.schedule.is_none() {
            return;
        }
        let change = self.shared.presence_changes.fetch_add(1, Ordering::Relaxed);
        let expected = Expected { online, since_us: self.plan.now_us(), change };
        let mut all = self.shared.presence.lock();
        all.insert(self.plan.account(number).user, expected);
    }

    /// The socket is welcomed: of a watched user that is the truth.
    pub(super) fn on_connected(&mut self, conn: usize) {
        let number = self.global(conn);
        if self.plan.targets.contains(&number) {
            let user = self.plan.account(number).user;
            self.timeline.see(self.plan.now_us(), PresenceEvent::Changed { user, online: true });
        }
    }

    /// The socket is gone: of a watched user that is the truth, and a watcher sees nothing any more.
    pub(super) fn on_disconnected(&mut self, conn: usize) {
        let (number, now) = (self.global(conn), self.plan.now_us());
        if self.plan.targets.contains(&number) {
            let user = self.plan.account(number).user;
            self.timeline.see(now, PresenceEvent::Changed { user, online: false });
        } else if number < self.plan.watchers {
            self.timeline.see(now, PresenceEvent::Blind { watcher: number });
        }
    }

    /// How long a watched user whose socket the server cut stays away, so that watchers must hear of it.
    pub(super) fn stay_away_us(&self) -> u64 {
        let away = std::time::Duration::from_secs_f64(self.plan.options.stay_away);
        u64::try_from(away.as_micros()).unwrap_or_default()
    }

    pub(super) fn presence(&mut self, conn: usize, users: &[UserPresence], now: u64) {
        for UserPresence { user, status } in users {
            let online = *status == PresenceStatus::Online;
            self.timeline
                .see(now, PresenceEvent::Reported { watcher: self.global(conn), user: *user, online });
            let expected = {
                let all = self.shared.presence.lock();
                all.get(user).copied()
            };
            let Some(expected) = expected else { continue };
            if online == expected.online && self.presence_seen.insert((conn, *user, expected.change)) {
                let took_us = now.saturating_sub(expected.since_us);
                self.outcome.presence.record(took_us);
                self.outcome.by_time.presence.record(expected.since_us, took_us);
            }
        }
    }
}
