use super::*;

mod noise;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

/// 1 to 10 gateways of 1,000, a fifth kept free, 300 s, 5 a minute.
const SETTINGS: Settings = Settings {
    min_replicas: 1,
    max_replicas: 10,
    target_connections: 1_000,
    buffer_percent: 20,
    stabilization: SignedDuration::from_secs(300),
    max_scale_up_per_minute: 5,
};

/// `900 ?d 30r 0m 5n`: sockets or `?`, and whether it drains, refuses, is short of memory or not ready.
fn gateways(fleet: &str) -> Vec<Gateway> {
    fleet
        .split_whitespace()
        .map(|word| {
            let number = word.trim_end_matches(char::is_alphabetic);
            Gateway {
                connections: number.parse().ok(),
                ready: !word.contains('n') && !word.contains('d'),
                draining: word.contains('d'),
                refuses: word.contains('r'),
                memory_pressure: word.contains('m'),
            }
        })
        .collect()
}

struct Check {
    settings: Settings,
    history: History,
}

impl Check {
    fn new(settings: Settings, replicas: u32) -> Self {
        Self { settings, history: History::starting(at(0), replicas, None) }
    }

    /// `Up 4 MoreConnections`, with what is needed behind it when it is another number than where it goes to.
    fn decide(&mut self, second: i64, observed: &Observed) -> String {
        let Decision { plan, desired, .. } = decide(&self.settings, observed, &mut self.history, at(second));
        let to = match plan {
            ScalePlan::Hold { .. } => observed.replicas,
            ScalePlan::Up { to, .. } | ScalePlan::Down { to, .. } => to,
        };
        let desired = if desired == to { String::new() } else { format!(" of {desired}") };
        format!("{} {to}{desired} {}", plan.direction(), plan.why().code())
    }

    fn look(&mut self, second: i64, replicas: u32, fleet: &str, expected: &str) {
        let observed = Observed { replicas, leaving: 0, lost: 0, gateways: gateways(fleet) };
        assert_eq!(self.decide(second, &observed), expected, "{second}: {fleet}");
    }
}

/// After a window of exactly this.
fn settled(replicas: u32, fleet: &str, expected: &str) {
    let mut check = Check::new(SETTINGS, replicas);
    let observed = Observed { replicas, leaving: 0, lost: 0, gateways: gateways(fleet) };
    for second in (0..=300).step_by(5) {
        check.decide(second, &observed);
    }
    check.look(305, replicas, fleet, expected);
}

#[test]
fn what_is_needed_is_added_at_once() {
    for (replicas, fleet, expected) in [
        (1, "0", "Hold 1 Enough"),
        (1, "833", "Hold 1 Enough"),
        (1, "834", "Up 2 MoreConnections"),
        (1, "5000", "Up 6 MoreConnections"),
        (1, "9000", "Up 6 of 10 MoreConnections"),
        (2, "900 900", "Up 3 MoreConnections"),
        (10, "900 900 900 900 900 900 900 900 900 900", "Hold 10 AtMaxReplicas"),
        // Those that drain give what they hold to the others.
        (2, "500 500 900d", "Up 3 MoreConnections"),
        // One that is not ready holds what it says.
        (2, "900 900n", "Up 3 MoreConnections"),
    ] {
        Check::new(SETTINGS, replicas).look(0, replicas, fleet, expected);
    }
    let at_least_3 = Settings { min_replicas: 3, ..SETTINGS };
    Check::new(at_least_3, 1).look(0, 1, "0", "Up 3 MinReplicas");
    Check::new(at_least_3, 1).look(0, 1, "", "Up 3 MinReplicas");
    Check::new(at_least_3, 3).look(0, 3, "0 0 0", "Hold 3 Enough");
}

