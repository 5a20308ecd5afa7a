//! What is to be done so that Pulsar has what it should.

use std::fmt;

/// One write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PulsarAction {
    /// Make the tenant.
    MakeTenant,
    /// Make the namespace.
    MakeNamespace,
    /// Set how long and how much is retained.
    SetRetention,
    /// Set after which time messages that nobody acknowledged are dropped.
    SetMessageTtl,
    /// Set how much a forgotten subscription holds back.
    SetBacklogQuota,
    /// Keep topics while nobody uses them.
    KeepTopics,
    /// Make the topic of events.
    MakeEvents {
        /// With this many partitions.
        partitions: u32,
    },
    /// Give the topic of events more partitions.
    GrowEvents {
        /// It has this many.
        from: u32,
        /// It should have this many.
        to: u32,
    },
    /// Make the topic of presence and typing.
    MakeEphemeral,
}

impl fmt::Display for PulsarAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MakeTenant => f.write_str("made the tenant"),
            Self::MakeNamespace => f.write_str("made the namespace"),
            Self::SetRetention => f.write_str("set the retention"),
            Self::SetMessageTtl => f.write_str("set the life of unacknowledged messages"),
            Self::SetBacklogQuota => f.write_str("set the quota of backlogs"),
            Self::KeepTopics => f.write_str("kept topics that nobody uses from being deleted"),
            Self::MakeEvents { partitions } => {
                write!(f, "made the topic events with {partitions} partitions")
            }
            Self::GrowEvents { from, to } => {
                write!(f, "grew the topic events from {from} to {to} partitions")
            }
            Self::MakeEphemeral => f.write_str("made the topic ephemeral"),
        }
    }
}
