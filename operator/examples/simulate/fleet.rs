//! Gateways as they are on a cluster, as far as the policy notices: they take time to start and to drain, sockets that are there stay
//! where they are, and new ones go to any that is ready.

use folkmoot_operator::scaling::{
    answers::{Answer, Answers},
    policy::{Gateway, LOST_AFTER, Observed},
    victims::{Candidate, choose},
};
use jiff::Timestamp;

use super::chance::Chance;

/// Zones of the cluster.
const ZONES: u32 = 3;
/// A pod that starts is ready after this many seconds, and up to ten more.
const START_SECONDS: u32 = 20;
/// Until the control plane notices that a node does not answer, in seconds.
const NOTICED_AFTER: u32 = 50;
/// From then on until it replaces the pods of that node, in seconds: the default toleration of `unreachable`.
const EVICTED_AFTER: u32 = 300;
/// Sockets live for an hour in the mean: phones lock, laptops sleep, networks change.
const SOCKET_SECONDS: f64 = 3_600.0;
/// In which everybody of a lost gateway comes back, in seconds.
const BACK_SECONDS: u32 = 60;
/// Missing answers, of 100.
const MISSING: f64 = 1.0;
/// The noise of one answer, in parts of it.
const NOISE_OF_ONE: f64 = 0.05;
/// The noise that all answers of a round have in common.
const NOISE_OF_ALL: f64 = 0.02;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Ready at that second.
    Starts(u32),
    Serves,
    /// Since then, with as many sockets to send away each second.
    Drains(u32, u64),
    /// Gone since then, with its node.
    Lost(u32),
}

struct Pod {
    name: String,
    zone: u32,
    state: State,
    held: u64,
}

/// All gateways, and everybody who is online.
pub(crate) struct Fleet {
    pods: Vec<Pod>,
    answers: Answers,
    /// Of the Deployment, without those that leave.
    replicas: u32,
    made: u32,
    /// A zone in which nothing starts.
    down: Option<u32>,
    /// Users of lost gateways who are not back yet, and how many come back each second.
    away: u64,
    back: u64,
    drain_seconds: u32,
    /// A socket that was sent away, over the whole day.
    pub(crate) moved: u64,
}

impl Fleet {
    /// That many, ready and without sockets.
    pub(crate) fn new(replicas: u32, drain_seconds: u32) -> Self {
        let mut fleet = Self {
            pods: Vec::new(),
            answers: Answers::default(),
            replicas: 0,
            made: 0,
            down: None,
            away: 0,
            back: 0,
            drain_seconds,
            moved: 0,
        };
        fleet.scale_up(0, replicas, &mut Chance::new(0));
        for pod in &mut fleet.pods {
            pod.state = State::Serves;
        }
        fleet
    }

    /// Gateways that use a node: they start, serve or drain.
    pub(crate) fn running(&self) -> u32 {
        self.count(|state| !matches!(state, State::Lost(_)))
    }

    /// What each that serves holds.
    pub(crate) fn serving(&self) -> impl Iterator<Item = u64> {
        self.pods.iter().filter(|pod| pod.state == State::Serves).map(|pod| pod.held)
    }

    /// Starts gateways until there are `to`.
    pub(crate) fn scale_up(&mut self, now: u32, to: u32, chance: &mut Chance) {
        for _ in self.replicas..to {
            self.start(now, chance);
        }
        self.replicas = to;
    }

    /// Fewer: the victims that the operator would choose begin to drain.
    pub(crate) fn scale_down(&mut self, now: u32, to: u32, target: u32) {
        let candidates: Vec<Candidate> = self
            .pods
            .iter()
            .map(|pod| Candidate {
                name: pod.name.clone(),
                ready: pod.state == State::Serves,
                draining: matches!(pod.state, State::Drains(..)),
                revision: 1,
                connections: Some(pod.held),
                node: Some(pod.name.clone()),
                zone: Some(pod.zone.to_string()),
            })
            .collect();
        let count = usize::try_from(self.replicas.saturating_sub(to)).unwrap_or(0);
        for name in choose(&candidates, count, target) {
            if let Some(pod) = self.pods.iter_mut().find(|pod| pod.name == name) {
                pod.state = State::Drains(now, pod.held.div_ceil(u64::from(self.drain_seconds.max(1))));
            }
        }
        self.replicas = to;
    }

    /// The nodes of a zone are gone, and what was on them.
    pub(crate) fn lose_zone(&mut self, now: u32) {
        let zone = (0..ZONES).max_by_key(|zone| self.pods.iter().filter(|pod| pod.zone == *zone).count());
        for pod in self.pods.iter_mut().filter(|pod| Some(pod.zone) == zone) {
            pod.state = State::Lost(now);
            self.away += std::mem::take(&mut pod.held);
        }
        self.back = self.away.div_ceil(BACK_SECONDS.into());
        self.down = zone;
    }

