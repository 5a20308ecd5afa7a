//! What the person types.

use std::path::PathBuf;

use chat_protocol::{FileId, PresenceStatus};
use futures_util::{FutureExt as _, future::LocalBoxFuture};
use tokio::time::Instant;

use super::{Conversation, Outcome, Unsent};
use crate::{editor::Commands, text, write};

/// What can be typed besides messages, in the order of the help.
const COMMANDS: &[Command] = &[
    Command {
        name: "/who",
        argument: "",
        help: "who is in the channel, and who is there now",
        run: |conversation, _| conversation.who().boxed_local(),
    },
    Command {
        name: "/edit",
        argument: "TEXT",
        help: "gives your last message a new text",
        run: |conversation, text| conversation.edit(text).boxed_local(),
    },
    Command {
        name: "/delete",
        argument: "",
        help: "deletes your last message",
        run: |conversation, _| conversation.delete().boxed_local(),
    },
    Command {
        name: "/react",
        argument: "EMOJI",
        help: "reacts to the newest message",
        run: |conversation, emoji| conversation.react(emoji, false).boxed_local(),
    },
    Command {
        name: "/unreact",
        argument: "EMOJI",
        help: "takes a reaction to the newest message back",
        run: |conversation, emoji| conversation.react(emoji, true).boxed_local(),
    },
    Command {
        name: "/upload",
        argument: "FILE",
        help: "sends a file",
        run: |conversation, path| conversation.upload(path).boxed_local(),
    },
];

const HELP: [&str; 2] = ["/help", "/?"];
/// The editor has to know them before they run.
const LEAVING: [&str; 3] = ["/quit", "/q", "/exit"];

struct Command {
    name: &'static str,
    argument: &'static str,
    help: &'static str,
    run: for<'a> fn(&'a mut Conversation, &'a str) -> LocalBoxFuture<'a, anyhow::Result<()>>,
}

/// What the editor has to know.
pub(super) fn for_editor() -> Commands {
    let names = COMMANDS.iter().map(|command| command.name);
    let names = [HELP[0]].into_iter().chain(names).chain([LEAVING[0]]).collect();
    Commands { names, leaves }
}

fn leaves(line: &str) -> bool {
    LEAVING.contains(&line.trim())
}

fn help() -> String {
    let commands = COMMANDS.iter().map(|Command { name, argument, help, .. }| (*name, *argument, *help));
    let others = [
        (LEAVING[0], "", "leaves; so do Ctrl-D and Ctrl-C"),
        ("//TEXT", "", "sends a text that begins with a slash"),
    ];
    let lines: Vec<_> = commands
        .chain(others)
        .map(|(name, argument, help)| (format!("{name} {argument}").trim_end().to_owned(), help))
        .collect();
    let width = lines.iter().map(|(usage, _)| usage.len()).max().unwrap_or_default();
    lines.iter().map(|(usage, help)| format!("  {usage:<width$}  {help}")).collect::<Vec<_>>().join("\n")
}

impl Conversation {
    /// Does what the line says; false when it says to leave.
    pub(super) async fn typed_line(&mut self, line: &str) -> anyhow::Result<bool> {
        let line = line.trim();
        if line.is_empty() {
            return Ok(true);
        }
        let (command, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        if leaves(line) {
            return Ok(false);
        }
        if HELP.contains(&command) {
            self.terminal.print(&help()).await?;
            return Ok(true);
        }
        if let Some(known) = COMMANDS.iter().find(|known| known.name == command) {
            (known.run)(self, rest.trim()).await?;
            return Ok(true);
        }
        match line.strip_prefix("//") {
            Some(text) => self.submit(format!("/{text}"), vec![]).await,
            None if line.starts_with('/') => {
                self.note(&format!("no command {}; /help lists them", text::one_line(command))).await?;
            }
            None => self.submit(line.to_owned(), vec![]).await,
        }
        Ok(true)
    }

    pub(super) async fn submit(&mut self, text: String, files: Vec<FileId>) {
        let pending = self.client.submit_seen(self.channel.id, text, files, self.seen).await;
        let id = pending.id();
        self.mine.insert(id);
        self.unsent.insert(id, Unsent { since: Instant::now(), shown: false });
        self.outcomes.push(pending.outcome().map(move |outcome| Outcome::Message(id, outcome)).boxed());
    }

    async fn edit(&mut self, text: &str) -> anyhow::Result<()> {
        let Some(target) = self.last_mine else {
            return self.note("you wrote nothing here since you came").await;
        };
        if text.is_empty() {
            return self.note("no text: the new one goes after /edit").await;
        }
        let (client, channel, text) = (self.client.clone(), self.channel.id, text.to_owned());
        let edit = async move { Outcome::Change("not edited", client.edit(channel, target, text).await) };
        self.outcomes.push(edit.boxed());
        Ok(())
    }

    async fn delete(&mut self) -> anyhow::Result<()> {
        let Some(target) = self.last_mine.take() else {
            return self.note("you wrote nothing here since you came").await;
        };
        let (client, channel) = (self.client.clone(), self.channel.id);
        let delete = async move { Outcome::Change("not deleted", client.delete(channel, target).await) };
        self.outcomes.push(delete.boxed());
        Ok(())
    }

    async fn react(&mut self, emoji: &str, removed: bool) -> anyhow::Result<()> {
        if emoji.is_empty() {
            return self.note("no emoji was given").await;
        }
        // What came since the line was typed is not meant.
        let target = match write::newest_message(&self.session.rest, self.channel.id, self.seen).await {
            Ok(target) => target,
            Err(error) => return self.warn(&format!("no reaction: {error:#}")).await,
        };
        let (client, channel, emoji) = (self.client.clone(), self.channel.id, emoji.to_owned());
        let react = async move {
            let outcome = match removed {
                false => client.react(channel, target, emoji).await,
                true => client.unreact(channel, target, emoji).await,
            };
            Outcome::Change("no reaction", outcome)
        };
        self.outcomes.push(react.boxed());
        Ok(())
    }

    async fn upload(&mut self, path: &str) -> anyhow::Result<()> {
        if path.is_empty() {
            return self.note("no file: its path goes after /upload").await;
        }
        let (rest, channel, path) = (self.session.rest.clone(), self.channel.id, PathBuf::from(path));
        let upload = async move {
            write::check_file(&path)?;
            Ok(rest.upload_file(channel, &path).await?)
        };
        self.outcomes.push(upload.map(Outcome::Upload).boxed());
        Ok(())
    }

    async fn who(&mut self) -> anyhow::Result<()> {
        let mut online: Vec<_> = self
            .online
            .iter()
            .filter(|(_, status)| **status == PresenceStatus::Online)
            .map(|(user, _)| self.people.name(*user))
            .collect();
        let mut offline: Vec<_> = self
            .online
            .iter()
            .filter(|(_, status)| **status == PresenceStatus::Offline)
            .map(|(user, _)| self.people.name(*user))
            .collect();
        online.push(format!("{} (you)", self.people.name(self.session.me)));
        online.sort_unstable();
        offline.sort_unstable();
        self.note(&format!("online: {}", online.join(", "))).await?;
        if offline.is_empty() { Ok(()) } else { self.note(&format!("offline: {}", offline.join(", "))).await }
    }
}
