//! What holds whatever the samples are.

use proptest::prelude::*;

use super::*;

/// Ticks of five seconds.
const HOUR: usize = 720;

/// Replicas after each tick, when every decision is followed at once and the load lies evenly on all.
fn follow(settings: &Settings, replicas: u32, loads: impl Iterator<Item = u64>) -> Vec<u32> {
    let mut history = History::starting(at(0), replicas, None);
    let mut replicas = replicas;
    let follow = |(tick, load): (usize, u64)| {
        let each = u64::from(replicas);
        let gateways = (0..each)
            .map(|index| Gateway {
                connections: Some(load / each + u64::from(index < load % each)),
                ready: true,
                draining: false,
                refuses: false,
                memory_pressure: false,
            })
            .collect();
        let observed = Observed { replicas, leaving: 0, lost: 0, gateways };
        let now = at(5 * i64::try_from(tick).unwrap());
        if let ScalePlan::Up { to, .. } | ScalePlan::Down { to, .. } =
            decide(settings, &observed, &mut history, now).plan
        {
            replicas = to;
        }
        replicas
    };
    loads.enumerate().map(follow).collect()
}

fn settings() -> impl Strategy<Value = Settings> {
    (50..20_000_u32, 0..=100_u32, prop::sample::select(vec![0, 60, 300, 900]), 5..40_u32).prop_map(
        |(target_connections, buffer_percent, window, max_scale_up_per_minute)| Settings {
            min_replicas: 1,
            max_replicas: 500,
            target_connections,
            buffer_percent,
            stabilization: SignedDuration::from_secs(window),
            max_scale_up_per_minute,
        },
    )
}

/// Settings, and a load that needs up to 100 gateways.
fn settings_and_load() -> impl Strategy<Value = (Settings, u64)> {
    (settings(), 0.0..100.0).prop_map(|(settings, pods): (Settings, f64)| {
        // A test's load need not be exact.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let load = (pods * f64::from(settings.target_connections)) as u64;
        (settings, load)
    })
}

/// The load with this much noise, in thousandths of -10 % to 10 %; rounded towards the load, so that it stays within.
fn noisy(load: u64, thousandths: i64) -> u64 {
    let off = load * thousandths.unsigned_abs() / 10_000;
    if thousandths < 0 { load - off } else { load + off }
}

fn changes(replicas: &[u32]) -> Vec<i64> {
    replicas
        .windows(2)
        .map(|pair| i64::from(pair[1]) - i64::from(pair[0]))
        .filter(|change| *change != 0)
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Six hours of uniform noise: at most one step down, and at most one change later than an hour after it or after the start, since
    /// by then the load has been about as high as it gets.
    #[test]
    fn uniform_noise_does_not_flap(
        (settings, load) in settings_and_load(),
        replicas in 1..200_u32,
        noise in prop::collection::vec(-1_000..=1_000_i64, 6 * HOUR),
    ) {
        let seen = follow(&settings, replicas, noise.iter().map(|noise| noisy(load, *noise)));
        let downs: Vec<usize> = (1..seen.len()).filter(|tick| seen[*tick] < seen[tick - 1]).collect();
        prop_assert!(downs.len() <= 1, "{downs:?}");
        let settled = downs.last().unwrap_or(&0) + HOUR;
        let changes = changes(seen.get(settled..).unwrap_or_default());
        prop_assert!(changes.len() <= 1, "{changes:?}");
    }

    /// Somebody chooses the noise so as to do the most harm, for as long as they like: at most one step down ever, none after a step
    /// up, and nothing at all once both ends of the noise have been seen.
    #[test]
    fn chosen_noise_does_not_flap(
        (settings, load) in settings_and_load(),
        replicas in 1..200_u32,
        chosen in prop::collection::vec(
            (prop_oneof![Just(-1_000), Just(1_000), -1_000..=1_000_i64], prop_oneof![1..4_usize, 50..250_usize]),
            1..40,
        ),
    ) {
        let loads = chosen.iter().flat_map(|(noise, ticks)| std::iter::repeat_n(noisy(load, *noise), *ticks));
        let seen = follow(&settings, replicas, loads);
        let changes = changes(&[&[replicas], &seen[..]].concat());
        let downs = changes.iter().filter(|change| **change < 0).count();
        prop_assert!(downs <= 1, "{changes:?}");
        let rises = changes.iter().skip_while(|change| **change < 0);
        prop_assert!(rises.clone().all(|change| *change > 0), "{changes:?}");

        // Settled is whoever has seen both ends of the noise, each for long enough to follow.
        let settling = [-1_000, 1_000].into_iter().flat_map(|end| std::iter::repeat_n(noisy(load, end), HOUR));
        let again = chosen.iter().flat_map(|(noise, ticks)| std::iter::repeat_n(noisy(load, *noise), *ticks));
        let seen = follow(&settings, *seen.last().unwrap(), settling.chain(again));
        let changes = self::changes(&seen[2 * HOUR - 1..]);
        prop_assert!(changes.is_empty(), "{changes:?}");
    }
}

