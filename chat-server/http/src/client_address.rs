//! Whom a request came from, behind proxies too.
//!
//! Each proxy appends the address that it was reached from to `X-Forwarded-For`, so the list is true from its right end
//! as far as those who wrote it are believed, and whatever a client put in itself stands further left (the chain of
//! RFC 7239 §5.2, with the caution of its §8.1). Hence: the rightmost address that is not a proxy of ours.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
    sync::Arc,
};

use axum::extract::{ConnectInfo, FromRequestParts};
use http::{HeaderMap, request::Parts};

/// Addresses looked at in one request: nobody has more proxies than that.
const MAX_HOPS: usize = 32;

/// The address that the request came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddress(pub IpAddr);

impl<S: Send + Sync> FromRequestParts<S> for ClientAddress {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip());
        let peer = peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)).to_canonical();
        let trusted = parts.extensions.get::<TrustedProxies>();
        Ok(Self(trusted.map_or(peer, |trusted| trusted.client_of(peer, &parts.headers))))
    }
}

/// The proxies whose word is taken for where a request came from. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Arc<[Network]>);

impl TrustedProxies {
    /// Those of these networks.
    #[must_use]
    pub fn new(networks: impl IntoIterator<Item = Network>) -> Self {
        Self(networks.into_iter().collect())
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }

    /// The client of a request that came from `peer`.
    pub(super) fn client_of(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer;
        if !self.contains(client) {
            return client;
        }
        // Several headers are one list, in their order (RFC 9110 §5.3).
        let lines = headers.get_all("x-forwarded-for").iter().rev();
        let entries = lines.flat_map(|line| line.to_str().unwrap_or("?").rsplit(','));
        for entry in entries.take(MAX_HOPS) {
            // What a proxy of ours could not have written says nothing, nor does what stands before it.
            let Some(address) = address_in(entry) else { break };
            client = address;
            if !self.contains(client) {
                break;
            }
        }
        client
    }
}

/// What one subscriber has: an IPv4 address, or an IPv6 /64 (RFC 6177 §2: sites get at least that).
#[must_use]
pub fn network(address: IpAddr) -> IpAddr {
    block(address, 64)
}

/// What one subscriber has at most: an IPv4 address, or an IPv6 /48 (RFC 6177 §3), which is 65,536 networks. Some providers give each of
/// several subscribers a network of one.
#[must_use]
pub fn site(address: IpAddr) -> IpAddr {
    block(address, 48)
}

fn block(address: IpAddr, length: u32) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & (u128::MAX << (128 - length)))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// An address as proxies write it: some add the port.
fn address_in(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    let bare = entry.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(entry);
    let address = bare.parse().or_else(|_| entry.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

/// A block of addresses, such as `10.0.0.0/8` (RFC 4632 §3.1, RFC 4291 §2.3), or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// The first 128 bits of an address that count; IPv4 as IPv4-mapped IPv6 (RFC 4291 §2.5.5.2).
    bits: u128,
    mask: u128,
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        mapped(address) & self.mask == self.bits
    }
}

fn mapped(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().to_bits(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// A text that is not a block of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an IP address or a block of them, such as 10.0.0.0/8 or 2001:db8::/32")]
pub struct NotANetwork;

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.trim().parse().map_err(|_| NotANetwork)?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let length: u32 = match length {
            Some(length) => length.trim().parse().map_err(|_| NotANetwork)?,
            None => width,
        };
        let host_bits = width.checked_sub(length).ok_or(NotANetwork)?;
        let mask = u128::MAX.checked_shl(host_bits).unwrap_or(0);
        Ok(Self { bits: mapped(address) & mask, mask })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted() -> TrustedProxies {
        TrustedProxies::new(
            ["10.0.0.0/8", "192.0.2.7", "2001:db8::/32"].map(|n| n.parse().expect("a network")),
        )
    }

    #[test]
    fn the_rightmost_address_that_is_no_proxy_of_ours_is_the_client() {
        for (peer, forwarded, expected) in [
            // Nobody's word is taken who is not a proxy.
            ("203.0.113.9", &["198.51.100.1"] as &[_], "203.0.113.9"),
            ("10.1.2.3", &[], "10.1.2.3"),
            ("10.1.2.3", &["198.51.100.1"], "198.51.100.1"),
            // What the client itself sent stands on the left.
            ("10.1.2.3", &["1.1.1.1, 198.51.100.1"], "198.51.100.1"),
            ("10.1.2.3", &["10.9.9.9, 198.51.100.1"], "198.51.100.1"),
            ("10.1.2.3", &["1.1.1.1", "198.51.100.1, 10.4.4.4"], "198.51.100.1"),
            ("192.0.2.7", &["198.51.100.1,192.0.2.7"], "198.51.100.1"),
            ("2001:db8::1", &["2001:db9::5"], "2001:db9::5"),
            ("::ffff:10.1.2.3", &["198.51.100.1"], "198.51.100.1"),
            // Ports and brackets.
            ("10.1.2.3", &["198.51.100.1:4711"], "198.51.100.1"),
            ("10.1.2.3", &["[2001:db9::5]:4711"], "2001:db9::5"),
            ("10.1.2.3", &["[2001:db9::5]"], "2001:db9::5"),
            // Only proxies: the first of them.
            ("10.1.2.3", &["10.4.4.4, 10.5.5.5"], "10.4.4.4"),
            // Nonsense is not looked past.
            ("10.1.2.3", &["198.51.100.1, unknown"], "10.1.2.3"),
            ("10.1.2.3", &["198.51.100.1, unknown, 10.5.5.5"], "10.5.5.5"),
            ("10.1.2.3", &[""], "10.1.2.3"),
        ] {
            let mut headers = HeaderMap::new();
            for line in forwarded {
                headers.append("x-forwarded-for", line.parse().expect("a value"));
            }
            let peer: IpAddr = peer.parse().expect("an address");
            let client = trusted().client_of(peer.to_canonical(), &headers);
            assert_eq!(client.to_string(), expected, "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn a_subscriber_has_a_network_or_a_site() {
        for (given, expected_network, expected_site) in [
            ("192.0.2.7", "192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::", "2001:db8:1::"),
        ] {
            let address = given.parse().expect("an address");
            let (network, site) = (network(address).to_string(), site(address).to_string());
            assert_eq!((network.as_str(), site.as_str()), (expected_network, expected_site), "{given}");
        }
    }

    #[test]
    fn blocks_are_read_or_refused() {
        for text in ["10.0.0.0/33", "10.0.0/8", "", "/8", "2001:db8::/129", "host", "10.0.0.0/-1"] {
            assert_eq!(text.parse::<Network>(), Err(NotANetwork), "{text}");
        }
        let all: Network = "0.0.0.0/0".parse().expect("a network");
        assert!(all.contains(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 9))));
        assert!(!all.contains("2001:db8::1".parse().expect("an address")), "IPv4 only");
        let every: Network = "::/0".parse().expect("a network");
        assert!(every.contains("2001:db8::1".parse().expect("an address")));
    }
}
