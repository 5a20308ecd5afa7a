//! `folkmoot-bench`: what `make bench` runs.

use std::{net::Ipv4Addr, path::PathBuf, process::ExitCode};

use anyhow::{Context as _, bail};
use chat_load::{
    bench::{ClusterAt, Part, Results, Settings, measure},
    broadcaster::Broadcaster,
};
use clap::{Parser, Subcommand};

/// Measures a chat server beside a bare broadcaster and prints tables.
///
/// Starts and stops both by itself, on free ports and temporary data. Exits with 1 when a run finds loss,
/// doubling or reordering; a bar that is missed is printed, but machines differ.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    role: Option<Role>,
    /// The server to measure [default: chat-server beside this program]
    #[arg(long, value_name = "PROGRAM")]
    server: Option<PathBuf>,
    /// Configuration of a running cluster; without one the parts that need it are left out
    #[arg(long, value_name = "FILE", requires_all = ["gateways", "api"])]
    cluster: Option<PathBuf>,
    /// A gateway of the cluster; may be repeated
    #[arg(long = "gateway", value_name = "URL")]
    gateways: Vec<String>,
    /// The cluster's REST interface
    #[arg(long, value_name = "URL")]
    api: Option<String>,
    /// Shorter runs, and fewer
    #[arg(long)]
    quick: bool,
    /// Only this measurement; may be repeated
    #[arg(long, value_enum, value_name = "NAME")]
    only: Vec<Part>,
    /// Also write the numbers to a file
    #[arg(long, value_name = "OUT")]
    json: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Be the broadcaster (how this program starts it)
    #[command(hide = true)]
    BareBroadcaster,
}

fn main() -> ExitCode {
    match work() {
        Ok(results) if results.broken.is_empty() => ExitCode::SUCCESS,
        Ok(results) => {
            results.broken.iter().for_each(|what| eprintln!("folkmoot-bench: {what}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("folkmoot-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn work() -> anyhow::Result<Results> {
    let cli = Cli::parse();
    if let Some(Role::BareBroadcaster) = cli.role {
        let broadcaster = Broadcaster::bind((Ipv4Addr::LOCALHOST, 0).into())?;
        println!("http://{}", broadcaster.local_addr()?);
        broadcaster.serve()?;
    }
    let server = match cli.server {
        Some(server) => server,
        None => std::env::current_exe()?.with_file_name("chat-server"),
    };
    if !server.is_file() {
        bail!(
            "there is no program {}: build it with `cargo build --release --bin chat-server`",
            server.display()
        );
    }
    let cluster =
        cli.cluster.zip(cli.api).map(|(config, api)| ClusterAt { config, gateways: cli.gateways, api });
    let results = measure(&Settings { server, quick: cli.quick, cluster, only: cli.only })?;
    if let Some(path) = cli.json {
        let json = serde_json::to_string_pretty(&results)?;
        std::fs::write(&path, json).with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(results)
}
