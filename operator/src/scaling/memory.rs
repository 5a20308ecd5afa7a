//! What gateways reported, round after round, and what the policy makes of each round. Pure: it takes what they
//! answered and the time.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    answers::{Answer, Answers},
    decide::{self, gateways},
    history::History,
    policy::{self, Decision, LOST_AFTER, MEMORY_PRESSURE_PERCENT},
    sample::GatewaySample,
};
use crate::{
    live::{LivePod, Pods},
    times,
    validate::ValidatedCluster,
};

/// Outcome of an order to drain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrainOrder {
    /// The gateway drains since then.
    Accepted(Timestamp),
    /// The gateway takes no such order: it drains when it gets the signal to end.
    Unsupported,
}

/// What gateways reported, and what this process did to them.
#[derive(Debug, Clone, Default)]
pub struct Gateways {
    /// The last sample of each, and its time.
    pub samples: BTreeMap<String, (Timestamp, GatewaySample)>,
    /// Sockets of those that reported them lately.
    pub connections: BTreeMap<String, u64>,
    /// Sockets that all hold together; `None` unless all that take traffic reported theirs.
    pub total_connections: Option<u64>,
    /// Whether one of them has more clients that come back than it can take at once.
    pub is_pressed: bool,
    /// Which were ordered to drain.
    pub drain_orders: BTreeMap<String, DrainOrder>,
    /// How many pods this process requested of the Deployment last; `None`: it is not known.
    pub requested: Option<i32>,
}

/// One gateway of a round: its name, its pod and its answer.
pub type Asked<'a> = (&'a str, &'a LivePod, Option<GatewaySample>);

/// What is remembered of the gateways of a `ChatCluster` from one round of questions to the next.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// What is known of them.
    pub gateways: Gateways,
    answers: Answers,
    history: Option<History>,
    decision: Option<Decision>,
    /// Whether the policy has not yet seen the last round.
    is_undecided: bool,
    /// How many stay, and how many leave.
    numbers: (u32, u32),
}

impl Memory {
    /// How many gateways stay and how many leave, as of the last decision.
    #[must_use]
    pub const fn numbers(&self) -> (u32, u32) {
        self.numbers
    }

    /// Records a round of questions.
    pub fn record(&mut self, pods: &Pods, round: &[Asked<'_>], now: Timestamp) {
        let is_mixed = decide::is_mixed(pods);
        let mut is_pressed = false;
        let mut answers = Vec::new();
        for (name, pod, sample) in round {
            let before = self.gateways.samples.get(*name).map(|(_, sample)| *sample);
            let answer = sample.as_ref().map(|sample| {
                is_pressed |= !pod.deleting && before.is_some_and(|before| sample.is_pressed(&before));
                Answer {
                    connections: sample.connections,
                    // Sockets are led to the few new ones, so that these may be full while there is capacity left.
                    refuses: !is_mixed && before.is_some_and(|before| sample.refuses(&before)),
                    memory_pressure: sample
                        .memory_percent()
                        .is_some_and(|percent| percent > MEMORY_PRESSURE_PERCENT),
                }
            });
            if let Some(sample) = sample {
                self.gateways.samples.insert((*name).to_owned(), (now, *sample));
            }
            answers.push((*name, answer));
        }
        self.answers.round(now, answers.iter().copied());
        self.gateways.is_pressed = is_pressed;
        self.gateways.samples.retain(|name, _| pods.contains_key(name));
        self.gateways.drain_orders.retain(|name, _| pods.contains_key(name));
        self.gateways.connections = round
            .iter()
            .filter_map(|(name, _, _)| Some(((*name).to_owned(), self.answers.of(now, name)?.connections)))
            .collect();
        let serving = round.iter().filter(|(_, pod, _)| pod.ready).count();
        let is_known = |name: &str| self.gateways.connections.contains_key(name);
        let all_known =
            serving > 0 && gateways(pods).filter(|(_, pod)| pod.ready).all(|(name, _)| is_known(name));
        self.gateways.total_connections = all_known.then(|| self.gateways.connections.values().sum());
        self.is_undecided = true;
    }

    /// What the policy makes of the last round, where the operator decides. It is asked once a round. `desired` is
    /// the number of pods that the Deployment asks for; `None`: there is no Deployment.
    pub fn decide(
        &mut self,
        cluster: &ValidatedCluster,
        pods: &Pods,
        desired: Option<i32>,
        now: Timestamp,
    ) -> Option<Decision> {
        if std::mem::take(&mut self.is_undecided) {
            match (decide::settings(cluster), desired) {
                (Some(settings), Some(desired)) if !cluster.is_paused() => {
                    self.ask_policy(&settings, cluster, pods, desired, now);
                }
                // While somebody else may change everything, nothing follows.
                (Some(_), Some(_)) => self.history = None,
                _ => (self.history, self.decision) = (None, None),
            }
        }
        self.decision.clone()
    }

    fn ask_policy(
        &mut self,
        settings: &policy::Settings,
        cluster: &ValidatedCluster,
        pods: &Pods,
        desired: i32,
        now: Timestamp,
    ) {
        let current = self.gateways.requested.unwrap_or(desired);
        let leaving = decide::leaving(cluster.status());
        let number = |count: i32| u32::try_from(count).unwrap_or_default();
        let stays = number(leaving.as_ref().map_or(current, |leaving| leaving.to));
        let is_leaving =
            |name: &str| leaving.as_ref().is_some_and(|leaving| leaving.pods.iter().any(|pod| pod == name));
        let drains = |name: &str| self.gateways.samples.get(name).is_some_and(|(_, sample)| sample.draining);
        let leave = count(gateways(pods).filter(|(name, pod)| !pod.deleting && is_leaving(name)));
        self.numbers = (stays, leave);
        let observed = policy::Observed {
            replicas: stays,
            leaving: leave,
            lost: count(gateways(pods).filter(|(name, pod)| {
                let is_long = pod.since.is_some_and(|since| now.duration_since(since) > LOST_AFTER);
                !pod.ready && !pod.deleting && is_long && !drains(name) && !is_leaving(name)
            })),
            gateways: gateways(pods)
                .filter(|(_, pod)| pod.address.is_some())
                // One that is being deleted and does not answer has ended, or its node is lost.
                .filter(|(name, pod)| !pod.deleting || self.answers.of(now, name).is_some())
                .map(|(name, pod)| {
                    let answer = self.answers.of(now, name);
                    policy::Gateway {
                        connections: answer.map(|answer| answer.connections),
                        ready: pod.ready,
                        draining: pod.deleting || drains(name) || is_leaving(name),
                        refuses: answer.is_some_and(|answer| answer.refuses),
                        memory_pressure: answer.is_some_and(|answer| answer.memory_pressure),
                    }
                })
                .collect(),
        };
        let last_scale_up = decide::status(cluster.status()).and_then(|status| status.last_scale_up.as_ref());
        let history = self
            .history
            .get_or_insert_with(|| History::starting(now, stays, last_scale_up.map(times::of_api)));
        self.decision = Some(policy::decide(settings, &observed, history, now));
    }
}

fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use folkmoot_crds::{ChatCluster, PAUSED_ANNOTATION};
    use kube::ResourceExt as _;
    use serde_json::json;

