//! Which process owns a channel: rendezvous hashing, highest random weight (Thaler and Ravishankar 1998).
//!
//! Every process computes the same owner from the same set of processes, without asking anybody; when one comes or
//! goes, only the channels that it wins or held move. Ownership is an optimisation: while two processes see different
//! sets, both may write to a channel, which is slower and as safe.

use chat_protocol::ChannelId;

use super::Node;

/// The owner of a channel among `nodes`, in any order; `None` only when there are none.
#[must_use]
pub fn owner_of(channel: ChannelId, nodes: &[Node]) -> Option<&Node> {
    let key = channel_hash(channel);
    let weight = |node: &Node| mix(mix(fnv1a(node.name.as_bytes())) ^ key);
    // Equal weights do not happen by chance, but two processes must agree even then: the name decides.
    nodes.iter().map(|node| (weight(node), node)).max().map(|(_, node)| node)
}

fn channel_hash(channel: ChannelId) -> u64 {
    let (high, low) = channel.0.as_u64_pair();
    mix(high ^ mix(low))
}

/// FNV-1a, 64 bits (RFC 9923): the same on every machine and in every version, unlike the standard library's hasher.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014): every bit of the result depends on every bit given.
const fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    fn node(name: &str) -> Node {
        Node { name: name.into(), address: name.into() }
    }

    /// Channels as they are made: UUIDv7, many within one millisecond.
    fn channels(count: usize) -> Vec<ChannelId> {
        (0..count).map(|_| ChannelId::new()).collect()
    }

    fn owner(channel: ChannelId, nodes: &[Node]) -> String {
        owner_of(channel, nodes).expect("there are nodes").name.to_string()
    }

    #[test]
    fn the_owner_of_a_channel_is_the_same_in_every_version() {
        let nodes = ["gateway-0", "gateway-1", "gateway-2"].map(node);
        let owners: Vec<String> =
            (0..8).map(|n| owner(ChannelId(Uuid::from_u128(n)), &nodes).replace("gateway-", "")).collect();
        assert_eq!(owners.concat(), OWNERS_OF_THE_FIRST_EIGHT);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8, "the RFC's test vector");
    }

    /// Written down so that a rolling upgrade never runs with two opinions.
    const OWNERS_OF_THE_FIRST_EIGHT: &str = "11100000";

    #[test]
    fn nobody_owns_without_processes() {
        assert_eq!(owner_of(ChannelId::new(), &[]), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn channels_spread_evenly(prefix in "[a-z-]{0,24}", count in 1_usize..12) {
            let nodes: Vec<Node> = (0..count).map(|n| node(&format!("{prefix}{n}"))).collect();
            let mut held: HashMap<String, usize> = HashMap::new();
            for channel in channels(2_000 * count) {
                *held.entry(owner(channel, &nodes)).or_default() += 1;
            }
            // The mean is 2,000 with a deviation of at most 45; seven of them are not chance.
            for (name, held) in held {
                prop_assert!((1_685..=2_315).contains(&held), "{name} holds {held}");
            }
        }

        #[test]
        fn only_what_the_one_that_goes_held_moves(count in 2_usize..12, gone in any::<prop::sample::Index>()) {
            let all: Vec<Node> = (0..count).map(|n| node(&format!("pod-{n}"))).collect();
            let gone = gone.index(count);
            let mut rest = all.clone();
            let gone = rest.remove(gone);
            for channel in channels(500) {
                let before = owner(channel, &all);
                let after = owner(channel, &rest);
                prop_assert!(before == after || before == *gone.name);
            }
        }

        #[test]
        fn the_order_in_which_processes_are_known_does_not_matter(
            nodes in prop::collection::vec("[a-z]{1,6}", 1..8).prop_shuffle(),
        ) {
            let mut nodes: Vec<Node> = nodes.iter().map(|name| node(name)).collect();
            let channels = channels(50);
            let before: Vec<String> = channels.iter().map(|channel| owner(*channel, &nodes)).collect();
            nodes.reverse();
            let after: Vec<String> = channels.iter().map(|channel| owner(*channel, &nodes)).collect();
            prop_assert_eq!(before, after);
        }
    }
}