    /// A second passes, and then this many are online.
    pub(crate) fn step(&mut self, now: u32, online: u64, chance: &mut Chance) {
        self.control(now, chance);
        // Who comes: back from a lost gateway, from one that drains, or on a socket that takes the place of one that ended.
        let mut coming = self.back.min(self.away);
        self.away -= coming;
        for pod in &mut self.pods {
            match &pod.state {
                State::Serves => {
                    let ended = chance.round(pod.held as f64 / SOCKET_SECONDS);
                    pod.held -= ended;
                    coming += ended;
                }
                State::Drains(_, each_second) => {
                    let sent = pod.held.min(*each_second);
                    pod.held -= sent;
                    coming += sent;
                    self.moved += sent;
                }
                State::Starts(_) | State::Lost(_) => {}
            }
        }
        let held: u64 = self.pods.iter().map(|pod| pod.held).sum();
        let there = held + coming + self.away;
        coming += online.saturating_sub(there);
        // Who goes home does so from anywhere.
        let gone = there.saturating_sub(online).min(held) as f64 / held.max(1) as f64;
        let serving = u64::from(self.count(|state| *state == State::Serves));
        let share = coming as f64 / serving.max(1) as f64;
        for pod in &mut self.pods {
            pod.held -= chance.round(pod.held as f64 * gone).min(pod.held);
            if pod.state == State::Serves {
                pod.held += chance.round(share);
            }
        }
    }

    /// What the operator sees of them now.
    pub(crate) fn observe(
        &mut self,
        now: u32,
        time: Timestamp,
        max_connections: u64,
        chance: &mut Chance,
    ) -> Observed {
        let of_all = chance.around(NOISE_OF_ALL);
        let answers: Vec<(String, Option<Answer>)> = self
            .pods
            .iter()
            .filter(|pod| !matches!(pod.state, State::Starts(_)))
            .map(|pod| {
                let answers = !matches!(pod.state, State::Lost(_)) && !chance.happens(MISSING / 100.0);
                let noise = of_all * chance.around(NOISE_OF_ONE);
                let connections = chance.round(pod.held as f64 * noise);
                let answer =
                    Answer { connections, refuses: pod.held >= max_connections, memory_pressure: false };
                (pod.name.clone(), answers.then_some(answer))
            })
            .collect();
        self.answers.round(time, answers.iter().map(|(pod, answer)| (pod.as_str(), *answer)));
        let noticed = |state: &State| matches!(state, State::Lost(at) if now - at > NOTICED_AFTER);
        let gateways = self
            .pods
            .iter()
            .filter(|pod| !matches!(pod.state, State::Starts(_)))
            .map(|pod| {
                let answer = self.answers.of(time, &pod.name);
                Gateway {
                    connections: answer.map(|answer| answer.connections),
                    ready: !noticed(&pod.state) && !matches!(pod.state, State::Drains(..)),
                    draining: matches!(pod.state, State::Drains(..)),
                    refuses: answer.is_some_and(|answer| answer.refuses),
                    memory_pressure: answer.is_some_and(|answer| answer.memory_pressure),
                }
            })
            .collect();
        let lost_after = NOTICED_AFTER + u32::try_from(LOST_AFTER.as_secs()).unwrap_or(0);
        Observed {
            replicas: self.replicas,
            leaving: self.count(|state| matches!(state, State::Drains(..))),
            lost: self.count(|state| matches!(state, State::Lost(at) if now - at > lost_after)),
            gateways,
        }
    }

    /// What Kubernetes and the operator do by themselves: pods get ready, empty ones end, lost ones are replaced.
    fn control(&mut self, now: u32, chance: &mut Chance) {
        for pod in &mut self.pods {
            if matches!(pod.state, State::Starts(ready) if ready <= now) {
                pod.state = State::Serves;
            }
        }
        self.pods.retain(|pod| !(matches!(pod.state, State::Drains(..)) && pod.held == 0));
        let evicted =
            |state: &State| matches!(state, State::Lost(at) if now - at > NOTICED_AFTER + EVICTED_AFTER);
        let replaced = self.count(evicted);
        self.pods.retain(|pod| !evicted(&pod.state));
        for _ in 0..replaced {
            self.start(now, chance);
        }
    }

    fn start(&mut self, now: u32, chance: &mut Chance) {
        let zone = (0..ZONES)
            .filter(|zone| Some(*zone) != self.down)
            .min_by_key(|zone| self.pods.iter().filter(|pod| pod.zone == *zone).count())
            .unwrap_or(0);
        let longer = 10.0 * chance.part();
        let ready = now + START_SECONDS + u32::try_from(chance.round(longer)).unwrap_or(0);
        self.pods.push(Pod {
            name: format!("gateway-{}", self.made),
            zone,
            state: State::Starts(ready),
            held: 0,
        });
        self.made += 1;
    }

    fn count(&self, of: impl Fn(&State) -> bool) -> u32 {
        u32::try_from(self.pods.iter().filter(|pod| of(&pod.state)).count()).unwrap_or(u32::MAX)
    }
}
