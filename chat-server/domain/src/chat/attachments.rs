//! Files of messages: when a message has them, when it has them no more, and what is noted in case that this process does not
//! come to it.
//!
//! That a message has a file is written right behind its commit, and noted before it: whoever is sent to look later asks the
//! log whether there was a commit. A deletion works in the same way. So neither is lost with a process, and what the log says
//! is what counts.
//!
//! From the note on the message holds its files: the deletion of the last other message that has one lets it live, and whoever
//! ends the hold looks whether it must go. A message that finds a file gone when it is to hold it is refused. So no message
//! that was committed has a file that is gone, unless it was deleted itself.

use std::sync::Arc;

use chat_protocol::{ChannelId, ClientId, EventBody, FileId, FileRef, Millis, Seq, limits};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::Notify;

use super::{Actor, Chat, ChatError, now_ms};
use crate::store::{FileHold, FileRow, FileTask, FileWork, Store, StoreError, StoredEvent};

/// When somebody else looks whether a commit was followed by what it means for files: longer than any commit takes.
const LOOK_AFTER_MS: Millis = 10 * 60 * 1_000;

/// Files that a command touches.
pub(super) enum Touch {
    /// None: what most commands do.
    Nothing,
    /// Those of a new message.
    Attach(Vec<FileRow>),
    /// Those of a message that is deleted, at its position.
    Detach(Vec<FileId>, Seq),
}

/// Files that a command touches, noted before its commit.
pub(super) struct Touched {
    store: Arc<dyn Store>,
    removals: Arc<Notify>,
    touch: Touch,
    hold: FileHold,
    noted: Vec<FileWork>,
}

impl Touched {
    /// The command was committed at `seq`. What fails here is done by whoever looks at what was noted.
    pub(super) async fn settle(self, channel: ChannelId, seq: Seq) {
        if !matches!(self.touch, Touch::Nothing)
            && let Err(error) = self.write(channel, seq).await
        {
            tracing::warn!(%error, %channel, seq, "files of a message are looked at later");
        }
    }

    /// The command was not committed: a message that is deleted now takes its files along, though this one wanted them too. What was
    /// noted stays noted.
    pub(super) async fn undo(self) {
        let Touch::Attach(files) = &self.touch else { return };
        match self.end_hold(files).await {
            Ok(true) => self.removals.notify_one(),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, "files of a refused message are held until somebody looks"),
        }
    }

    async fn end_hold(&self, files: &[FileRow]) -> Result<bool, StoreError> {
        let files: Vec<FileId> = files.iter().map(|file| file.id).collect();
        let_go(&*self.store, &files, self.hold).await
    }

    async fn write(&self, channel: ChannelId, seq: Seq) -> Result<(), StoreError> {
        let store = &*self.store;
        let gone = match &self.touch {
            Touch::Nothing => false,
            Touch::Attach(files) => {
                store.attach(files, channel, seq).await?;
                self.end_hold(files).await?
            }
            Touch::Detach(files, target) => detach(store, files, channel, *target).await?,
        };
        if gone {
            self.removals.notify_one();
        }
        store.file_work_done(&self.noted).await
    }
}

/// Takes files from a deleted message, and notes those that no message has for removal. Whether there are any.
pub(super) async fn detach(
    store: &dyn Store,
    files: &[FileId],
    channel: ChannelId,
    seq: Seq,
) -> Result<bool, StoreError> {
    remove_later(store, store.detach(files, channel, seq).await?).await
}

/// Ends a message's hold on files, and notes those that no message has for removal. Whether there are any.
pub(super) async fn let_go(store: &dyn Store, files: &[FileId], hold: FileHold) -> Result<bool, StoreError> {
    remove_later(store, store.let_go(files, hold).await?).await
}

async fn remove_later(store: &dyn Store, gone: Vec<FileId>) -> Result<bool, StoreError> {
    let due = now_ms();
    let work: Vec<_> = gone.into_iter().map(|file| FileWork { due, file, task: FileTask::Remove }).collect();
    store.add_file_work(&work).await?;
    Ok(!work.is_empty())
}

