//! What happened, on the screen.

use std::time::Duration;

use chat_client::{ConnectionState, Update};
use chat_protocol::{Event, EventBody, PresenceStatus, UserId, UserPresence};
use tokio::time::Instant;

use super::Conversation;
use crate::{output, text};

/// The same person's typing is shown once in this time: each one is a line on the screen.
const TYPING_PAUSE: Duration = Duration::from_secs(20);

impl Conversation {
    pub(super) async fn show(&mut self, update: Update) -> anyhow::Result<()> {
        match update {
            // Shown before the restore.
            Update::Event(event) if self.restored && event.at <= self.newest => Ok(()),
            Update::Event(event) if event.channel == self.channel.id => self.show_event(&event).await,
            Update::Restored { .. } => {
                self.restored = true;
                // Another message may be at that position.
                self.last_mine = None;
                self.note(
                    "the server was restored from a backup: some of what is above may not be there any more",
                )
                .await
            }
            Update::Typing { channel, user } if channel == self.channel.id && user != self.session.me => {
                self.show_typing(user).await
            }
            Update::Presence(users) => self.show_presence(&users).await,
            Update::State(ConnectionState::Waiting { reason, .. }) if !self.away => {
                self.away = true;
                self.note(&format!("not connected ({}); trying again", text::one_line(&reason))).await
            }
            Update::State(ConnectionState::Connected { .. }) if self.away => {
                self.away = false;
                // Reported again as a whole: the changes while away are of no interest.
                self.online.clear();
                self.note("connected again").await
            }
            _ => Ok(()),
        }
    }

    async fn show_event(&mut self, event: &Event) -> anyhow::Result<()> {
        // Without names the ids are shown: better than no message.
        let _ = self.people.learn(&self.session.rest, output::people_in_event(event)).await;
        self.newest = self.newest.max(event.at);
        self.typed.remove(&event.by);
        if event.by == self.session.me && matches!(event.body, EventBody::Message { .. }) {
            self.last_mine = Some(event.seq);
        }
        let typed_here = event.id.is_some_and(|id| self.mine.remove(&id));
        if (!typed_here || !self.terminal.shows_typed_lines())
            && let Some(line) = output::event(self.paint, &self.people, event)
        {
            self.terminal.print(&line).await?;
        }
        self.seen = event.seq;
        self.client.read(self.channel.id, event.seq).await;
        if let EventBody::MemberJoined { user } = event.body
            && user != self.session.me
            && !self.watched.contains(&user)
        {
            self.watched.push(user);
            self.client.watch(self.watched.clone()).await;
        }
        Ok(())
    }

    async fn show_typing(&mut self, user: UserId) -> anyhow::Result<()> {
        let now = Instant::now();
        let shown = self.typed.get(&user).is_some_and(|at| now.duration_since(*at) < TYPING_PAUSE);
        if shown || !self.terminal.shows_typed_lines() {
            return Ok(());
        }
        self.typed.insert(user, now);
        let _ = self.people.learn(&self.session.rest, [user]).await;
        self.note(&format!("{} is typing", self.people.name(user))).await
    }

    async fn show_presence(&mut self, users: &[UserPresence]) -> anyhow::Result<()> {
        let first = self.online.is_empty();
        let mut here = vec![];
        let mut notes = vec![];
        for UserPresence { user, status } in users {
            let before = self.online.insert(*user, *status);
            match (status, before) {
                (PresenceStatus::Online, None) if first => here.push(self.people.name(*user)),
                (PresenceStatus::Online, None | Some(PresenceStatus::Offline)) => {
                    notes.push(format!("{} is online", self.people.name(*user)));
                }
                (PresenceStatus::Offline, Some(PresenceStatus::Online)) => {
                    notes.push(format!("{} went offline", self.people.name(*user)));
                }
                _ => {}
            }
        }
        if !here.is_empty() {
            here.sort_unstable();
            notes.push(format!("online: {}", here.join(", ")));
        }
        for note in notes {
            self.note(&note).await?;
        }
        Ok(())
    }
}
