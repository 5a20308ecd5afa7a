//! Configuration: defaults, then a TOML file, then the environment, then flags; the later one wins.
//!
//! `settings` is the table of all keys, `value` reads what was given for one, `sources` collects what was given
//! where, `resolve` puts it together and finds everything that is wrong, `reference` writes the documentation.

#[macro_use]
mod kinds;

mod engines;
mod load;
mod reference;
mod resolve;
mod settings;
mod sources;
mod value;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use chat_auth::AuthOptions;
use chat_blobs::config::S3Config;
use chat_cassandra::config::CassandraConfig;
use chat_cluster::config::ClusterConfig;
use chat_domain::chat::{ChatOptions, FileLimits, RateOptions};
use chat_gateway::GatewayOptions;
use chat_http::TrustedProxies;
use chat_pulsar::config::PulsarConfig;

pub use engines::{BusEngine, FileEngine, StoreEngine};
pub use load::load;
pub use reference::reference;
pub use resolve::{Problem, Resolved, resolve};
pub use settings::{SETTINGS, Setting};
pub use sources::{Assignment, Origin, from_environment, from_file, from_flag, variable_name};
pub use value::{Kind, Raw, Value};

/// Everything an operator can set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// Where the server listens.
    pub server: ServerConfig,
    /// Where its data is.
    pub data: DataConfig,
    /// What the system of record is.
    pub store: StoreEngine,
    /// Apache Cassandra, when it is the system of record or keeps files.
    pub cassandra: CassandraConfig,
    /// What carries events between processes.
    pub bus: BusEngine,
    /// Apache Pulsar, when it does.
    pub pulsar: PulsarConfig,
    /// The processes among themselves.
    pub cluster: ClusterConfig,
    /// Settings of accounts.
    pub auth: AuthOptions,
    /// Settings of sockets.
    pub gateway: GatewayOptions,
    /// Settings of uploaded files.
    pub files: FilesConfig,
    /// The object store, when it keeps files.
    pub s3: S3Config,
    /// Settings of the program's own log.
    pub log: LogConfig,
}

/// Where the server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// REST, sockets and the web client.
    pub listen: SocketAddr,
    /// Health, metrics and the order to drain; not for the public.
    pub admin_listen: SocketAddr,
    /// File with the token for the order to drain; empty: it cannot be given.
    pub admin_token_file: PathBuf,
    /// Addresses, or blocks of them, of proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<String>,
    /// Connections and sockets without a valid token, of one address.
    pub max_strangers_per_address: usize,
    /// REST requests a second of one person, in the long run.
    pub requests_per_second: u32,
    /// REST requests of one person at once after a pause.
    pub request_burst: u32,
    /// Channels that one person may make in an hour.
    pub channels_per_hour: u32,
    /// Invitations and password codes that one person may make in an hour.
    pub invitations_per_hour: u32,
    /// `http://host:port` of a process with the role `api`, for those without; empty: there is no such path here.
    pub api_url: String,
    /// `http://host:port` of a process with the role `auth`, for those without; empty: there is no such path here.
    pub auth_url: String,
}

impl ServerConfig {
    /// The proxies whose word is taken for where a request came from.
    #[must_use]
    pub fn proxies(&self) -> TrustedProxies {
        // Those that cannot be read are refused with all else that is wrong with a configuration.
        TrustedProxies::new(self.trusted_proxies.iter().filter_map(|network| network.parse().ok()))
    }
}

impl Config {
    /// How much one person may do in this process, and how long uploads wait.
    #[must_use]
    pub const fn chat(&self) -> ChatOptions {
        let rates = RateOptions {
            requests_per_second: self.server.requests_per_second,
            request_burst: self.server.request_burst,
            commands_per_second: self.gateway.commands_per_second,
            command_burst: self.gateway.command_burst,
            channels_per_hour: self.server.channels_per_hour,
            invitations_per_hour: self.server.invitations_per_hour,
            uploads_per_hour: self.files.uploads_per_hour,
        };
        ChatOptions { rates, unattached_life: self.files.unattached }
    }

    /// How much people may store.
    #[must_use]
    pub const fn file_limits(&self) -> FileLimits {
        FileLimits {
            bytes_per_person: self.files.max_bytes_per_person,
            unattached_per_person: self.files.max_unattached_per_person,
            keep_free: self.files.keep_free_bytes,
        }
    }
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: ([127, 0, 0, 1], 8080).into(),
            admin_listen: ([127, 0, 0, 1], 8081).into(),
            admin_token_file: PathBuf::new(),
            trusted_proxies: Vec::new(),
            max_strangers_per_address: 256,
            requests_per_second: 200,
            request_burst: 1_000,
            channels_per_hour: 100,
            invitations_per_hour: 100,
            api_url: String::new(),
            auth_url: String::new(),
        }
    }
}

/// Where the embedded store keeps its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataConfig {
    /// Path of the folder.
    pub dir: PathBuf,
}

impl Default for DataConfig {
    /// The user's data folder; below the working directory for a user without a home.
    fn default() -> Self {
        let dir = directories::ProjectDirs::from("dev", "folkmoot", "folkmoot")
            .map_or_else(|| PathBuf::from("folkmoot-data"), |dirs| dirs.data_dir().to_owned());
        Self { dir }
    }
}

/// Settings of uploaded files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesConfig {
    /// Largest file, in bytes.
    pub max_bytes: u64,
    /// Uploads of one person that go on at one time.
    pub uploads_at_once: usize,
    /// Uploads that one person may begin in an hour.
    pub uploads_per_hour: u32,
    /// Bytes of one person's files; 0: no limit.
    pub max_bytes_per_person: u64,
    /// Files of one person that are in no message.
    pub max_unattached_per_person: u64,
    /// An upload that is in no message after this long is removed.
    pub unattached: Duration,
    /// Bytes of the disk that uploads leave free.
    pub keep_free_bytes: u64,
    /// Where they lie.
    pub store: FileEngine,
}

impl Default for FilesConfig {
    fn default() -> Self {
        Self {
            max_bytes: chat_protocol::limits::MAX_FILE_BYTES,
            uploads_at_once: 4,
            uploads_per_hour: 500,
            max_bytes_per_person: 5 * 1024 * 1024 * 1024,
            max_unattached_per_person: 100,
            unattached: Duration::from_secs(24 * 3_600),
            keep_free_bytes: 1024 * 1024 * 1024,
            store: FileEngine::default(),
        }
    }
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Settings of the program's own log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// How it is written.
    pub format: LogFormat,
    /// What is written: a level, or directives as `tracing_subscriber::EnvFilter` reads them.
    pub level: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".into() }
    }
}
