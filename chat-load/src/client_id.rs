//! Client ids that say when their message was due.
//!
//! Each command of a run is named by a UUIDv8 (RFC 9562 §5.8, "custom") that holds the time at which it was
//! scheduled. Whoever receives the message can compute its latency from its id alone: no table is shared
//! between threads, and every delivery is measured, not a sample.
//!
//! ```text
//! tttttttt-tttt-8kww-vvvv-vvvviiiiiiii
//! t  microseconds from the start of the run (48 bits)
//! k  what it names, see Kind           w  the worker that sent it
//! v  variant 0b10, then the run's tag (30 random bits)
//! i  number of the command
//! ```

use uuid::Uuid;

/// Length of a UUID in its hyphenated form.
pub const ID_LEN: usize = 36;

/// What a client id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A message whose delivery is measured.
    Measured = 1,
    /// A message whose delivery is not measured: sent before the window, or cut off by churn on purpose.
    Unmeasured = 2,
    /// A `sync`; the number is the socket's slot of the channel.
    Sync = 3,
    /// A `watch` command.
    Watch = 4,
}

impl Kind {
    fn from_nibble(nibble: u8) -> Option<Self> {
        [Self::Measured, Self::Unmeasured, Self::Sync, Self::Watch].into_iter().find(|k| *k as u8 == nibble)
    }
}

/// The run's 30-bit tag, which distinguishes its ids from those of other runs on the same data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunTag(u32);

/// An id of this run, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decoded {
    /// When it was due, in microseconds from the start of the run.
    pub due_us: u64,
    /// What it names.
    pub kind: Kind,
    /// The worker that sent it.
    pub worker: u8,
    /// Number of the command.
    pub index: u32,
}

impl RunTag {
    /// A tag from random bits, of which 30 are kept.
    #[must_use]
    pub const fn new(random: u32) -> Self {
        Self(random & 0x3fff_ffff)
    }

    /// The id of a command.
    #[must_use]
    pub fn encode(self, command: Decoded) -> Uuid {
        let mut bytes = [0u8; 16];
        bytes[..6].copy_from_slice(&command.due_us.to_be_bytes()[2..]);
        bytes[6] = 0x80 | command.kind as u8;
        bytes[7] = command.worker;
        bytes[8..12].copy_from_slice(&(0x8000_0000 | self.0).to_be_bytes());
        bytes[12..].copy_from_slice(&command.index.to_be_bytes());
        Uuid::from_bytes(bytes)
    }

    /// Reads an id; none when another run or client made it.
    #[must_use]
    pub fn decode(self, id: Uuid) -> Option<Decoded> {
        let bytes = id.as_bytes();
        let word = |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        if word(8) != 0x8000_0000 | self.0 || bytes[6] >> 4 != 8 {
            return None;
        }
        let due_us = u64::from(word(0)) << 16 | u64::from(bytes[4]) << 8 | u64::from(bytes[5]);
        Some(Decoded { due_us, kind: Kind::from_nibble(bytes[6] & 0xf)?, worker: bytes[7], index: word(12) })
    }

    /// As [`Self::decode`], from the 36 characters of the hyphenated form.
    #[must_use]
    pub fn decode_text(self, id: &[u8]) -> Option<Decoded> {
        Uuid::try_parse_ascii(id).ok().and_then(|id| self.decode(id))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_encoded_is_decoded(due_us in 0u64..1 << 48, worker: u8, index: u32, tag: u32) {
            let run = RunTag::new(tag);
            let command = Decoded { due_us, kind: Kind::Measured, worker, index };
            let id = run.encode(command);
            prop_assert_eq!(run.decode(id), Some(command));
            prop_assert_eq!(run.decode_text(id.to_string().as_bytes()), Some(command));
            prop_assert_eq!(id.get_version_num(), 8);
            prop_assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
            prop_assert_eq!(RunTag::new(tag ^ 1).decode(id), None);
        }
    }

    #[test]
    fn ids_of_others_are_not_ours() {
        assert_eq!(RunTag::new(7).decode(Uuid::new_v4()), None);
        assert_eq!(RunTag::new(7).decode_text(b"not a uuid"), None);
    }
}
