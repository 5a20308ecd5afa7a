//! What comes over a socket, as WebSocket frames: the same is read whether it comes at once or in pieces.
#![no_main]

use chat_gateway::{Frames, Input};
use chat_protocol::CloseCode;
use libfuzzer_sys::fuzz_target;

/// What is read of some bytes that come in pieces of this size, and how it ends.
fn all(bytes: &[u8], piece: usize) -> (Vec<Input>, Option<CloseCode>) {
    let (mut frames, mut inputs) = (Frames::default(), Vec::new());
    for piece in bytes.chunks(piece) {
        frames.push(piece);
        loop {
            match frames.take() {
                Ok(Some(input)) => {
                    let is_close = matches!(input, Input::Close(_));
                    inputs.push(input);
                    if is_close {
                        return (inputs, None);
                    }
                }
                Ok(None) => break,
                Err(code) => return (inputs, Some(code)),
            }
        }
    }
    (inputs, None)
}

fuzz_target!(|data: (u16, &[u8])| {
    let (piece, bytes) = data;
    assert_eq!(all(bytes, usize::from(piece).max(1)), all(bytes, usize::MAX));
});
