use std::collections::BTreeMap;

use super::*;

const DRAIN: SignedDuration = SignedDuration::from_secs(30);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn pod(name: &str, drain: Drain) -> GatewayPod<'_> {
    GatewayPod { name, deleting: false, marked: drain != Drain::NotOrdered, drain }
}

fn leaving(pods: &[&str], to: i32) -> Leaving {
    let pods = pods.iter().map(|name| (*name).to_owned()).collect();
    Leaving { pods, to, since: at(0), deadline: at(60) }
}

/// Five pods of which nobody is to go yet.
fn situation<'a>(pods: &'a [GatewayPod<'a>], leaving: Option<&'a Leaving>) -> Situation<'a> {
    Situation {
        current: 5,
        desired: Some(3),
        limit: 10,
        leaving,
        pods,
        is_rolling: false,
        is_through: true,
        drain: DRAIN,
        now: at(10),
    }
}

fn five(first_two: [Drain; 2]) -> [GatewayPod<'static>; 5] {
    let [a, b] = first_two;
    [
        pod("a", a),
        pod("b", b),
        pod("c", Drain::NotOrdered),
        pod("d", Drain::NotOrdered),
        pod("e", Drain::NotOrdered),
    ]
}

fn first(count: usize) -> Vec<String> {
    ["a", "b", "c", "d", "e"].into_iter().take(count).map(str::to_owned).collect()
}

fn step(situation: &Situation<'_>) -> Plan {
    plan(situation, first)
}

#[test]
fn more_are_made_at_once_and_fewer_are_chosen_first() {
    let pods = five([Drain::NotOrdered; 2]);
    let base = situation(&pods, None);
    for (desired, replicas, expected) in [
        (Some(5), 5, Step::Rest),
        (None, 5, Step::Rest),
        (Some(9), 9, Step::Grow { from: 5 }),
        (Some(3), 5, Step::Begin),
    ] {
        let found = step(&Situation { desired, ..base });
        assert_eq!((found.replicas, &found.step), (replicas, &expected), "{desired:?}");
        assert_eq!(found.leaving.is_some(), expected == Step::Begin);
        assert!(
            found.mark.is_empty() && found.order_to_drain.is_empty() && found.delete.is_empty(),
            "nothing is done before it is written down: {found:?}"
        );
    }
    let begun = step(&base).leaving.unwrap();
    assert_eq!(begun, Leaving { pods: first(2), to: 3, since: at(10), deadline: at(70) });
    let rolling = step(&Situation { is_rolling: true, ..base });
    assert_eq!((rolling.replicas, rolling.step), (5, Step::AwaitRollout));
    let not_begun = step(&Situation { pods: &pods[..4], ..base });
    assert_eq!(
        (not_begun.replicas, not_begun.step),
        (4, Step::Forgo { from: 5 }),
        "the fifth is not there yet"
    );
    assert_eq!(step(&Situation { pods: &[], ..base }).replicas, 3);
}

#[test]
fn pods_are_marked_and_ordered_to_drain_until_they_are_empty_or_late() {
    let plan = leaving(&["a", "b"], 3);
    let not_ordered = five([Drain::NotOrdered; 2]);
    let found = step(&situation(&not_ordered, Some(&plan)));
    assert_eq!((found.replicas, found.step), (5, Step::Empty { waiting: 2 }));
    assert_eq!((found.mark, found.order_to_drain), (first(2), first(2)));

    let half = five([Drain::Ordered, Drain::Empty]);
    let found = step(&situation(&half, Some(&plan)));
    assert_eq!((found.replicas, found.step), (5, Step::Empty { waiting: 1 }));
    assert!(found.mark.is_empty() && found.order_to_drain.is_empty(), "{:?}", found.order_to_drain);

    let found = step(&Situation { now: at(60), ..situation(&half, Some(&plan)) });
    assert_eq!((found.replicas, found.step), (3, Step::Lower { from: 5, occupied: 1 }), "it is late");
    let empty = five([Drain::Empty; 2]);
    let found = step(&situation(&empty, Some(&plan)));
    assert_eq!((found.replicas, found.step), (3, Step::Lower { from: 5, occupied: 0 }));
    assert!(found.delete.is_empty(), "their ReplicaSet does that");
}

