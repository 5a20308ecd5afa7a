//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::{
    app::Role,
    config::{self, Assignment, BusEngine, Config, Problem, Resolved, StoreEngine},
    engines::Migrated,
};

const EXAMPLES: &str = "\
Examples:
  chat-server dev                                        a whole chat on http://127.0.0.1:8080, with people to try it
  chat-server serve --config folkmoot.toml               the same for real use
  FOLKMOOT_AUTH__REGISTRATION=closed chat-server serve   settings from the environment
  chat-server check-config --config folkmoot.toml        what is wrong, and what is in force
  chat-server migrate --config folkmoot.toml             tables in Cassandra and topics in Pulsar, for several processes";

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
        /// Settings from flags, see [`SettingsArgs`].
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
        /// Settings from flags, see [`SettingsArgs`].
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Say everything that is wrong with a configuration, or what is in force and where it comes from
    CheckConfig {
        /// Print the documentation of all settings, as Markdown, and do nothing else
        #[arg(long)]
        reference: bool,
        /// Settings from flags, see [`SettingsArgs`].
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Make or bring up to date the tables in Cassandra and the topics in Pulsar, as the configuration names them
    #[command(
        after_help = "Running it again, or twice at once, is harmless. Servers of this and of the previous version work on the \
                      tables it leaves.\n\nExamples:\n  chat-server migrate --config folkmoot.toml\n  chat-server migrate --only \
                      cassandra --config folkmoot.toml"
    )]
    Migrate {
        /// Only this engine, when somebody else sees to the other one [default: all that the configuration names]
        #[arg(long, value_name = "ENGINE")]
        only: Option<Migrated>,
        /// Settings from flags, see [`SettingsArgs`].
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Remove the keyspace of the configuration from Cassandra, with everybody's accounts and messages
    #[command(
        after_help = "There is no way back but a backup. Running it again is harmless. Stop the servers first; topics in Pulsar \
                      and objects in a bucket stay.\n\nExample:\n  chat-server drop --config folkmoot.toml --confirm folkmoot"
    )]
    Drop {
        /// The keyspace once more, as `cassandra.keyspace` names it
        #[arg(long, value_name = "KEYSPACE")]
        confirm: String,
        /// Settings from flags, see [`SettingsArgs`].
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Make somebody an owner and open their account if it is closed, when no owner is left who can
    #[command(
        after_help = "With Cassandra, servers may run: they learn it within seconds. With SQLite, stop the server first.\n\n\
                      Example:\n  chat-server make-owner ada --config folkmoot.toml"
    )]
    MakeOwner {
        /// The handle of an account that exists
        handle: String,
        /// Settings from flags, see [`SettingsArgs`].
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Let somebody who forgot their password set another one, when nobody is left who can do it in the chat
    #[command(
        after_help = "Prints a code that is good for 7 days and one password; their sessions go on until it is used. With Cassandra, \
                      servers may run. With SQLite, stop the server first.\n\nExample:\n  chat-server reset-password ada --config \
                      folkmoot.toml"
    )]
    ResetPassword {
        /// The handle of an account that exists
        handle: String,
        /// Settings from flags, see [`SettingsArgs`].
        #[command(flatten)]
        settings: SettingsArgs,
    },
    /// Say to a store that it was brought back from a backup or a snapshot: everybody begins anew on what is there now
    #[command(
        after_help = "Run it once behind each restore, before people are let in. Positions that clients and servers remember mean \
                      other messages now; a new generation of the store makes them forget. All sessions end and the signing keys \
                      in the store are replaced, for they may be known from the backup, or have been revoked since.\n\nSQLite: \
                      stop the server first. Cassandra: running servers notice within seconds and send their clients away to come \
                      back; stopping them while the tables are replaced is better.\n\nIt cannot know what happened after the backup: \
                      passwords, roles and deactivated accounts are as they were then.\n\nExamples:\n  chat-server restored \
                      --data-dir /var/lib/folkmoot\n  chat-server restored --config folkmoot.toml"
    )]
    Restored {
        /// Settings from flags, see [`SettingsArgs`].
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

/// What to fill a store with.
#[derive(Debug, Args)]
pub struct SeedArgs {
    /// Settings; `--data-dir` or `--config` says which store.
    #[command(flatten)]
    pub settings: SettingsArgs,
    /// Users to add
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub users: u32,
    /// Channels to add
    #[arg(long, value_name = "M", required_unless_present = "spread",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub channels: Option<u32>,
    /// Members of each channel: channel j gets the users j*K to (j+1)*K, modulo N
    #[arg(long, value_name = "K", required_unless_present = "spread",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub members: Option<u32>,
    /// Instead of --channels and --members: how many channels of which size, such as 3x1000,200x50; who is in them is drawn by
    /// chance
    #[arg(long, value_name = "MxK", value_delimiter = ',', value_parser = sizes, conflicts_with_all = ["channels", "members"])]
    pub spread: Vec<Sizes>,
    /// Only the first N users get a session and a token
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub online: Option<u32>,
    /// One more channel, of so many of the users that get a token
    #[arg(long, value_name = "K", requires = "spread", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub crowd: Option<u32>,
    /// Messages to write into the first channel, to see what a long log costs
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=10_000_000))]
    pub messages: u32,
    /// File for the tokens: one JSON object a line, with `user`, `token` and `channels`
    #[arg(long, value_name = "FILE")]
    pub tokens: PathBuf,
}

