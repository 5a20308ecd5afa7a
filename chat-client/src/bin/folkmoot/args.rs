//! What can be typed.

use chat_protocol::ChannelId;
use clap::{Args, Parser, Subcommand};

use crate::{admit::Admit, write::Write};

/// Where `chat-server dev` listens.
pub(crate) const DEFAULT_URL: &str = "http://127.0.0.1:8080";

const EXAMPLES: &str = "\
Examples:
  folkmoot login --user ada
  folkmoot chat general
  folkmoot send general 'Deploy is done'
  folkmoot send @grace 'Lunch?'
  date | folkmoot send general -
  folkmoot tail --all --json | jq .

Two people on one machine, each in a terminal of their own:
  folkmoot login --user ada                       folkmoot chat general
  folkmoot --profile grace login --user grace     folkmoot --profile grace chat general

A CHANNEL is a name (general, #general), a person (@grace, for direct messages) or a channel's id.

Environment:
  FOLKMOOT_PROFILE     same as --profile
  FOLKMOOT_URL         same as --url
  FOLKMOOT_PASSWORD    the password for login and register
  FOLKMOOT_TOKEN       an access token to use instead of a login, for scripts; needs --url or FOLKMOOT_URL
  FOLKMOOT_CONFIG_DIR  where logins are kept, instead of the user's configuration directory
  NO_COLOR             print without colours

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not signed in.";

/// Team chat in the terminal.
#[derive(Debug, Parser)]
#[command(name = "folkmoot", version, after_help = EXAMPLES, propagate_version = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Whose login to use; lets several people be signed in on one machine
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "FOLKMOOT_PROFILE",
        default_value = "default",
        hide_env = true
    )]
    pub(crate) profile: String,
    /// The server [default: the one that the profile is signed in to, or http://127.0.0.1:8080]
    #[arg(long, global = true, value_name = "URL", env = "FOLKMOOT_URL", hide_env = true)]
    pub(crate) url: Option<String>,
    /// Print one JSON object a line; errors too, on standard error
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Sign in; the login is kept for the next commands
    #[command(after_help = "Examples:\n  folkmoot login --user ada\n  \
        folkmoot login --url https://chat.example.org --user ada --password-stdin < password-file")]
    Login(SignIn),
    /// Make an account and sign in with it
    Register {
        #[command(flatten)]
        sign_in: SignIn,
        /// Name to show to others [default: the handle]
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Code of an invitation, where only those who are invited may make accounts
        #[arg(long, value_name = "CODE")]
        invitation: Option<String>,
    },
    /// Set a password by an invitation, the first one or when it was forgotten, and sign in
    Redeem {
        /// The code, as an admin gave it to you
        code: String,
        /// Read the password from the first line of standard input
        #[arg(long)]
        password_stdin: bool,
    },
    /// Set another password for this account; all its other sessions end
    #[command(
        after_help = "With --password-stdin the first line is the current password, the second one the new one."
    )]
    Password {
        /// Read both passwords from standard input
        #[arg(long)]
        password_stdin: bool,
    },
    #[command(flatten)]
    Admit(Admit),
    /// End this login, on the server and on this machine
    Logout,
    /// Who is signed in, and where
    Whoami,
    /// The channels you are in, with what is unread
    Channels {
        /// Those that you could join instead
        #[arg(long)]
        public: bool,
        /// Private ones that nobody with an open account is in instead; for owners
        #[arg(long, conflicts_with = "public")]
        orphaned: bool,
    },
    /// Join a public channel
    Join {
        /// Name or id
        channel: String,
    },
    /// Join a private channel that nobody with an open account is in; for owners
    TakeOver {
        /// Id, as `folkmoot channels --orphaned` prints it
        channel: ChannelId,
    },
    #[command(flatten)]
    Write(Write),
    /// Print what happens, until interrupted
    #[command(after_help = "Examples:\n  folkmoot tail general '#random'\n  folkmoot tail --all --json")]
    Tail {
        /// Names or ids of the channels to follow
        #[arg(required_unless_present = "all")]
        channels: Vec<String>,
        /// All channels that you are in
        #[arg(long, conflicts_with = "channels")]
        all: bool,
        /// Begin with this many earlier messages of each channel
        #[arg(short = 'n', long, default_value_t = 0, value_name = "N")]
        lines: usize,
    },
    /// Print the latest messages of a channel
    History {
        /// Which: general, #general, @grace or an id
        channel: String,
        /// How many messages
        #[arg(short = 'n', long, default_value_t = 50, value_name = "N")]
        lines: usize,
    },
    /// List the people of this chat
    Users {
        /// Only those whose handle or name begins with this
        prefix: Option<String>,
    },
    /// Talk in a channel; /help lists the commands
    Chat {
        /// Which: general, #general, @grace or an id
        channel: String,
    },
    /// Print a completion script for a shell
    #[command(after_help = "Example, for bash:\n  source <(folkmoot completions bash)")]
    Completions {
        /// The shell that gets completions
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct SignIn {
    /// The account's handle
    #[arg(long, short, value_name = "HANDLE")]
    pub(crate) user: String,
    /// Read the password from the first line of standard input
    #[arg(long)]
    pub(crate) password_stdin: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }
}
