//! From a text frame to a command, or to an error that says what was expected. Pure, and fuzzed.

use chat_domain::chat::ChatError;
use chat_protocol::{ClientFrame, ClientId, ErrorCode};
use serde::Deserialize;

/// What can be read of a frame that is not a command.
#[derive(Deserialize)]
struct Outline {
    #[serde(rename = "type")]
    kind: Option<String>,
    id: Option<ClientId>,
}

/// Reads a client's frame.
///
/// # Errors
/// It is not a frame of this protocol; with the command's id, when that can be read, so that the client can see
/// which of its commands it was.
pub fn decode(text: &str) -> Result<ClientFrame, (Option<ClientId>, ChatError)> {
    serde_json::from_str(text).map_err(|error| {
        // Positions and values of the text are the client's own; nothing of the server shows.
        let malformed = |what: String| ChatError::new(ErrorCode::Malformed, what);
        match serde_json::from_str::<Outline>(text) {
            Ok(Outline { kind: Some(kind), id }) if ClientFrame::TYPES.contains(&kind.as_str()) => {
                (id, malformed(format!("not a valid {kind} frame: {error}")))
            }
            Ok(Outline { kind: Some(_), id }) => {
                let message =
                    format!("unknown type of frame; the types are {}", ClientFrame::TYPES.join(", "));
                (id, ChatError::new(ErrorCode::UnknownType, message))
            }
            Ok(Outline { kind: None, id }) => (id, malformed("there is no field type".into())),
            Err(_) => (None, malformed(format!("not a JSON object: {error}"))),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_frames_are_refused_with_a_reason() {
        let id = ClientId::new();
        let cases = [
            ("", None, ErrorCode::Malformed),
            ("[]", None, ErrorCode::Malformed),
            ("{}", None, ErrorCode::Malformed),
            (r#"{"type":"dance"}"#, None, ErrorCode::UnknownType),
            (&format!(r#"{{"type":"dance","id":"{id}"}}"#), Some(id), ErrorCode::UnknownType),
            (&format!(r#"{{"type":"send","id":"{id}","channel":7}}"#), Some(id), ErrorCode::Malformed),
        ];
        for (text, expected_id, expected) in cases {
            let (got_id, error) = decode(text).expect_err(text);
            assert_eq!((got_id, error.code), (expected_id, expected), "{text}");
        }
    }

    #[test]
    fn every_type_that_is_named_exists_and_unknown_fields_are_ignored() {
        for kind in ClientFrame::TYPES {
            let (_, error) = decode(&format!(r#"{{"type":"{kind}","id":5}}"#))
                .err()
                .unwrap_or_else(|| (None, ChatError::new(ErrorCode::Malformed, "hello takes any id")));
            assert_eq!(error.code, ErrorCode::Malformed, "{kind}");
        }
        assert!(decode(r#"{"type":"ping","mood":"good"}"#).is_ok());
    }
}