#[test]
fn what_the_replica_set_left_is_deleted_once_it_is_through() {
    let plan = leaving(&["a", "b"], 3);
    let all = five([Drain::Empty; 2]);
    let lowered = Situation { current: 3, ..situation(&all, Some(&plan)) };
    let found = step(&Situation { is_through: false, ..lowered });
    assert_eq!((found.replicas, &found.step, &found.delete), (3, &Step::Replace, &Vec::new()));
    // It took `e` in place of `b`.
    let left = [all[1], all[2], all[3]];
    let found = step(&Situation { pods: &left, ..lowered });
    assert_eq!((found.replicas, found.step, found.delete), (3, Step::Replace, vec!["b".to_owned()]));
    let mut going = left;
    going[0].deleting = true;
    let found = step(&Situation { pods: &going, ..lowered });
    assert_eq!((found.replicas, found.step, found.leaving), (3, Step::Done, None));
}

#[test]
fn a_pod_that_replaced_one_of_the_plan_does_not_go_in_its_stead() {
    let plan = leaving(&["a", "b"], 3);
    // `a` was lost with its node, and `f` was made.
    let mut pods = five([Drain::Empty; 2]);
    pods[0] = pod("f", Drain::NotOrdered);
    let found = step(&situation(&pods, Some(&plan)));
    assert_eq!((found.replicas, found.step), (4, Step::Lower { from: 5, occupied: 0 }));
    // It was lowered, and `b` is not seen to go yet.
    let found = step(&Situation { current: 4, is_through: false, ..situation(&pods, Some(&plan)) });
    assert_eq!((found.replicas, found.step), (4, Step::Replace), "not lowered twice for one pod");
    let found = step(&Situation { current: 4, pods: &[pods[0], pods[2]], ..situation(&pods, Some(&plan)) });
    assert_eq!(
        (found.replicas, found.step, found.leaving),
        (4, Step::Done, None),
        "a new plan does the rest"
    );
    let found = step(&Situation { pods: &pods[2..], ..situation(&pods, Some(&plan)) });
    assert_eq!((found.replicas, found.step), (5, Step::Done), "both were lost, so all that there are serve");
}

#[test]
fn when_more_are_wanted_again_others_take_the_place_of_those_that_leave() {
    let plan = leaving(&["a", "b"], 3);
    let ordered = five([Drain::Ordered; 2]);
    let found = step(&Situation { desired: Some(5), ..situation(&ordered, Some(&plan)) });
    assert_eq!((found.replicas, found.step), (7, Step::Empty { waiting: 2 }));
    assert_eq!(found.leaving.as_ref().map(|leaving| leaving.to), Some(5));
    let found = step(&Situation { desired: Some(5), limit: 6, ..situation(&ordered, Some(&plan)) });
    assert_eq!(found.replicas, 6, "no more than there may be");
    let empty = five([Drain::Empty; 2]);
    let found = step(&Situation { desired: Some(5), limit: 5, ..situation(&empty, Some(&plan)) });
    assert_eq!((found.replicas, found.step, found.delete), (5, Step::Replace, first(2)), "they are replaced");
    let found = step(&Situation { desired: Some(1), ..situation(&ordered, Some(&plan)) });
    assert_eq!(found.leaving.map(|leaving| leaving.to), Some(3), "fewer yet is another plan");
}

/// Pods and their sockets, a Deployment and its `ReplicaSet`, and an operator that is replaced at any time. Only the status lasts.
struct World {
    random: u64,
    second: i64,
    /// What is there: sockets, whether ordered to drain (and when), marked, ready.
    pods: BTreeMap<String, (u32, Option<i64>, bool, bool)>,
    made: u32,
    asked: i32,
    status: Option<Leaving>,
    desired: i32,
    /// What this operator knows to have ordered.
    ordered: Vec<String>,
    /// Sockets that were lost with a pod that was neither empty nor late.
    lost: u32,
}

