//! The clock that people see. Order never comes from it.

use std::time::{SystemTime, UNIX_EPOCH};

use chat_protocol::Millis;

/// Milliseconds since the Unix epoch; 0 on a machine whose clock stands before it.
#[must_use]
pub fn now_ms() -> Millis {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis::try_from(elapsed.as_millis()).unwrap_or(Millis::MAX)
}
