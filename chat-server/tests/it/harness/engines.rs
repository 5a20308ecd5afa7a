//! Real Cassandra and Pulsar for tests.
//!
//! Their addresses are in the environment (`FOLKMOOT_TEST_CASSANDRA`, `FOLKMOOT_TEST_PULSAR` and so on, as `scripts/test.sh`
//! sets them and as whoever has engines of his own may). When they are not, the first test that asks starts them by
//! `scripts/engines`, in `target/engines`, where they stay for the next run: `make engines-down` stops them.
//!
//! Tests that kill nodes start their own: [`OwnCassandra`], [`OwnPulsar`].

use std::{
    collections::HashMap,
    fs::File,
    net::{TcpStream, ToSocketAddrs as _},
    path::Path,
    process::{Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use chat_cassandra::config::CassandraConfig;
use chat_cassandra::{
    cql::{Cql as _, Statement, Value},
    options::CassandraOptions,
    scylla_driver::ScyllaCql,
};
use chat_pulsar::config::PulsarConfig;
use tokio::sync::OnceCell;

/// Keyspaces and namespaces of runs that ended this long ago are removed.
const LEFT_OVER: Duration = Duration::from_secs(15 * 60);
/// The tenant of all tests.
pub const TENANT: &str = "test";

/// What `engines.env`, or the environment, says.
type Settings = HashMap<String, String>;

/// A Cassandra and a keyspace name that nobody used before; `chat-server migrate` or its parts make the keyspace. TLS is on.
pub async fn cassandra() -> CassandraConfig {
    static SETTINGS: OnceCell<Settings> = OnceCell::const_new();
    let settings = SETTINGS
        .get_or_init(|| async {
            let settings = shared("cassandra").await;
            sweep_keyspaces(&cassandra_config(&settings)).await;
            settings
        })
        .await;
    cassandra_config(settings)
}

/// A Pulsar and a namespace name that nobody used before, in a tenant that exists. TLS is on.
pub async fn pulsar() -> PulsarConfig {
    static SETTINGS: OnceCell<Settings> = OnceCell::const_new();
    let settings = SETTINGS
        .get_or_init(|| async {
            let settings = shared("pulsar").await;
            let config = pulsar_config(&settings);
            make_tenant(&config).await;
            sweep_namespaces(&config).await;
            settings
        })
        .await;
    pulsar_config(settings)
}

fn cassandra_config(settings: &Settings) -> CassandraConfig {
    let value = |key: &str| settings.get(key).cloned().unwrap_or_default();
    let contact_points: Vec<String> =
        value("FOLKMOOT_TEST_CASSANDRA").split(',').map(|point| point.trim().to_owned()).collect();
    CassandraConfig {
        replication: vec![format!("dc1:{}", contact_points.len().min(3))],
        contact_points,
        keyspace: fresh_name(),
        user: value("FOLKMOOT_TEST_CASSANDRA_USER"),
        password_file: value("FOLKMOOT_TEST_CASSANDRA_PASSWORD_FILE").into(),
        ca_file: value("FOLKMOOT_TEST_CASSANDRA_CA_FILE").into(),
        // A machine that compiles beside it is slow; what a test wants to time out, it says.
        request_timeout: Duration::from_secs(10),
        ..CassandraConfig::default()
    }
}

fn pulsar_config(settings: &Settings) -> PulsarConfig {
    let value = |key: &str| settings.get(key).cloned().unwrap_or_default();
    let tls = value("FOLKMOOT_TEST_PULSAR_TLS");
    PulsarConfig {
        url: if tls.is_empty() { value("FOLKMOOT_TEST_PULSAR") } else { tls },
        admin_url: value("FOLKMOOT_TEST_PULSAR_ADMIN"),
        tenant: TENANT.into(),
        namespace: fresh_name(),
        token_file: value("FOLKMOOT_TEST_PULSAR_TOKEN_FILE").into(),
        ca_file: value("FOLKMOOT_TEST_PULSAR_CA_FILE").into(),
        ..PulsarConfig::default()
    }
}

/// `test_SECONDS_RANDOM`: the seconds show [`sweep_keyspaces`] how old it is.
fn fresh_name() -> String {
    format!("test_{}_{:08x}", now().as_secs(), rand::random::<u32>())
}

fn left_over(name: &str) -> bool {
    let made = name.strip_prefix("test_").and_then(|rest| rest.split('_').next()?.parse().ok());
    made.is_some_and(|made| Duration::from_secs(made) + LEFT_OVER < now())
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970")
}

/// The engine that all tests share, started when nobody has.
async fn shared(engine: &'static str) -> Settings {
    let variable = format!("FOLKMOOT_TEST_{}", engine.to_uppercase());
    if std::env::var_os(&variable).is_some() {
        return std::env::vars().filter(|(key, _)| key.starts_with(&variable)).collect();
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("is in the target folder");
    let dir = target.join("engines");
    std::fs::create_dir_all(&dir).expect("a folder for the engines");
    // Test binaries may run beside each other: one starts the engine, the others find it.
    let lock = File::create(dir.join(format!("{engine}.lock"))).expect("a lock file");
    let lock = tokio::task::spawn_blocking(move || lock.lock().map(|()| lock)).await.expect("does not panic");
    let _lock = lock.expect("the lock");
    let env_file = dir.join(format!("{engine}.env"));
    if let Some(settings) = read_settings(&env_file).filter(|settings| answers(&settings[&variable])) {
        return settings;
    }
    script(engine, &dir, "up").await;
    read_settings(&env_file).expect("the script has said where the engine is")
}

/// Lines of `KEY='value'`.
fn read_settings(path: &Path) -> Option<Settings> {
    let text = std::fs::read_to_string(path).ok()?;
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    Some(pairs.map(|(key, value)| (key.to_owned(), value.trim_matches('\'').to_owned())).collect())
}

/// Whether somebody listens at the first of these `host:port`.
fn answers(addresses: &str) -> bool {
    let first = addresses.split(',').next().unwrap_or_default();
    let first = first.rsplit('/').next().unwrap_or_default();
    let Some(address) = first.to_socket_addrs().ok().and_then(|mut found| found.next()) else { return false };
    TcpStream::connect_timeout(&address, Duration::from_secs(5)).is_ok()
}

/// `scripts/engines/ENGINE.sh TASK --dir DIR`. Its waits have deadlines of their own.
async fn script(engine: &'static str, dir: &Path, task: &str) {
    let mut command = command(engine, dir, task);
    let status = tokio::task::spawn_blocking(move || command.status()).await.expect("does not panic");
    assert!(status.is_ok_and(|status| status.success()), "scripts/engines/{engine}.sh {task} fails");
}

fn command(engine: &str, dir: &Path, task: &str) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("is in the workspace");
    let mut command = Command::new(root.join(format!("scripts/engines/{engine}.sh")));
    command.arg(task).arg("--dir").arg(dir).stdin(Stdio::null());
    command
}

async fn sweep_keyspaces(config: &CassandraConfig) {
    const NAMES: Statement = Statement::read("SELECT keyspace_name FROM system_schema.keyspaces");
    let cql = connect(config).await;
    for row in cql.execute(NAMES, Vec::new()).await.expect("keyspaces are listed") {
        if let Some(Value::Text(name)) = row.get("keyspace_name")
            && left_over(name)
        {
            // Another run may remove it at the same time.
            let _ = cql.schema(&format!("DROP KEYSPACE IF EXISTS {name}")).await;
        }
    }
}

/// A session that is bound to no keyspace.
pub async fn connect(config: &CassandraConfig) -> ScyllaCql {
    let options = CassandraOptions::read(config).expect("the files of the engine are there");
    ScyllaCql::connect(CassandraOptions { keyspace: None, ..options }).await.expect("Cassandra answers")
}

/// A request to the admin interface of Pulsar.
pub async fn admin(
    config: &PulsarConfig,
    method: reqwest::Method,
    path: &str,
    body: &str,
) -> reqwest::Response {
    // Without it, reqwest does not know which of its TLS providers to take, though this is not TLS.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).no_proxy().build();
    let mut request = http
        .expect("a client")
        .request(method, format!("{}/admin/v2{path}", config.admin_url))
        .header("content-type", "application/json")
        .body(body.to_owned());
    if !config.token_file.as_os_str().is_empty() {
        let token = std::fs::read_to_string(&config.token_file).expect("the token is there");
        request = request.bearer_auth(token.trim());
    }
    request.send().await.expect("Pulsar answers")
}

async fn make_tenant(config: &PulsarConfig) {
    let clusters = admin(config, reqwest::Method::GET, "/clusters", "").await.text().await.expect("clusters");
    let body = format!(r#"{{"adminRoles":[],"allowedClusters":{clusters}}}"#);
    let status = admin(config, reqwest::Method::PUT, &format!("/tenants/{TENANT}"), &body).await.status();
    // 409: it is there.
    assert!(status.is_success() || status.as_u16() == 409, "the tenant is refused: {status}");
}

async fn sweep_namespaces(config: &PulsarConfig) {
    let answer = admin(config, reqwest::Method::GET, &format!("/namespaces/{TENANT}"), "").await;
    let names: Vec<String> = answer.json().await.expect("a list of namespaces");
    for name in names {
        if name.rsplit('/').next().is_some_and(left_over) {
            // Another run may remove it at the same time.
            admin(config, reqwest::Method::DELETE, &format!("/namespaces/{name}?force=true"), "").await;
        }
    }
}

const PULSAR: &str = "pulsar";

/// A Pulsar that a test may kill, in a temporary folder; stopped when dropped.
pub struct OwnPulsar {
    dir: tempfile::TempDir,
}

impl OwnPulsar {
    /// Takes 10 s, more on a busy machine.
    pub async fn start() -> Self {
        let own = Self { dir: tempfile::tempdir().expect("a temporary folder") };
        own.run("up").await;
        make_tenant(&own.config()).await;
        own
    }

    /// With a namespace name that nobody used before; see [`pulsar`].
    #[must_use]
    pub fn config(&self) -> PulsarConfig {
        let settings = read_settings(&self.dir.path().join("engines.env"));
        pulsar_config(&settings.expect("the script has said where the engine is"))
    }

    /// Sends SIGKILL to the broker.
    pub async fn kill(&self) {
        self.run("kill").await;
    }

    /// SIGSTOP: it hangs, and its connections stay open.
    pub async fn stop(&self) {
        self.run("stop").await;
    }

    /// Sends SIGCONT to the broker.
    pub async fn cont(&self) {
        self.run("cont").await;
    }

    /// Starts it again on its data, and waits until it serves.
    pub async fn restart(&self) {
        self.run("start").await;
    }

    async fn run(&self, task: &str) {
        script(PULSAR, self.dir.path(), task).await;
    }
}

impl Drop for OwnPulsar {
    fn drop(&mut self) {
        // Not asynchronous: the runtime may be ending.
        let status = command(PULSAR, self.dir.path(), "down").status();
        if !std::thread::panicking() {
            assert!(status.is_ok_and(|status| status.success()), "Pulsar cannot be stopped");
        }
    }
}
