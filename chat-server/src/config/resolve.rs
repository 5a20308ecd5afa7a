//! From what was given to a configuration, or to everything that is wrong with it.

use std::{collections::HashMap, fmt, fmt::Write as _, time::Duration};

use chat_http::{Network, forward};

use super::{Assignment, Config, FileEngine, Origin, SETTINGS, Setting, StoreEngine, variable_name};

/// Something that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    origin: Option<Origin>,
    text: String,
}

impl Problem {
    pub(super) fn new(origin: Option<Origin>, text: String) -> Self {
        Self { origin, text }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(origin) => write!(f, "{origin}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// A configuration, and where each value that is not a default came from.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The configuration that holds.
    pub config: Config,
    origins: HashMap<&'static str, Origin>,
}

impl Resolved {
    /// As TOML, with a comment where each value came from. No setting is a secret today.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        let mut section = "";
        for setting in SETTINGS {
            if setting.section() != section {
                let gap = if section.is_empty() { "" } else { "\n" };
                section = setting.section();
                let _ = writeln!(out, "{gap}[{section}]");
            }
            let line = format!("{} = {}", setting.name(), (setting.get)(&self.config));
            let _ = match self.origins.get(setting.key) {
                Some(origin) => writeln!(out, "{line}  # {origin}"),
                None => writeln!(out, "{line}"),
            };
        }
        out
    }
}

/// Puts `given` over `base`, later ones over earlier ones.
///
/// # Errors
/// Everything that is wrong, with `problems` found before.
pub fn resolve(
    base: Config,
    given: Vec<Assignment>,
    mut problems: Vec<Problem>,
) -> Result<Resolved, Vec<Problem>> {
    let mut resolved = Resolved { config: base, origins: HashMap::new() };
    for Assignment { key, raw, origin } in given {
        let Some(setting) = Setting::find(&key) else {
            problems.push(unknown(&key, origin));
            continue;
        };
        match setting.kind.read(&raw) {
            Ok(value) => {
                (setting.set)(&mut resolved.config, value);
                resolved.origins.insert(setting.key, origin);
            }
            Err(expected) => {
                let text = format!("{} is {raw}, expected {expected}", setting.key);
                problems.push(Problem::new(Some(origin), text));
            }
        }
    }
    if problems.is_empty() {
        problems.extend(contradictions(&resolved));
    }
    if problems.is_empty() { Ok(resolved) } else { Err(problems) }
}

fn unknown(key: &str, origin: Origin) -> Problem {
    let keys = SETTINGS.iter().map(|setting| setting.key);
    let meant = nearest(key, keys).unwrap_or_default();
    let text = match &origin {
        Origin::Variable(_) => format!("unknown variable, did you mean {}?", variable_name(meant)),
        _ => format!("unknown key {key}, did you mean {meant}?"),
    };
    Problem::new(Some(origin), text)
}

/// The known word that is most like `given`; a key without its section counts as almost right.
pub(super) fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_lowercase();
    let last = given.rsplit('.').next().unwrap_or_default();
    known.min_by_key(|known| {
        let name = known.rsplit('.').next().unwrap_or_default();
        let whole = strsim::damerau_levenshtein(&given, known);
        whole.min(strsim::damerau_levenshtein(last, name) + 1)
    })
}

/// Values that are fine alone and not together.
/// Sockets are looked at every 5 seconds: one of them for the ping, one for its pong.
const ASKED_WITHIN: Duration = Duration::from_secs(10);

fn contradictions(resolved: &Resolved) -> Vec<Problem> {
    let config = &resolved.config;
    let mut problems = Vec::new();
    let mut check = |fine: bool, key: &str, text: &str| {
        if !fine {
            problems.push(Problem::new(resolved.origins.get(key).cloned(), text.to_owned()));
        }
    };
    check(
        config.gateway.ping_after + ASKED_WITHIN <= config.gateway.idle_timeout,
        "gateway.idle_timeout_seconds",
        "gateway.idle_timeout_seconds must be at least 10 more than gateway.ping_after_seconds, or idle sockets are closed \
         before they are asked",
    );
    check(
        config.server.listen != config.server.admin_listen || config.server.listen.port() == 0,
        "server.admin_listen",
        "server.admin_listen must be another address than server.listen",
    );
    for entry in &config.server.trusted_proxies {
        check(
            entry.parse::<Network>().is_ok(),
            "server.trusted_proxies",
            "server.trusted_proxies must hold IP addresses or blocks of them, such as 10.0.0.0/8 or 2001:db8::/32",
        );
    }
    for (key, url, text) in [
        (
            "server.api_url",
            &config.server.api_url,
            "server.api_url must be http://host:port without a path, such as http://folkmoot-api:8080",
        ),
        (
            "server.auth_url",
            &config.server.auth_url,
            "server.auth_url must be http://host:port without a path, such as http://folkmoot-auth:8080",
        ),
    ] {
        check(url.is_empty() || forward::upstream(url).is_ok(), key, text);
    }
    check(
        config.gateway.max_sockets_per_user <= config.gateway.max_sockets,
        "gateway.max_sockets_per_user",
        "gateway.max_sockets_per_user must be at most gateway.max_sockets",
    );
    check(
        config.store != StoreEngine::Cassandra || !config.cassandra.contact_points.is_empty(),
        "cassandra.contact_points",
        "cassandra.contact_points must name at least one host:port",
    );
    check(
        config.cassandra.driver.is_there(),
        "cassandra.driver",
        "cassandra.driver must be \"scylla\": this chat-server was built without the feature cassandra-cpp",
    );
    check(
        config.cassandra.user.is_empty() == config.cassandra.password_file.as_os_str().is_empty(),
        "cassandra.user",
        "cassandra.user and cassandra.password_file must be set together",
    );
    for entry in &config.cassandra.replication {
        check(
            chat_cassandra::config::replication(entry).is_some(),
            "cassandra.replication",
            "cassandra.replication must hold datacenter:copies with 1 to 15 copies, such as dc1:3",
        );
    }
    check(
        config.files.store != FileEngine::S3 || !config.s3.bucket.is_empty(),
        "files.store",
        "s3.bucket must be set when files.store is \"s3\"",
    );
    check(
        config.files.store != FileEngine::Cassandra || config.store == StoreEngine::Cassandra,
        "files.store",
        "store.engine must be \"cassandra\" when files.store is",
    );
    let certificates = [&config.cluster.ca_file, &config.cluster.cert_file, &config.cluster.key_file];
    let given = certificates.iter().filter(|file| !file.as_os_str().is_empty()).count();
    check(
        given == 0 || given == certificates.len(),
        "cluster.cert_file",
        "cluster.ca_file, cluster.cert_file and cluster.key_file must be set together",
    );
    check(
        given > 0 || !config.cluster.listens() || config.cluster.listen.ip().is_loopback(),
        "cluster.listen",
        "cluster.listen must be a loopback address, or cluster.ca_file, cluster.cert_file and cluster.key_file must be set",
    );
    problems
}
