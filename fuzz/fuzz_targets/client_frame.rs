//! What a client sends to a gateway.
#![no_main]

use chat_protocol::ClientFrame;
use folkmoot_fuzz::round_trip;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| round_trip::<ClientFrame>(data));
