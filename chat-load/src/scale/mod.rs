//! A whole organisation on one machine: tens of thousands of sockets of several processes over several gateways, at the mean
//! rate, at its peak, and when a gateway dies.
//!
//! `spread` says how many channels of which size there are, [`run`] goes through the phases, `worker` is one of the processes
//! that hold the sockets, `judge` compares what they found with the bars, `plot` draws it.

mod field;
mod judge;
mod logs;
mod plot;
mod process;
mod spread;
mod wire;
mod worker;

use std::{
    fs,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use serde::Serialize;

use self::{
    field::{Field, Load},
    judge::Judged,
};
pub use self::{
    judge::{Findings, Phase, Storm, print},
    process::{Beside, Gateway},
    spread::Spread,
    worker::work,
};
use crate::{
    history::verdict, intervals::INTERVAL_US, options::OptionsError, run::RunError, tokens::TokensError,
};

/// How long the gateways are left alone when all are connected, before their memory is read.
const QUIET: Duration = Duration::from_secs(5);
/// Messages are due from so long after a phase was begun, at least.
const LEAD_US: u64 = 2_500_000;
/// Until the gateway is killed in its phase.
const CALM_US: u64 = 15_000_000;
/// So long before that, the store's reads are counted, which takes a Java virtual machine.
const COUNT_US: u64 = 5_000_000;
/// Longest waits: for all to be connected, for all to be back, and for what is under way at the end.
const CONNECT: Duration = Duration::from_secs(300);
const BACK: Duration = Duration::from_secs(120);
const SETTLE: Duration = Duration::from_secs(60);
/// The share of the sockets that goes away in a minute.
const CHURN: f64 = 0.02;

/// A run that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ScaleError {
    /// There are no accounts to use.
    #[error("there are no accounts to use")]
    Tokens(#[from] TokensError),
    /// The options make no sense.
    #[error("the options make no sense")]
    Options(#[from] OptionsError),
    /// The machine does not give what is needed.
    #[error("failed to start, write to or read from a process or a file")]
    Io(#[from] std::io::Error),
    /// A process says what is not understood.
    #[error("failed to read what a process of this run wrote")]
    Json(#[from] serde_json::Error),
    /// The engine does not run.
    #[error(transparent)]
    Engine(#[from] RunError),
    /// The logs cannot be read.
    #[error("failed to read the logs from the server")]
    Rest(#[from] crate::rest::RestError),
    /// A worker did not do its part.
    #[error("a worker failed: {0}")]
    Worker(String),
    /// Not all sockets came up.
    #[error("{live} of {sockets} sockets were connected after 300 s; what the gateways log says why")]
    Connect {
        /// Sockets that are connected.
        live: u32,
        /// Sockets that should be.
        sockets: u32,
    },
    /// The gateway could not be killed.
    #[error("failed to kill {0}")]
    Kill(String),
    /// The account file names no channel.
    #[error("nobody in {0} is in a channel")]
    NoChannel(PathBuf),
}

/// What is run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Accounts, as `chat-server seed` writes them; each gets a socket.
    pub tokens: PathBuf,
    /// The gateways that sockets are spread over.
    pub gateways: Vec<Gateway>,
    /// Where logs are read.
    pub api: String,
    /// Other processes whose time is counted.
    pub beside: Vec<Beside>,
    /// A script that takes `kill NAME`; none: no gateway is killed.
    pub cluster: Option<PathBuf>,
    /// A script that prints how many partitions the store has read.
    pub store_reads: Option<PathBuf>,
    /// Processes that hold the sockets.
    pub workers: u8,
    /// Seconds that each phase lasts.
    pub seconds: u32,
    /// Messages a second: the mean, and at the peak.
    pub rates: (f64, f64),
    /// Loopback addresses that sockets come from.
    pub source_addresses: u8,
    /// How it is called in the picture.
    pub title: String,
}

/// One second of the run.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Second {
    /// Seconds from the start.
    pub at: f64,
    /// Sockets that are welcomed.
    pub live: u32,
    /// Events that came, so far.
    pub received: u64,
    /// Processor seconds so far: of all gateways, of each process beside them, of the workers.
    pub cpu: Vec<f64>,
    /// Resident bytes of all gateways.
    pub resident: u64,
}

/// Makes a run.
///
/// # Errors
/// When it could not be made. That a bar was missed, or events lost, is no error but a finding.
pub fn run(settings: &Settings) -> Result<Findings, ScaleError> {
    let scratch = tempfile::tempdir()?;
    let resident_before = process::resident(&settings.gateways);
    let mut field = Field::start(settings, scratch.path())?;
    let sockets = field.sockets();
    field.connect()?;
    let connected_us = field.last_welcome_us();
    field.pause("quiet", QUIET)?;
    let resident_after = process::resident(&settings.gateways);
    let began = logs::heads(&settings.api, field.readers())?;

    let (mean, peak) = settings.rates;
    let length_us = u64::from(settings.seconds) * 1_000_000;
    let churn = Some(CHURN);
    let phase = |name: &'static str, rate, length_us, churn| Load { name, rate, length_us, churn };
    // The engines run slowly for as long as they have done little.
    field.load(phase("warm-up", (peak / 3.0).max(mean), length_us.min(20_000_000), None))?;
    field.load(phase("mean rate", mean, length_us, churn))?;
    field.load(phase("peak", peak, length_us, churn))?;
    let storm = match (&settings.cluster, settings.gateways.as_slice()) {
        (Some(script), [_, killed, ..]) => Some(storm(&mut field, settings, script, killed, length_us)?),
        _ => None,
    };

    field.answered(SETTLE)?;
    let mut logs = logs::read(&settings.api, field.readers(), &began, field.tag())?;
    field.settle(crate::logs::heads(&logs.logs), SETTLE)?;
    logs.read_on(&settings.api, field.readers(), field.tag())?;
    let (found, seconds, phases) = field.end()?;
    let verdict = verdict(&logs.logs, &found.acks, &found.receipts, &[]);
    Ok(judge::findings(Judged {
        settings,
        sockets,
        connected_us,
        resident: resident_after.saturating_sub(resident_before),
        phases,
        storm,
        found,
        verdict,
        altered: logs.altered,
        seconds,
    }))
}

/// Kills a gateway at the mean rate, and waits until all are back.
fn storm(
    field: &mut Field,
    settings: &Settings,
    script: &std::path::Path,
    killed: &Gateway,
    length_us: u64,
) -> Result<Storm, ScaleError> {
    let reads = || count_reads(settings.store_reads.clone());
    let at_first = (Instant::now(), reads());
    let end_us = field.begin(Load {
        name: judge::STORM,
        rate: settings.rates.0,
        length_us: length_us + CALM_US,
        churn: None,
    })?;
    field.wait_until("calm before the storm", end_us - length_us - COUNT_US)?;
    let before = (Instant::now(), reads());
    field.wait_until("calm before the storm", end_us - length_us)?;
    let (at_first, before) = ((at_first.0, at_first.1.join()), (before.0, before.1.join()));
    let killed_us = field.now_us();
    let resumed = field.resumed();
    let status = Command::new(script).args(["kill", &killed.name]).status()?;
    if !status.success() {
        return Err(ScaleError::Kill(killed.name.clone()));
    }
    field.forget(&killed.name);
    let back_us = field.all_back(killed_us, BACK)?;
    let resumed = field.resumed() - resumed;
    // What they still caught up with counts.
    field.pause("after the storm", Duration::from_secs(5))?;
    let after = (Instant::now(), reads());
    field.wait_until("after the storm", end_us)?;
    let reads_each = match [at_first.1, before.1, after.1.join()] {
        [Some(first), Some(before_kill), Some(last)] if resumed > 0 => {
            let a_second = (before_kill - first) / (before.0 - at_first.0).as_secs_f64();
            let else_read = a_second * (after.0 - before.0).as_secs_f64();
            Some((last - before_kill - else_read).max(0.0) / resumed as f64)
        }
        _ => None,
    };
    Ok(Storm { killed_us, back_us, resumed, reads_each })
}

/// A count that is being taken beside the run.
struct Reads(Option<thread::JoinHandle<Option<f64>>>);

impl Reads {
    fn join(self) -> Option<f64> {
        self.0?.join().ok().flatten()
    }
}

fn count_reads(script: Option<PathBuf>) -> Reads {
    let count = move |script: PathBuf| {
        let out = Command::new(script).output().ok()?;
        String::from_utf8(out.stdout).ok()?.trim().parse().ok()
    };
    let count = script.map(|script| thread::Builder::new().name("reads".into()).spawn(move || count(script)));
    Reads(count.and_then(Result::ok))
}

/// The next beginning of an interval that is far enough away to say what is due then.
const fn next_start(now_us: u64) -> u64 {
    (now_us + LEAD_US).div_ceil(INTERVAL_US) * INTERVAL_US
}

/// Writes what was found as JSON and as a picture.
///
/// # Errors
/// When a file cannot be written.
pub fn write(
    findings: &Findings,
    json: Option<&PathBuf>,
    picture: Option<&PathBuf>,
) -> Result<(), ScaleError> {
    if let Some(path) = json {
        fs::write(path, serde_json::to_string_pretty(findings)?)?;
    }
    if let Some(path) = picture {
        fs::write(path, judge::picture(findings))?;
    }
    Ok(())
}
