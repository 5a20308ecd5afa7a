//! What the targets share.

use std::fmt::Debug;

use serde::{Serialize, de::DeserializeOwned};

/// Reads `data` as JSON of type `T`. What was understood must be written and read again as the same value: a gateway
/// that re-encodes a frame must not change what it says.
///
/// # Panics
/// When it is not the same.
pub fn round_trip<T: Serialize + DeserializeOwned + PartialEq + Debug>(data: &[u8]) {
    let Ok(value) = serde_json::from_slice::<T>(data) else { return };
    let json = serde_json::to_vec(&value).expect("what was read can be written");
    let again: T = serde_json::from_slice(&json).expect("what was written can be read");
    assert_eq!(value, again, "changed by writing it as {}", String::from_utf8_lossy(&json));
}
