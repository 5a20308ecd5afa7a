//! Standard output: for people or, with `--json`, one object a line for programs.

use std::io::{self, IsTerminal as _, Write as _};

use chat_protocol::{Event, EventBody, FileRef, UserId, rest::Message};
use serde::Serialize;

use crate::{
    people::People,
    text::{self, Paint},
};

/// How to print.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    pub(crate) json: bool,
    pub(crate) paint: Paint,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json, paint: Paint::for_terminal(io::stdout().is_terminal()) }
    }

    /// `item` as a line of JSON, or what `plain` makes of it.
    pub(crate) fn item(self, item: &impl Serialize, plain: impl FnOnce() -> String) -> anyhow::Result<()> {
        if self.json { self.line(&serde_json::to_string(item)?) } else { self.line(&plain()) }
    }

    /// Not `println!`: that panics when the reader of a pipe has gone.
    pub(crate) fn line(self, line: &str) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(line.as_bytes())?;
        out.write_all(b"\n")?;
        Ok(out.flush()?)
    }

    /// A note that is no result: on standard error, and not for programs.
    pub(crate) fn note(self, note: &str) {
        if !self.json {
            eprintln!("{note}");
        }
    }
}

/// A message as one reads it.
pub(crate) fn message(paint: Paint, people: &People, message: &Message) -> String {
    let head = head(paint, &text::time(message.at), &people.name(message.by));
    if message.deleted {
        return format!("{head} {}", paint.dim("(deleted)"));
    }
    let edited = if message.edited_at.is_some() { paint.dim(" (edited)") } else { String::new() };
    let reactions = reactions(paint, people, message);
    format!("{head} {}{edited}{reactions}", body(paint, &message.text, &message.files))
}

/// Everybody whose name it takes to print messages.
pub(crate) fn people_in_messages(messages: &[Message]) -> Vec<UserId> {
    let reacted = |message: &Message| message.reactions.values().flatten().copied().collect::<Vec<_>>();
    messages.iter().flat_map(|message| [vec![message.by], reacted(message)].concat()).collect()
}

/// An event as one reads it; `None` for kinds that this version does not know.
pub(crate) fn event(paint: Paint, people: &People, event: &Event) -> Option<String> {
    let (time, by) = (text::time(event.at), people.name(event.by));
    let note = |what: String| Some(paint.dim(&format!("{time} * {by} {what}")));
    match &event.body {
        EventBody::Message { deleted: true, .. } => {
            Some(format!("{} {}", head(paint, &time, &by), paint.dim("(deleted)")))
        }
        EventBody::Message { text, files, .. } => {
            Some(format!("{} {}", head(paint, &time, &by), body(paint, text, files)))
        }
        EventBody::Edited { deleted: true, .. } => None,
        EventBody::Edited { target, text, .. } => {
            note(format!("edited message {target}: {}", text::lines(text, "    ")))
        }
        EventBody::Deleted { target } => note(format!("deleted message {target}")),
        EventBody::Reaction { target, emoji, removed: false } => {
            note(format!("reacted with {} to message {target}", text::one_line(emoji)))
        }
        EventBody::Reaction { target, emoji, removed: true } => {
            note(format!("took back {} from message {target}", text::one_line(emoji)))
        }
        EventBody::ChannelCreated { name, .. } => match name {
            Some(name) => note(format!("created #{}", text::one_line(name))),
            None => note("began the conversation".to_owned()),
        },
        EventBody::MemberJoined { user } if *user == event.by => note("joined".to_owned()),
        EventBody::MemberJoined { user } => note(format!("added {}", people.name(*user))),
        EventBody::MemberLeft { user } if *user == event.by => note("left".to_owned()),
        EventBody::MemberLeft { user } => note(format!("removed {}", people.name(*user))),
        EventBody::Renamed { name } => note(format!("renamed the channel to #{}", text::one_line(name))),
        EventBody::TopicChanged { topic } => note(format!("changed the topic: {}", text::one_line(topic))),
        EventBody::Archived { archived: true } => note("archived the channel".to_owned()),
        EventBody::Archived { archived: false } => note("brought the channel back".to_owned()),
        EventBody::Unknown => None,
    }
}

