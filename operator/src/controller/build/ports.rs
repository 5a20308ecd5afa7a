//! Ports of chat-server, and those of what it connects to, which are all that NetworkPolicies let it connect to.

use std::collections::BTreeSet;

use crate::validate::{Files, ValidatedCluster};

/// REST, sockets, the web client.
pub(super) const PUBLIC: i32 = 8080;
/// Name of [`PUBLIC`] in pods and Services.
pub(super) const PUBLIC_NAME: &str = "http";
/// Health, metrics, the order to drain.
pub(in crate::controller) const ADMIN_PORT: u16 = 8081;
/// [`ADMIN_PORT`] as Kubernetes takes it.
pub(super) const ADMIN: i32 = ADMIN_PORT as i32;
/// Name of [`ADMIN`] in pods and Services.
pub(super) const ADMIN_NAME: &str = "admin";
/// What processes hand to gateways.
pub(super) const HOP: i32 = 7443;
/// Name of [`HOP`] in pods.
pub(super) const HOP_NAME: &str = "hop";
/// What Services have for [`PUBLIC`].
pub(super) const SERVICE: i32 = 80;

/// Ports of Cassandra's contact points.
pub(super) fn cassandra(cluster: &ValidatedCluster) -> BTreeSet<i32> {
    cluster.cassandra().contact_points.iter().filter_map(|point| port(point)).collect()
}

/// Ports of Pulsar's brokers or proxies.
pub(super) fn pulsar(cluster: &ValidatedCluster) -> BTreeSet<i32> {
    let url = &cluster.pulsar().url;
    let usual = if url.starts_with("pulsar+ssl://") { 6651 } else { 6650 };
    authority(url).split(',').map(|host| port(host).unwrap_or(usual)).collect()
}

/// Port of the object store, if files are in one.
pub(super) fn object_store(cluster: &ValidatedCluster) -> BTreeSet<i32> {
    let Files::S3(s3) = cluster.files() else { return BTreeSet::new() };
    let endpoint = s3.endpoint.as_deref().unwrap_or("https://");
    let usual = if endpoint.starts_with("http://") { 80 } else { 443 };
    [port(authority(endpoint)).unwrap_or(usual)].into()
}

fn authority(url: &str) -> &str {
    url.split_once("://").map_or(url, |(_, rest)| rest).split('/').next().unwrap_or_default()
}

fn port(host: &str) -> Option<i32> {
    let (_, digits) = host.rsplit_once(':')?;
    digits.parse::<u16>().ok().map(i32::from)
}

#[cfg(test)]
mod tests {
    use super::{authority, port};

    #[test]
    fn ports_of_addresses() {
        for (host, expected) in [
            ("a:9042", Some(9042)),
            ("[::1]:9042", Some(9042)),
            ("[::1]", None),
            ("a", None),
            ("a:", None),
            ("a:70000", None),
        ] {
            assert_eq!(port(host), expected, "{host}");
        }
        for (url, expected) in
            [("http://a:1/b/c", "a:1"), ("pulsar://a:1,b:2", "a:1,b:2"), ("https://", ""), ("a", "a")]
        {
            assert_eq!(authority(url), expected, "{url}");
        }
    }
}
