//! `folkmoot-scale`: what `make scale` runs against a cluster.

use std::{path::PathBuf, process::ExitCode};

use chat_load::scale::{Beside, Findings, Gateway, ScaleError, Settings, Spread, print, run, work, write};
use clap::{Args, Parser, Subcommand};

/// Tens of thousands of sockets of several processes: the mean rate, its peak, and the death of a gateway.
///
/// Exits with 0 when nothing was lost, doubled or reordered, and 1 when something was or the run could not be made. Bars of time
/// and memory are shown, and what misses them changes no exit code: they belong to a machine.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Makes a run
    Run(Box<Run>),
    /// Prints what `chat-server seed` needs for a run: its --spread and its --crowd
    Spread {
        /// Sockets of the run
        #[arg(long)]
        sockets: u32,
        /// Users that there are
        #[arg(long)]
        users: u32,
        /// Channels that there are
        #[arg(long)]
        channels: u32,
    },
    /// Holds a part of the sockets; started by a run
    #[command(hide = true)]
    Worker,
}

#[derive(Debug, Args)]
struct Run {
    /// A gateway, by name, address and process; may be repeated. The second one is killed
    #[arg(long = "gateway", value_name = "NAME,URL,PID", required = true)]
    gateways: Vec<Gateway>,
    /// Where the REST interface is
    #[arg(long, value_name = "URL")]
    api: String,
    /// Accounts, as `chat-server seed` writes them; each gets a socket
    #[arg(long, value_name = "FILE")]
    tokens: PathBuf,
    /// A script that takes `kill` and the name of a gateway, such as scripts/cluster.sh; without it none is killed
    #[arg(long, value_name = "SCRIPT")]
    cluster: Option<PathBuf>,
    /// A script that prints how many partitions the store has read so far
    #[arg(long, value_name = "SCRIPT")]
    store_reads: Option<PathBuf>,
    /// Another process whose processor time is shown; may be repeated
    #[arg(long = "beside", value_name = "NAME,PID")]
    beside: Vec<Beside>,
    /// Processes that hold the sockets
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=32))]
    workers: u8,
    /// Seconds of each phase
    #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u32).range(5..=600))]
    seconds: u32,
    /// Messages a second, in the mean
    #[arg(long, value_name = "R", default_value_t = 58.0)]
    rate: f64,
    /// Messages a second, at the peak
    #[arg(long, value_name = "R", default_value_t = 600.0)]
    peak: f64,
    /// Connect from 127.0.0.1 to 127.0.0.K
    #[arg(long, value_name = "K", default_value_t = 50, value_parser = clap::value_parser!(u8).range(1..=250))]
    source_addresses: u8,
    /// Title of the table and of the picture
    #[arg(long, value_name = "TEXT", default_value = "Folkmoot")]
    title: String,
    /// Also write everything that was found to a file
    #[arg(long, value_name = "OUT")]
    json: Option<PathBuf>,
    /// Draw the run over time
    #[arg(long, value_name = "OUT.svg")]
    picture: Option<PathBuf>,
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        Task::Run(options) => load(*options).map(|findings| findings.is_clean()),
        Task::Spread { sockets, users, channels } => {
            let spread = Spread::of(sockets, users, channels);
            println!("--spread {spread} --crowd {}", spread.crowd);
            Ok(true)
        }
        Task::Worker => work().map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("folkmoot-scale: {:#}", anyhow::Error::from(error));
            ExitCode::FAILURE
        }
    }
}

fn load(options: Run) -> Result<Findings, ScaleError> {
    let findings = run(&Settings {
        tokens: options.tokens,
        gateways: options.gateways,
        api: options.api,
        beside: options.beside,
        cluster: options.cluster,
        store_reads: options.store_reads,
        workers: options.workers,
        seconds: options.seconds.div_ceil(5) * 5,
        rates: (options.rate, options.peak),
        source_addresses: options.source_addresses,
        title: options.title,
    })?;
    write(&findings, options.json.as_ref(), options.picture.as_ref())?;
    print(&findings);
    Ok(findings)
}
