//! The log, on standard error.

use std::{io::IsTerminal as _, panic};

use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{LogConfig, LogFormat};

/// Said before what the configuration says, so that it can be overruled: the driver warns of every statement that was
/// prepared in a session with a keyspace, which is how ours are.
const QUIET: &str = "scylla=error";

/// Starts logging. A second call changes nothing.
pub fn init(config: &LogConfig) {
    let filter = EnvFilter::builder().parse_lossy(format!("{QUIET},{}", config.level));
    let log = fmt::Subscriber::builder().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match config.format {
        LogFormat::Json => tracing::subscriber::set_global_default(log.json().flatten_event(true).finish()),
        LogFormat::Text => {
            let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            tracing::subscriber::set_global_default(log.with_ansi(colours).finish())
        }
    };
    if started.is_ok() {
        // So that a panic in a request is one line of the log like everything else.
        panic::set_hook(Box::new(|panic| tracing::error!(%panic, "panicked")));
    }
}
