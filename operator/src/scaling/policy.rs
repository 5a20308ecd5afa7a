//! How many gateways there should be.
//!
//! - **Needed** are as many as hold the connections and the buffer at `target`: `ceil(connections × (1 + buffer) / target)`.
//! - **Up** goes to what is needed at once, on a single look.
//! - **Down** goes to what the highest load of the stabilisation window needs, and only when even a load that is higher by
//!   [`SWING`] would leave gateways over. A load that swings by ±10 % around anything reaches at most 11/9 of its lowest, so what was
//!   taken away at its lowest still suffices at its highest: no order of samples within ±10 % makes the number go down and up again
//!   more than once.
//! - **Unknown is not zero.** A gateway that does not say how much it holds may be a reason for more, never for fewer.

use jiff::{SignedDuration, Timestamp};

use super::{history::History, reason::Why};

/// By how much a load may rise from its lowest without having changed: from 0.9 to 1.1.
const SWING: (u64, u64) = (11, 9);
/// Gateways that are not ready for longer are lost: a normal start takes half of it.
pub const LOST_AFTER: SignedDuration = SignedDuration::from_secs(60);
/// A gateway is short of memory when its resident memory is more than this part of its limit.
pub const MEMORY_PRESSURE_PERCENT: u64 = 85;
/// One more for so many under pressure.
const PRESSED_PER_STEP: u32 = 4;

/// `spec.gateway.autoscaling`, checked: the rules of the CRD hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Pods, at least 1.
    pub min_replicas: u32,
    /// Pods; if it were below `min_replicas`, it would win.
    pub max_replicas: u32,
    /// Connections that a pod should hold, above 0.
    pub target_connections: u32,
    /// Capacity to keep free, in percent of the connections that there are.
    pub buffer_percent: u32,
    /// The stabilisation window.
    pub stabilization: SignedDuration,
    /// Pods to be added within a minute at most, at least 1.
    pub max_scale_up_per_minute: u32,
}

/// What is known of one gateway that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gateway {
    /// Sockets that it holds; `None` if it has not reported them lately ([`super::answers::FRESH`]).
    pub connections: Option<u64>,
    /// Whether it takes traffic.
    pub ready: bool,
    /// Whether it was ordered to drain, by whomever. Its sockets count until they have moved.
    pub draining: bool,
    /// Whether it refuses sockets for want of capacity.
    pub refuses: bool,
    /// Whether it is short of memory ([`MEMORY_PRESSURE_PERCENT`]).
    pub memory_pressure: bool,
}

/// What is known of all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Gateways that are to stay: replicas of the Deployment without those that leave.
    pub replicas: u32,
    /// Gateways on their way out by our own decision.
    pub leaving: u32,
    /// Gateways of the Deployment that have been not ready for longer than [`LOST_AFTER`] and do not drain.
    pub lost: u32,
    /// Every gateway that runs, ready or not; of those whose pod has no address or is gone nothing is here.
    pub gateways: Vec<Gateway>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScalePlan {
    /// The number stays.
    Hold {
        /// Reason of the plan.
        why: Why,
    },
    /// More gateways are needed.
    Up {
        /// Gateways that are to stay then, above `Observed::replicas` and at most `max_replicas`.
        to: u32,
        /// Reason of the plan.
        why: Why,
    },
    /// Fewer, each of which is drained first.
    Down {
        /// Gateways that are to stay then, below `Observed::replicas` and within `min_replicas` and `max_replicas`.
        to: u32,
        /// Reason of the plan.
        why: Why,
    },
}

impl ScalePlan {
    /// Reason of the plan.
    #[must_use]
    pub const fn why(&self) -> &Why {
        match self {
            Self::Hold { why } | Self::Up { why, .. } | Self::Down { why, .. } => why,
        }
    }

    /// `Hold`, `Up` or `Down`; the label of a metric.
    #[must_use]
    pub const fn direction(&self) -> &'static str {
        match self {
            Self::Hold { .. } => "Hold",
            Self::Up { .. } => "Up",
            Self::Down { .. } => "Down",
        }
    }
}

