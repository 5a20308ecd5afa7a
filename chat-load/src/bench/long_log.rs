//! What reading a page costs in a log of a million events, wherever the page is.

use std::time::Instant;

use rand::{RngExt, SeedableRng, rngs::SmallRng};
use serde::Serialize;

use super::{
    BenchError, Lab, Results,
    servers::{Seed, Server},
    table::{met, print, row},
};
use crate::{logs::LogsError, options::Options, rest::Rest, run::RunError, tokens};

/// No page may cost more than this, by what the first one costs.
const BAR: f64 = 1.2;
/// Events of a page, as many as one request gives.
const PAGE: u64 = chat_protocol::limits::MAX_PAGE as u64;
const PLACES: [&str; 4] = ["first", "middle", "last", "anywhere"];

/// What pages cost in one store.
#[derive(Debug, Serialize)]
pub struct LongLog {
    /// Name of the store.
    pub store: &'static str,
    /// Events in the log.
    pub events: u64,
    /// Median time of a read in milliseconds: the first page, one in the middle, the last, any.
    pub median_ms: [f64; 4],
    /// The dearest by the first.
    pub ratio: f64,
}

pub(super) fn measure(lab: &Lab<'_>, results: &mut Results) -> Result<(), BenchError> {
    let Some(cluster) = &lab.settings.cluster else { return Err(BenchError::NoCluster) };
    let seed = Seed { users: 2, channels: 1, members: 2, messages: lab.pick(1_000_000, 50_000) };
    one(lab, results, "Cassandra", &cluster.fill(lab, "long", seed)?)?;
    let sqlite = Server::folkmoot(lab, "long-sqlite", seed)?;
    one(lab, results, "SQLite", &sqlite.options(1))?;
    show(&results.long_log);
    Ok(())
}

fn one(
    lab: &Lab<'_>,
    results: &mut Results,
    store: &'static str,
    options: &Options,
) -> Result<(), BenchError> {
    let failed = |source| BenchError::Run { what: "a long log", source };
    let (events, times) = sample(options, lab.pick(300, 60)).map_err(failed)?;
    let median_ms = times.map(|mut all| {
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
    });
    let ratio = median_ms.iter().fold(0.0, |dearest, ms| f64::max(dearest, ms / median_ms[0]));
    results.long_log.push(LongLog { store, events, median_ms, ratio });
    Ok(())
}

/// The length of the log, and the times in milliseconds of reads at each place, in turns. The first quarter of them
/// warms up.
fn sample(options: &Options, rounds: u32) -> Result<(u64, [Vec<f64>; 4]), RunError> {
    let path = options.tokens.as_deref().ok_or(crate::options::OptionsError::NoTokens)?;
    let accounts = tokens::load(path, 1)?;
    let (account, channel) = match accounts.first().map(|account| (account, account.channels.first())) {
        Some((account, Some(channel))) => (account, *channel),
        _ => return Err(crate::options::OptionsError::NoTokens.into()),
    };
    let rest = Rest::new(&options.api_target()?.host).map_err(LogsError::from)?;
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(LogsError::Runtime)?;
    let mut random = SmallRng::seed_from_u64(1);
    runtime.block_on(async {
        let head = rest.head(channel, &account.token).await.map_err(LogsError::from)?;
        let last = head.saturating_sub(PAGE);
        let mut times = [const { Vec::new() }; 4];
        for round in 0..rounds + rounds / 4 {
            for turn in 0..PLACES.len() {
                // Not always in the same order: what follows the dearest may pay for it.
                let place = (turn + round as usize) % PLACES.len();
                let after = [0, last / 2, last, random.random_range(0..=last)][place];
                let began = Instant::now();
                rest.page_once(channel, &account.token, after, None).await.map_err(LogsError::from)?;
                if round >= rounds / 4 {
                    times[place].push(began.elapsed().as_secs_f64() * 1e3);
                }
            }
        }
        Ok((head, times))
    })
}

fn show(measured: &[LongLog]) {
    let mut rows =
        vec![row(["median ms", "events", PLACES[0], PLACES[1], PLACES[2], PLACES[3], "dearest", "bar 1.2"])];
    for line in measured {
        let [first, middle, last, any] = line.median_ms.map(|ms| format!("{ms:.2}"));
        let ratio = format!("{:.2}", line.ratio);
        rows.push(row([
            line.store,
            &line.events.to_string(),
            &first,
            &middle,
            &last,
            &any,
            &ratio,
            met(line.ratio <= BAR),
        ]));
    }
    print(&format!("A page of {PAGE} events of a long log over REST"), &rows);
}
