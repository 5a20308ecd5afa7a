//! A day of a chat: who is online when, what the policy makes of it, and what that cost.

use folkmoot_operator::scaling::{
    history::History,
    policy::{ScalePlan, Settings, decide},
};
use jiff::{SignedDuration, Timestamp};

use super::{chance::Chance, fleet::Fleet};

/// The operator looks every so many seconds.
const LOOK_SECONDS: u32 = 5;
/// A zone is lost at eleven.
const ZONE_LOST: u32 = 11 * HOUR;
const HOUR: u32 = 3_600;
/// How many are online, at hours of the day and in parts of the peak; in between it is a straight line.
const CURVE: [(f64, f64); 13] = [
    (0.0, 0.10),
    (5.5, 0.08),
    (7.0, 0.20),
    (8.5, 0.80),
    (9.5, 0.98),
    (10.5, 1.0),
    (12.0, 0.97),
    (12.5, 0.82),
    (13.5, 0.96),
    (15.0, 1.0),
    (17.0, 0.90),
    (19.0, 0.45),
    (24.0, 0.10),
];

/// Pod-hours that may be used for each ideal one.
pub(crate) const MOST_USED: f64 = 1.15;

/// What is simulated.
#[derive(Clone)]
pub(crate) struct Day {
    /// Users who are online at the peak.
    pub(crate) peak: u64,
    /// From when to when, in hours.
    pub(crate) hours: (u32, u32),
    /// Settings of `spec.gateway.autoscaling`.
    pub(crate) settings: Settings,
    /// Value of `spec.gateway.maxConnections`.
    pub(crate) max_connections: u64,
    /// Value of `spec.gateway.drainSeconds`.
    pub(crate) drain_seconds: u32,
    /// Another day of the same kind.
    pub(crate) seed: u64,
}

/// A minute of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Minute {
    /// Since midnight, in seconds.
    pub(crate) second: u32,
    /// Gateways that use a node.
    pub(crate) pods: u32,
    /// Gateways that hold the connections exactly, at the target.
    pub(crate) ideal: u32,
    /// Connections of the fullest gateway.
    pub(crate) fullest: u64,
}

/// What came out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    /// Pod-seconds that were used: from the start of a pod to its end.
    pub(crate) used: u64,
    /// Pod-seconds of the ideal: `ceil(connections / target)`, at least one, known without delay and started in no time.
    pub(crate) ideal: u64,
    /// Connections of the fullest gateway of the day.
    pub(crate) fullest: u64,
    /// Seconds in which some gateway held more than `maxConnections`.
    pub(crate) overloaded: u32,
    /// Seconds in which all that served held more than their target together.
    pub(crate) above_target: u32,
    /// Of those, the ones within ten minutes of the loss of the zone.
    pub(crate) above_target_zone: u32,
    /// Decisions for more.
    pub(crate) ups: u32,
    /// Decisions for fewer.
    pub(crate) downs: u32,
    /// Sockets that were sent away to empty gateways, a user may be among them several times.
    pub(crate) moved: u64,
    /// The day, minute by minute.
    pub(crate) minutes: Vec<Minute>,
}

impl Outcome {
    /// Used for each ideal pod-hour.
    pub(crate) fn ratio(&self) -> f64 {
        self.used as f64 / self.ideal.max(1) as f64
    }
}

impl Day {
    /// A day of 75,000 users, on about 16 gateways at the peak: fewer and larger ones are too coarse to follow the day closely.
    pub(crate) const fn of_75_000() -> Self {
        Self::of(75_000, 5_000, 40, 20)
    }

    /// A day of 2,500,000 users.
    pub(crate) const fn of_2_500_000() -> Self {
        Self::of(2_500_000, 10_000, 400, 60)
    }

    /// Settings with which the bars hold: little is kept free, since a gateway takes nearly twice of its target.
    const fn of(peak: u64, target_connections: u32, max_replicas: u32, max_scale_up_per_minute: u32) -> Self {
        Self {
            peak,
            hours: (0, 24),
            settings: Settings {
                min_replicas: 1,
                max_replicas,
                target_connections,
                buffer_percent: 4,
                stabilization: SignedDuration::from_secs(300),
                max_scale_up_per_minute,
            },
            max_connections: 19_000,
            drain_seconds: 30,
            seed: 1,
        }
    }

    /// Name of the file of its picture.
    pub(crate) fn picture(&self) -> String {
        format!("autoscaling-{}.svg", self.peak)
    }

    /// Lets it pass.
    pub(crate) fn run(&self) -> Outcome {
        let mut chance = Chance::new(self.seed);
        let (from, to) = (self.hours.0 * HOUR, self.hours.1 * HOUR);
        let first = self.ideal(self.online(from));
        let mut fleet = Fleet::new(first, self.drain_seconds);
        let mut history = History::starting(time(from), first, None);
        let mut outcome = Outcome::default();
        for second in from..to {
            if second == ZONE_LOST {
                fleet.lose_zone(second);
            }
            let online = self.online(second);
            fleet.step(second, online, &mut chance);
            if second.is_multiple_of(LOOK_SECONDS) {
                self.look(second, &mut fleet, &mut history, &mut outcome, &mut chance);
            }
            self.count(second, online, &fleet, &mut outcome);
        }
        outcome.moved = fleet.moved;
        outcome
    }

    fn look(
        &self,
        second: u32,
        fleet: &mut Fleet,
        history: &mut History,
        outcome: &mut Outcome,
        chance: &mut Chance,
    ) {
        let observed = fleet.observe(second, time(second), self.max_connections, chance);
        match decide(&self.settings, &observed, history, time(second)).plan {
            ScalePlan::Hold { .. } => {}
            ScalePlan::Up { to, .. } => {
                fleet.scale_up(second, to, chance);
                outcome.ups += 1;
            }
            ScalePlan::Down { to, .. } => {
                fleet.scale_down(second, to, self.settings.target_connections);
                outcome.downs += 1;
            }
        }
    }

    fn count(&self, second: u32, online: u64, fleet: &Fleet, outcome: &mut Outcome) {
        let (pods, ideal) = (fleet.running(), self.ideal(online));
        let (mut fullest, mut held, mut serving) = (0, 0, 0);
        for one in fleet.serving() {
            (fullest, held, serving) = (one.max(fullest), held + one, serving + 1);
        }
        outcome.used += u64::from(pods);
        outcome.ideal += u64::from(ideal);
        outcome.fullest = outcome.fullest.max(fullest);
        outcome.overloaded += u32::from(fullest > self.max_connections);
        if held > serving * u64::from(self.settings.target_connections) {
            outcome.above_target += 1;
            outcome.above_target_zone += u32::from((ZONE_LOST..ZONE_LOST + 600).contains(&second));
        }
        if second.is_multiple_of(60) {
            outcome.minutes.push(Minute { second, pods, ideal, fullest });
        }
    }

    fn ideal(&self, online: u64) -> u32 {
        let pods = online.div_ceil(self.settings.target_connections.into()).max(1);
        u32::try_from(pods).unwrap_or(u32::MAX)
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of the peak")]
    fn online(&self, second: u32) -> u64 {
        let hour = f64::from(second) / f64::from(HOUR);
        let part = CURVE.windows(2).find(|pair| hour < pair[1].0).map_or(CURVE[12].1, |pair| {
            let [(from, low), (to, high)] = [pair[0], pair[1]];
            low + (high - low) * (hour - from) / (to - from)
        });
        (self.peak as f64 * part) as u64
    }
}

fn time(second: u32) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + i64::from(second)).unwrap_or(Timestamp::UNIX_EPOCH)
}