/// What the policy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What to do now.
    pub plan: ScalePlan,
    /// Gateways that are needed now, within `min_replicas` and `max_replicas`; as many as there are while nothing is known.
    pub desired: u32,
    /// All connections, if every gateway reported theirs.
    pub connections: Option<u64>,
}

/// Decides. To be asked about every five seconds, with the same history for as long as the same operator decides for the same chat.
#[must_use]
pub fn decide(settings: &Settings, observed: &Observed, history: &mut History, now: Timestamp) -> Decision {
    let now = history.look(now, observed.replicas);
    let seen = Seen::of(&observed.gateways);
    let load = history.record(now, seen.known, seen.is_whole());
    let wanted = wanted(settings, observed, &seen, load, history);
    if let Some(floor) = wanted.floor {
        history.need(now, floor);
    }
    let desired = settings.within(wanted.pods());
    let plan = if observed.replicas > settings.max_replicas && observed.leaving == 0 {
        // What a person says needs no samples.
        ScalePlan::Down { to: settings.max_replicas, why: Why::Maximum }
    } else if desired > observed.replicas {
        up(settings, observed, &wanted, desired, history)
    } else {
        down(settings, observed, &seen, &wanted, history, now)
    };
    Decision { plan, desired, connections: seen.is_whole().then_some(seen.known) }
}

impl Settings {
    fn within(&self, pods: u32) -> u32 {
        pods.max(self.min_replicas).min(self.max_replicas)
    }

    /// Pods for this many connections and the buffer.
    fn needed(&self, connections: u64) -> u32 {
        self.pods(connections, (1, 1))
    }

    /// Pods for this many connections, should they rise by the swing, and the buffer.
    fn needed_after_swing(&self, connections: u64) -> u32 {
        self.pods(connections, SWING)
    }

    fn pods(&self, connections: u64, (times, over): (u64, u64)) -> u32 {
        let load =
            u128::from(connections) * u128::from(100 + u64::from(self.buffer_percent)) * u128::from(times);
        let one = u128::from(self.target_connections.max(1)) * 100 * u128::from(over);
        u32::try_from(load.div_ceil(one)).unwrap_or(u32::MAX)
    }
}

/// All gateways together.
struct Seen {
    /// Connections of those that reported them.
    known: u64,
    /// Number of those that take traffic or drain, and so hold or may hold sockets.
    asked: u32,
    /// How many of those did not report theirs.
    silent: u32,
    /// Number of those that take traffic.
    serving: u32,
    /// How many of those signal that they have too much.
    pressed: u32,
}

impl Seen {
    fn of(gateways: &[Gateway]) -> Self {
        let mut seen = Self { known: 0, asked: 0, silent: 0, serving: 0, pressed: 0 };
        for gateway in gateways {
            seen.known = seen.known.saturating_add(gateway.connections.unwrap_or(0));
            // One that is not ready and says nothing is about to start, or is dead; neither will be heard of by waiting.
            if gateway.ready || gateway.draining {
                seen.asked += 1;
                seen.silent += u32::from(gateway.connections.is_none());
            }
            if gateway.ready && !gateway.draining {
                seen.serving += 1;
                seen.pressed += u32::from(gateway.refuses || gateway.memory_pressure);
            }
        }
        seen
    }

    const fn is_whole(&self) -> bool {
        self.silent == 0 && self.serving > 0
    }
}

/// Pods that are wanted now, for one reason or another, before `minReplicas` and `maxReplicas`.
struct Wanted {
    /// Pods for the connections and the buffer; `None` while nothing is known.
    by_load: Option<u32>,
    load: u64,
    /// Pods that are needed for another reason.
    floor: Option<u32>,
    floor_why: Why,
}

impl Wanted {
    fn pods(&self) -> u32 {
        self.by_load.unwrap_or(0).max(self.floor.unwrap_or(0))
    }

    /// Why it is more than there are.
    fn why(&self, settings: &Settings) -> Why {
        let by_load = self.by_load.unwrap_or(0);
        match self.floor {
            _ if self.pods() < settings.min_replicas => Why::Minimum,
            Some(floor) if floor > by_load => self.floor_why.clone(),
            _ => Why::Connections { connections: self.load, needed: by_load },
        }
    }
}

