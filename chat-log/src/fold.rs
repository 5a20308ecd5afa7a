//! How events show: messages as they read after all that happened to them.

use chat_protocol::{Event, EventBody, Millis, Seq, rest::Message};

/// The newest edit of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// When.
    pub at: Millis,
    /// The text since.
    pub text: String,
}

/// The message that an event wrote, as it stands in the store, with its newest edit; `None` for other kinds of events.
#[must_use]
pub fn message(event: Event, edit: Option<Edit>) -> Option<Message> {
    let Event { channel, seq, at, by, id, body } = event;
    let EventBody::Message { text, files, deleted } = body else { return None };
    let mut message = Message { channel, seq, at, by, id, text, files, edited_at: None, deleted };
    if let Some(edit) = edit {
        apply_edit(&mut message, edit);
    }
    Some(message)
}

/// The messages among consecutive events of a log, in their order, as they read after all of them.
#[must_use]
pub fn messages(events: impl IntoIterator<Item = Event>) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    for event in events {
        match event.body {
            EventBody::Message { .. } => messages.extend(message(event, None)),
            EventBody::Edited { target, text, .. } => {
                if let Some(message) = find(&mut messages, target) {
                    apply_edit(message, Edit { at: event.at, text });
                }
            }
            EventBody::Deleted { target } => {
                if let Some(message) = find(&mut messages, target) {
                    delete(message);
                }
            }
            EventBody::ChannelCreated { .. }
            | EventBody::MemberJoined { .. }
            | EventBody::MemberLeft { .. }
            | EventBody::Renamed { .. }
            | EventBody::TopicChanged { .. }
            | EventBody::Archived { .. }
            | EventBody::Unknown => {}
        }
    }
    messages
}

fn apply_edit(message: &mut Message, edit: Edit) {
    if !message.deleted {
        message.text = edit.text;
        message.edited_at = Some(edit.at);
    }
}

fn delete(message: &mut Message) {
    message.text.clear();
    message.files.clear();
    message.edited_at = None;
    message.deleted = true;
}

fn find(messages: &mut [Message], seq: Seq) -> Option<&mut Message> {
    let at = messages.binary_search_by_key(&seq, |message| message.seq).ok()?;
    messages.get_mut(at)
}
