//! The command line.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  folkmoot-operator run --watch-namespace chat          watch one namespace, as the KUBECONFIG or the pod's account allows
  folkmoot-operator plan -f cluster.yaml                what would be made, without a cluster
  folkmoot-operator plan -f cluster.yaml --live         what would change in the cluster of the KUBECONFIG
  folkmoot-operator crd | kubectl apply -f -            the definition of ChatCluster";

/// Runs team chats on Kubernetes, one `ChatCluster` each.
#[derive(Debug, Parser)]
#[command(name = "folkmoot-operator", version, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch ChatClusters and make what they say true, until it is stopped
    Run(RunArgs),
    /// Show what would be made for a ChatCluster, or, with --live, what would change; nothing is changed
    Plan(PlanArgs),
    /// Print the definition of ChatCluster as YAML
    Crd,
}

/// How to run.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Namespace to watch; may be given several times. Without it: all
    #[arg(long, value_name = "NAMESPACE", env = "FOLKMOOT_WATCH_NAMESPACES", value_delimiter = ',')]
    pub watch_namespace: Vec<String>,
    /// Namespace of the operator, where its Lease is
    #[arg(long, value_name = "NAMESPACE", env = "POD_NAMESPACE", default_value = "default")]
    pub namespace: String,
    /// Names this process in the Lease and in events; unique
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pub name: Option<String>,
    /// Image of chat-server for ChatClusters that name none
    #[arg(long, value_name = "IMAGE", env = "FOLKMOOT_IMAGE")]
    pub default_image: Option<String>,
    /// Where /healthz, /readyz and /metrics are served
    #[arg(long, value_name = "ADDRESS", default_value = "[::]:8080")]
    pub listen: SocketAddr,
    /// Whether several operators agree on one that writes
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    pub leader_elect: bool,
    /// Format of the log, which goes to standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Json, env = "FOLKMOOT_LOG_FORMAT")]
    pub log_format: LogFormat,
    /// What is logged: error, warn, info, debug, trace, or directives
    #[arg(long, value_name = "DIRECTIVES", default_value = "info", env = "FOLKMOOT_LOG_LEVEL")]
    pub log_level: String,
}

/// Format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// For programs: one object a line.
    Json,
}

/// What to plan.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// File with the ChatCluster, as YAML or JSON; - for standard input
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    /// Compare with the cluster of the KUBECONFIG, by asking its API server what an apply would change
    #[arg(long)]
    pub live: bool,
    /// Namespace, when the file names none
    #[arg(short, long, value_name = "NAMESPACE", default_value = "default")]
    pub namespace: String,
    /// Image of chat-server for a ChatCluster that names none
    #[arg(long, value_name = "IMAGE", env = "FOLKMOOT_IMAGE", default_value = concat!("folkmoot/chat-server:", env!("CARGO_PKG_VERSION")))]
    pub default_image: String,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
