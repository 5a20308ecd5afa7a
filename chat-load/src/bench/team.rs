//! The run of the bar for one machine: 2,000 sockets in channels of 50, 100 messages a second, 10 % churn a
//! minute.

use super::{
    BenchError, Lab, Results,
    servers::{Seed, Server},
    table::{met, ms, print, row},
};
use crate::{report::Report, run::run};

const SOCKETS: u32 = 2_000;
const MEMBERS: u32 = 50;
const P99_BAR_MS: f64 = 50.0;

pub(super) fn measure(lab: &Lab<'_>, results: &mut Results) -> Result<(), BenchError> {
    let seed = Seed { users: SOCKETS, channels: SOCKETS / MEMBERS, members: MEMBERS, messages: 0 };
    let folkmoot = Server::folkmoot(lab, "team", seed)?;
    let mut options = folkmoot.options(SOCKETS);
    (options.rate, options.churn, options.seconds) = (100.0, 10.0, lab.pick(60.0, 15.0));
    let report = run(&options).map_err(|source| BenchError::Run { what: "team", source })?;
    results.judge("team", &report);
    show(&report, options.seconds);
    results.team = Some(report);
    Ok(())
}

fn show(report: &Report, seconds: f64) {
    let line = |name: &str, quantiles, bar: &str| {
        let [p50, p99, max] = ms(quantiles);
        row([name, &p50, &p99, &max, bar])
    };
    let fast = report.delivery_ms.is_some_and(|q| q.p99 < P99_BAR_MS);
    print(
        &format!(
            "Team: {SOCKETS} sockets in channels of {MEMBERS}, 100 messages/s, 10 % churn a minute, {seconds} s"
        ),
        &[
            row(["ms", "p50", "p99", "max", "bar p99 < 50"]),
            line("delivery", report.delivery_ms, met(fast)),
            line("ack", report.ack_ms, ""),
            line("presence", report.presence_ms, ""),
        ],
    );
    println!(
        "  lost {}, duplicated {}, out of order {}: {}",
        report.lost,
        report.duplicated,
        report.out_of_order,
        met(report.is_clean())
    );
    if let Ok(json) = serde_json::to_string(report) {
        println!("  {json}");
    }
}
