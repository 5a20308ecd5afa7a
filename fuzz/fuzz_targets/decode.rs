//! The first thing that a gateway does with bytes of a stranger.
#![no_main]

use chat_gateway::decode;
use chat_protocol::{ClientFrame, ServerFrame};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match (decode(text), serde_json::from_str::<ClientFrame>(text)) {
        (Ok(got), Ok(expected)) => assert_eq!(got, expected),
        (Err((id, error)), Err(_)) => {
            assert!(!error.code.retryable(), "a frame that cannot be read never can: {text}");
            let answer = serde_json::to_string(&error.frame(id)).expect("an error is a frame");
            let answer: ServerFrame = serde_json::from_str(&answer).expect("clients can read it");
            assert!(matches!(answer, ServerFrame::Error { id: told, .. } if told == id));
        }
        (got, expected) => panic!("{text}: the gateway says {got:?}, the types say {expected:?}"),
    }
});
