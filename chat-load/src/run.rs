//! A run from the first connect to the verdict.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{self, BufWriter, Write},
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use chat_protocol::{ChannelId, UserId};
use parking_lot::Mutex;
use rand::RngExt;

use crate::{
    client_id::RunTag,
    driver::Driver,
    engine::{self, Handle, Outcome, Plan, Shared},
    history::{ChannelLog, verdict},
    logs::{self, LogReader, LogsError},
    options::{Options, OptionsError, Protocol},
    presence_errors,
    progress::Progress,
    reconnects::{self, Reconnects},
    report::{Details, Report, Sends},
    server_process::{cpu_time, resident_bytes},
    timeline::Timeline,
    tokens::{self, Account, TokensError},
};

/// How long the server is left alone when all are connected, before its memory is read.
const QUIET: Duration = Duration::from_millis(1_000);
/// Presence is watched of at most so many.
const MAX_TARGETS: u32 = 100;

/// A run that could not be made, or gave no result.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The options make no sense.
    #[error("the options make no sense")]
    Options(#[from] OptionsError),
    /// There are no accounts to use.
    #[error("there are no accounts to use")]
    Tokens(#[from] TokensError),
    /// Nobody was welcomed.
    #[error("the server welcomed nobody within {seconds} s: {trouble}")]
    NoAnswer {
        /// How long it had.
        seconds: f64,
        /// What happened instead.
        trouble: String,
    },
    /// The logs could not be read at the end.
    #[error("cannot compare with the logs")]
    Logs(#[from] LogsError),
    /// A file could not be written.
    #[error("failed to write {path}")]
    Write {
        /// Path of the file.
        path: PathBuf,
        /// What the operating system reported.
        source: io::Error,
    },
    /// The machine does not let a worker work.
    #[error("a worker failed")]
    Worker(#[source] io::Error),
}

/// Makes a run and compares what was acked and received with the logs.
///
/// # Errors
/// When the run could not be made, nobody was welcomed, or the logs could not be read.
pub fn run(options: &Options) -> Result<Report, RunError> {
    run_during(options, None::<fn(&Clock)>).map(|run| run.report)
}

/// A run, and what happened while it was under way.
#[derive(Debug)]
pub struct Run<T> {
    /// What was found.
    pub report: Report,
    /// What happened when.
    pub timeline: Timeline,
    /// What the script answered, when there was one.
    pub script: Option<T>,
}

/// The time of a run.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    epoch: Instant,
}

impl Clock {
    /// Microseconds since the start of the run, as in its [`Timeline`].
    #[must_use]
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

/// Makes a run, and something else on a thread of its own from when the measured window begins. The window ends
/// when the script does, after `seconds` at the latest.
///
/// # Errors
/// As [`run`], and when the script panics.
pub fn run_during<T: Send + 'static>(
    options: &Options,
    script: Option<impl FnOnce(&Clock) -> T + Send + 'static>,
) -> Result<Run<T>, RunError> {
    options.validate()?;
    let plan = Arc::new(plan(options)?);
    let shared = Arc::new(Shared::default());
    let reader = LogReader::start(&plan)?;
    let rss_before = options.server_pid.and_then(resident_bytes);
    let cpu_before = options.server_pid.and_then(cpu_time);
    let workers: Vec<Handle> = (0..options.threads)
        .map(|id| engine::spawn(id, &plan, &shared, reader.requests()))
        .collect::<io::Result<_>>()
        .map_err(RunError::Worker)?;
    reader.serve(workers.iter().map(Handle::sender).collect());

    let mut driver = Driver { plan, shared, workers, progress: Progress::new(options.quiet) };
    let mut details = Details { server_rss_before: rss_before, ..Details::default() };
    driver.connect(cpu_before, &mut details);
    let connections = driver.shared.live.load(Ordering::Relaxed);
    if connections == 0 {
        let outcome = driver.stop()?;
        return Err(RunError::NoAnswer {
            seconds: options.connect_timeout,
            trouble: listed(&outcome.trouble),
        });
    }
    driver.wait("connected", Instant::now() + QUIET, |_| false);
    details.server_rss_connected = options.server_pid.and_then(resident_bytes);

    if !driver.plan.is_bare() {
        reader.read_along();
    }
    let clock = Clock { epoch: driver.plan.epoch };
    let script = driver.load(&mut details, script.map(|script| move || script(&clock)))?;
    driver.drain();
    let mut logs = HashMap::new();
    if !driver.plan.is_bare() {
        reader.read(&driver.plan, &mut logs)?;
        driver.settle(logs::heads(&logs));
    } else {
        driver.settle_bare(options.drain);
    }
    let (plan, shared) = (Arc::clone(&driver.plan), Arc::clone(&driver.shared));
    let mut outcome = driver.stop()?;
    let reads = reader.take_reads();
    let mut timeline = outcome.timeline.take().unwrap_or_else(|| Timeline::new(plan.epoch));
    (timeline.reads, outcome.reads) = (reads.times, reads.kept);
    outcome.trouble.extend(reads.trouble);
    if plan.is_bare() {
        logs = logs::from_acks(&outcome);
    } else {
        // What was written since the first reading: sends that nobody waited for any more.
        reader.read(&plan, &mut logs)?;
    }
    logs::record(&plan, &reader);
    flush_history(&plan)?;
    details.presence_wrong_ms = presence_errors::longest_wrong_us(&timeline, 0, timeline.end_us) as f64 / 1e3;
    let mut report = report(connections, &plan, &shared, outcome, &logs, &details, &reader);
    let waves = reconnects::waves(timeline.reconnects.clone(), options.bars.drain_window_us());
    let Reconnects { most_by_client, clients, lost_sockets, .. } = report.reconnects;
    report.reconnects = Reconnects { most_by_client, clients, lost_sockets, ..waves };
    report.details.missed = options.bars.missed(&report);
    Ok(Run { report, timeline, script })
}

fn plan(options: &Options) -> Result<Plan, RunError> {
    let (gateways, api) = (options.targets()?, options.api_target()?);
    let accounts = match (&options.tokens, options.protocol) {
        (Some(path), Protocol::Folkmoot) => tokens::load(path, options.connections as usize)?,
        _ => vec![Account { user: UserId(uuid::Uuid::nil()), token: "none".into(), channels: Vec::new() }],
    };
    let watchers = options.watchers();
    // Whom others watch must have one socket only, or nobody would see it go.
    let unique = (options.connections as usize).min(accounts.len());
    let last =
        u32::try_from(unique).unwrap_or(u32::MAX).min(watchers + MAX_TARGETS.min(options.connections / 10));
    let targets = if watchers == 0 || accounts.len() < options.connections as usize {
        watchers..watchers
    } else {
        watchers..last.max(watchers)
    };
    let history = match &options.history {
        Some(path) => {
            let file = File::create(path).map_err(|source| RunError::Write { path: path.clone(), source })?;
            Some(Mutex::new(BufWriter::new(file)))
        }
        None => None,
    };
    Ok(Plan {
        options: options.clone(),
        gateways,
        api,
        accounts,
        // Not of the seed: two runs on the same data must not use the same ids.
        tag: RunTag::new(rand::rng().random()),
        epoch: Instant::now(),
        watchers,
        targets,
        history,
        share: None,
    })
}

fn report(
    connections: u32,
    plan: &Plan,
    shared: &Shared,
    outcome: Outcome,
    logs: &HashMap<ChannelId, ChannelLog>,
    details: &Details,
    reader: &LogReader,
) -> Report {
    let verdict = verdict(logs, &outcome.acks, &outcome.receipts, &outcome.reads);
    let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let mut violations = outcome.violations;
    if reader.altered() > 0 {
        violations.insert("a message of the log has another text than was sent".into(), reader.altered());
    }
    violations.extend(reader.misplaced());
    let options = &plan.options;
    let dead = shared.dead.load(Ordering::Relaxed);
    let live = shared.live.load(Ordering::Relaxed);
    let rss = details.server_rss_connected.zip(details.server_rss_before);
    let cpu = details.server_cpu_seconds.filter(|_| details.window_deliveries > 0);
    Report {
        connections,
        sent: get(&shared.sent),
        acked: get(&shared.acked),
        delivered: verdict.delivered,
        expected: verdict.expected,
        lost: verdict.lost,
        duplicated: verdict.duplicated,
        out_of_order: verdict.out_of_order,
        resumed: get(&shared.resumed),
        ack_ms: outcome.ack.quantiles(),
        delivery_ms: outcome.delivery.quantiles(),
        delivery_worst: outcome.intervals.worst(),
        presence_ms: outcome.presence.quantiles(),
        server_cpu_us_per_delivery: cpu.map(|s| s * 1e6 / details.window_deliveries as f64),
        server_rss_bytes_per_connection: rss
            .map(|(after, before)| (after as f64 - before as f64) / f64::from(connections)),
        reconnects: Reconnects {
            most_by_client: outcome.most_lost,
            clients: outcome.losers,
            lost_sockets: outcome.lost_sockets,
            ..Reconnects::default()
        },
        sends: Sends {
            tries: outcome.tries,
            prompt_tries: outcome.prompt_tries,
            prompt_percent: percent(outcome.prompt_tries, outcome.tries),
            prompt_from_due_percent: percent(outcome.prompt, outcome.measured),
            most_tries: outcome.most_tries,
            not_acked: outcome.unacked + get(&shared.refused),
        },
        details: Details {
            unacked: outcome.unacked,
            refused: get(&shared.refused),
            resent: outcome.resent,
            through_ms: outcome.through.quantiles(),
            dropped: get(&shared.dropped),
            gaps: outcome.gaps,
            recovered: outcome.recovered,
            paged: outcome.paged,
            missing_connections: options.connections.saturating_sub(live.max(connections)),
            dead_connections: dead,
            presence_changes: get(&shared.presence_changes),
            presence_heard: outcome.presence.count(),
            trouble: outcome.trouble,
            violations,
            findings: verdict.examples,
            ..details.clone()
        },
    }
}

fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 * 100.0 / whole as f64)
}

fn flush_history(plan: &Plan) -> Result<(), RunError> {
    let Some((history, path)) = plan.history.as_ref().zip(plan.options.history.as_ref()) else {
        return Ok(());
    };
    let flushed = history.lock().flush();
    flushed.map_err(|source| RunError::Write { path: path.clone(), source })
}

fn listed(trouble: &BTreeMap<String, u64>) -> String {
    if trouble.is_empty() {
        return "nothing came".into();
    }
    trouble.iter().map(|(what, n)| format!("{what} ({n} times)")).collect::<Vec<_>>().join(", ")
}
