//! What a message costs where few receive it: one channel of 50 sockets, messages of 200 bytes.

use serde::Serialize;

use super::{
    BenchError, Cost, Lab, Results,
    servers::{Seed, Server},
    table::{met, print, row},
};
use crate::{histogram::Quantiles, run::run};

const SOCKETS: u32 = 50;
/// At most so many µs of CPU more than the broadcaster.
const BAR: f64 = 200.0;
/// Messages a second.
const RATES: [f64; 3] = [20.0, 100.0, 400.0];

/// The cost at one rate.
#[derive(Debug, Serialize)]
pub struct Message {
    /// Messages a second, each to 50 sockets.
    pub rate: f64,
    /// Folkmoot's CPU time by message, in microseconds: commit, sync and deliveries.
    pub folkmoot_us: f64,
    /// The broadcaster's CPU time by message, in microseconds.
    pub bare_us: f64,
    /// Folkmoot's delivery latency in the last window.
    pub delivery_ms: Option<Quantiles>,
}

impl Message {
    fn above_us(&self) -> f64 {
        self.folkmoot_us - self.bare_us
    }
}

pub(super) fn measure(lab: &Lab<'_>, results: &mut Results) -> Result<(), BenchError> {
    let seed = Seed { users: SOCKETS, channels: 1, members: SOCKETS, messages: 0 };
    let folkmoot = Server::folkmoot(lab, "message", seed)?;
    let bare = Server::bare()?;
    let (seconds, rounds) = lab.pick((10.0, 3), (5.0, 1));
    for rate in RATES {
        let (mut ours, mut theirs) = (Cost::default(), Cost::default());
        let mut delivery_ms = None;
        for _ in 0..rounds {
            for (server, cost) in [(&folkmoot, &mut ours), (&bare, &mut theirs)] {
                let mut options = server.options(SOCKETS);
                (options.rate, options.seconds) = (rate, seconds);
                let report = run(&options).map_err(|source| BenchError::Run { what: "message", source })?;
                results.judge(&format!("50 sockets at {rate}/s against {}", options.urls[0]), &report);
                cost.add(&report);
                if options.tokens.is_some() {
                    delivery_ms = report.delivery_ms;
                }
            }
        }
        let of_message = |cost: Cost| cost.us_per_delivery() * f64::from(SOCKETS);
        let (folkmoot_us, bare_us) = (of_message(ours), of_message(theirs));
        results.message.push(Message { rate, folkmoot_us, bare_us, delivery_ms });
    }
    show(&results.message);
    Ok(())
}

fn show(measured: &[Message]) {
    let mut rows =
        vec![row(["messages/s", "Folkmoot", "broadcaster", "above", "bar 200", "p50 ms", "p99 ms"])];
    let ms = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.1}"));
    for line in measured {
        rows.push(row([
            &format!("{:.0}", line.rate),
            &format!("{:.0}", line.folkmoot_us),
            &format!("{:.0}", line.bare_us),
            &format!("{:.0}", line.above_us()),
            met(line.above_us() <= BAR),
            &ms(line.delivery_ms.map(|q| q.p50)),
            &ms(line.delivery_ms.map(|q| q.p99)),
        ]));
    }
    print(
        "A message to 50 sockets: server CPU in µs per message, 200 bytes, synced before it is delivered",
        &rows,
    );
}