/// One look at anything.
fn look() -> impl Strategy<Value = (i64, u32, u32, u32, Vec<Gateway>)> {
    let gateway = (
        prop::option::weighted(0.95, 0..2_000_u64),
        prop::bool::weighted(0.95),
        prop::bool::weighted(0.05),
        prop::bool::weighted(0.02),
        prop::bool::weighted(0.02),
    )
        .prop_map(|(connections, ready, draining, refuses, memory_pressure)| Gateway {
            connections,
            ready,
            draining,
            refuses,
            memory_pressure,
        });
    (
        prop_oneof![8 => 1..10_i64, 1 => 0..200_i64, 1 => -50..0_i64],
        prop_oneof![8 => Just(u32::MAX), 1 => 0..40_u32],
        prop_oneof![8 => Just(0), 1 => 0..4_u32],
        prop_oneof![8 => Just(0), 1 => 0..10_u32],
        prop::collection::vec(gateway, 0..30),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Whatever is seen: within the bounds, never fewer than the highest load of the window and the buffer need, never fewer when
    /// a gateway did not answer, and never more within a minute than may be.
    #[test]
    fn decisions_keep_to_the_rules(
        target_connections in 50..3_000_u32,
        buffer_percent in 0..=400_u32,
        (min_replicas, more) in (1..10_u32, 0..40_u32),
        window in prop::sample::select(vec![0, 20, 60]),
        max_scale_up_per_minute in 1..10_u32,
        started in 0..50_u32,
        looks in prop::collection::vec(look(), 1..120),
    ) {
        let settings = Settings {
            min_replicas,
            max_replicas: min_replicas + more,
            target_connections,
            buffer_percent,
            stabilization: SignedDuration::from_secs(window),
            max_scale_up_per_minute,
        };
        let needs = |connections: u64| -> u128 {
            (u128::from(connections) * u128::from(100 + buffer_percent)).div_ceil(u128::from(target_connections) * 100)
        };
        let mut history = History::starting(at(0), started, None);
        let (mut second, mut replicas) = (0, started);
        let mut seen: Vec<(i64, u64)> = Vec::new();
        let mut ups: Vec<(i64, u32)> = Vec::new();
        for (passed, by_somebody, leaving, lost, gateways) in looks {
            second += passed;
            if by_somebody != u32::MAX {
                replicas = by_somebody;
                // What they took away again is not counted.
                ups.clear();
            }
            let serves = gateways.iter().any(|gateway| gateway.ready && !gateway.draining);
            let silent = gateways
                .iter()
                .any(|gateway| (gateway.ready || gateway.draining) && gateway.connections.is_none());
            let total = gateways.iter().filter_map(|gateway| gateway.connections).sum();
            // A clock that goes back makes no time pass.
            let latest = seen.last().map_or(0, |(at, _)| *at).max(second);
            seen.push((latest, if silent || !serves { 0 } else { total }));
            let observed = Observed { replicas, leaving, lost, gateways };
            let decision = decide(&settings, &observed, &mut history, at(second));
            prop_assert!(decision.desired <= settings.max_replicas && decision.desired >= settings.min_replicas);
            prop_assert_eq!(decision.connections, (!silent && serves).then_some(total));
            match decision.plan {
                ScalePlan::Hold { .. } => {}
                ScalePlan::Up { to, .. } => {
                    prop_assert!(to > replicas && to <= settings.max_replicas);
                    let lately: u32 =
                        ups.iter().filter(|(at, _)| latest - at < 60).map(|(_, added)| added).sum();
                    prop_assert!(lately + (to - replicas) <= max_scale_up_per_minute, "{lately} and {to}");
                    // It is seen at the next look.
                    ups.push((latest, to - replicas));
                    replicas = to;
                }
                ScalePlan::Down { to, why: Why::Maximum } => {
                    prop_assert!(replicas > settings.max_replicas && to == settings.max_replicas);
                    replicas = to;
                }
                ScalePlan::Down { to, .. } => {
                    prop_assert!(to < replicas && to >= settings.min_replicas && to <= settings.max_replicas);
                    prop_assert!(!silent && serves && leaving == 0);
                    let highest = seen.iter().filter(|(at, _)| latest - at <= window).map(|(_, load)| *load).max();
                    let needed = needs(highest.unwrap()).min(settings.max_replicas.into());
                    prop_assert!(u128::from(to) >= needed, "{to} of {needed}");
                    replicas = to;
                }
            }
        }
    }
}
