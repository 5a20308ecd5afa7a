//! Bodies of REST requests and answers; the first byte picks which.
#![no_main]

use chat_protocol::{Event, Problem, rest};
use folkmoot_fuzz::round_trip;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((which, body)) = data.split_first() else { return };
    match which % 16 {
        0 => round_trip::<rest::RegisterRequest>(body),
        1 => round_trip::<rest::LoginRequest>(body),
        2 => round_trip::<rest::RefreshRequest>(body),
        3 => round_trip::<rest::PasswordRequest>(body),
        4 => round_trip::<rest::UpdateUser>(body),
        5 => round_trip::<rest::CreateChannel>(body),
        6 => round_trip::<rest::UpdateChannel>(body),
        7 => round_trip::<rest::OpenDirect>(body),
        8 => round_trip::<rest::AddMembers>(body),
        9 => round_trip::<rest::SendMessage>(body),
        10 => round_trip::<rest::EditMessage>(body),
        11 => round_trip::<rest::MarkRead>(body),
        12 => round_trip::<rest::Page<Event>>(body),
        13 => round_trip::<rest::Page<rest::Message>>(body),
        14 => round_trip::<rest::TokenResponse>(body),
        _ => round_trip::<Problem>(body),
    }
});
