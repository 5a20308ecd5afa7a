//! The short form of `make simulate`: the policy keeps its bars over a day of 75,000 users and a morning of 2,500,000.

#[path = "../examples/simulate/chance.rs"]
mod chance;
#[path = "../examples/simulate/day.rs"]
mod day;
#[path = "../examples/simulate/fleet.rs"]
mod fleet;
#[path = "../examples/simulate/plot.rs"]
mod plot;

use day::{Day, MOST_USED};

#[test]
fn a_day_of_75_000_users_is_cheap_and_nothing_overflows() {
    let day = Day::of_75_000();
    let outcome = day.run();
    assert!(outcome.ratio() <= MOST_USED, "{:.3} times the ideal", outcome.ratio());
    assert_eq!(outcome.overloaded, 0, "the fullest held {}", outcome.fullest);
    assert_eq!(outcome.above_target, outcome.above_target_zone, "only while the zone is being replaced");
    assert!(outcome.ups + outcome.downs < 40 && outcome.moved < 75_000, "it is calm: {outcome:?}");
    let drawn = format!("{}/../docs/images/{}", env!("CARGO_MANIFEST_DIR"), day.picture());
    let drawn = std::fs::read_to_string(&drawn).unwrap_or_default();
    assert!(drawn == plot::plot(&day, &outcome), "docs/images is not of this policy: make simulate");
}

#[test]
fn a_lost_zone_of_2_500_000_users_does_not_overflow_the_rest() {
    let day = Day { hours: (9, 12), ..Day::of_2_500_000() };
    let outcome = day.run();
    assert!(outcome.ratio() <= MOST_USED, "{:.3} times the ideal", outcome.ratio());
    assert_eq!(outcome.overloaded, 0, "the fullest held {}", outcome.fullest);
}
