//! For how long watchers saw something else than was true.

use std::collections::HashMap;

use chat_protocol::UserId;

use crate::timeline::{PresenceEvent, Timeline};

/// A time in which one watcher was wrong about one user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wrong {
    /// Number of the connection that watches.
    pub watcher: u32,
    /// The user who was shown wrongly.
    pub user: UserId,
    /// Start, in microseconds from the start of the run.
    pub from_us: u64,
    /// Until it was informed, the truth came back to what it believed, or it could see nothing any more.
    pub to_us: u64,
}

#[derive(Default)]
struct Watcher {
    sees: HashMap<UserId, bool>,
    wrong_since: HashMap<UserId, u64>,
}

/// All times in which a watcher was wrong, about users whose presence is known. What a watcher has not been informed of
/// since it began to watch counts as wrong.
#[must_use]
pub fn wrong(timeline: &Timeline) -> Vec<Wrong> {
    let mut presence = timeline.presence.clone();
    // Several threads wrote them; of one moment, the truth comes first.
    presence.sort_by_key(|(at_us, event)| (*at_us, !matches!(event, PresenceEvent::Changed { .. })));
    let mut truth: HashMap<UserId, bool> = HashMap::new();
    let mut watchers: HashMap<u32, Watcher> = HashMap::new();
    let mut all = Vec::new();
    for (at_us, event) in presence {
        match event {
            PresenceEvent::Changed { user, online } => {
                truth.insert(user, online);
                for (number, watcher) in &mut watchers {
                    watcher.compare(*number, user, Some(online), at_us, &mut all);
                }
            }
            PresenceEvent::Reported { watcher: number, user, online } => {
                if let Some(watcher) = watchers.get_mut(&number) {
                    watcher.sees.insert(user, online);
                    watcher.compare(number, user, truth.get(&user).copied(), at_us, &mut all);
                }
            }
            PresenceEvent::Watches { watcher: number } => {
                let mut watcher = Watcher::default();
                for (user, online) in &truth {
                    watcher.compare(number, *user, Some(*online), at_us, &mut all);
                }
                watchers.insert(number, watcher);
            }
            PresenceEvent::Blind { watcher: number } => {
                if let Some(watcher) = watchers.remove(&number) {
                    watcher.end(number, at_us, &mut all);
                }
            }
        }
    }
    for (number, watcher) in watchers {
        watcher.end(number, timeline.end_us, &mut all);
    }
    all
}

/// The longest that a watcher was wrong without a break in `from_us..to_us`, not counting what was before.
#[must_use]
pub fn longest_wrong_us(timeline: &Timeline, from_us: u64, to_us: u64) -> u64 {
    wrong(timeline)
        .into_iter()
        .filter(|wrong| wrong.from_us < to_us && wrong.to_us > from_us)
        .map(|wrong| wrong.to_us - wrong.from_us.max(from_us))
        .max()
        .unwrap_or_default()
}

impl Watcher {
    fn compare(&mut self, number: u32, user: UserId, truth: Option<bool>, at_us: u64, all: &mut Vec<Wrong>) {
        let Some(truth) = truth else { return };
        if self.sees.get(&user) == Some(&truth) {
            if let Some(from_us) = self.wrong_since.remove(&user) {
                all.push(Wrong { watcher: number, user, from_us, to_us: at_us });
            }
        } else {
            self.wrong_since.entry(user).or_insert(at_us);
        }
    }

    fn end(self, number: u32, at_us: u64, all: &mut Vec<Wrong>) {
        all.extend(self.wrong_since.into_iter().map(|(user, from_us)| Wrong {
            watcher: number,
            user,
            from_us,
            to_us: at_us,
        }));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use uuid::Uuid;

    use super::*;

    const USER: UserId = UserId(Uuid::from_u128(7));

    fn timeline(presence: &[(u64, PresenceEvent)], end_us: u64) -> Timeline {
        Timeline { presence: presence.to_vec(), end_us, ..Timeline::new(Instant::now()) }
    }

    const fn truth(online: bool) -> PresenceEvent {
        PresenceEvent::Changed { user: USER, online }
    }

    const fn reported(online: bool) -> PresenceEvent {
        PresenceEvent::Reported { watcher: 1, user: USER, online }
    }

    const WATCHES: PresenceEvent = PresenceEvent::Watches { watcher: 1 };

    #[test]
    fn a_watcher_is_wrong_from_the_change_until_it_is_informed() {
        let run = timeline(
            &[(0, truth(true)), (5, WATCHES), (9, reported(true)), (20, truth(false)), (50, reported(false))],
            99,
        );
        let spans: Vec<_> = wrong(&run).iter().map(|w| (w.from_us, w.to_us)).collect();
        assert_eq!(spans, [(5, 9), (20, 50)]);
        assert_eq!(longest_wrong_us(&run, 30, 99), 20, "what was before the fault is not its doing");
        assert_eq!(longest_wrong_us(&run, 60, 99), 0);
    }

    #[test]
    fn who_comes_back_unnoticed_was_wrong_for_that_long_only() {
        let run = timeline(
            &[(0, truth(true)), (0, WATCHES), (1, reported(true)), (20, truth(false)), (30, truth(true))],
            99,
        );
        assert_eq!(longest_wrong_us(&run, 10, 99), 10);
    }

    #[test]
    fn a_false_alarm_is_wrong_until_it_is_taken_back_or_to_the_end() {
        let alarm = [(0, truth(true)), (0, WATCHES), (1, reported(true)), (20, reported(false))];
        assert_eq!(longest_wrong_us(&timeline(&alarm, 99), 10, 99), 79);
        let back = [&alarm[..], &[(26, reported(true))]].concat();
        assert_eq!(longest_wrong_us(&timeline(&back, 99), 10, 99), 6);
    }

    #[test]
    fn a_blind_watcher_is_not_wrong() {
        let run = timeline(
            &[
                (0, truth(true)),
                (0, WATCHES),
                (1, reported(true)),
                (5, PresenceEvent::Blind { watcher: 1 }),
                (20, truth(false)),
                (40, WATCHES),
                (41, reported(false)),
            ],
            99,
        );
        assert_eq!(longest_wrong_us(&run, 10, 99), 1);
    }
}
