//! `folkmoot`: team chat in the terminal.

mod account;
mod admit;
mod args;
mod browse;
mod chat;
mod editor;
mod failure;
mod output;
mod people;
mod profile;
mod session;
mod tail;
mod text;
mod write;

use std::{io, process::ExitCode};

use clap::{CommandFactory as _, Parser as _};

use crate::{
    args::{Cli, Command, Global},
    output::Output,
    profile::Profile,
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Cli { global, command } = Cli::parse();
    let out = Output::new(global.json);
    // Boxed: the futures of all commands together are larger than a stack frame should be.
    match Box::pin(run(&global, out, command)).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let command = Profile::named(&global.profile).map_or("folkmoot".to_owned(), |p| p.command());
            failure::report(&error, global.json, &command)
        }
    }
}

async fn run(global: &Global, out: Output, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Login(args) => account::login(global, out, &args).await,
        Command::Register { sign_in, name, invitation } => {
            account::register(global, out, &sign_in, name, invitation).await
        }
        Command::Redeem { code, password_stdin } => account::redeem(global, out, code, password_stdin).await,
        Command::Password { password_stdin } => account::change_password(global, out, password_stdin).await,
        Command::Admit(command) => command.run(global, out).await,
        Command::Logout => account::logout(global, out).await,
        Command::Whoami => account::whoami(global, out).await,
        Command::Channels { public, orphaned } => browse::channels(global, out, public, orphaned).await,
        Command::TakeOver { channel } => browse::take_over(global, out, channel).await,
        Command::Join { channel } => browse::join(global, out, &channel).await,
        Command::Write(command) => command.run(global, out).await,
        Command::Tail { channels, all, lines } => tail::tail(global, out, &channels, all, lines).await,
        Command::History { channel, lines } => browse::history(global, out, &channel, lines).await,
        Command::Users { prefix } => browse::users(global, out, prefix.as_deref()).await,
        Command::Chat { channel } => chat::chat(global, out, &channel).await,
        Command::Completions { shell } => {
            let mut script = vec![];
            clap_complete::generate(shell, &mut Cli::command(), "folkmoot", &mut script);
            Ok(io::Write::write_all(&mut io::stdout(), &script)?)
        }
    }
}
