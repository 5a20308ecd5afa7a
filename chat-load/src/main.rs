//! `chat-load`: load for a chat server, and the truth about what became of it.

use std::{fs::File, io::BufReader, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use chat_load::{history::record::replay, options::Options, report::Report, run::run};
use clap::{Parser, Subcommand, error::ErrorKind};

/// Sends messages at their scheduled times over many sockets, and checks that nothing acked is lost, doubled or
/// reordered.
///
/// Prints one JSON object. Exits with 0 when the server kept every promise and met the bars that were given, 1 when it
/// did not or did not answer, 2 when the options make no sense.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Task>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Checks a run that was recorded with --history
    Check {
        /// The recorded run
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match &cli.command {
        Some(Task::Check { file }) => check(file),
        None => {
            if let Err(error) = cli.options.validate() {
                clap::Command::new("chat-load").error(ErrorKind::ValueValidation, error).exit();
            }
            load(&cli.options)
        }
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("chat-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn load(options: &Options) -> anyhow::Result<bool> {
    let report = run(options)?;
    let json = serde_json::to_string(&report)?;
    println!("{json}");
    if let Some(path) = &options.json {
        std::fs::write(path, json + "\n").with_context(|| format!("failed to write {}", path.display()))?;
    }
    explain(&report);
    Ok(report.is_clean())
}

/// What is wrong, in words, for the person who looks at the terminal.
fn explain(report: &Report) {
    for finding in &report.details.findings {
        eprintln!("chat-load: {finding}");
    }
    for (violation, times) in &report.details.violations {
        eprintln!("chat-load: {violation} ({times} times)");
    }
    for missed in &report.details.missed {
        eprintln!("chat-load: {missed}");
    }
    if report.sent > 0 && report.acked == 0 {
        eprintln!("chat-load: nothing that was sent was acked");
    }
}

fn check(file: &PathBuf) -> anyhow::Result<bool> {
    let lines = File::open(file).with_context(|| format!("failed to read {}", file.display()))?;
    let verdict = replay(BufReader::new(lines))?;
    verdict.examples.iter().for_each(|finding| eprintln!("chat-load: {finding}"));
    println!(
        "{}",
        serde_json::json!({
            "delivered": verdict.delivered,
            "expected": verdict.expected,
            "lost": verdict.lost,
            "duplicated": verdict.duplicated,
            "out_of_order": verdict.out_of_order,
        })
    );
    Ok(verdict.is_clean())
}