fn head(paint: Paint, time: &str, name: &str) -> String {
    format!("{} {}", paint.dim(time), paint.name(name))
}

/// Everybody whose name it takes to print an event.
pub(crate) fn people_in_event(event: &Event) -> Vec<UserId> {
    match event.body {
        EventBody::MemberJoined { user } | EventBody::MemberLeft { user } => vec![event.by, user],
        _ => vec![event.by],
    }
}

fn reactions(paint: Paint, people: &People, message: &Message) -> String {
    let each = message.reactions.iter().map(|(emoji, users)| {
        let users: Vec<_> = users.iter().map(|user| people.name(*user)).collect();
        paint.dim(&format!(" [{} {}]", text::one_line(emoji), users.join(", ")))
    });
    each.collect()
}

fn body(paint: Paint, message: &str, files: &[FileRef]) -> String {
    let mut parts = vec![];
    if !message.is_empty() {
        parts.push(text::lines(message, "    "));
    }
    parts.extend(files.iter().map(|file| {
        let name = text::one_line(&file.name);
        paint.dim(&format!("[{name}, {}, {}]", text::one_line(&file.media_type), text::size(file.size)))
    }));
    parts.join("\n    ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use serde_json::{Value, json};

    use super::*;

    /// What an event with these fields reads like after the time; `…01` is its author, `…02` somebody else.
    #[track_caller]
    fn check(fields: &Value, expected: Option<&str>) {
        let id = |n: u128| json!(uuid::Uuid::from_u128(n));
        let mut all = json!({"channel": id(9), "seq": 7, "at": 0, "by": id(1)});
        all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let parsed: Event = serde_json::from_value(all).unwrap();
        let people = People::named([
            (UserId(uuid::Uuid::from_u128(1)), "ada"),
            (UserId(uuid::Uuid::from_u128(2)), "grace"),
        ]);
        let line = event(Paint::for_terminal(false), &people, &parsed);
        // The epoch: the date, the time, and the rest.
        let rest = line.as_ref().map(|line| line.splitn(3, ' ').nth(2).unwrap());
        assert_eq!(rest, expected, "{line:?}");
    }

    #[test]
    fn events_read_like_sentences() {
        let grace = uuid::Uuid::from_u128(2);
        check(&json!({"kind": "message", "text": "hi\nthere"}), Some("ada hi\n    there"));
        check(&json!({"kind": "message", "text": "", "deleted": true}), Some("ada (deleted)"));
        let file = json!({"id": grace, "name": "a\u{1b}[2J.txt", "media_type": "text/plain", "size": 3});
        check(
            &json!({"kind": "message", "text": "see", "files": [file]}),
            Some("ada see\n    [a\u{fffd}[2J.txt, text/plain, 3 B]"),
        );
        check(&json!({"kind": "edited", "target": 3, "text": "new"}), Some("* ada edited message 3: new"));
        check(&json!({"kind": "edited", "target": 3, "text": "", "deleted": true}), None);
        check(
            &json!({"kind": "reaction", "target": 3, "emoji": "👍"}),
            Some("* ada reacted with 👍 to message 3"),
        );
        check(
            &json!({"kind": "reaction", "target": 3, "emoji": "👍\u{1b}", "removed": true}),
            Some("* ada took back 👍\u{fffd} from message 3"),
        );
        check(&json!({"kind": "member_joined", "user": grace}), Some("* ada added grace"));
        check(&json!({"kind": "member_left", "user": uuid::Uuid::from_u128(1)}), Some("* ada left"));
        check(
            &json!({"kind": "renamed", "name": "x\u{7}y"}),
            Some("* ada renamed the channel to #x\u{fffd}y"),
        );
        check(&json!({"kind": "of_the_future"}), None);
    }
}
