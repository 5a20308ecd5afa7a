//! The policy of the autoscaler over a day: gateways used against the ideal, and whether any was overloaded. `make simulate`.
//!
//! Exits with 1 when a bar is missed. With a directory as its argument it writes the pictures of docs/autoscaling.md there.

#[expect(clippy::cast_precision_loss, reason = "counts below 2^53")]
mod chance;
#[expect(clippy::cast_precision_loss, reason = "counts below 2^53")]
mod day;
#[expect(clippy::cast_precision_loss, reason = "counts below 2^53")]
mod fleet;
#[expect(clippy::cast_precision_loss, reason = "counts below 2^53")]
mod plot;

use std::{path::PathBuf, process::ExitCode};

use day::{Day, MOST_USED, Outcome};

/// Days with other chances, beside the one that is drawn.
const SEEDS: u64 = 3;

fn main() -> anyhow::Result<ExitCode> {
    let pictures = std::env::args_os().nth(1).map(PathBuf::from);
    let mut met = true;
    println!(
        "| peak | bufferPercent | seed | pod-hours used | ideal | used / ideal | fullest pod | s above maxConnections | s above target | of those after the zone | up | down | sockets moved |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|---|");
    for day in [Day::of_75_000(), Day::of_2_500_000()] {
        for seed in 1..=SEEDS {
            let day = Day { seed, ..day.clone() };
            let outcome = day.run();
            show(&day, &outcome, "");
            met &= outcome.ratio() <= MOST_USED && outcome.overloaded == 0;
            if let Some(directory) = pictures.as_ref().filter(|_| seed == 1) {
                std::fs::write(directory.join(day.picture()), plot::plot(&day, &outcome))?;
            }
        }
        // What the buffer costs; no bar holds for these.
        for buffer_percent in [0, 10, 20] {
            let mut day = day.clone();
            day.settings.buffer_percent = buffer_percent;
            show(&day, &day.run(), " (no bar)");
        }
    }
    println!(
        "\nbar: used <= {MOST_USED} x ideal and no second above maxConnections: {}",
        if met { "met" } else { "MISSED" }
    );
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn show(day: &Day, outcome: &Outcome, note: &str) {
    let hours = |seconds: u64| seconds as f64 / 3_600.0;
    println!(
        "| {} | {}{note} | {} | {:.1} | {:.1} | {:.3} | {} | {} | {} | {} | {} | {} | {} |",
        day.peak,
        day.settings.buffer_percent,
        day.seed,
        hours(outcome.used),
        hours(outcome.ideal),
        outcome.ratio(),
        outcome.fullest,
        outcome.overloaded,
        outcome.above_target,
        outcome.above_target_zone,
        outcome.ups,
        outcome.downs,
        outcome.moved,
    );
}
