//! Telling others who is at this gateway, all of it, when somebody's picture of it is wrong. Pure.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use chat_domain::bus::Signal;
use chat_protocol::UserId;

/// Users in one signal: about 40 KB of JSON.
pub(super) const USERS_PER_SIGNAL: usize = 1_000;
/// Parts published at once.
const PARTS_PER_TURN: usize = 4;
/// From one answer to the next at least; all who ask meanwhile share it.
const EVERY: Duration = Duration::from_secs(1);

/// Answers to [`Signal::OnlineWanted`].
#[derive(Default)]
pub(super) struct Answer {
    wanted: bool,
    began: Option<Instant>,
    users: Vec<UserId>,
    /// The next part, of how many.
    next: usize,
    parts: usize,
}

impl Answer {
    /// Notes that another process asked.
    pub(super) const fn want(&mut self) {
        self.wanted = true;
    }

    /// The next parts to publish, if any. `own` must be what was published so far, and what is published later must
    /// come behind these parts.
    pub(super) fn turn(
        &mut self,
        (node, epoch): (&Arc<str>, u64),
        own: &HashSet<UserId>,
        now: Instant,
    ) -> Vec<Signal> {
        let rested = self.began.is_none_or(|at| now.duration_since(at) >= EVERY);
        if self.next == self.parts && self.wanted && rested {
            self.wanted = false;
            self.began = Some(now);
            self.users = own.iter().copied().collect();
            self.next = 0;
            // Nobody is an answer, too.
            self.parts = self.users.len().div_ceil(USERS_PER_SIGNAL).max(1);
        }
        let mut signals = Vec::new();
        while self.next < self.parts && signals.len() < PARTS_PER_TURN {
            let users = self.users.chunks(USERS_PER_SIGNAL).nth(self.next).unwrap_or_default().to_vec();
            signals.push(Signal::Online {
                node: Arc::clone(node),
                epoch,
                part: u32::try_from(self.next).unwrap_or(u32::MAX),
                parts: u32::try_from(self.parts).unwrap_or(u32::MAX),
                users,
            });
            self.next += 1;
        }
        if self.next == self.parts {
            self.users = Vec::new();
        }
        signals
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_ask_at_once_get_one_answer_in_parts_of_a_bounded_size() {
        let (mut answer, node, now) = (Answer::default(), Arc::from("a"), Instant::now());
        let own: HashSet<UserId> = (0..6_500).map(|_| UserId::new()).collect();
        assert!(answer.turn((&node, 1), &own, now).is_empty());
        for _ in 0..10 {
            answer.want();
        }
        let mut sent = Vec::new();
        for turn in [4, 3, 0] {
            let signals = answer.turn((&node, 1), &own, now + EVERY / 2);
            assert_eq!(signals.len(), turn);
            for signal in signals {
                let Signal::Online { part, parts, users, .. } = signal else { panic!("{signal:?}") };
                assert_eq!((part as usize * USERS_PER_SIGNAL, parts), (sent.len(), 7));
                sent.extend(users);
            }
        }
        assert_eq!(sent.into_iter().collect::<HashSet<_>>(), own);
        answer.want();
        assert!(answer.turn((&node, 1), &own, now + EVERY).is_empty(), "not so soon");
        let none = HashSet::new();
        assert_eq!(answer.turn((&node, 1), &none, now + EVERY * 2).len(), 1);
    }
}