impl World {
    fn next(&mut self, below: u64) -> u64 {
        // Numerical Recipes' generator; its high bits.
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    fn make(&mut self, sockets: u32) {
        self.made += 1;
        self.pods.insert(format!("pod-{:03}", self.made), (sockets, None, false, false));
    }

    /// The `ReplicaSet` takes those that are not ready first, then those that are marked.
    fn replica_set(&mut self) {
        while i32::try_from(self.pods.len()).unwrap() < self.asked {
            self.make(0);
        }
        while i32::try_from(self.pods.len()).unwrap() > self.asked {
            let (name, pod) = self
                .pods
                .iter()
                .min_by_key(|(name, (_, ordered, marked, ready))| {
                    (*ready && ordered.is_none(), !*marked, (*name).clone())
                })
                .map(|(name, pod)| (name.clone(), *pod))
                .unwrap();
            let is_late = self.status.as_ref().is_some_and(|plan| {
                plan.pods.contains(&name) && self.second >= plan.deadline.as_second() - at(0).as_second()
            });
            if !is_late {
                self.lost += pod.0;
            }
            self.pods.remove(&name);
        }
    }

    fn sockets_move(&mut self) {
        for (sockets, ordered, _, ready) in self.pods.values_mut() {
            match ordered {
                Some(_) => *sockets = sockets.saturating_sub(4),
                None if *ready => *sockets = (*sockets + 1).min(100),
                None => *ready = true,
            }
        }
    }

    fn operator(&mut self) {
        let pods: Vec<GatewayPod<'_>> = self
            .pods
            .iter()
            .map(|(name, (sockets, ordered, marked, _))| GatewayPod {
                name,
                deleting: false,
                marked: *marked,
                drain: match ordered {
                    Some(_) if *sockets == 0 && self.ordered.contains(name) => Drain::Empty,
                    _ if self.ordered.contains(name) => Drain::Ordered,
                    _ => Drain::NotOrdered,
                },
            })
            .collect();
        let names: Vec<String> = self.pods.keys().cloned().collect();
        let found = plan(
            &Situation {
                current: self.asked,
                desired: Some(self.desired),
                limit: 12,
                leaving: self.status.as_ref(),
                pods: &pods,
                is_rolling: false,
                is_through: i32::try_from(pods.len()).unwrap() == self.asked,
                drain: DRAIN,
                now: at(self.second),
            },
            |count| names.into_iter().take(count).collect(),
        );
        // An operator that ends anywhere in between has done a part of this, in this order.
        let dies_after = self.next(12);
        self.asked = found.replicas;
        if dies_after == 0 {
            return self.restart();
        }
        for name in &found.mark {
            if let Some(pod) = self.pods.get_mut(name) {
                pod.2 = true;
            }
        }
        if dies_after == 1 {
            return self.restart();
        }
        for name in found.order_to_drain {
            if let Some(pod) = self.pods.get_mut(&name) {
                pod.1.get_or_insert(self.second);
                self.ordered.push(name);
            }
        }
        if dies_after == 2 {
            return self.restart();
        }
        for name in found.delete {
            self.lost += self.pods.remove(&name).map_or(0, |pod| pod.0);
        }
        if dies_after == 3 {
            return self.restart();
        }
        self.status = found.leaving;
    }

    fn restart(&mut self) {
        self.ordered.clear();
    }
}

#[test]
fn whatever_happens_in_between_the_plan_completes_and_nobody_is_taken_who_was_not_asked_to_leave() {
    for seed in 0..300 {
        let mut world = World {
            random: seed,
            second: 0,
            pods: BTreeMap::new(),
            made: 0,
            asked: 6,
            status: None,
            desired: 6,
            ordered: Vec::new(),
            lost: 0,
        };
        (0..6).for_each(|_| world.make(20));
        for second in 0..600 {
            world.second = second;
            if second % 60 == 0 {
                world.desired = i32::try_from(1 + world.next(10)).unwrap();
            }
            // A node is lost now and then, with a pod on it.
            if world.next(50) == 0
                && let Some(name) = world.pods.keys().next().cloned()
            {
                world.pods.remove(&name);
            }
            world.sockets_move();
            world.operator();
            world.replica_set();
        }
        for second in 600..900 {
            world.second = second;
            world.sockets_move();
            world.operator();
            world.replica_set();
        }
        assert_eq!((world.asked, world.status.as_ref()), (world.desired, None), "seed {seed}");
        assert_eq!(i32::try_from(world.pods.len()).unwrap(), world.desired, "seed {seed}");
        assert!(
            world.pods.values().all(|(_, ordered, _, _)| ordered.is_none()),
            "seed {seed}: all that are left serve"
        );
        assert_eq!(world.lost, 0, "seed {seed}");
    }
}
