//! Folkmoot's chat server.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, bail};

use chat_server::{
    app::App,
    cli::{Cli, Command, SettingsArgs, check_dropped, check_migrated, check_roles},
    config::{self, Config, Resolved},
    dev, engines, owner, seed, telemetry,
};
use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};

/// glibc's allocator keeps what a peak of sockets has needed; this one gives it back.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a drain may take beyond the window over which sockets are sent away.
const GRACE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    // Two providers of TLS are compiled in, since dependencies bring both; one must be chosen before anything speaks it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("chat-server: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Every socket is an open file, and shells allow few (often 1,024) unless asked: take what the system allows.
fn raise_open_files() {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}

#[tokio::main]
async fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Dev { no_demo, settings } => {
            let config = load(&settings, dev::config())?.config;
            telemetry::init(&config.log);
            raise_open_files();
            let app = App::start(&config).await?;
            dev::greet(&app, &config, !no_demo).await?;
            serve_until_signal(app, &config).await
        }
        Command::Serve { roles, settings } => {
            let config = load(&settings, Config::default())?.config;
            if let Err(error) = check_roles(&roles, &config) {
                bail!(error);
            }
            telemetry::init(&config.log);
            raise_open_files();
            let app = App::start_roles(&config, &roles).await?;
            serve_until_signal(app, &config).await
        }
        Command::CheckConfig { reference: true, .. } => print(&config::reference()),
        Command::CheckConfig { settings, .. } => print(&load(&settings, Config::default())?.to_toml()),
        Command::Migrate { only, settings } => {
            let config = load(&settings, Config::default())?.config;
            if let Err(error) = check_migrated(only, &config) {
                bail!(error);
            }
            telemetry::init(&config.log);
            engines::migrate(&config, only).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Drop { confirm, settings } => {
            let config = load(&settings, Config::default())?.config;
            if let Err(error) = check_dropped(&confirm, &config) {
                bail!(error);
            }
            telemetry::init(&config.log);
            engines::drop_cassandra(&config.cassandra).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::MakeOwner { handle, settings } => {
            let config = load(&settings, Config::default())?.config;
            telemetry::init(&config.log);
            owner::make(&*engines::open_existing_store(&config).await?, &handle).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::ResetPassword { handle, settings } => {
            let config = load(&settings, Config::default())?.config;
            telemetry::init(&config.log);
            owner::reset_password(&*engines::open_existing_store(&config).await?, &handle).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Restored { settings } => {
            let config = load(&settings, Config::default())?.config;
            telemetry::init(&config.log);
            engines::restored(&config).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Seed(args) => {
            let config = load(&args.settings, Config::default())?.config;
            if args.settings.config.is_none() && args.settings.data_dir.is_none() {
                bail!(
                    "no store was named with --data-dir or --config: which store is to be filled with people who do not exist?"
                );
            }
            seed::run(&args, &config).await?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Openapi => print(&chat_api::openapi::pretty(&chat_api::openapi::document())),
        Command::Asyncapi => print(&chat_api::openapi::pretty(&chat_api::asyncapi::document())),
    }
}

/// Serves until SIGTERM or SIGINT, then drains. A second signal ends it at once.
async fn serve_until_signal(app: App, config: &Config) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be waited for")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be waited for")?;
    let mut signalled = async || tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} };

    signalled().await;
    tracing::info!("draining; a second signal ends it at once");
    let drain = tokio::time::timeout(config.gateway.drain_window + GRACE, app.drain());
    tokio::select! {
        drained = drain => match drained {
            Ok(true) => tracing::info!("all sockets and requests have ended"),
            Ok(false) | Err(_) => tracing::warn!("sockets or requests were cut off"),
        },
        () = signalled() => tracing::warn!("ended at once"),
    }
    Ok(ExitCode::SUCCESS)
}

/// The configuration, or one line for everything that is wrong with it.
fn load(settings: &SettingsArgs, base: Config) -> anyhow::Result<Resolved> {
    settings.load(base).map_err(|problems| {
        let lines: Vec<String> = problems.iter().map(|problem| format!("\n  {problem}")).collect();
        anyhow::anyhow!("the configuration is wrong:{}", lines.concat())
    })
}

fn print(text: &str) -> anyhow::Result<ExitCode> {
    use std::io::Write as _;
    match std::io::stdout().write_all(text.as_bytes()) {
        // Whoever reads has read enough, such as `head`.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        result => result.map(|()| ExitCode::SUCCESS).context("standard output cannot be written to"),
    }
}
