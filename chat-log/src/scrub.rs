//! What remains of a deleted message.

use chat_protocol::EventBody;

/// What stands in the place of a body once its message is deleted; `None` for kinds that hold no text of a message.
#[must_use]
pub fn scrub(body: &EventBody) -> Option<EventBody> {
    match *body {
        EventBody::Message { .. } => {
            Some(EventBody::Message { text: String::new(), files: Vec::new(), deleted: true })
        }
        EventBody::Edited { target, .. } => {
            Some(EventBody::Edited { target, text: String::new(), deleted: true })
        }
        EventBody::ChannelCreated { .. }
        | EventBody::Deleted { .. }
        | EventBody::MemberJoined { .. }
        | EventBody::MemberLeft { .. }
        | EventBody::Renamed { .. }
        | EventBody::TopicChanged { .. }
        | EventBody::Archived { .. }
        | EventBody::Unknown => None,
    }
}
