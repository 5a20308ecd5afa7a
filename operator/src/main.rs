//! The program of Folkmoot's operator.

use std::process::ExitCode;

use clap::Parser as _;
use folkmoot_operator::{
    cli::{Cli, Command},
    plan, run,
};

fn main() -> ExitCode {
    // Two providers of TLS may be compiled in, since dependencies bring both; one must be chosen before anything speaks it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let done = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Plan(args) => plan::plan(&args),
        Command::Crd => {
            print!("{}", folkmoot_crds::manifest::yaml());
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("folkmoot-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}
