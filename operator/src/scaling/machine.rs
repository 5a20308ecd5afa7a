//! The steps of a scale-down: choose pods, mark them, have them send their sockets away, wait until they have none or the time is
//! over, lower the number, delete those that are still there. Pure: each look at the cluster gives the next step, whoever took
//! those before. What must be known for that is in the status, and a plan is carried out only once it is written there.
//!
//! - A pod that was ordered to drain cannot come back. When more gateways are wanted meanwhile, others are made in place of those that
//!   leave, and these go all the same.
//! - Only as many are taken away as pods of the plan are left. One that was lost meanwhile, with its node, was replaced by a pod
//!   that nobody ordered to drain, which must not go in its stead.

use jiff::{SignedDuration, Timestamp};

/// How long the pods of a plan may take beyond the time over which they send their sockets away.
const FINISH_TIMEOUT: SignedDuration = SignedDuration::from_secs(30);

/// A scale-down that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaving {
    /// Names of the pods that go.
    pub pods: Vec<String>,
    /// How many gateways stay.
    pub to: i32,
    /// When it began.
    pub since: Timestamp,
    /// When they go with the sockets that they still have: they send them away while they end, then.
    pub deadline: Timestamp,
}

/// How far a pod is that is to be emptied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drain {
    /// It has not taken the order yet.
    NotOrdered,
    /// It sends its sockets away.
    Ordered,
    /// It has none, and takes none.
    Empty,
}

/// A gateway's pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GatewayPod<'a> {
    /// Name of the pod.
    pub name: &'a str,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// Whether it is marked as one that goes first.
    pub marked: bool,
    /// How far it is, should it be one of those that leave.
    pub drain: Drain,
}

/// What the next step follows from.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// How many pods the Deployment asks for.
    pub current: i32,
    /// How many there should be; `None`: nobody knows, and it stays.
    pub desired: Option<i32>,
    /// How many there may be while some leave and others take their place.
    pub limit: i32,
    /// The scale-down that the status shows.
    pub leaving: Option<&'a Leaving>,
    /// All pods of gateways.
    pub pods: &'a [GatewayPod<'a>],
    /// Whether a roll-out is on its way: then no scale-down begins.
    pub is_rolling: bool,
    /// Whether the Deployment's controller has done what it was asked for last.
    pub is_through: bool,
    /// Over how long a pod sends its sockets away.
    pub drain: SignedDuration,
    /// The current time.
    pub now: Timestamp,
}

/// The next step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Nothing is done.
    Rest,
    /// There should be fewer, and a roll-out is on its way.
    AwaitRollout,
    /// There will be more.
    Grow {
        /// How many there were.
        from: i32,
    },
    /// These will leave. It goes on when the status says so.
    Begin,
    /// They are being emptied.
    Empty {
        /// How many are not empty yet.
        waiting: usize,
    },
    /// They are empty, or the time is over: the number is lowered.
    Lower {
        /// How many there were.
        from: i32,
        /// How many were not empty.
        occupied: usize,
    },
    /// Pods that were asked for are not there yet, and will not be.
    Forgo {
        /// How many there were to be.
        from: i32,
    },
    /// The number is as it should be; pods of the plan that are still there are deleted, as soon as it is sure that nobody else
    /// does it.
    Replace,
    /// All of the plan's pods are gone.
    Done,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// How many pods the Deployment should ask for.
    pub replicas: i32,
    /// What the status should show.
    pub leaving: Option<Leaving>,
    /// Names of pods to be marked.
    pub mark: Vec<String>,
    /// Names of pods to be ordered to drain.
    pub order_to_drain: Vec<String>,
    /// Names of pods to be deleted.
    pub delete: Vec<String>,
    /// What that is.
    pub step: Step,
}

impl Plan {
    /// There are as many as there should be.
    #[must_use]
    pub fn resting(replicas: i32) -> Self {
        Self::new(replicas, None, Step::Rest)
    }

    fn new(replicas: i32, leaving: Option<Leaving>, step: Step) -> Self {
        Self { replicas, leaving, mark: Vec::new(), order_to_drain: Vec::new(), delete: Vec::new(), step }
    }
}

/// The next step. `choose` names that many pods, first those that can best be done without.
#[must_use]
pub fn plan(situation: &Situation<'_>, choose: impl FnOnce(usize) -> Vec<String>) -> Plan {
    match situation.leaving {
        None => at_rest(situation, choose),
        Some(leaving) => under_way(situation, leaving),
    }
}

fn at_rest(situation: &Situation<'_>, choose: impl FnOnce(usize) -> Vec<String>) -> Plan {
    let Situation { current, now, .. } = *situation;
    let desired = situation.desired.unwrap_or(current);
    if desired > current {
        return Plan::new(desired, None, Step::Grow { from: current });
    }
    if desired == current {
        return Plan::new(current, None, Step::Rest);
    }
    if situation.is_rolling {
        return Plan::new(current, None, Step::AwaitRollout);
    }
    let active = count(situation.pods.iter().filter(|pod| !pod.deleting).count());
    if active < current {
        return Plan::new(desired.max(active), None, Step::Forgo { from: current });
    }
    let pods = choose(usize::try_from(current - desired).unwrap_or_default());
    if pods.is_empty() {
        return Plan::new(current, None, Step::Rest);
    }
    let leaving =
        Leaving { pods, to: desired, since: now, deadline: later(now, situation.drain + FINISH_TIMEOUT) };
    Plan::new(current, Some(leaving), Step::Begin)
}

fn under_way(situation: &Situation<'_>, leaving: &Leaving) -> Plan {
    let Situation { current, now, .. } = *situation;
    let to = leaving.to.max(situation.desired.unwrap_or(leaving.to));
    let goes = |pod: &&GatewayPod<'_>| !pod.deleting && leaving.pods.iter().any(|name| name == pod.name);
    let left: Vec<&GatewayPod<'_>> = situation.pods.iter().filter(goes).collect();
    if left.is_empty() {
        return Plan::new(current.max(situation.desired.unwrap_or(current)), None, Step::Done);
    }
    let plan = |replicas, step| {
        let leaving = Leaving { to, ..leaving.clone() };
        let mut plan = Plan::new(replicas, Some(leaving), step);
        plan.mark = names(left.iter().filter(|pod| !pod.marked));
        plan
    };
    let waiting = left.iter().filter(|pod| pod.drain != Drain::Empty).count();
    if waiting > 0 && now < leaving.deadline {
        // Others in place of those that leave, when more are wanted by now.
        let replicas = current.max((to + count(left.len())).min(situation.limit));
        let mut plan = plan(replicas, Step::Empty { waiting });
        plan.order_to_drain = names(left.iter().filter(|pod| pod.drain == Drain::NotOrdered));
        return plan;
    }
    // More pods than that: it was lowered already, and they are about to go.
    let active = count(situation.pods.iter().filter(|pod| !pod.deleting).count());
    let settled = active <= current + i32::from(situation.is_rolling);
    let lower = to.max(current - count(left.len()));
    if lower < current && settled {
        return plan(lower, Step::Lower { from: current, occupied: waiting });
    }
    let mut plan = plan(current.max(to), Step::Replace);
    if lower >= current && situation.is_through {
        plan.delete = names(left.iter());
    }
    plan
}

fn names<'a>(pods: impl Iterator<Item = &'a &'a GatewayPod<'a>>) -> Vec<String> {
    pods.map(|pod| pod.name.to_owned()).collect()
}

fn count(pods: usize) -> i32 {
    i32::try_from(pods).unwrap_or(i32::MAX)
}

fn later(now: Timestamp, by: SignedDuration) -> Timestamp {
    now.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