/// Whether there is a message at this position that has the file, as it stands now.
pub(super) async fn has_file(
    store: &dyn Store,
    channel: ChannelId,
    seq: Seq,
    file: FileId,
) -> Result<bool, StoreError> {
    Ok(store.event(channel, seq).await?.is_some_and(|message| files_of(&message).contains(&file)))
}

/// The files of the message at this position, as it stands now.
pub(super) fn files_of(event: &StoredEvent) -> Vec<FileId> {
    match event.parsed().map(|event| event.body) {
        Ok(EventBody::Message { files, .. }) => files.into_iter().map(|file| file.id).collect(),
        _ => Vec::new(),
    }
}

impl Chat {
    /// Notes which files a command touches, before it is committed, and holds those that it is to have.
    ///
    /// # Errors
    /// One of them is gone.
    pub(super) async fn touch(
        &self,
        touch: Touch,
        actor: &Actor,
        channel: ChannelId,
        id: ClientId,
    ) -> Result<Touched, ChatError> {
        // Two sends with one id at the same moment have holds of their own.
        let due = now_ms() + LOOK_AFTER_MS + rand::random_range(0..1_000);
        let work = |file, task| FileWork { due, file, task };
        let noted: Vec<FileWork> = match &touch {
            Touch::Nothing => Vec::new(),
            Touch::Attach(files) => {
                let task = FileTask::Sent { channel, by: actor.user, id };
                files.iter().map(|file| work(file.id, task)).collect()
            }
            Touch::Detach(files, seq) => {
                files.iter().map(|file| work(*file, FileTask::Deleted { channel, seq: *seq })).collect()
            }
        };
        if !noted.is_empty() {
            self.store.add_file_work(&noted).await?;
        }
        let hold = FileHold { id, due };
        let touched = Touched {
            store: Arc::clone(&self.store),
            removals: Arc::clone(&self.file_work),
            touch,
            hold,
            noted,
        };
        if let Touch::Attach(files) = &touched.touch {
            // Behind the note, so that whoever looks later ends a hold that nobody else ends.
            if let Some(gone) = self.store.hold(files, hold).await?.first().copied() {
                touched.undo().await;
                return Err(no_file(gone));
            }
        }
        Ok(touched)
    }

    /// Descriptions of files that a message in this channel is to have.
    pub(super) async fn attachments(
        &self,
        channel: ChannelId,
        ids: Vec<FileId>,
    ) -> Result<Vec<FileRow>, ChatError> {
        if ids.len() > limits::MAX_FILES_PER_MESSAGE {
            return Err(ChatError::invalid(format!(
                "too many files: at most {} are allowed, got {}",
                limits::MAX_FILES_PER_MESSAGE,
                ids.len()
            )));
        }
        stream::iter(ids)
            .map(|id| self.attachment(channel, id))
            .buffered(limits::MAX_FILES_PER_MESSAGE)
            .try_collect()
            .await
    }

    async fn attachment(&self, channel: ChannelId, id: FileId) -> Result<FileRow, ChatError> {
        let none = || no_file(id);
        // A file of another channel is treated as one that does not exist: its name is not for these eyes.
        let row = self.store.file(id).await?.filter(|row| row.channel == channel).ok_or_else(none)?;
        // It may be removed before the message is committed.
        if row.created_at.saturating_add(self.unattached_life_ms) < now_ms()
            && !self.store.is_attached(id).await?
        {
            return Err(none());
        }
        Ok(row)
    }
}

fn no_file(id: FileId) -> ChatError {
    ChatError::invalid(format!("this channel has no file {id}"))
}

/// What of a file a message shows.
pub(super) fn reference(row: &FileRow) -> FileRef {
    FileRef { id: row.id, name: row.name.clone(), media_type: row.media_type.clone(), size: row.size }
}
