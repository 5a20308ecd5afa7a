//! What a socket costs: 15,000 in one channel.

use serde::Serialize;

use super::{
    BenchError, Cost, Lab, Results,
    servers::{Seed, Server},
    table::{met, print, row},
};
use crate::{report::Report, run::run};

const RATE: f64 = 2.0;
const KIB_BAR: f64 = 12.0;
const COST_BAR: f64 = 1.5;

/// The cost of holding many sockets and reaching all of them.
#[derive(Debug, Serialize)]
pub struct Sockets {
    /// How many were held.
    pub sockets: u32,
    /// Growth of Folkmoot's resident memory by socket, in bytes, when all are connected.
    pub folkmoot_bytes: f64,
    /// Growth of the broadcaster's resident memory by socket, in bytes.
    pub bare_bytes: f64,
    /// The same at the end of the load.
    pub folkmoot_loaded_bytes: f64,
    /// Folkmoot's CPU time by delivery, in microseconds.
    pub folkmoot_us: f64,
    /// The broadcaster's CPU time by delivery, in microseconds.
    pub bare_us: f64,
    /// Folkmoot's by the broadcaster's.
    pub ratio: f64,
}

pub(super) fn measure(lab: &Lab<'_>, results: &mut Results) -> Result<(), BenchError> {
    let sockets = lab.pick(15_000, 5_000);
    let seed = Seed { users: sockets, channels: 1, members: sockets, messages: 0 };
    let folkmoot = Server::folkmoot(lab, "sockets", seed)?;
    let bare = Server::bare()?;
    let (seconds, rounds) = lab.pick((10.0, 2), (5.0, 1));
    let (mut ours, mut theirs) = (Cost::default(), Cost::default());
    // Memory is measured in the first round: later ones find what the first one left to the allocator.
    let mut first: [Option<Report>; 2] = [None, None];
    for _ in 0..rounds {
        for (place, (server, cost)) in [(&folkmoot, &mut ours), (&bare, &mut theirs)].into_iter().enumerate()
        {
            let mut options = server.options(sockets);
            (options.rate, options.seconds) = (RATE, seconds);
            let report = run(&options).map_err(|source| BenchError::Run { what: "sockets", source })?;
            results.judge(&format!("{sockets} sockets against {}", options.urls[0]), &report);
            cost.add(&report);
            first[place].get_or_insert(report);
        }
    }
    let bytes = |report: &Option<Report>| {
        report.as_ref().and_then(|r| r.server_rss_bytes_per_connection).unwrap_or(f64::NAN)
    };
    let loaded = |report: &Option<Report>| {
        let details = report.as_ref().map(|r| &r.details);
        let grown = details.and_then(|d| d.server_rss_loaded.zip(d.server_rss_before));
        grown.map_or(f64::NAN, |(after, before)| (after as f64 - before as f64) / f64::from(sockets))
    };
    let measured = Sockets {
        sockets,
        folkmoot_bytes: bytes(&first[0]),
        bare_bytes: bytes(&first[1]),
        folkmoot_loaded_bytes: loaded(&first[0]),
        folkmoot_us: ours.us_per_delivery(),
        bare_us: theirs.us_per_delivery(),
        ratio: ours.us_per_delivery() / theirs.us_per_delivery(),
    };
    show(&measured);
    results.sockets = Some(measured);
    Ok(())
}

fn show(measured: &Sockets) {
    let kib = |bytes: f64| format!("{:.1}", bytes / 1024.0);
    print(
        &format!("Sockets: {} in one channel, 200-byte messages at {RATE}/s", measured.sockets),
        &[
            row(["", "Folkmoot", "broadcaster", "ratio", "bar", "", "Centrifugo *", "Tinode *"]),
            row([
                "KiB of server memory per socket",
                &kib(measured.folkmoot_bytes),
                &kib(measured.bare_bytes),
                "",
                "12",
                met(measured.folkmoot_bytes <= KIB_BAR * 1024.0),
                "46",
                "70",
            ]),
            row(["the same under load", &kib(measured.folkmoot_loaded_bytes), "", "", "", "", "", ""]),
            row([
                "server CPU in µs per delivery",
                &format!("{:.2}", measured.folkmoot_us),
                &format!("{:.2}", measured.bare_us),
                &format!("{:.2}", measured.ratio),
                "1.5",
                met(measured.ratio <= COST_BAR),
                "",
                "",
            ]),
        ],
    );
    println!("  * measured earlier on this kind of machine");
}
