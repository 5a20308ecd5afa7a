//! `chaos-cluster`: what `make chaos-cluster` runs where scripts/chaos-cluster.sh made a cluster.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Parser;
use kind_tests::{
    chaos::{Extent, Findings, Row, make},
    settings::{SWITCH, Settings},
};

/// Scales, replaces and kills the parts of a chat on Kubernetes under load, and prints which bars were met.
///
/// Exits with 0 when every bar was met, 1 when one was missed or a row could not be made.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// Only this row; may be repeated
    #[arg(long, value_enum, value_name = "ROW")]
    only: Vec<Row>,
    /// Minutes of the steady load and of the run with faults
    #[arg(long, value_name = "N", default_value_t = 10)]
    minutes: u32,
    /// Share of the sockets; the bars are about 1
    #[arg(long, value_name = "SHARE", default_value_t = 1.0)]
    size: f64,
    /// Also write everything that was found to a file
    #[arg(long, value_name = "OUT")]
    json: Option<PathBuf>,
    /// Print the namespaces that are needed, and end
    #[arg(long)]
    namespaces: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if cli.namespaces {
        Row::ALL.iter().for_each(|row| println!("{}", row.namespace()));
        return ExitCode::SUCCESS;
    }
    // The clients ask for the process's choice.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(work(&cli))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chaos-cluster: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether every bar was met. A row that cannot be made does not keep the others from being made.
async fn work(cli: &Cli) -> anyhow::Result<bool> {
    let settings = Settings::from_environment()?
        .with_context(|| format!("expected {SWITCH}: run scripts/chaos-cluster.sh, which makes a cluster"))?;
    let (mut all, mut failed): (Vec<Findings>, Vec<String>) = (vec![], vec![]);
    for row in Row::ALL {
        if !cli.only.is_empty() && !cli.only.contains(&row) {
            continue;
        }
        let extent = Extent { minutes: cli.minutes, size: cli.size };
        match make(row, extent, settings.clone()).await {
            Ok(findings) => all.push(findings),
            Err(error) => {
                eprintln!("chaos-cluster: {error:#}");
                failed.push(format!("{error:#}"));
            }
        }
        if let Some(path) = &cli.json {
            let json = serde_json::to_string_pretty(&serde_json::json!({ "rows": all, "failed": failed }))?;
            std::fs::write(path, json).with_context(|| format!("expected to write {}", path.display()))?;
        }
    }
    let missed: Vec<_> = all
        .iter()
        .flat_map(|row| row.bars.iter().map(move |bar| (row.row, bar)))
        .filter(|(_, bar)| !bar.met)
        .collect();
    println!();
    for (row, bar) in &missed {
        println!("missed: {row}: {} {}: {}", bar.what, bar.bar, bar.found);
    }
    if missed.is_empty() && failed.is_empty() {
        println!("every bar was met");
    }
    Ok(missed.is_empty() && failed.is_empty())
}
