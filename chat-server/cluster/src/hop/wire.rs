//! What is said over a hop: one request, one answer, as JSON. Internal: both ends are of this program, though during
//! a rolling upgrade not of the same version.

use chat_domain::{
    chat::HandOverError,
    store::{Appended, NewEvent, Refusal},
};
use chat_log::Authority;
use chat_protocol::{ChannelId, ClientId, EventBody, Generation, Millis, Seq, UserId};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Where appends are handed over. The number is the version of what this module describes; an owner that does not know
/// it answers 404, and the sender writes by itself.
pub(super) const APPEND: &str = "/hop/1/append";
/// Answers 204 to whoever has been let in.
pub(super) const ALIVE: &str = "/hop/alive";
/// Requests on their way to one owner at most; what is more is written directly.
pub(super) const MAX_IN_FLIGHT: usize = 1_024;
/// A request's size in bytes at most; what is larger is written without the owner.
pub(super) const MAX_REQUEST_BYTES: usize = 8 << 20;
/// An answer's size in bytes at most.
pub(super) const MAX_ANSWER_BYTES: usize = 1 << 20;

#[derive(Serialize)]
struct RequestOut<'a> {
    channel: ChannelId,
    within_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<Generation>,
    events: Vec<EventOut<'a>>,
}

#[derive(Serialize)]
struct EventOut<'a> {
    by: UserId,
    id: Option<ClientId>,
    at: Millis,
    body: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    authority: Option<Authority>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seen: Option<Seq>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    with_previous: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    nobody_since: Option<Seq>,
}

#[derive(Deserialize)]
struct RequestIn<'a> {
    channel: ChannelId,
    within_ms: u64,
    #[serde(default)]
    generation: Option<Generation>,
    #[serde(borrow)]
    events: Vec<EventIn<'a>>,
}

#[derive(Deserialize)]
struct EventIn<'a> {
    by: UserId,
    id: ClientId,
    at: Millis,
    #[serde(borrow)]
    body: &'a RawValue,
    /// Absent in what a server of 0.1.0 sends.
    #[serde(default)]
    authority: Option<Authority>,
    #[serde(default)]
    seen: Option<Seq>,
    #[serde(default)]
    with_previous: bool,
    #[serde(default)]
    nobody_since: Option<Seq>,
}

/// A request as received.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AppendRequest {
    pub channel: ChannelId,
    /// How long the other side waits, in milliseconds from now.
    pub within_ms: u64,
    /// The generation of the store that the other side works on; `None` from a process of 0.1.0.
    pub generation: Option<Generation>,
    pub events: Vec<NewEvent>,
}

/// A request that this process must not carry out.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    #[error("the request is not valid JSON")]
    Json(#[from] serde_json::Error),
    /// It would be stored without what this version does not know.
    #[error("the events are of a newer version")]
    Newer,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Appended(Vec<Outcome>),
    Busy { retry_after_ms: u64 },
    NotDone,
    InDoubt,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    New(Seq),
    Duplicate(Seq, Millis),
    /// A refusal that the other side cannot read leaves the outcome open there. A server of 0.1.0 knows all but `denied`, and
    /// sends nothing that could be denied.
    #[serde(untagged)]
    Refused(Refusal),
}

pub(super) fn encode_request<'a>(
    channel: ChannelId,
    within_ms: u64,
    generation: Option<Generation>,
    events: &'a [NewEvent],
) -> Result<Vec<u8>, WireError> {
    let out = |event: &'a NewEvent| {
        let NewEvent { by, id, at, ref body, authority, seen, with_previous, nobody_since } = *event;
        let body = serde_json::from_str(body.json())?;
        Ok(EventOut { by, id, at, body, authority, seen, with_previous, nobody_since })
    };
    let events = events.iter().map(out).collect::<Result<_, WireError>>()?;
    Ok(serde_json::to_vec(&RequestOut { channel, within_ms, generation, events })?)
}

pub(super) fn decode_request(bytes: &[u8]) -> Result<AppendRequest, WireError> {
    let RequestIn { channel, within_ms, generation, events } = serde_json::from_slice(bytes)?;
    let events = events.into_iter().map(EventIn::into_new).collect::<Result<_, _>>()?;
    Ok(AppendRequest { channel, within_ms, generation, events })
}

impl EventIn<'_> {
    fn into_new(self) -> Result<NewEvent, WireError> {
        let body: EventBody = serde_json::from_str(self.body.get())?;
        // A newer version's kinds and fields read as less than they are. What comes out as it came in is understood.
        if body == EventBody::Unknown || serde_json::to_string(&body)? != self.body.get() {
            return Err(WireError::Newer);
        }
        let Self { by, id, at, authority, seen, with_previous, nobody_since, .. } = self;
        Ok(NewEvent { by, id: Some(id), at, body: body.into(), authority, seen, with_previous, nobody_since })
    }
}

pub(super) fn encode_answer(answer: Result<Vec<Appended>, HandOverError>) -> Result<Vec<u8>, WireError> {
    let answer = match answer {
        Ok(outcomes) => Answer::Appended(outcomes.into_iter().map(Outcome::from).collect()),
        Err(HandOverError::Busy { retry_after_ms }) => Answer::Busy { retry_after_ms },
        Err(HandOverError::NotDone) => Answer::NotDone,
        Err(HandOverError::InDoubt) => Answer::InDoubt,
    };
    Ok(serde_json::to_vec(&answer)?)
}

