//! The measurements behind `make bench`: Folkmoot beside the bare broadcaster, on the same machine, in turns.

pub mod connects;
pub mod durable;
pub mod fan_out;
pub mod long_log;
pub mod message;
mod processes;
pub mod reactions;
mod servers;
pub mod sockets;
pub(crate) mod table;
mod team;

use std::{
    io,
    path::{Path, PathBuf},
};

use clap::ValueEnum;
use serde::Serialize;

use crate::{report::Report, run::RunError};

pub use processes::ClusterAt;
pub use servers::ServerError;

/// One of the measurements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// One channel of 1,000 sockets at 20 to 200 messages a second.
    FanOut,
    /// One channel of 50 sockets at 20 to 400 messages a second.
    Message,
    /// 15,000 sockets in one channel.
    Sockets,
    /// Authenticated connects a second.
    Connects,
    /// 2,000 sockets in channels of 50, with churn.
    Team,
    /// Durable sends through two gateways on Cassandra.
    Durable,
    /// Messages beside reactions in one channel, through two gateways on Cassandra.
    Reactions,
    /// Pages of a log of a million events in Cassandra.
    LongLog,
}

impl Part {
    /// Whether it needs a cluster.
    #[must_use]
    pub const fn needs_cluster(self) -> bool {
        matches!(self, Self::Durable | Self::Reactions | Self::LongLog)
    }
}

/// How to measure.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The `chat-server` to measure.
    pub server: PathBuf,
    /// Shorter windows and fewer of them.
    pub quick: bool,
    /// A cluster, for the parts that need one.
    pub cluster: Option<ClusterAt>,
    /// Only these; all when empty.
    pub only: Vec<Part>,
}

/// A measurement that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A server would not start.
    #[error("cannot start what is to be measured")]
    Server(#[from] ServerError),
    /// A run failed.
    #[error("a run of {what} failed")]
    Run {
        /// Of which measurement.
        what: &'static str,
        /// What ended the run.
        source: RunError,
    },
    /// A part that needs a cluster, and there is none.
    #[error("no cluster was named: it takes --cluster FILE, --gateway URL and --api URL")]
    NoCluster,
    /// No place for data.
    #[error("failed to make a directory for temporary files")]
    Directory(#[source] io::Error),
}

/// What was measured.
#[derive(Debug, Default, Serialize)]
pub struct Results {
    /// One entry a rate.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fan_out: Vec<fan_out::FanOut>,
    /// One entry a rate.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub message: Vec<message::Message>,
    /// What 15,000 sockets cost.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sockets: Option<sockets::Sockets>,
    /// How fast sockets connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connects: Option<connects::Connects>,
    /// The report of the run with churn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub team: Option<Report>,
    /// Two loads on two stores.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub durable: Vec<durable::Durable>,
    /// Windows without and with reactions, in turns.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reactions: Vec<reactions::Reactions>,
    /// One entry a store.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub long_log: Vec<long_log::LongLog>,
    /// Runs in which a promise was broken, in words.
    pub broken: Vec<String>,
}

impl Results {
    /// Remembers a run that was not clean.
    fn judge(&mut self, what: &str, report: &Report) {
        if !report.is_clean() {
            self.broken.push(format!(
                "{what}: {} lost, {} duplicated, {} out of order; {:?} {:?}",
                report.lost,
                report.duplicated,
                report.out_of_order,
                report.details.violations,
                report.details.findings
            ));
        }
    }
}

/// Measures and prints a table after each part.
///
/// # Errors
/// When a server would not start or a run failed. A run that finds loss is no error: see
/// [`Results::broken`].
pub fn measure(settings: &Settings) -> Result<Results, BenchError> {
    let mut results = Results::default();
    let wanted = |part: Part| match settings.only.as_slice() {
        [] => settings.cluster.is_some() || !part.needs_cluster(),
        only => only.contains(&part),
    };
    let directory = tempfile::tempdir().map_err(BenchError::Directory)?;
    let lab = Lab { settings, directory: directory.path() };
    if wanted(Part::FanOut) {
        fan_out::measure(&lab, &mut results)?;
    }
    if wanted(Part::Message) {
        message::measure(&lab, &mut results)?;
    }
    if wanted(Part::Sockets) {
        sockets::measure(&lab, &mut results)?;
    }
    if wanted(Part::Connects) {
        connects::measure(&lab, &mut results)?;
    }
    if wanted(Part::Team) {
        team::measure(&lab, &mut results)?;
    }
    if wanted(Part::Durable) {
        durable::measure(&lab, &mut results)?;
    }
    if wanted(Part::Reactions) {
        reactions::measure(&lab, &mut results)?;
    }
    if wanted(Part::LongLog) {
        long_log::measure(&lab, &mut results)?;
    }
    Ok(results)
}

/// Where measurements are made.
struct Lab<'a> {
    settings: &'a Settings,
    directory: &'a Path,
}

impl Lab<'_> {
    /// A short form of a number for `--quick`.
    fn pick<T>(&self, full: T, quick: T) -> T {
        if self.settings.quick { quick } else { full }
    }
}

/// CPU time of a server over deliveries, added up over several windows.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    seconds: f64,
    deliveries: u64,
}

impl Cost {
    fn add(&mut self, report: &Report) {
        self.seconds += report.details.server_cpu_seconds.unwrap_or_default();
        self.deliveries += report.details.window_deliveries;
    }

    fn us_per_delivery(self) -> f64 {
        self.seconds * 1e6 / (self.deliveries.max(1)) as f64
    }
}
