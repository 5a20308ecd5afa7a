//! What a server sends to a client: the SDK reads it from a network that it does not trust.
#![no_main]

use chat_protocol::ServerFrame;
use folkmoot_fuzz::round_trip;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| round_trip::<ServerFrame>(data));
