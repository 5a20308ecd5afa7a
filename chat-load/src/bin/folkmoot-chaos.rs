//! `folkmoot-chaos`: what `make chaos` runs against a cluster.

use std::{path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context as _;
use chat_load::chaos::{AFTER, Cluster, Findings, Settings, chaos, fault::Fault};
use clap::Parser;

/// Takes the parts of a running cluster away one after another, under load, and prints what users would notice.
///
/// Exits with 0 when every bar was met, 1 when one was missed or the cluster did not do as ordered.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// A script that takes `kill`, `stop`, `cont` or `start` and the name of a process, such as scripts/cluster.sh
    #[arg(long, value_name = "SCRIPT")]
    cluster: PathBuf,
    /// A gateway, or the load balancer in front of them; may be repeated
    #[arg(long = "url", value_name = "URL", required = true)]
    urls: Vec<String>,
    /// Where the REST interface is [default: the first --url]
    #[arg(long, value_name = "URL")]
    api: Option<String>,
    /// Accounts, as `chat-server seed` writes them
    #[arg(long, value_name = "FILE")]
    tokens: PathBuf,
    /// Sockets to hold
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    sockets: u32,
    /// Messages a second
    #[arg(long, value_name = "R", default_value_t = 100.0)]
    rate: f64,
    /// Seconds of load before the first fault; a third of it before the others
    #[arg(long, value_name = "S", default_value_t = 30.0)]
    warmup: f64,
    /// Only this fault; may be repeated
    #[arg(long, value_enum, value_name = "NAME")]
    only: Vec<Fault>,
    /// Seconds that each fault lasts, instead of its own time
    #[arg(long, value_name = "S")]
    lasts: Option<f64>,
    /// Also write everything that was found to a file
    #[arg(long, value_name = "OUT")]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    match work(Cli::parse()) {
        Ok(findings) if findings.missed().next().is_none() => ExitCode::SUCCESS,
        Ok(findings) => {
            findings.missed().for_each(|what| eprintln!("folkmoot-chaos: missed: {what}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("folkmoot-chaos: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn work(cli: Cli) -> anyhow::Result<Findings> {
    let api = cli.api.or_else(|| cli.urls.first().cloned()).unwrap_or_default();
    let findings = chaos(&Settings {
        cluster: Cluster { script: cli.cluster },
        urls: cli.urls,
        api,
        tokens: cli.tokens,
        sockets: cli.sockets,
        rate: cli.rate,
        warmup: cli.warmup,
        only: cli.only,
        lasts: cli.lasts.map(Duration::from_secs_f64),
        after: AFTER,
    })?;
    if let Some(path) = cli.json {
        let json = serde_json::to_string_pretty(&findings)?;
        std::fs::write(&path, json).with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(findings)
}
