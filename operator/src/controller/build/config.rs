//! The settings of chat-server, as variables of the environment, and the hash that says when they change.

use std::collections::BTreeMap;

use folkmoot_crds::{CassandraSpec, GatewaySpec, Registration};

use super::{
    mounts::{self, Path},
    ports,
};
use crate::{
    names,
    secrets::Secrets,
    validate::{Files, ValidatedCluster},
};

/// Proxies that are believed when the spec names none: the private ranges (RFC 1918, RFC 4193), where pods and load balancers of a
/// cluster have their addresses.
const PRIVATE_RANGES: &str = "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7";
/// Folder of chat-server; an `emptyDir`, since everything that lasts is in Cassandra or an object store.
pub(super) const DATA_DIR: &str = "/var/lib/folkmoot";

/// Hashes of what is in those Secrets that chat-server reads only when it starts: logins and authorities of Cassandra, the
/// login of the object store. Others (the token of Pulsar, signing keys, certificates of our own) it reads again by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SecretHashes(BTreeMap<String, String>);

impl SecretHashes {
    /// Hashes of the Secrets that a `ChatCluster` refers to. What is missing counts as empty: whoever calls this has
    /// seen to it that nothing is.
    #[must_use]
    pub fn of(cluster: &ValidatedCluster, secrets: &Secrets) -> Self {
        let cassandra = cluster.cassandra();
        let mut wanted: Vec<(&str, &str)> = Vec::new();
        if let Some(credentials) = &cassandra.credentials_secret_ref {
            wanted.extend([(credentials.name.as_str(), "username"), (credentials.name.as_str(), "password")]);
        }
        let s3 = match cluster.files() {
            Files::Cassandra => None,
            Files::S3(s3) => Some(&s3.credentials_secret_ref),
        };
        wanted.extend(
            [cassandra.ca_secret_ref.as_ref(), s3]
                .into_iter()
                .flatten()
                .map(|reference| (reference.name.as_str(), reference.key.as_str())),
        );
        let hashed = wanted.into_iter().map(|(name, key)| {
            let value = secrets.get(name).and_then(|data| data.get(key)).unwrap_or_default();
            (format!("{name}/{key}"), names::hash_bytes(&[value]))
        });
        Self(hashed.collect())
    }
}

/// Configuration of the pods of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Changes whenever pods must be replaced to see a change: of a variable, of what a [`SecretHashes`] covers, or of which
    /// Secrets are mounted. Ten characters of a DNS label.
    pub hash: String,
    /// `FOLKMOOT_SECTION__KEY` and values; nothing secret.
    pub variables: BTreeMap<String, String>,
}

impl Config {
    /// Configuration of a `ChatCluster`.
    #[must_use]
    pub fn of(cluster: &ValidatedCluster, secrets: &SecretHashes) -> Self {
        let variables = variables(cluster);
        let mut parts: Vec<&str> = Vec::new();
        for (key, value) in variables.iter().chain(&secrets.0) {
            parts.extend([key.as_str(), value.as_str()]);
        }
        let mounted: Vec<String> =
            mounts::of_roles(cluster).into_iter().map(|mount| mount.identity()).collect();
        parts.extend(mounted.iter().map(String::as_str));
        Self { hash: names::hash(&parts), variables }
    }
}

/// The variables that say where Cassandra is, without the login: all that migrations need.
pub(super) fn cassandra(spec: &CassandraSpec, keyspace: &str) -> BTreeMap<String, String> {
    let mut settings = Settings::default();
    settings.set("store.engine", "cassandra");
    settings.set("cassandra.contact_points", spec.contact_points.join(","));
    settings.set("cassandra.keyspace", keyspace);
    settings.set("cassandra.local_datacenter", &spec.local_datacenter);
    settings.set_path("cassandra.ca_file", spec.ca_secret_ref.as_ref().map(|_| Path::CassandraCa));
    settings.set("log.format", "json");
    settings.0
}

/// The variable that a migration needs beyond [`cassandra`].
pub(super) fn replication(spec: &CassandraSpec) -> Option<(String, String)> {
    let copies = &spec.replication;
    let listed: Vec<String> =
        copies.iter().map(|(datacenter, copies)| format!("{datacenter}:{copies}")).collect();
    (!listed.is_empty()).then(|| (variable("cassandra.replication"), listed.join(",")))
}

