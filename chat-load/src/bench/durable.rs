//! Durable sends on Cassandra through two gateways, beside the embedded store in one process: many channels, and one
//! that everybody writes to.

use chat_protocol::ErrorCode;
use serde::Serialize;

use super::{
    BenchError, Lab, Results,
    servers::{Seed, Server},
    table::{met, ms, print, row},
};
use crate::{
    histogram::Quantiles,
    options::Options,
    run::{Clock, run_during},
};

/// JVMs need this long until what they compile is compiled: before, it takes a core from whoever is measured.
const WARMUP_SECONDS: f64 = 120.0;
/// Of the sends that were tried.
const UNKNOWN_BAR: f64 = 0.01;

/// A load and its bars.
struct Load {
    name: &'static str,
    channels: u32,
    members: u32,
    rate: f64,
    /// Most that the p99 of acks may be, in milliseconds; none: it is only measured.
    p99_bar: Option<f64>,
}

const LOADS: [Load; 2] = [
    Load { name: "50 channels", channels: 50, members: 4, rate: 1_000.0, p99_bar: Some(150.0) },
    Load { name: "one hot channel", channels: 1, members: 25, rate: 500.0, p99_bar: None },
];

/// What one load came to on one store.
#[derive(Debug, Serialize)]
pub struct Durable {
    /// Name of the load.
    pub load: &'static str,
    /// Name of the store.
    pub store: &'static str,
    /// Messages a second that were due.
    pub rate: f64,
    /// Messages that were due in the whole run.
    pub sent: u64,
    /// Messages that were acked.
    pub acked: u64,
    /// From due to acked.
    pub ack_ms: Option<Quantiles>,
    /// Share of sends of which the server could not say what became of them, so that they were sent again.
    pub unknown: f64,
    /// Whether nothing was lost, doubled or reordered.
    pub clean: bool,
}

pub(super) fn measure(lab: &Lab<'_>, results: &mut Results) -> Result<(), BenchError> {
    let Some(cluster) = &lab.settings.cluster else { return Err(BenchError::NoCluster) };
    for load in &LOADS {
        let users = load.channels * load.members;
        let seed = Seed { users, channels: load.channels, members: load.members, messages: 0 };
        let name = if load.channels == 1 { "hot" } else { "durable" };
        let options = cluster.fill(lab, name, seed)?;
        one(lab, results, load, "Cassandra, 2 gateways", options, WARMUP_SECONDS)?;
        let sqlite = Server::folkmoot(lab, &format!("{name}-sqlite"), seed)?;
        one(lab, results, load, "SQLite, 1 process", sqlite.options(users), 2.0)?;
    }
    show(&results.durable);
    Ok(())
}

fn one(
    lab: &Lab<'_>,
    results: &mut Results,
    load: &Load,
    store: &'static str,
    mut options: Options,
    warmup: f64,
) -> Result<(), BenchError> {
    (options.rate, options.seconds, options.warmup) = (load.rate, lab.pick(20.0, 8.0), warmup);
    let run = run_during(&options, None::<fn(&Clock)>)
        .map_err(|source| BenchError::Run { what: "durable sends", source })?;
    results.judge(&format!("{} on {store}", load.name), &run.report);
    let unknown =
        run.timeline.refused.iter().filter(|refused| refused.code == ErrorCode::Unavailable).count();
    let report = run.report;
    results.durable.push(Durable {
        load: load.name,
        store,
        rate: load.rate,
        sent: report.sent,
        acked: report.acked,
        ack_ms: report.ack_ms,
        unknown: unknown as f64 / report.sent.max(1) as f64,
        clean: report.is_clean(),
    });
    Ok(())
}

fn show(measured: &[Durable]) {
    let mut rows =
        vec![row(["", "", "sends/s", "acked", "ack p50 ms", "p99", "bar", "unknown", "bar 1 %", "in order"])];
    for line in measured {
        let bar = LOADS.iter().find(|load| load.name == line.load).and_then(|load| load.p99_bar);
        let fast = bar.map_or("", |bar| met(line.ack_ms.is_some_and(|q| q.p99 < bar)));
        let [p50, p99, _] = ms(line.ack_ms);
        rows.push(row([
            line.load,
            line.store,
            &format!("{:.0}", line.rate),
            if line.acked == line.sent { "all" } else { "NOT ALL" },
            &p50,
            &p99,
            &bar.map_or(String::new(), |bar| format!("{bar:.0} {fast}")),
            &format!("{:.2} %", line.unknown * 100.0),
            met(line.unknown < UNKNOWN_BAR),
            met(line.clean),
        ]));
    }
    print("Durable sends over sockets, latency from when each was due", &rows);
}