fn wanted(
    settings: &Settings,
    observed: &Observed,
    seen: &Seen,
    load: Option<u64>,
    history: &History,
) -> Wanted {
    let replicas = observed.replicas;
    let (by_load, known) = match load {
        Some(load) => (Some(settings.needed(load)), load),
        // What some of them hold is there, whatever the others do.
        None if seen.known > 0 => (Some(settings.needed(seen.known)), seen.known),
        None => (None, 0),
    };
    let mut wanted = Wanted { by_load, load: known, floor: None, floor_why: Why::Enough };
    let mut want = |pods: u32, why: Why| {
        if wanted.floor.is_none_or(|floor| pods > floor) {
            (wanted.floor, wanted.floor_why) = (Some(pods), why);
        }
    };
    let Some(by_load) = by_load else {
        want(replicas, Why::NoneReady);
        return wanted;
    };
    let by_load = by_load.max(settings.min_replicas);
    // Those that are not coming back are replaced: by at most half of what is needed, since pods that find no node are no reason for
    // ever more of them.
    let lost = observed.lost.min(replicas.saturating_sub(seen.serving));
    if lost > 0 {
        want(by_load.saturating_add(lost.min(by_load.div_ceil(2))), Why::Lost { gateways: lost });
    }
    if seen.pressed > 0 {
        let all_there = seen.serving.saturating_add(lost) >= replicas;
        // What was added within the last minute gets the time to take sockets over.
        let step =
            if all_there && history.added() == 0 { seen.pressed.div_ceil(PRESSED_PER_STEP) } else { 0 };
        // Twice of what is needed, and no further: what that does not cure has another cause.
        let most = by_load.saturating_mul(2).max(replicas);
        want(replicas.saturating_add(step).min(most), Why::Pressure { gateways: seen.pressed });
    }
    wanted
}

fn up(
    settings: &Settings,
    observed: &Observed,
    wanted: &Wanted,
    desired: u32,
    history: &History,
) -> ScalePlan {
    let may = settings.max_scale_up_per_minute.saturating_sub(history.added());
    let to = desired.min(observed.replicas.saturating_add(may));
    if to > observed.replicas {
        ScalePlan::Up { to, why: wanted.why(settings) }
    } else {
        ScalePlan::Hold { why: Why::RateLimited { needed: desired } }
    }
}

fn down(
    settings: &Settings,
    observed: &Observed,
    seen: &Seen,
    wanted: &Wanted,
    history: &mut History,
    now: Timestamp,
) -> ScalePlan {
    let replicas = observed.replicas;
    let hold = |why| ScalePlan::Hold { why };
    let since = now.saturating_sub(settings.stabilization).unwrap_or(Timestamp::MIN);
    let floor = history.highest_floor(since);
    let highest = history.highest_load(since);
    if seen.serving == 0 {
        return hold(Why::NoneReady);
    }
    if wanted.pods() > settings.max_replicas && replicas == settings.max_replicas {
        return hold(Why::AtMaximum);
    }
    if seen.pressed > 0 {
        return hold(wanted.floor_why.clone());
    }
    if wanted.by_load.is_some() && settings.within(wanted.pods()) == replicas {
        return hold(Why::Enough);
    }
    // From here on fewer would do now, or it is not known.
    if !seen.is_whole() {
        return hold(Why::Unknown { silent: seen.silent, of: seen.asked });
    }
    if observed.leaving > 0 {
        return hold(Why::Leaving { gateways: observed.leaving });
    }
    let highest = highest.unwrap_or(seen.known);
    let needed = settings.within(settings.needed(highest).max(floor));
    if needed >= replicas {
        return hold(Why::Window { needed });
    }
    let after_swing = settings.within(settings.needed_after_swing(highest).max(floor));
    if after_swing >= replicas {
        return hold(Why::Margin);
    }
    ScalePlan::Down { to: needed, why: Why::FewerConnections { highest, needed } }
}

#[cfg(test)]
mod tests;
