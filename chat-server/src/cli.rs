//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::{self, Assignment, Config, Problem, Resolved};

const EXAMPLES: &str = "\
Examples:
  chat-server dev                                        a whole chat on http://127.0.0.1:8080, with people to try it
  chat-server serve --config folkmoot.toml               the same for real use
  FOLKMOOT_AUTH__REGISTRATION=closed chat-server serve   settings from the environment
  chat-server check-config --config folkmoot.toml        what is wrong, and what is in force";

/// Folkmoot's chat server.
#[derive(Debug, Parser)]
#[command(name = "chat-server", version, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run everything in one process, with people and channels to try it out
    #[command(
        after_help = "Examples:\n  chat-server dev\n  chat-server dev --data-dir /tmp/chat --listen 127.0.0.1:9000\n  \
                            chat-server dev --no-demo --set auth.registration=closed"
    )]
    Dev {
        /// Make no demo organisation
        #[arg(long)]
        no_demo: bool,
        /// Settings.
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Run roles of the server
    #[command(
        after_help = "Examples:\n  chat-server serve --config /etc/folkmoot.toml\n  chat-server serve --data-dir \
                            /var/lib/folkmoot --listen 0.0.0.0:8080 --set log.format=json"
    )]
    Serve {
        /// The roles of this process
        #[arg(long, value_delimiter = ',', default_value = "gateway,api,auth", value_name = "ROLE,…")]
        roles: Vec<Role>,
        /// Settings.
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Say everything that is wrong with a configuration, or what is in force and where it comes from
    CheckConfig {
        /// Print the documentation of all settings, as Markdown, and do nothing else
        #[arg(long)]
        reference: bool,
        /// Settings.
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Fill a store with users and channels for load tests, and write access tokens that are valid for a day
    #[command(
        after_help = "Example:\n  chat-server seed --data-dir /tmp/chat --users 2000 --channels 40 --members 50 --tokens \
                            tokens.jsonl\n  chat-server dev --data-dir /tmp/chat"
    )]
    Seed(SeedArgs),
    /// Print the OpenAPI description of the REST interface
    Openapi,
    /// Print the AsyncAPI description of the WebSocket
    Asyncapi,
}

/// A role of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Role {
    /// Holds sockets.
    Gateway,
    /// Serves REST, files and the web client.
    Api,
    /// Makes accounts and issues tokens.
    Auth,
}

/// What to fill a store with.
#[derive(Debug, Args)]
pub struct SeedArgs {
    /// Data folder; made if it is not there
    #[arg(long, value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Users to add
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub users: u32,
    /// Channels to add
    #[arg(long, value_name = "M", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub channels: u32,
    /// Members of each channel: channel j gets the users j*K to (j+1)*K, modulo N
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub members: u32,
    /// File for the tokens: one JSON object a line, with `user`, `token` and `channels`
    #[arg(long, value_name = "FILE")]
    pub tokens: PathBuf,
}

/// Settings on the command line; they win over file and environment.
#[derive(Debug, Args)]
pub struct SettingsArgs {
    /// TOML file with settings
    #[arg(long, value_name = "FILE", env = "FOLKMOOT_SERVER_CONFIG", hide_env = true)]
    pub config: Option<PathBuf>,
    /// Where REST, sockets and the web client are served [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Where health and metrics are served [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDRESS")]
    pub admin_listen: Option<String>,
    /// Folder of the store and of uploaded files [default: the user's data folder]
    #[arg(long, value_name = "DIR")]
    pub data_dir: Option<String>,
    /// Any other setting; may be given several times
    #[arg(long, value_name = "SECTION.KEY=VALUE", value_parser = key_and_value)]
    pub set: Vec<(String, String)>,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) =
        text.split_once('=').ok_or("expected section.key=value, such as auth.registration=closed")?;
    Ok((key.trim().to_owned(), value.trim().to_owned()))
}

impl SettingsArgs {
    /// The configuration: these over the environment over the file over `base`.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn load(&self, base: Config) -> Result<Resolved, Vec<Problem>> {
        // A variable that is not Unicode cannot be one of ours.
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        config::load(base, self.config.as_deref(), environment, self.flags())
    }

    fn flags(&self) -> Vec<Assignment> {
        let named = [
            ("--listen", "server.listen", &self.listen),
            ("--admin-listen", "server.admin_listen", &self.admin_listen),
            ("--data-dir", "data.dir", &self.data_dir),
        ];
        let named = named
            .into_iter()
            .filter_map(|(flag, key, value)| Some(config::from_flag(flag, key, value.clone()?)));
        let others = self.set.iter().map(|(key, value)| config::from_flag("--set", key, value));
        // The named ones last: they are plainer, so they win.
        others.chain(named).collect()
    }
}

/// Whether these roles can run in one process.
///
/// # Errors
/// What was expected.
pub fn check_roles(roles: &[Role]) -> Result<(), String> {
    let mut missing = vec![Role::Gateway, Role::Api, Role::Auth];
    missing.retain(|role| !roles.contains(role));
    if missing.is_empty() {
        return Ok(());
    }
    Err("roles in separate processes need a shared store, and only the embedded one exists so far; expected --roles \
         gateway,api,auth"
        .into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn roles_come_together_or_not_at_all() {
        assert!(check_roles(&[Role::Auth, Role::Gateway, Role::Api]).is_ok());
        let error = check_roles(&[Role::Gateway]).expect_err("refused");
        assert!(error.contains("expected --roles gateway,api,auth"), "{error}");
    }
}
