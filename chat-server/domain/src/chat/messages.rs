//! Sending, editing, deleting and reacting.

use std::sync::Arc;

use chat_log::{Body, check_emoji, scrub, text::shows};
use chat_protocol::{
    ChannelId, ClientFrame, ClientId, ErrorCode, EventBody, FileId, Millis, Seq, limits, rest::Committed,
};

use super::{
    Actor, Chat, ChatError,
    attachments::{Touch, Touched, files_of, reference},
    committed, now_ms,
    permissions::{ChannelAction, allow},
    unit::Submitted,
};
use crate::store::{Appended, NewEvent, Store, StoredEvent};

/// What a user can do to a channel's messages. All are idempotent by their client id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Append a message.
    Send {
        /// Text of the message, as Markdown source.
        text: String,
        /// Files uploaded to the same channel.
        files: Vec<FileId>,
        /// The last position that the sender had seen.
        seen: Option<Seq>,
    },
    /// Give one's own message a new text.
    Edit {
        /// Position of the message.
        target: Seq,
        /// The new text.
        text: String,
    },
    /// Delete a message and scrub it.
    Delete {
        /// Position of the message.
        target: Seq,
    },
    /// React to a message, or take one's reaction back.
    React {
        /// Position of the message.
        target: Seq,
        /// The emoji to add or take away.
        emoji: String,
        /// Take it back.
        removed: bool,
    },
}

impl Command {
    /// What a frame asks to do to the messages of which channel, under which id.
    ///
    /// # Errors
    /// The frame, when it asks for something else.
    pub fn of(frame: ClientFrame) -> Result<(ClientId, ChannelId, Self), ClientFrame> {
        Ok(match frame {
            ClientFrame::Send { id, channel, text, files, seen } => {
                (id, channel, Self::Send { text, files, seen })
            }
            ClientFrame::Edit { id, channel, target, text } => (id, channel, Self::Edit { target, text }),
            ClientFrame::Delete { id, channel, target } => (id, channel, Self::Delete { target }),
            ClientFrame::React { id, channel, target, emoji, removed } => {
                (id, channel, Self::React { target, emoji, removed })
            }
            ClientFrame::Hello { .. }
            | ClientFrame::Read { .. }
            | ClientFrame::Typing { .. }
            | ClientFrame::Watch { .. }
            | ClientFrame::Sync { .. }
            | ClientFrame::Ping { .. } => return Err(frame),
        })
    }
}

/// A command that was accepted and waits for its commit.
pub struct PendingCommit {
    channel: ChannelId,
    at: Millis,
    stage: Stage,
}

enum Stage {
    Submitted(Submitted, Sent, Touched),
    /// An earlier command with the same id was committed here.
    Before(Seq),
}

/// What was submitted, to be compared with what an earlier command with the same id did.
struct Sent {
    store: Arc<dyn Store>,
    body: Body,
}

impl Sent {
    /// Whether the event at this position is what was submitted.
    async fn is_at(&self, channel: ChannelId, seq: Seq) -> Result<bool, ChatError> {
        let Some(event) = self.store.event(channel, seq).await? else { return Ok(true) };
        // Of a newer version's kind this one knows nothing.
        let Ok(stored) = event.parsed().map(|event| event.body) else { return Ok(true) };
        // Of a text that was deleted since nobody knows what it was.
        Ok(stored == *self.body || scrub(&self.body).is_some_and(|scrubbed| stored == scrubbed))
    }
}

impl PendingCommit {
    /// Waits for the commit, for a bounded time.
    ///
    /// # Errors
    /// A refusal at commit, a store that failed, or `unavailable` when the outcome is not known.
    pub async fn committed(self) -> Result<Committed, ChatError> {
        let (submitted, sent, touched) = match self.stage {
            Stage::Submitted(submitted, sent, touched) => (submitted, sent, touched),
            Stage::Before(seq) => {
                return Ok(Committed { channel: self.channel, seq, at: self.at, duplicate: true });
            }
        };
        let outcomes = submitted.outcome().await?;
        let outcome = outcomes.first().copied().ok_or_else(ChatError::unknown_outcome)?;
        let committed = if let Appended::Duplicate { seq, .. } = outcome
            && !sent.is_at(self.channel, seq).await?
        {
            Err(ChatError::invalid(
                "the id was used for another command in the last 24 hours; take a new one",
            ))
        } else {
            committed(self.channel, self.at, outcome)
        };
        match &committed {
            Ok(committed) => touched.settle(self.channel, committed.seq).await,
            Err(_) => touched.undo().await,
        }
        committed
    }
}

