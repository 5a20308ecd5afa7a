//! An event on its way into a log, and what becomes of it.

use std::{
    ops::Deref,
    sync::{Arc, OnceLock},
};

use chat_protocol::{ClientId, EventBody, Millis, Seq, UserId, rest::Role};
use serde::{Deserialize, Serialize};

use crate::kind::Refusal;

/// A body with its encoding, which is made at most once, for the store, the bus and other processes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Body(Arc<Encoded>);

#[derive(Debug)]
struct Encoded {
    body: EventBody,
    json: OnceLock<Arc<str>>,
}

impl Body {
    /// The body as JSON, as it is stored and sent.
    #[must_use]
    pub fn json(&self) -> &Arc<str> {
        self.0.json.get_or_init(|| {
            let json = serde_json::to_string(&self.0.body);
            json.expect("bodies have text keys only, so they can be encoded").into()
        })
    }
}

impl From<EventBody> for Body {
    fn from(body: EventBody) -> Self {
        Self(Arc::new(Encoded { body, json: OnceLock::new() }))
    }
}

impl Deref for Body {
    type Target = EventBody;

    fn deref(&self) -> &EventBody {
        &self.0.body
    }
}

impl PartialEq for Body {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Body {}

/// What the door that took a command knew of its author.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authority {
    /// Their role in the organisation, as their token said.
    pub role: Role,
    /// The version of that role. The stored one rises with each change of the role.
    pub auth_version: u64,
}

/// An event on its way into the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Who does it.
    pub by: UserId,
    /// Makes it idempotent within `(channel, by)` for [`chat_protocol::limits::IDEMPOTENCY_WINDOW_MS`].
    pub id: Option<ClientId>,
    /// The writer's clock.
    pub at: Millis,
    /// What the event does.
    pub body: Body,
    /// By which the permission is decided again at the commit. `None`: the server itself does it (or a server of 0.1.0 has
    /// checked it), and no permission is asked for.
    pub authority: Option<Authority>,
    /// The last position that the author had seen when they sent it. If nobody else has written since, their read marker
    /// moves to this event. `None` (scheduled, sent again from an outbox, by a bot): the marker stays.
    pub seen: Option<Seq>,
    /// It belongs to the event before it in the call: when one of those that belong together is refused, for another reason than
    /// having no effect, then all of them are, for that reason.
    pub with_previous: bool,
    /// Nobody who is a member may have become one after this position, or it is refused as for who may not see the channel: it
    /// was decided on who the members are.
    pub nobody_since: Option<Seq>,
}

impl NewEvent {
    /// An event of the server itself, without a client id.
    #[must_use]
    pub fn of_server(by: UserId, at: Millis, body: EventBody) -> Self {
        Self {
            by,
            id: None,
            at,
            body: body.into(),
            authority: None,
            seen: None,
            with_previous: false,
            nobody_since: None,
        }
    }
}

/// What became of one [`NewEvent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Appended {
    /// Committed, at this position.
    New {
        /// Its position in the log.
        seq: Seq,
    },
    /// An event with this `(channel, by, id)` was committed before.
    Duplicate {
        /// The first one's position.
        seq: Seq,
        /// The first one's time.
        at: Millis,
    },
    /// Not committed; it has no position and the rest of its batch is not affected.
    Refused(Refusal),
}
