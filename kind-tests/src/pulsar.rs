//! Pulsar's admin interface itself, asked past the operator.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;

use crate::settings::Settings;

/// Longest time for one request.
const DEADLINE: Duration = Duration::from_secs(10);

/// The admin interface (REST, `/admin/v2`), asked as a superuser.
pub struct Pulsar {
    client: Client,
    base: String,
    token: Option<String>,
}

impl Pulsar {
    /// A client of it.
    ///
    /// # Errors
    /// When the bundle of authorities is none.
    pub fn new(settings: &Settings) -> Result<Self> {
        let mut client = Client::builder().timeout(DEADLINE).no_proxy();
        if let Some(pem) = &settings.pulsar.ca {
            client = client.tls_certs_only(reqwest::Certificate::from_pem_bundle(pem.as_bytes())?);
        }
        Ok(Self {
            client: client.build()?,
            base: format!("{}/admin/v2", settings.pulsar.admin_url.trim_end_matches('/')),
            token: settings.pulsar.token.clone(),
        })
    }

    /// What is at a path; `None` when nothing is.
    ///
    /// # Errors
    /// When Pulsar does not answer, or refuses.
    pub async fn get(&self, path: &str) -> Result<Option<Value>> {
        let (status, answer) = self.ask(Method::GET, path, None).await?;
        if status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        ensure!(status.is_success(), "expected an answer to GET {path}, not {status}: {answer}");
        Ok(Some(
            serde_json::from_str(&answer)
                .with_context(|| format!("expected JSON of GET {path}, got {answer}"))?,
        ))
    }

    /// Changes what is at a path, as somebody with the command line of Pulsar would.
    ///
    /// # Errors
    /// When Pulsar does not answer, or refuses.
    pub async fn post(&self, path: &str, body: &Value) -> Result<()> {
        let (status, answer) = self.ask(Method::POST, path, Some(body)).await?;
        ensure!(status.is_success(), "expected POST {path} to be accepted, not {status}: {answer}");
        Ok(())
    }

    /// Deletes what is at a path.
    ///
    /// # Errors
    /// When Pulsar does not answer, or refuses.
    pub async fn delete(&self, path: &str) -> Result<()> {
        let (status, answer) = self.ask(Method::DELETE, path, None).await?;
        ensure!(status.is_success(), "expected DELETE {path} to be accepted, not {status}: {answer}");
        Ok(())
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(StatusCode, String)> {
        let mut request = self.client.request(method, format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await.context("expected an answer of Pulsar's admin interface")?;
        Ok((answer.status(), answer.text().await?))
    }
}