impl Chat {
    /// Checks a command and queues it for its channel's log. Commands that one caller submits one after the
    /// other to one channel are committed in that order, without waiting for one another.
    ///
    /// # Errors
    /// The command is not valid or not allowed, or too much is queued; nothing was done.
    pub async fn submit(
        &self,
        actor: &Actor,
        channel: ChannelId,
        id: ClientId,
        command: Command,
    ) -> Result<PendingCommit, ChatError> {
        let seen = match command {
            Command::Send { seen, .. } => seen,
            Command::Edit { .. } | Command::Delete { .. } | Command::React { .. } => None,
        };
        let decided = async {
            let (body, touch) = self.body(actor, channel, command).await?;
            Ok::<_, ChatError>((body, self.touch(touch, actor, channel, id).await?))
        };
        let (body, touched) = match decided.await {
            Ok(decided) => decided,
            // What was allowed then may not be allowed now (the channel was archived, its author has left), yet a
            // resend must learn that the first one was committed.
            Err(refused) if !refused.code.retryable() => {
                return match self.store.committed_as(channel, actor.user, id).await? {
                    Some((seq, at)) => Ok(PendingCommit { channel, at, stage: Stage::Before(seq) }),
                    None => Err(refused),
                };
            }
            Err(error) => return Err(error),
        };
        let at = now_ms();
        let event = NewEvent {
            id: Some(id),
            authority: Some(actor.authority()),
            seen,
            ..NewEvent::of_server(actor.user, at, body)
        };
        let sent = Sent { store: Arc::clone(&self.store), body: event.body.clone() };
        match self.logs.submit(channel, vec![event]) {
            Ok(submitted) => {
                Ok(PendingCommit { channel, at, stage: Stage::Submitted(submitted, sent, touched) })
            }
            Err(refused) => {
                touched.undo().await;
                Err(refused)
            }
        }
    }

    /// Sends a message.
    ///
    /// # Errors
    /// Like [`Chat::submit`] and [`PendingCommit::committed`].
    pub async fn send(
        &self,
        actor: &Actor,
        channel: ChannelId,
        id: ClientId,
        text: String,
        files: Vec<FileId>,
        seen: Option<Seq>,
    ) -> Result<Committed, ChatError> {
        self.submit(actor, channel, id, Command::Send { text, files, seen }).await?.committed().await
    }

    /// Gives one's own message a new text.
    ///
    /// # Errors
    /// Like [`Chat::submit`] and [`PendingCommit::committed`].
    pub async fn edit(
        &self,
        actor: &Actor,
        channel: ChannelId,
        id: ClientId,
        target: Seq,
        text: String,
    ) -> Result<Committed, ChatError> {
        self.submit(actor, channel, id, Command::Edit { target, text }).await?.committed().await
    }

    /// Deletes a message; its text, files and edits are scrubbed from the store.
    ///
    /// # Errors
    /// Like [`Chat::submit`] and [`PendingCommit::committed`].
    pub async fn delete(
        &self,
        actor: &Actor,
        channel: ChannelId,
        id: ClientId,
        target: Seq,
    ) -> Result<Committed, ChatError> {
        self.submit(actor, channel, id, Command::Delete { target }).await?.committed().await
    }

    /// Reacts to a message, or takes one's reaction back.
    ///
    /// # Errors
    /// Like [`Chat::submit`] and [`PendingCommit::committed`].
    pub async fn react(
        &self,
        actor: &Actor,
        channel: ChannelId,
        id: ClientId,
        target: Seq,
        emoji: String,
        removed: bool,
    ) -> Result<Committed, ChatError> {
        self.submit(actor, channel, id, Command::React { target, emoji, removed }).await?.committed().await
    }

    async fn body(
        &self,
        actor: &Actor,
        channel: ChannelId,
        command: Command,
    ) -> Result<(EventBody, Touch), ChatError> {
        let view = self.view(actor, channel).await?;
        match command {
            Command::Send { text, files, .. } => {
                allow(actor, &view, ChannelAction::Post)?;
                check_text(&text, !files.is_empty())?;
                let rows = self.attachments(channel, files).await?;
                let files = rows.iter().map(reference).collect();
                let touch = if rows.is_empty() { Touch::Nothing } else { Touch::Attach(rows) };
                Ok((EventBody::Message { text, files, deleted: false }, touch))
            }
            Command::Edit { target, text } => {
                // Whoever may not read the channel learns nothing of what stands in it.
                allow(actor, &view, ChannelAction::Edit { own: true })?;
                let own = self.target(channel, target).await?.by == actor.user;
                allow(actor, &view, ChannelAction::Edit { own })?;
                check_text(&text, false)?;
                Ok((EventBody::Edited { target, text, deleted: false }, Touch::Nothing))
            }
            Command::Delete { target } => {
                allow(actor, &view, ChannelAction::Delete { own: true })?;
                let message = self.target(channel, target).await?;
                allow(actor, &view, ChannelAction::Delete { own: message.by == actor.user })?;
                let files = files_of(&message);
                let touch = if files.is_empty() { Touch::Nothing } else { Touch::Detach(files, target) };
                Ok((EventBody::Deleted { target }, touch))
            }
            Command::React { target, emoji, removed } => {
                allow(actor, &view, ChannelAction::Post)?;
                check_emoji(&emoji).map_err(ChatError::invalid)?;
                Ok((EventBody::Reaction { target, emoji, removed }, Touch::Nothing))
            }
        }
    }

    /// The message that a command is about. That it still stands is checked by the store, at the commit.
    async fn target(&self, channel: ChannelId, target: Seq) -> Result<StoredEvent, ChatError> {
        let event = self.store.event(channel, target).await?;
        event.ok_or_else(|| crate::store::Refusal::NoTarget.into())
    }
}

fn check_text(text: &str, may_be_empty: bool) -> Result<(), ChatError> {
    if text.len() > limits::MAX_TEXT_BYTES {
        return Err(ChatError::new(
            ErrorCode::TooLarge,
            format!("the text has {} bytes, at most {} are allowed", text.len(), limits::MAX_TEXT_BYTES),
        ));
    }
    if text.contains('\0') {
        return Err(ChatError::invalid("the text contains NUL characters"));
    }
    if !shows(text) && !may_be_empty {
        return Err(ChatError::invalid("the text is empty"));
    }
    Ok(())
}