#[test]
fn what_is_over_goes_after_the_window_unless_the_next_swing_needs_it() {
    settled(2, "100 100", "Down 1 FewerConnections");
    // 1,400 need 2, and 1,711 that they may become 3.
    settled(4, "350 350 350 350", "Down 2 FewerConnections");
    settled(3, "400 500 500", "Hold 3 of 2 WithinMargin");
    settled(3, "0 0 0", "Down 1 FewerConnections");
    settled(1, "0", "Hold 1 Enough");

    let mut check = Check::new(SETTINGS, 4);
    check.look(0, 4, "900 900 900 400", "Hold 4 Enough");
    check.look(60, 4, "0 0 0 0", "Hold 4 of 1 Stabilizing");
    check.look(120, 4, "100 100 400 400", "Hold 4 of 2 Stabilizing");
    check.look(180, 4, "0 0 0 0", "Hold 4 of 1 Stabilizing");
    check.look(240, 4, "0 0 0 0", "Hold 4 of 1 Stabilizing");
    check.look(300, 4, "0 0 0 0", "Hold 4 of 1 Stabilizing");
    check.look(301, 4, "0 0 0 0", "Down 2 of 1 FewerConnections");
    check.look(306, 2, "0 0", "Hold 2 of 1 Stabilizing");
    check.look(360, 2, "0 0", "Hold 2 of 1 Stabilizing");
    check.look(420, 2, "0 0", "Hold 2 of 1 Stabilizing");
    check.look(421, 2, "0 0", "Down 1 FewerConnections");
}

#[test]
fn what_is_not_known_takes_nobody_away_and_may_add() {
    settled(3, "10 10 ?", "Hold 3 of 1 SamplesMissing");
    settled(3, "? ? ?", "Hold 3 SamplesMissing");
    settled(3, "", "Hold 3 NoGatewayReady");
    settled(3, "10 10 10n", "Down 1 FewerConnections");
    // It is dead, or has not begun: nothing to wait for.
    settled(3, "10 10 ?n", "Down 1 FewerConnections");
    settled(3, "10 10 ?d", "Hold 3 of 1 SamplesMissing");
    settled(3, "900 900 ?", "Hold 3 Enough");
    settled(2, "900 900 ?", "Up 3 MoreConnections");

    // While a gateway does not answer, the load is believed to be what it was.
    let mut check = Check::new(Settings { stabilization: SignedDuration::from_secs(60), ..SETTINGS }, 3);
    check.look(0, 3, "800 800 800", "Hold 3 Enough");
    for second in (5..300).step_by(5) {
        check.look(second, 3, "0 0 ?", "Hold 3 Enough");
    }
    check.look(300, 3, "0 0 0", "Hold 3 of 1 Stabilizing");
    check.look(355, 3, "0 0 0", "Hold 3 of 1 Stabilizing");
    check.look(356, 3, "0 0 0", "Down 1 FewerConnections");
}

#[test]
fn a_pause_of_the_operator_is_no_knowledge() {
    let mut check = Check::new(SETTINGS, 3);
    check.look(0, 3, "0 0 0", "Hold 3 of 1 Stabilizing");
    check.look(3_600, 3, "0 0 0", "Hold 3 of 1 Stabilizing");
    for second in (3_605..=3_900).step_by(5) {
        check.look(second, 3, "0 0 0", "Hold 3 of 1 Stabilizing");
    }
    check.look(3_905, 3, "0 0 0", "Down 1 FewerConnections");
    // Nor is a clock that went back.
    check.look(0, 1, "5000", "Up 6 MoreConnections");
}

#[test]
fn no_more_than_the_limit_are_added_in_a_minute() {
    let mut check = Check::new(SETTINGS, 1);
    check.look(0, 1, "9000", "Up 6 of 10 MoreConnections");
    // It was not written: nothing is used up.
    check.look(5, 1, "9000", "Up 6 of 10 MoreConnections");
    check.look(10, 6, "9000", "Hold 6 of 10 RateLimited");
    check.look(69, 6, "9000", "Hold 6 of 10 RateLimited");
    check.look(70, 6, "9000", "Up 10 MoreConnections");

    let mut restarted = Check { settings: SETTINGS, history: History::starting(at(0), 6, Some(at(-30))) };
    restarted.look(0, 6, "9000", "Hold 6 of 10 RateLimited");
    restarted.look(30, 6, "9000", "Up 10 MoreConnections");
}

