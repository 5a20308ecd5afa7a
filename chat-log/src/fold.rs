//! How events show: messages as they read after all that happened to them.

use chat_protocol::{Event, rest::Message};

pub use crate::kind::{Edit, message};
use crate::kind::{change, target};

/// The messages among consecutive events of a log, in their order, as they read after all of them.
#[must_use]
pub fn messages(events: impl IntoIterator<Item = Event>) -> Vec<Message> {
    let mut messages: Vec<Message> = Vec::new();
    for event in events {
        match target(&event.body) {
            None => messages.extend(message(event, None)),
            Some(target) => {
                if let Ok(at) = messages.binary_search_by_key(&target, |message| message.seq) {
                    change(&mut messages[at], event);
                }
            }
        }
    }
    messages
}