/// Channels of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// How many channels.
    pub channels: u32,
    /// How many members each has.
    pub members: u32,
}

fn sizes(text: &str) -> Result<Sizes, String> {
    let number = |text: &str| text.parse().ok().filter(|n| (1..=1_000_000).contains(n));
    text.split_once('x')
        .and_then(|(channels, members)| {
            Some(Sizes { channels: number(channels)?, members: number(members)? })
        })
        .ok_or_else(|| "not of the form CHANNELSxMEMBERS, such as 200x50".to_owned())
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
        text.split_once('=').ok_or("not of the form section.key=value, such as auth.registration=closed")?;
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

/// Whether these roles can run in a process of their own with this configuration.
///
/// # Errors
/// What was expected.
pub fn check_roles(roles: &[Role], config: &Config) -> Result<(), String> {
    if Role::ALL.iter().all(|role| roles.contains(role)) {
        return Ok(());
    }
    let mut wrong = Vec::new();
    if config.store == StoreEngine::Sqlite {
        wrong.push("store.engine to be \"cassandra\"");
    }
    if config.bus == BusEngine::Local {
        wrong.push("bus.engine to be \"pulsar\"");
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(format!(
        "roles in separate processes need a store and a bus that they share; expected {}, or --roles gateway,api,auth",
        wrong.join(" and ")
    ))
}

/// Whether this configuration names the engine that alone is to be migrated.
///
/// # Errors
/// What was expected.
pub fn check_migrated(only: Option<Migrated>, config: &Config) -> Result<(), String> {
    let expected = match only {
        Some(Migrated::Cassandra) if config.store != StoreEngine::Cassandra => {
            "store.engine to be \"cassandra\""
        }
        Some(Migrated::Pulsar) if config.bus != BusEngine::Pulsar => "bus.engine to be \"pulsar\"",
        _ => return Ok(()),
    };
    Err(format!("nothing to migrate; expected {expected}, or another --only"))
}

/// Whether this is the keyspace that this configuration is about.
///
/// # Errors
/// What was expected.
pub fn check_dropped(confirm: &str, config: &Config) -> Result<(), String> {
    if config.store != StoreEngine::Cassandra {
        return Err(
            "nothing to drop; expected store.engine to be \"cassandra\"; what SQLite keeps is the folder \
                    data.dir"
                .into(),
        );
    }
    let keyspace = &config.cassandra.keyspace;
    if confirm == keyspace {
        Ok(())
    } else {
        Err(format!(
            "nothing was dropped; expected --confirm {keyspace}, as in cassandra.keyspace, found {confirm:?}"
        ))
    }
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
    fn roles_apart_need_engines_that_processes_share() {
        let mut config = Config::default();
        assert!(check_roles(&[Role::Auth, Role::Gateway, Role::Api], &config).is_ok());
        let error = check_roles(&[Role::Gateway], &config).expect_err("refused");
        assert!(error.contains("store.engine") && error.contains("bus.engine"), "{error}");
        config.store = StoreEngine::Cassandra;
        let error = check_roles(&[Role::Gateway], &config).expect_err("refused");
        assert!(!error.contains("store.engine") && error.contains("bus.engine"), "{error}");
        config.bus = BusEngine::Pulsar;
        assert!(check_roles(&[Role::Gateway], &config).is_ok());
    }

    #[test]
    fn only_an_engine_that_is_named_is_migrated() {
        let mut config = Config::default();
        assert!(check_migrated(None, &config).is_ok());
        for (only, expected) in [(Migrated::Cassandra, "store.engine"), (Migrated::Pulsar, "bus.engine")] {
            let error = check_migrated(Some(only), &config).expect_err("refused");
            assert!(error.contains(expected), "{error}");
        }
        config.store = StoreEngine::Cassandra;
        config.bus = BusEngine::Pulsar;
        for only in [None, Some(Migrated::Cassandra), Some(Migrated::Pulsar)] {
            assert!(check_migrated(only, &config).is_ok());
        }
    }

    #[test]
    fn only_the_keyspace_that_is_named_twice_is_dropped() {
        let mut config = Config::default();
        let error = check_dropped("folkmoot", &config).expect_err("refused");
        assert!(error.contains("store.engine"), "{error}");
        config.store = StoreEngine::Cassandra;
        assert!(check_dropped("folkmoot", &config).is_ok());
        for other in ["", "Folkmoot", "folkmoot2"] {
            let error = check_dropped(other, &config).expect_err("refused");
            assert!(error.contains("--confirm folkmoot"), "{error}");
        }
    }
}