/// `FOLKMOOT_SECTION__KEY` of `section.key`.
pub(super) fn variable(key: &str) -> String {
    format!("FOLKMOOT_{}", key.replace('.', "__").to_uppercase())
}

fn variables(cluster: &ValidatedCluster) -> BTreeMap<String, String> {
    let (pulsar, gateway, auth) = (cluster.pulsar(), cluster.gateway(), cluster.auth());
    // What the operator decides goes over these, whatever they say.
    let mut settings = Settings::default();
    settings.set("log.format", "json");
    for (key, value) in cluster.settings() {
        settings.set(key, value);
    }
    for (name, value) in cassandra(cluster.cassandra(), cluster.keyspace()) {
        if name != variable("log.format") {
            settings.0.insert(name, value);
        }
    }
    let credentials = cluster.cassandra().credentials_secret_ref.as_ref();
    settings.set_path("cassandra.password_file", credentials.map(|_| Path::CassandraPassword));

    settings.set("server.listen", format!("[::]:{}", ports::PUBLIC));
    settings.set("server.admin_listen", format!("[::]:{}", ports::ADMIN));
    let proxies = cluster.api().trusted_proxies.as_ref().map(|proxies| proxies.join(","));
    settings.set("server.trusted_proxies", proxies.unwrap_or_else(|| PRIVATE_RANGES.to_owned()));
    settings.set("data.dir", DATA_DIR);

    settings.set("bus.engine", "pulsar");
    settings.set("pulsar.url", &pulsar.url);
    settings.set("pulsar.tenant", &pulsar.tenant);
    settings.set("pulsar.namespace", cluster.pulsar_namespace());
    settings.set_path("pulsar.token_file", pulsar.token_secret_ref.as_ref().map(|_| Path::PulsarToken));
    settings.set_path("pulsar.ca_file", pulsar.ca_secret_ref.as_ref().map(|_| Path::PulsarCa));

    settings.set_path("cluster.ca_file", Some(Path::InternalCa));
    settings.set_path("cluster.cert_file", Some(Path::InternalCertificate));
    settings.set_path("cluster.key_file", Some(Path::InternalKey));

    settings.set(
        "auth.registration",
        match auth.registration {
            Registration::Open => "open",
            Registration::Closed => "closed",
        },
    );
    settings.set("auth.access_token_seconds", auth.access_token_seconds.to_string());
    settings.set_path("auth.signing_keys_file", Some(Path::SigningKeys));

    settings.set("gateway.max_sockets", gateway.max_connections.to_string());
    settings.set("gateway.drain_window_seconds", gateway.drain_seconds.to_string());
    // What chat-server does by itself is not said: it would be part of the pods' templates.
    if gateway.max_connection_age_seconds != GatewaySpec::default().max_connection_age_seconds {
        let age = gateway.max_connection_age_seconds;
        settings.set("gateway.max_connection_age_seconds", age.to_string());
    }

    settings.set("files.max_bytes", cluster.max_file_bytes().to_string());
    settings.set(
        "files.store",
        match cluster.files() {
            Files::Cassandra => "cassandra",
            Files::S3(_) => "s3",
        },
    );
    if let Files::S3(s3) = cluster.files() {
        settings.set("s3.bucket", &s3.bucket);
        settings.set("s3.region", &s3.region);
        settings.set("s3.prefix", &s3.prefix);
        if let Some(endpoint) = &s3.endpoint {
            settings.set("s3.endpoint", endpoint);
        }
        settings.set_path("s3.credentials_file", Some(Path::S3Credentials));
    }
    settings.0
}

#[derive(Default)]
struct Settings(BTreeMap<String, String>);

impl Settings {
    fn set(&mut self, key: &str, value: impl Into<String>) {
        self.0.insert(variable(key), value.into());
    }

    fn set_path(&mut self, key: &str, path: Option<Path>) {
        if let Some(path) = path {
            self.set(key, path.in_pod());
        }
    }
}