/// What the owner answered to a request of so many events. What cannot be read leaves the outcome open.
pub(super) fn decode_answer(bytes: &[u8], events: usize) -> Result<Vec<Appended>, HandOverError> {
    match serde_json::from_slice(bytes) {
        Ok(Answer::Appended(outcomes)) if outcomes.len() == events => {
            Ok(outcomes.into_iter().map(Appended::from).collect())
        }
        Ok(Answer::Busy { retry_after_ms }) => Err(HandOverError::Busy { retry_after_ms }),
        Ok(Answer::NotDone) => Err(HandOverError::NotDone),
        Ok(Answer::Appended(_) | Answer::InDoubt) | Err(_) => Err(HandOverError::InDoubt),
    }
}

impl From<Appended> for Outcome {
    fn from(outcome: Appended) -> Self {
        match outcome {
            Appended::New { seq } => Self::New(seq),
            Appended::Duplicate { seq, at } => Self::Duplicate(seq, at),
            Appended::Refused(refusal) => Self::Refused(refusal),
        }
    }
}

impl From<Outcome> for Appended {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::New(seq) => Self::New { seq },
            Outcome::Duplicate(seq, at) => Self::Duplicate { seq, at },
            Outcome::Refused(refusal) => Self::Refused(refusal),
        }
    }
}

#[cfg(test)]
mod tests {
    use chat_log::permission::Denial;
    use chat_protocol::{Event, FileId, FileRef, rest::Role};

    use super::*;

    fn event(body: EventBody) -> NewEvent {
        NewEvent {
            id: Some(ClientId::new()),
            authority: Some(Authority { role: Role::Guest, auth_version: 7 }),
            seen: Some(41),
            with_previous: true,
            nobody_since: Some(40),
            ..NewEvent::of_server(UserId::new(), 1_700_000_000_000, body)
        }
    }

    #[test]
    fn events_arrive_as_they_were() {
        let file =
            FileRef { id: FileId::new(), name: "ä.png".into(), media_type: "image/png".into(), size: 7 };
        let odd = [
            EventBody::Message { text: "say \"hi\"\n👋\u{1}".into(), files: vec![file], deleted: false },
            EventBody::Edited { target: 3, text: "<b>".into(), deleted: false },
            EventBody::Deleted { target: u64::MAX },
            EventBody::TopicChanged { topic: String::new() },
        ];
        let every_kind = Event::examples().into_iter().map(|event| event.body);
        let events: Vec<NewEvent> = every_kind.chain(odd).map(event).collect();
        let channel = ChannelId::new();
        for generation in [None, Some(Generation::new())] {
            let bytes = encode_request(channel, 250, generation, &events).expect("encodes");
            let request = decode_request(&bytes).expect("decodes");
            assert_eq!(
                request,
                AppendRequest { channel, within_ms: 250, generation, events: events.clone() }
            );
        }
    }

    #[test]
    fn outcomes_arrive_as_they_were() {
        let outcomes = vec![
            Appended::New { seq: 1 },
            Appended::Duplicate { seq: 2, at: 3 },
            Appended::Refused(Refusal::NoChannel),
            Appended::Refused(Refusal::ChannelExists),
            Appended::Refused(Refusal::NameTaken),
            Appended::Refused(Refusal::NoEffect),
            Appended::Refused(Refusal::NoTarget),
            Appended::Refused(Refusal::Denied(Denial::Archived)),
        ];
        for answer in [
            Ok(outcomes),
            Err(HandOverError::Busy { retry_after_ms: 9 }),
            Err(HandOverError::NotDone),
            Err(HandOverError::InDoubt),
        ] {
            let bytes = encode_answer(answer.clone()).expect("encodes");
            assert_eq!(decode_answer(&bytes, 8), answer);
        }
    }

    #[test]
    fn refusals_are_written_as_a_server_of_0_1_0_reads_them() {
        let outcomes = [Refusal::NoEffect, Refusal::Denied(Denial::NotMember)].map(Appended::Refused).into();
        let bytes = encode_answer(Ok(outcomes)).expect("encodes");
        assert_eq!(bytes, br#"{"appended":["no_effect",{"denied":"not_member"}]}"#);
    }

    #[test]
    fn an_answer_that_cannot_be_true_leaves_the_outcome_open() {
        let bytes = encode_answer(Ok(vec![Appended::New { seq: 1 }])).expect("encodes");
        for (bytes, events) in
            [(&bytes[..], 2), (b"", 1), (b"{\"later\":[]}", 1), (b"{\"appended\":[\"later\"]}", 1)]
        {
            assert_eq!(decode_answer(bytes, events), Err(HandOverError::InDoubt));
        }
    }

    #[test]
    fn what_a_newer_version_added_is_not_stored_without_it() {
        let bytes =
            encode_request(ChannelId::new(), 250, None, &[event(EventBody::Archived { archived: true })]);
        let json = String::from_utf8(bytes.expect("encodes")).expect("is text");
        let newer_field = json.replace("\"archived\":true", "\"archived\":true,\"until\":5");
        let newer_kind = json.replace("\"kind\":\"archived\"", "\"kind\":\"frozen\"");
        for json in [newer_field, newer_kind] {
            assert!(matches!(decode_request(json.as_bytes()), Err(WireError::Newer)), "{json}");
        }
        assert!(decode_request(json.as_bytes()).is_ok());
    }
}