#[test]
fn pressure_adds_a_step_a_minute_and_holds() {
    for fleet in ["100r 100 100", "100m 100m 100m"] {
        Check::new(SETTINGS, 3).look(0, 3, fleet, "Hold 3 GatewaysUnderPressure");
        Check::new(SETTINGS, 2).look(0, 2, fleet, "Hold 2 GatewaysUnderPressure");
    }
    let mut check = Check::new(SETTINGS, 3);
    check.look(0, 3, "800 800r 800", "Up 4 GatewaysUnderPressure");
    check.look(5, 4, "800 800r 800 ?n", "Hold 4 GatewaysUnderPressure");
    check.look(60, 4, "800 800r 800 0", "Hold 4 GatewaysUnderPressure");
    check.look(65, 4, "600r 600r 600r 600r", "Up 5 GatewaysUnderPressure");
    check.look(120, 5, "480r 480r 480r 480r 480r", "Hold 5 GatewaysUnderPressure");
    check.look(180, 5, "480r 480r 480r 480r 480r", "Up 6 GatewaysUnderPressure");
}

#[test]
fn what_is_lost_is_replaced_within_bounds() {
    let check = |replicas, lost, fleet: &str, expected: &str| {
        let observed = Observed { replicas, leaving: 0, lost, gateways: gateways(fleet) };
        assert_eq!(Check::new(SETTINGS, replicas).decide(0, &observed), expected, "{lost}: {fleet}");
    };
    // 3,000 need 4; two of six are gone.
    check(4, 2, "1500 1500", "Up 6 GatewaysLost");
    check(6, 2, "750 750 750 750", "Hold 6 Enough");
    check(6, 4, "1500 1500", "Hold 6 Enough");
    // They never came: no reason for ever more.
    check(8, 6, "1500 1500", "Hold 8 of 6 Stabilizing");
    // All that are wanted are there: what is not ready is beside them, as in a roll-out.
    check(4, 1, "750 750 750 750", "Hold 4 Enough");
}

#[test]
fn those_that_leave_are_waited_for() {
    let check = |leaving, fleet: &str, expected: &str| {
        let observed = Observed { replicas: 3, leaving, lost: 0, gateways: gateways(fleet) };
        let settings = Settings { stabilization: SignedDuration::ZERO, ..SETTINGS };
        let mut check = Check::new(settings, 3);
        check.decide(0, &observed);
        assert_eq!(check.decide(1, &observed), expected, "{leaving}: {fleet}");
    };
    check(1, "0 0 0 0d", "Hold 3 of 1 GatewaysLeaving");
    check(0, "0 0 0 0d", "Down 1 FewerConnections");
    check(1, "900 900 900 900d", "Up 5 MoreConnections");
}

#[test]
fn a_lower_maximum_needs_no_samples() {
    for fleet in ["900 900 900", "? ? ?", ""] {
        let settings = Settings { max_replicas: 2, ..SETTINGS };
        Check::new(settings, 3).look(0, 3, fleet, "Down 2 MaxReplicas");
    }
}

#[test]
fn settings_that_are_replaced_hold_for_what_was_seen_before() {
    let mut check = Check::new(SETTINGS, 4);
    for second in (0..=310).step_by(5) {
        check.look(second, 4, "750 750 750 750", "Hold 4 Enough");
    }
    check.settings.target_connections = 3_000;
    check.look(315, 4, "750 750 750 750", "Down 2 FewerConnections");
}

#[test]
fn reasons_are_sentences_that_stay_the_same_while_nothing_is_done() {
    let mut first = Check::new(SETTINGS, 2);
    let mut reason = |fleet: &str| {
        let observed = Observed { replicas: 2, leaving: 0, lost: 0, gateways: gateways(fleet) };
        let Decision { plan, .. } = decide(&SETTINGS, &observed, &mut first.history, at(0));
        plan.why().to_string()
    };
    assert_eq!(reason("500 500"), reason("600 520"));
    assert_eq!(reason("900 900"), "1800 connections and the buffer need 3");
    assert_eq!(reason("900 ?"), "1800 connections and the buffer need 3");
}