    use super::*;
    use crate::{scaling::policy::ScalePlan, validate::validate};

    fn cluster(is_paused: bool) -> ValidatedCluster {
        let spec = json!({
            "image": { "reference": "folkmoot/chat-server:1" },
            "cassandra": { "contactPoints": ["a:1"] },
            "pulsar": { "url": "pulsar://a:1", "adminUrl": "http://a:1" },
            "gateway": { "autoscaling": { "maxReplicas": 9, "targetConnectionsPerPod": 100, "bufferPercent": 0 } },
        });
        let mut cluster = ChatCluster::new("chat", serde_json::from_value(spec).unwrap());
        if is_paused {
            cluster.annotations_mut().insert(PAUSED_ANNOTATION.into(), "true".into());
        }
        validate(&Arc::new(cluster), None).unwrap()
    }

    fn pods(names: &[&str]) -> Pods {
        let pod = LivePod {
            component: "gateway".into(),
            address: "10.0.0.1".parse().ok(),
            ready: true,
            ..LivePod::default()
        };
        names.iter().map(|name| ((*name).to_owned(), pod.clone())).collect()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// A round in which each pod reports so many sockets; `None`: it does not answer.
    fn record(memory: &mut Memory, pods: &Pods, answers: &[Option<u64>], second: i64) {
        let sample = |connections| GatewaySample { connections, ..GatewaySample::default() };
        let round: Vec<Asked<'_>> = pods
            .iter()
            .zip(answers)
            .map(|((name, pod), answer)| (name.as_str(), pod, answer.map(sample)))
            .collect();
        memory.record(pods, &round, at(second));
    }

    fn target(decision: Option<&Decision>) -> Option<u32> {
        match decision?.plan {
            ScalePlan::Up { to, .. } | ScalePlan::Down { to, .. } => Some(to),
            ScalePlan::Hold { .. } => None,
        }
    }

    #[test]
    fn sockets_are_summed_up_only_when_every_gateway_reported_them() {
        let (mut memory, pods) = (Memory::default(), pods(&["a", "b"]));
        record(&mut memory, &pods, &[Some(3), None], 0);
        assert_eq!(memory.gateways.total_connections, None);
        record(&mut memory, &pods, &[None, Some(4)], 5);
        assert_eq!(memory.gateways.total_connections, Some(7), "a recent answer counts");
        record(&mut memory, &pods, &[None, Some(4)], 60);
        assert_eq!(memory.gateways.total_connections, None, "an old answer does not");
    }

    #[test]
    fn the_policy_is_asked_once_a_round() {
        let (mut memory, pods, cluster) = (Memory::default(), pods(&["a", "b"]), cluster(false));
        assert_eq!(memory.decide(&cluster, &pods, Some(2), at(0)), None, "nothing was reported yet");
        record(&mut memory, &pods, &[Some(150), Some(150)], 0);
        let first = memory.decide(&cluster, &pods, Some(2), at(0));
        assert_eq!((target(first.as_ref()), memory.numbers()), (Some(3), (2, 0)));
        // Asked again it would see the three that it wants, and be content.
        assert_eq!(memory.decide(&cluster, &pods, Some(3), at(1)), first);
        record(&mut memory, &pods, &[Some(150), Some(150)], 5);
        assert_eq!(target(memory.decide(&cluster, &pods, Some(3), at(5)).as_ref()), None);
        record(&mut memory, &pods, &[Some(150), Some(150)], 10);
        assert_eq!(memory.decide(&cluster, &pods, None, at(10)), None, "there is no Deployment any more");
    }

    #[test]
    fn while_paused_the_policy_is_not_asked() {
        let (mut memory, pods) = (Memory::default(), pods(&["a", "b"]));
        record(&mut memory, &pods, &[Some(150), Some(150)], 0);
        assert_eq!(memory.decide(&cluster(true), &pods, Some(2), at(0)), None);
        record(&mut memory, &pods, &[Some(150), Some(150)], 5);
        assert_eq!(target(memory.decide(&cluster(false), &pods, Some(2), at(5)).as_ref()), Some(3));
    }
}
