//! Makes tenant, namespace and topics through Pulsar's admin interface (REST, `/admin/v2`). Doing it again changes
//! nothing; partitions only grow, since fewer would lose what lies in the others.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};

use crate::config::PulsarConfig;

/// Longest time for one request.
const DEADLINE: Duration = Duration::from_secs(30);

/// What is to be there.
#[derive(Debug, Clone)]
pub struct ProvisionOptions {
    /// `http://` or `https://` of the admin interface.
    pub admin_url: String,
    /// File with a token that may do this; empty: no authentication.
    pub token_file: PathBuf,
    /// PEM file with the authorities of an `https` interface; empty: the system's.
    pub ca_file: PathBuf,
    /// Name of the tenant.
    pub tenant: String,
    /// The namespace in it.
    pub namespace: String,
    /// Partitions of the topic of events.
    pub partitions: u32,
    /// How long events are kept: as long as somebody may be away and still go on from where they were. The store has
    /// them for ever.
    pub retention: Duration,
    /// How much is kept at most, in MiB.
    pub retention_mib: u64,
}

impl Default for ProvisionOptions {
    fn default() -> Self {
        Self {
            admin_url: "http://127.0.0.1:8080".into(),
            token_file: PathBuf::new(),
            ca_file: PathBuf::new(),
            tenant: "public".into(),
            namespace: "folkmoot".into(),
            partitions: 8,
            retention: Duration::from_secs(15 * 60),
            retention_mib: 1_024,
        }
    }
}

impl ProvisionOptions {
    /// Options from the configuration.
    #[must_use]
    pub fn of(config: &PulsarConfig) -> Self {
        Self {
            admin_url: config.admin_url.clone(),
            token_file: config.token_file.clone(),
            ca_file: config.ca_file.clone(),
            tenant: config.tenant.clone(),
            namespace: config.namespace.clone(),
            partitions: u32::try_from(config.partitions).unwrap_or(u32::MAX),
            ..Self::default()
        }
    }
}

/// Something could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    /// A file cannot be read.
    #[error("failed to read {}", path.display())]
    File {
        /// Path of the file.
        path: PathBuf,
        /// What the operating system reported.
        source: std::io::Error,
    },
    /// The interface does not answer.
    #[error("no answer from pulsar's admin interface")]
    Request(#[from] reqwest::Error),
    /// Pulsar refused a request.
    #[error("pulsar refused {method} {path} with {status}: {answer}")]
    Refused {
        /// What was asked.
        method: Method,
        /// Path of the request.
        path: String,
        /// The answer's status.
        status: StatusCode,
        /// Body of the answer.
        answer: String,
    },
}

/// Sees to it that everything is there.
///
/// # Errors
/// When the interface cannot be reached or refuses. What was made stays; doing it again goes on from there.
pub async fn provision(options: &ProvisionOptions) -> Result<(), ProvisionError> {
    let admin = Admin::new(options).await?;
    let ProvisionOptions { tenant, namespace, .. } = options;
    let clusters = admin.get("/clusters").await?;
    admin.make(Method::PUT, &format!("/tenants/{tenant}"), json!({ "allowedClusters": clusters })).await?;
    let policies = format!("/namespaces/{tenant}/{namespace}");
    admin.make(Method::PUT, &policies, json!({})).await?;
    for (policy, value) in policies_of(options) {
        admin.set(&format!("{policies}/{policy}"), value).await?;
    }
    let events = format!("/persistent/{tenant}/{namespace}/events/partitions");
    if !admin.make(Method::PUT, &events, json!(options.partitions)).await? {
        let has = admin.get(&events).await?["partitions"].as_u64().unwrap_or_default();
        if has < u64::from(options.partitions) {
            admin.set(&events, json!(options.partitions)).await?;
        }
    }
    admin.make(Method::PUT, &format!("/non-persistent/{tenant}/{namespace}/ephemeral"), Value::Null).await?;
    Ok(())
}

fn policies_of(options: &ProvisionOptions) -> [(&'static str, Value); 3] {
    let seconds = options.retention.as_secs();
    [
        (
            "retention",
            json!({
                "retentionTimeInMinutes": seconds.div_ceil(60),
                "retentionSizeInMB": options.retention_mib,
            }),
        ),
        // Readers leave nothing behind. Should somebody else subscribe and go away, nothing is kept for them. (The
        // quota must be below what is retained.)
        ("messageTTL", json!(seconds)),
        (
            "backlogQuota?backlogQuotaType=destination_storage",
            json!({ "limitSize": options.retention_mib << 19, "policy": "consumer_backlog_eviction" }),
        ),
    ]
}

struct Admin {
    client: reqwest::Client,
    base: String,
    token: Option<String>,
}

impl Admin {
    async fn new(options: &ProvisionOptions) -> Result<Self, ProvisionError> {
        // The client asks for the process's choice.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = reqwest::Client::builder().timeout(DEADLINE);
        if let Some(pem) = read(&options.ca_file).await? {
            client = client.tls_certs_only(reqwest::Certificate::from_pem_bundle(&pem)?);
        }
        let token = read(&options.token_file).await?;
        Ok(Self {
            client: client.build()?,
            base: format!("{}/admin/v2", options.admin_url.trim_end_matches('/')),
            token: token.map(|token| String::from_utf8_lossy(&token).trim().to_owned()),
        })
    }

    async fn get(&self, path: &str) -> Result<Value, ProvisionError> {
        let (status, answer) = self.ask(&Method::GET, path, &Value::Null).await?;
        if !status.is_success() {
            return Err(refused(Method::GET, path, status, answer));
        }
        Ok(serde_json::from_str(&answer).unwrap_or_default())
    }

    /// Whether it was made; `false` when it is there.
    async fn make(&self, method: Method, path: &str, what: Value) -> Result<bool, ProvisionError> {
        match self.ask(&method, path, &what).await? {
            (status, _) if status.is_success() => Ok(true),
            (StatusCode::CONFLICT, _) => Ok(false),
            (status, answer) => Err(refused(method, path, status, answer)),
        }
    }

    async fn set(&self, path: &str, value: Value) -> Result<(), ProvisionError> {
        match self.ask(&Method::POST, path, &value).await? {
            (status, _) if status.is_success() => Ok(()),
            (status, answer) => Err(refused(Method::POST, path, status, answer)),
        }
    }

    async fn ask(
        &self,
        method: &Method,
        path: &str,
        body: &Value,
    ) -> Result<(StatusCode, String), ProvisionError> {
        let mut request = self.client.request(method.clone(), format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if !body.is_null() {
            request = request.header(header::CONTENT_TYPE, "application/json").body(body.to_string());
        }
        let answer = request.send().await?;
        Ok((answer.status(), answer.text().await?))
    }
}

async fn read(path: &Path) -> Result<Option<Vec<u8>>, ProvisionError> {
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    match tokio::fs::read(path).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(source) => Err(ProvisionError::File { path: path.to_owned(), source }),
    }
}

fn refused(method: Method, path: &str, status: StatusCode, answer: String) -> ProvisionError {
    ProvisionError::Refused { method, path: path.to_owned(), status, answer }
}
