//! What a delivery costs: one channel of 1,000 sockets, messages of 200 bytes.

use serde::Serialize;

use super::{
    BenchError, Cost, Lab, Results,
    servers::{Seed, Server},
    table::{met, print, row},
};
use crate::{histogram::Quantiles, run::run};

const SOCKETS: u32 = 1_000;
/// At most this many times the broadcaster's cost.
const BAR: f64 = 1.5;
/// Messages a second, and what Centrifugo took for a delivery at them when it was measured earlier on this
/// kind of machine, in µs.
const RATES: [(f64, &str); 4] = [(20.0, "13.8"), (50.0, "10.8"), (100.0, "7.6"), (200.0, "5.5")];
const TINODE: &str = "15 to 26";

/// The cost at one rate.
#[derive(Debug, Serialize)]
pub struct FanOut {
    /// Messages a second, each to 1,000 sockets.
    pub rate: f64,
    /// Folkmoot's CPU time by delivery, in microseconds.
    pub folkmoot_us: f64,
    /// The broadcaster's CPU time by delivery, in microseconds.
    pub bare_us: f64,
    /// Folkmoot's by the broadcaster's.
    pub ratio: f64,
    /// Folkmoot's delivery latency in the last window.
    pub delivery_ms: Option<Quantiles>,
}

pub(super) fn measure(lab: &Lab<'_>, results: &mut Results) -> Result<(), BenchError> {
    let seed = Seed { users: SOCKETS, channels: 1, members: SOCKETS, messages: 0 };
    let folkmoot = Server::folkmoot(lab, "fan-out", seed)?;
    let bare = Server::bare()?;
    let (seconds, rounds) = lab.pick((8.0, 2), (4.0, 1));
    for (rate, _) in RATES.into_iter().step_by(lab.pick(1, 2)) {
        let (mut ours, mut theirs) = (Cost::default(), Cost::default());
        let mut delivery_ms = None;
        // In turns, so that what else the machine does hits both.
        for _ in 0..rounds {
            for (server, cost) in [(&folkmoot, &mut ours), (&bare, &mut theirs)] {
                let mut options = server.options(SOCKETS);
                (options.rate, options.seconds) = (rate, seconds);
                let report = run(&options).map_err(|source| BenchError::Run { what: "fan-out", source })?;
                results.judge(&format!("fan-out at {rate}/s against {}", options.urls[0]), &report);
                cost.add(&report);
                if options.tokens.is_some() {
                    delivery_ms = report.delivery_ms;
                }
            }
        }
        let (folkmoot_us, bare_us) = (ours.us_per_delivery(), theirs.us_per_delivery());
        let ratio = folkmoot_us / bare_us;
        results.fan_out.push(FanOut { rate, folkmoot_us, bare_us, ratio, delivery_ms });
    }
    show(&results.fan_out);
    Ok(())
}

fn show(measured: &[FanOut]) {
    let mut rows = vec![row([
        "messages/s",
        "Folkmoot",
        "broadcaster",
        "ratio",
        "bar 1.5",
        "p99 ms",
        "Centrifugo *",
        "Tinode *",
    ])];
    for line in measured {
        let centrifugo = RATES.iter().find(|(rate, _)| *rate == line.rate).map_or("", |(_, us)| us);
        rows.push(row([
            &format!("{:.0}", line.rate),
            &format!("{:.2}", line.folkmoot_us),
            &format!("{:.2}", line.bare_us),
            &format!("{:.2}", line.ratio),
            met(line.ratio <= BAR),
            &line.delivery_ms.map_or("-".into(), |q| format!("{:.1}", q.p99)),
            centrifugo,
            TINODE,
        ]));
    }
    print("Fan-out: server CPU in µs per delivery, one channel of 1,000 sockets, 200-byte messages", &rows);
    println!("  * measured earlier on this kind of machine");
}
