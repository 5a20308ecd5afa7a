//! Settings of the tests, which `scripts/kube/testbed.sh` gives by environment.

use std::{env, fs, path::PathBuf};

use anyhow::{Context as _, Result, bail};

/// Where everything is.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Root of the repository.
    pub root: PathBuf,
    /// Namespace of the operator.
    pub system: String,
    /// Tag of the images that the charts install.
    pub version: String,
    /// Where `folkmoot` and `chat-server` are.
    pub programs: PathBuf,
    /// The `--dir` of scripts/engines, where those run the engines.
    pub engines: Option<PathBuf>,
    /// Where what a failed test left is written to.
    pub logs: PathBuf,
    /// The API server's audit log, where it keeps one that can be read from here.
    pub audit_log: Option<PathBuf>,
    /// How many tests run beside each other.
    pub concurrency: usize,
    /// How Services are reached.
    pub reach: Reach,
    /// Whether the cluster was made for these tests and ends with them.
    pub is_ours: bool,
    /// The system of record.
    pub cassandra: Cassandra,
    /// The event bus.
    pub pulsar: Pulsar,
}

/// How Services are reached from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// By their address.
    ClusterIp,
    /// By `kubectl port-forward`.
    PortForward,
}

/// A Cassandra that pods and tests reach under the same address.
#[derive(Debug, Clone)]
pub struct Cassandra {
    /// Addresses of nodes, each `host:port`.
    pub contact_points: Vec<String>,
    /// Login, when it asks for one.
    pub credentials: Option<(String, String)>,
    /// PEM bundle; pods connect by TLS when there is one.
    pub ca: Option<String>,
}

/// A Pulsar that pods and tests reach under the same address.
#[derive(Debug, Clone)]
pub struct Pulsar {
    /// URL without TLS, `pulsar://…`.
    pub url: String,
    /// URL with TLS, `pulsar+ssl://…`.
    pub tls_url: Option<String>,
    /// `http://…` or `https://…`.
    pub admin_url: String,
    /// Of a superuser.
    pub token: Option<String>,
    /// PEM bundle of its authorities.
    pub ca: Option<String>,
}

/// The variable without which nothing runs.
pub const SWITCH: &str = "FOLKMOOT_KIND_TESTS";

impl Settings {
    /// What the environment says; `None` when nobody made a cluster for these tests.
    ///
    /// # Errors
    /// When something is missing or cannot be read.
    pub fn from_environment() -> Result<Option<Self>> {
        if optional(SWITCH).is_none() {
            return Ok(None);
        }
        let concurrency = optional("FOLKMOOT_KIND_CONCURRENCY").unwrap_or_else(|| "2".into());
        let reach = match optional("FOLKMOOT_KIND_REACH").as_deref() {
            None | Some("cluster-ip") => Reach::ClusterIp,
            Some("port-forward") => Reach::PortForward,
            Some(other) => {
                bail!("FOLKMOOT_KIND_REACH must be cluster-ip or port-forward, not {other:?}")
            }
        };
        let points = required("FOLKMOOT_TEST_CASSANDRA")?;
        let credentials = match (
            optional("FOLKMOOT_TEST_CASSANDRA_USER"),
            contents("FOLKMOOT_TEST_CASSANDRA_PASSWORD_FILE")?,
        ) {
            (Some(user), Some(password)) => Some((user, password)),
            _ => None,
        };
        Ok(Some(Self {
            root: required("FOLKMOOT_KIND_ROOT")?.into(),
            system: required("FOLKMOOT_KIND_SYSTEM")?,
            version: required("FOLKMOOT_KIND_VERSION")?,
            programs: required("FOLKMOOT_KIND_PROGRAMS")?.into(),
            engines: optional("FOLKMOOT_KIND_ENGINES").map(PathBuf::from),
            logs: required("FOLKMOOT_KIND_LOGS")?.into(),
            audit_log: optional("FOLKMOOT_KIND_AUDIT_LOG").map(PathBuf::from),
            concurrency: concurrency.parse().context("expected FOLKMOOT_KIND_CONCURRENCY to be a number")?,
            reach,
            is_ours: optional("FOLKMOOT_KIND_OURS").is_some(),
            cassandra: Cassandra {
                contact_points: points.split(',').map(str::to_owned).collect(),
                credentials,
                ca: contents("FOLKMOOT_TEST_CASSANDRA_CA_FILE")?,
            },
            pulsar: Pulsar {
                url: required("FOLKMOOT_TEST_PULSAR")?,
                tls_url: optional("FOLKMOOT_TEST_PULSAR_TLS"),
                admin_url: required("FOLKMOOT_TEST_PULSAR_ADMIN")?,
                token: contents("FOLKMOOT_TEST_PULSAR_TOKEN_FILE")?,
                ca: contents("FOLKMOOT_TEST_PULSAR_CA_FILE")?,
            },
        }))
    }

    /// Reference of an image that the nodes have, by its tag: [`Settings::version`] or `next`.
    #[must_use]
    pub fn image(&self, tag: &str) -> String {
        format!("folkmoot/chat-server:{tag}")
    }
}

fn optional(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn required(name: &str) -> Result<String> {
    optional(name).with_context(|| format!("expected {name} in the environment: run scripts/kind-tests.sh"))
}

/// What the file holds that a variable names.
fn contents(name: &str) -> Result<Option<String>> {
    let Some(path) = optional(name) else { return Ok(None) };
    let text =
        fs::read_to_string(&path).with_context(|| format!("expected to read {path}, which {name} names"))?;
    Ok(Some(text.trim().to_owned()))
}
