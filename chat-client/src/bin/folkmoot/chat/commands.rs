//! What the person types.

use std::path::PathBuf;

use chat_protocol::{FileId, PresenceStatus};
use futures_util::FutureExt as _;
use tokio::time::Instant;

use super::{Conversation, Outcome, Unsent};
use crate::{editor::Commands, text, write};

/// What the editor has to know.
pub(super) const COMMANDS: Commands =
    Commands { names: &["/help", "/who", "/edit", "/delete", "/upload", "/quit"], leaves };

const HELP: &str = "\
  /who          who is in the channel, and who is there now
  /edit TEXT    gives your last message a new text
  /delete       deletes your last message
  /upload FILE  sends a file
  /quit         leaves; so do Ctrl-D and Ctrl-C
  //TEXT        sends a text that begins with a slash";

fn leaves(line: &str) -> bool {
    matches!(line.trim(), "/quit" | "/q" | "/exit")
}

impl Conversation {
    /// Does what the line says; false when it says to leave.
    pub(super) async fn typed_line(&mut self, line: &str) -> anyhow::Result<bool> {
        let line = line.trim();
        if line.is_empty() {
            return Ok(true);
        }
        let (command, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        match command {
            _ if leaves(line) => return Ok(false),
            "/help" | "/?" => self.terminal.print(HELP).await?,
            "/who" => self.who().await?,
            "/edit" => self.edit(rest.trim()).await?,
            "/delete" => self.delete().await?,
            "/upload" => self.upload(rest.trim()).await?,
            _ => match line.strip_prefix("//") {
                Some(text) => self.submit(format!("/{text}"), vec![]).await,
                None if line.starts_with('/') => {
                    self.note(&format!("no command {}; /help tells them", text::one_line(command))).await?;
                }
                None => self.submit(line.to_owned(), vec![]).await,
            },
        }
        Ok(true)
    }

    pub(super) async fn submit(&mut self, text: String, files: Vec<FileId>) {
        let pending = self.client.submit_seen(self.channel.id, text, files, self.seen).await;
        let id = pending.id();
        self.mine.insert(id);
        self.unsent.insert(id, Unsent { since: Instant::now(), told: false });
        self.outcomes.push(pending.outcome().map(move |outcome| Outcome::Message(id, outcome)).boxed());
    }

    async fn edit(&mut self, text: &str) -> anyhow::Result<()> {
        let Some(target) = self.last_mine else {
            return self.note("you wrote nothing here since you came").await;
        };
        if text.is_empty() {
            return self.note("expected the new text after /edit").await;
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

    async fn upload(&mut self, path: &str) -> anyhow::Result<()> {
        if path.is_empty() {
            return self.note("expected a file after /upload").await;
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
