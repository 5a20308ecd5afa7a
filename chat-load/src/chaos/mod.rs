//! `make chaos`: the load of a whole team on a cluster whose parts are taken away one after another.
//!
//! Each fault has a run of its own, so that what it broke shows in its own verdict: all connect, the load warms up,
//! the fault comes, lasts and is healed, the load goes on for a while, and everything is compared with the logs.

mod cluster;
pub mod fault;
pub mod judge;

use std::{path::PathBuf, time::Duration};

use cluster::pause;
pub use cluster::{Cluster, ClusterError};
use fault::Fault;
use judge::{Marks, Row, judge};
use serde::Serialize;

use crate::{
    bench::table::{print, row},
    options::Options,
    report::Report,
    run::{Clock, RunError, run_during},
};

/// How long the load goes on when all is healed, unless the settings say otherwise.
pub const AFTER: Duration = Duration::from_secs(15);
/// How long what was sent may take at the end, so that what comes late is distinguished from what never comes.
const DRAIN_SECONDS: f64 = 60.0;
/// An end for a run whose script does not come to one.
const LONGEST_SECONDS: f64 = 300.0;
/// Watched users whose gateway dies stay away for so long: longer than watchers may take to hear of it.
const STAY_AWAY_SECONDS: f64 = 12.0;
const READS_A_SECOND: f64 = 10.0;

/// What to do, and to what.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The cluster that gets the faults.
    pub cluster: Cluster,
    /// Its gateways, or the load balancer in front of them.
    pub urls: Vec<String>,
    /// Where its REST interface is.
    pub api: String,
    /// Accounts, as `chat-server seed` writes them.
    pub tokens: PathBuf,
    /// Number of sockets to hold.
    pub sockets: u32,
    /// Messages a second.
    pub rate: f64,
    /// Seconds of load before the first fault; a third of it before the others.
    pub warmup: f64,
    /// Which faults; all when empty.
    pub only: Vec<Fault>,
    /// How long each fault lasts, instead of its own time.
    pub lasts: Option<Duration>,
    /// How long the load goes on when all is healed: [`AFTER`].
    pub after: Duration,
}

/// A fault that could not be made, or gave no result.
#[derive(Debug, thiserror::Error)]
pub enum ChaosError {
    /// The load failed.
    #[error("the load failed while: {fault}")]
    Run {
        /// Under which fault.
        fault: &'static str,
        /// What ended the run.
        source: RunError,
    },
    /// The fault was not made.
    #[error("the cluster did not obey")]
    Cluster(#[from] ClusterError),
}

/// What was found.
#[derive(Debug, Default, Serialize)]
pub struct Findings {
    /// One a fault.
    pub rows: Vec<Row>,
    /// The reports of the runs, in the same order.
    pub reports: Vec<Report>,
}

impl Findings {
    /// Bars that were missed, in words.
    pub fn missed(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().flat_map(|row| row.missed.iter().map(String::as_str))
    }
}

/// Makes one fault after another and prints a table.
///
/// # Errors
/// When a run failed or the cluster cannot be controlled. A bar that was missed is no error.
pub fn chaos(settings: &Settings) -> Result<Findings, ChaosError> {
    let mut findings = Findings::default();
    let mut warmup = settings.warmup;
    for fault in Fault::ALL {
        if !settings.only.is_empty() && !settings.only.contains(&fault) {
            continue;
        }
        eprintln!("chaos: {}", fault.name());
        let (row, report) = one(settings, fault, warmup)?;
        for what in &row.missed {
            eprintln!("chaos: MISSED: {what}");
        }
        findings.rows.push(row);
        findings.reports.push(report);
        warmup = settings.warmup / 3.0;
    }
    show(&findings);
    Ok(findings)
}

fn one(settings: &Settings, fault: Fault, warmup: f64) -> Result<(Row, Report), ChaosError> {
    let mut options = Options::new("", settings.sockets);
    options.urls.clone_from(&settings.urls);
    options.api = Some(settings.api.clone());
    options.tokens = Some(settings.tokens.clone());
    (options.rate, options.churn, options.read_rate) = (settings.rate, 10.0, READS_A_SECOND);
    (options.warmup, options.seconds, options.drain) = (warmup, LONGEST_SECONDS, DRAIN_SECONDS);
    (options.stay_away, options.quiet) = (STAY_AWAY_SECONDS, false);
    let (lasts, after) = (settings.lasts.unwrap_or(fault.lasts()), settings.after);
    let cluster = settings.cluster.clone();
    let script = move |clock: &Clock| -> Result<Marks, ClusterError> {
        let began_us = clock.now_us();
        cluster.act(&fault.begin())?;
        let acted_us = clock.now_us();
        pause(lasts);
        cluster.act(&fault.heal())?;
        let healed_us = clock.now_us();
        pause(after);
        Ok(Marks { began_us, acted_us, healed_us, ended_us: clock.now_us() })
    };
    let failed = |source| ChaosError::Run { fault: fault.name(), source };
    let run = run_during(&options, Some(script)).map_err(failed)?;
    let Some(marks) = run.script.transpose()? else {
        return Err(failed(RunError::Worker(std::io::ErrorKind::Other.into())));
    };
    Ok((judge(fault, marks, &run.report, &run.timeline), run.report))
}

fn show(findings: &Findings) {
    let mut rows = vec![row([
        "",
        "sent",
        "acked",
        "lost/dup/order",
        "slowest send",
        "presence wrong",
        "sockets cut",
        "ack p50, p99 ms",
        "delivery p99 ms",
        "",
    ])];
    for (found, report) in findings.rows.iter().zip(&findings.reports) {
        let [lost, duplicated, out_of_order] = found.broken;
        let ack = report.ack_ms.map_or("-".into(), |q| format!("{:.1}, {:.0}", q.p50, q.p99));
        rows.push(row([
            found.fault,
            &found.sent.to_string(),
            &found.acked.to_string(),
            &format!("{lost}/{duplicated}/{out_of_order}"),
            &format!("{:.2} s", found.slowest_send_ms / 1e3),
            &format!("{:.2} s", found.presence_wrong_ms / 1e3),
            &found.cut.to_string(),
            &ack,
            &report.delivery_ms.map_or("-".into(), |q| format!("{:.0}", q.p99)),
            if found.missed.is_empty() { "met" } else { "MISSED" },
        ]));
    }
    print(
        "Chaos: from each fault on. Bars: nothing lost, doubled or reordered; slowest send 5 s; presence 8 s",
        &rows,
    );
    for outage in findings.rows.iter().filter_map(|row| row.outage) {
        let first = outage.first_overloaded_ms.map_or("never".into(), |ms| format!("{ms:.0} ms"));
        let (ok, all) = outage.reads;
        print(
            "All of Cassandra away for 30 s",
            &[
                row(["", "", "bar"]),
                row(["first overloaded", &first, "1000 ms"]),
                row(["slowest answer to a send", &format!("{:.0} ms", outage.slowest_refusal_ms), "1000 ms"]),
                row(["recent history served", &format!("{ok} of {all} reads"), "99 %"]),
                row([
                    "all sends through after its return",
                    &format!("{:.1} s", outage.through_after_ms / 1e3),
                    "10 s",
                ]),
            ],
        );
    }
}
