//! Which topic a message goes to.

use chat_domain::bus::{BusMessage, Signal};
use chat_protocol::ChannelId;

use super::PulsarOptions;

/// The topics of one cluster of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Topics {
    /// The topic of events: partitioned, persistent.
    pub(super) events: String,
    /// The topic of signals: not persistent.
    pub(super) ephemeral: String,
}

/// A topic without partitions, or one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Source {
    Events(u32),
    Ephemeral,
}

impl Topics {
    pub(super) fn of(options: &PulsarOptions) -> Self {
        let PulsarOptions { tenant, namespace, .. } = options;
        Self {
            events: format!("persistent://{tenant}/{namespace}/events"),
            ephemeral: format!("non-persistent://{tenant}/{namespace}/ephemeral"),
        }
    }

    pub(super) fn name(&self, source: Source) -> String {
        match source {
            Source::Events(partition) => format!("{}-partition-{partition}", self.events),
            Source::Ephemeral => self.ephemeral.clone(),
        }
    }
}

/// All there are.
pub(super) fn sources(partitions: u32) -> impl Iterator<Item = Source> {
    (0..partitions).map(Source::Events).chain([Source::Ephemeral])
}

/// Where a message goes. Revocations go with the events: a broker may drop what is not persistent when somebody reads
/// too slowly, and whoever was signed out must not stay.
pub(super) fn source(message: &BusMessage, partitions: u32) -> Source {
    match message {
        BusMessage::Event(event) => Source::Events(partition(event.channel, partitions)),
        BusMessage::Signal(Signal::SessionRevoked { .. }) => Source::Events(0),
        BusMessage::Signal(_) => Source::Ephemeral,
    }
}

/// A channel's partition: FNV-1a of its id, the same in every process and version.
fn partition(channel: ChannelId, partitions: u32) -> u32 {
    let hash = channel.0.as_bytes().iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    u32::try_from(hash % u64::from(partitions.max(1))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_channel_keeps_its_partition_for_ever() {
        let at = |n: u128, partitions| partition(ChannelId(Uuid::from_u128(n)), partitions);
        assert_eq!([at(0, 8), at(1, 8), at(2, 8), at(u128::MAX, 8)], [5, 2, 7, 5]);
        assert_eq!(at(7, 1), 0);
    }

    #[test]
    fn channels_spread() {
        let mut counts = [0_u32; 8];
        for _ in 0..8_000 {
            counts[partition(ChannelId::new(), 8) as usize] += 1;
        }
        assert!(counts.iter().all(|n| (800..1_200).contains(n)), "{counts:?}");
    }
}
