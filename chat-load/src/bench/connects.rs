//! How fast users come in: TCP, upgrade, `hello` with a token, `welcome`; each connection another user.

use serde::Serialize;

use super::{
    BenchError, Lab, Results,
    servers::{Seed, Server},
    table::{met, print, row},
};
use crate::run::run;

const BAR: f64 = 5_000.0;

/// The rate of authenticated connects.
#[derive(Debug, Serialize)]
pub struct Connects {
    /// Distinct users that connected in each round.
    pub users: u32,
    /// Connects a second, one number a round.
    pub per_second: Vec<f64>,
    /// The server's CPU time by connect in microseconds, one number a round.
    pub cpu_us: Vec<f64>,
    /// The broadcaster's connects a second: what this program can do at most.
    pub bare_per_second: Vec<f64>,
}

pub(super) fn measure(lab: &Lab<'_>, results: &mut Results) -> Result<(), BenchError> {
    let users = lab.pick(10_000, 5_000);
    let seed = Seed { users, channels: users / 50, members: 50, messages: 0 };
    let folkmoot = Server::folkmoot(lab, "connects", seed)?;
    let bare = Server::bare()?;
    let mut measured = Connects { users, per_second: vec![], cpu_us: vec![], bare_per_second: vec![] };
    for _ in 0..lab.pick(3, 1) {
        for server in [&folkmoot, &bare] {
            let mut options = server.options(users);
            (options.rate, options.seconds, options.warmup) = (0.0, 0.0, 0.0);
            let report = run(&options).map_err(|source| BenchError::Run { what: "connects", source })?;
            results.judge(&format!("connects to {}", options.urls[0]), &report);
            if options.tokens.is_some() {
                measured.per_second.push(report.details.connects_per_second);
                measured.cpu_us.extend(report.details.server_cpu_us_per_connect);
            } else {
                measured.bare_per_second.push(report.details.connects_per_second);
            }
        }
    }
    show(&measured);
    results.connects = Some(measured);
    Ok(())
}

fn show(measured: &Connects) {
    let best = |numbers: &[f64]| numbers.iter().copied().fold(0.0, f64::max);
    let all = |numbers: &[f64]| numbers.iter().map(|n| format!("{n:.0}")).collect::<Vec<_>>().join(", ");
    print(
        &format!("Connects: {} users, authenticated, as fast as they are taken", measured.users),
        &[
            row(["", "rounds", "bar 5,000"]),
            row(["connects/s", &all(&measured.per_second), met(best(&measured.per_second) >= BAR)]),
            row(["server CPU in µs per connect", &all(&measured.cpu_us), ""]),
            row(["the broadcaster's connects/s", &all(&measured.bare_per_second), ""]),
        ],
    );
}
