//! Which gateways go when there are too many.

use std::collections::BTreeMap;

/// A gateway that may go: a pod of the Deployment that is not being deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Name of the pod.
    pub name: String,
    /// Whether it takes traffic.
    pub ready: bool,
    /// Whether it was ordered to drain: it takes nobody any more.
    pub draining: bool,
    /// The higher, the newer; pods of one template have the same.
    pub revision: u64,
    /// Sockets that it holds; `None` if it did not report them.
    pub connections: Option<u64>,
    /// Its node; `None`: on none yet.
    pub node: Option<String>,
    /// The zone of that node.
    pub zone: Option<String>,
}

/// Parts of `target` by which it is compared how full a gateway is. What two in the same part hold differs by so little that it
/// matters more where they run.
const PARTS: u64 = 10;

/// Chooses `count` of them, or all if there are fewer, the first to go first: those that do not take traffic, then
/// those of the oldest revision, then the emptiest, then those whose zone and whose node keeps the most; one that did
/// not report how many sockets it holds is taken for full. `target` is what a gateway should hold, in connections.
///
/// The same candidates in any order give the same choice.
#[must_use]
pub fn choose(candidates: &[Candidate], count: usize, target: u32) -> Vec<String> {
    let mut left: Vec<&Candidate> = candidates.iter().collect();
    let mut chosen = Vec::new();
    while chosen.len() < count {
        let (zones, nodes) =
            (count_by(&left, |pod| pod.zone.as_deref()), count_by(&left, |pod| pod.node.as_deref()));
        let neighbours = |counts: &BTreeMap<&str, usize>, of: Option<&str>| {
            of.and_then(|of| counts.get(of).copied()).unwrap_or(0)
        };
        let next = left.iter().enumerate().min_by_key(|(_, pod)| {
            (
                !pod.draining,
                pod.ready,
                pod.revision,
                part(pod.connections, target),
                std::cmp::Reverse(neighbours(&zones, pod.zone.as_deref())),
                std::cmp::Reverse(neighbours(&nodes, pod.node.as_deref())),
                pod.connections.unwrap_or(u64::MAX),
                pod.name.as_str(),
            )
        });
        let Some((index, _)) = next else { break };
        chosen.push(left.swap_remove(index).name.clone());
    }
    chosen
}

/// How full: 0 is empty.
fn part(connections: Option<u64>, target: u32) -> u64 {
    connections.map_or(u64::MAX, |held| held.saturating_mul(PARTS).div_ceil(u64::from(target.max(1))))
}

fn count_by<'a>(
    pods: &[&'a Candidate],
    of: impl Fn(&'a Candidate) -> Option<&'a str>,
) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for place in pods.iter().filter_map(|pod| of(pod)) {
        *counts.entry(place).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests;
