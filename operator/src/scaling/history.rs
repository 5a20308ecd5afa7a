//! What the policy remembers: the load and the decided numbers of the stabilisation window, and what was added within the last minute.

use std::collections::VecDeque;

use jiff::{SignedDuration, Timestamp};

/// Entries of a window. One a tick of five seconds is 720 in the longest window; beyond this the two oldest become one.
const MAX_ENTRIES: usize = 1_024;
/// What was added longer ago does not count against `maxScaleUpPerMinute`.
const MINUTE: SignedDuration = SignedDuration::from_secs(60);
/// After a longer pause between two looks it is not known what was needed meanwhile.
const LONGEST_GAP: SignedDuration = SignedDuration::from_secs(60);

/// The highest value of a sliding window: values that a later one reached or exceeded are forgotten, so those that are kept fall.
#[derive(Debug, Clone, Default)]
struct Window(VecDeque<(Timestamp, u64)>);

impl Window {
    fn push(&mut self, at: Timestamp, value: u64) {
        while self.0.back().is_some_and(|(_, last)| *last <= value) {
            self.0.pop_back();
        }
        self.0.push_back((at, value));
        if self.0.len() > MAX_ENTRIES {
            // The higher of the two, for as long as the later would have counted: too many pods for a moment, never too few.
            if let (Some((_, value)), Some((at, _))) = (self.0.pop_front(), self.0.pop_front()) {
                self.0.push_front((at, value));
            }
        }
    }

    fn highest(&mut self, since: Timestamp) -> Option<u64> {
        while self.0.front().is_some_and(|(at, _)| *at < since) {
            self.0.pop_front();
        }
        self.0.front().map(|(_, value)| *value)
    }
}

/// What is remembered between two decisions. It is bounded, whatever comes.
#[derive(Debug, Clone)]
pub struct History {
    /// Connections in all, over the window.
    loads: Window,
    /// Pods that were needed for another reason than connections.
    floors: Window,
    /// The last load that was recorded.
    load: Option<u64>,
    /// When how many were added, within the last minute.
    added: VecDeque<(Timestamp, u32)>,
    replicas: u32,
    looked: Timestamp,
}

impl History {
    /// History of an operator that has just begun to look, at this many gateways; `last_scale_up` is from the status.
    /// What was needed before is not known, so nothing is taken away for a whole window.
    #[must_use]
    pub fn starting(now: Timestamp, replicas: u32, last_scale_up: Option<Timestamp>) -> Self {
        let mut history = Self {
            loads: Window::default(),
            floors: Window::default(),
            load: None,
            added: VecDeque::new(),
            replicas,
            looked: now,
        };
        history.floors.push(now, u64::from(replicas));
        // How many is not in the status. As many as may be is never too many.
        if let Some(at) = last_scale_up.filter(|at| *at <= now) {
            history.added.push_back((at, u32::MAX));
        }
        history
    }

    /// Looks again, and returns the time: that of before if the clock went back.
    pub(super) fn look(&mut self, now: Timestamp, replicas: u32) -> Timestamp {
        let now = now.max(self.looked);
        if now.duration_since(self.looked) > LONGEST_GAP {
            self.need(now, replicas);
        }
        self.looked = now;
        // Counted from what is seen and not from what was decided: whether that was written is not known here.
        if replicas > self.replicas {
            match self.added.back_mut().filter(|(at, _)| *at == now) {
                Some((_, added)) => *added = added.saturating_add(replicas - self.replicas),
                None => self.added.push_back((now, replicas - self.replicas)),
            }
        }
        self.replicas = replicas;
        while self.added.front().is_some_and(|(at, _)| now.duration_since(*at) >= MINUTE)
            || self.added.len() > MAX_ENTRIES
        {
            self.added.pop_front();
        }
        now
    }

    /// Records the load, and gives it back. Of a load that is not `whole`, since a gateway did not answer, at least
    /// `known` is there; it is believed not to be less than before.
    pub(super) fn record(&mut self, now: Timestamp, known: u64, whole: bool) -> Option<u64> {
        let load = if whole { Some(known) } else { self.load.map(|before| before.max(known)) };
        if let Some(load) = load {
            self.loads.push(now, load);
        }
        self.load = load;
        load
    }

    /// This many are needed now, whatever the connections.
    pub(super) fn need(&mut self, now: Timestamp, pods: u32) {
        self.floors.push(now, u64::from(pods));
    }

    /// The highest load since then.
    pub(super) fn highest_load(&mut self, since: Timestamp) -> Option<u64> {
        self.loads.highest(since)
    }

    /// The most that were needed since then for another reason than connections.
    pub(super) fn highest_floor(&mut self, since: Timestamp) -> u32 {
        self.floors.highest(since).map_or(0, |pods| u32::try_from(pods).unwrap_or(u32::MAX))
    }

    /// How many were added within the last minute.
    pub(super) fn added(&self) -> u32 {
        self.added.iter().fold(0, |sum, (_, added)| sum.saturating_add(*added))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    #[test]
    fn the_highest_of_a_window_is_what_a_list_of_all_would_say() {
        let values = [5, 3, 3, 9, 1, 0, 2, 2, 7, 1, 1, 1, 0, 0];
        for length in 0..6 {
            let mut window = Window::default();
            for (now, value) in values.iter().enumerate() {
                window.push(at(i64::try_from(now).unwrap()), *value);
                let since = now.saturating_sub(length);
                let expected = values[since..=now].iter().max().copied();
                assert_eq!(window.highest(at(i64::try_from(since).unwrap())), expected, "{length} {now}");
            }
        }
    }

    #[test]
    fn a_load_that_falls_for_ever_is_kept_in_bounds_and_never_too_low() {
        let mut window = Window::default();
        for second in 0..5_000_u32 {
            window.push(at(second.into()), u64::from(10_000 - second));
            assert!(window.0.len() <= MAX_ENTRIES);
            let since = second.saturating_sub(3_600);
            assert!(window.clone().highest(at(since.into())) >= Some(u64::from(10_000 - since)), "{second}");
        }
    }

    #[test]
    fn what_was_added_counts_for_a_minute() {
        let mut history = History::starting(at(0), 2, None);
        for (second, replicas, added) in
            [(0, 2, 0), (5, 5, 3), (10, 6, 4), (40, 4, 4), (64, 4, 4), (65, 4, 1), (70, 4, 0), (75, 9, 5)]
        {
            history.look(at(second), replicas);
            assert_eq!(history.added(), added, "{second}");
        }
        let mut history = History::starting(at(0), 2, Some(at(-20)));
        assert_eq!(history.added(), u32::MAX, "an operator that starts anew does not add twice as many");
        history.look(at(40), 2);
        assert_eq!(history.added(), 0);
    }
}
