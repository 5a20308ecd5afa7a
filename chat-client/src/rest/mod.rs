//! The REST interface, typed.

mod accounts;
mod channels;
mod error;
mod files;
mod signing;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use chat_protocol::{Problem, rest::Page};
use reqwest::{Method, RequestBuilder, Response};
use serde::{Serialize, de::DeserializeOwned};
use url::Url;

pub use error::RestError;
use signing::Signer;

use crate::{Auth, Backoff, MemoryStore, TokenStore, Tokens};

/// Longest time for one request and its answer, uploads and downloads excepted.
const DEADLINE: Duration = Duration::from_secs(15);
/// Longest time for the bytes of a file.
const FILE_DEADLINE: Duration = Duration::from_secs(10 * 60);
/// Longest body of an error that is read.
const MAX_PROBLEM_BYTES: usize = 16 * 1024;

/// A client of a server's REST interface. Cheap to clone; clones share the tokens.
#[derive(Clone)]
pub struct Rest {
    inner: Arc<Inner>,
}

struct Inner {
    http: reqwest::Client,
    base: Url,
    signer: Signer,
}

impl fmt::Debug for Rest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rest").field("base", &self.inner.base.as_str()).finish_non_exhaustive()
    }
}

impl Rest {
    /// A client of the server at `base_url` (`http` or `https`), as `auth` says. Signs in when `auth` is a
    /// password.
    ///
    /// # Errors
    /// When the URL is not one, the stored tokens cannot be read, or signing in fails.
    pub async fn connect(base_url: &str, auth: Auth) -> Result<Self, RestError> {
        match auth {
            Auth::AccessToken(token) => Self::build(base_url, Signer::fixed(token)),
            Auth::Session(store) => Self::build(base_url, Signer::stored(store)?),
            Auth::Password { handle, password } => {
                let response = Self::anonymous(base_url)?.login(&handle, &password, None).await?;
                let store = MemoryStore::default();
                store.save(&Tokens::from_response(&response)).map_err(RestError::Store)?;
                Self::build(base_url, Signer::stored(Box::new(store))?)
            }
        }
    }

    /// A client without a token, for signing in and registering.
    ///
    /// # Errors
    /// When the URL is not one.
    pub fn anonymous(base_url: &str) -> Result<Self, RestError> {
        Self::build(base_url, Signer::none())
    }

    fn build(base_url: &str, signer: Signer) -> Result<Self, RestError> {
        let mut base = Url::parse(base_url).map_err(|_| RestError::Url(base_url.to_owned()))?;
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
            return Err(RestError::Url(base_url.to_owned()));
        }
        // `join` replaces what follows the last slash, and the server may live below a path.
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        // Somebody else in this process may have chosen a provider: theirs stands.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut http = reqwest::Client::builder()
            .user_agent(concat!("folkmoot-client/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(Duration::from_secs(10));
        if base.scheme() == "http" {
            // A container without CA certificates can still speak plain HTTP.
            http = http.tls_certs_only([]);
        }
        if is_loopback(&base) {
            // A proxy would look for the server on its own machine.
            http = http.no_proxy();
        }
        let http = http.build().map_err(RestError::Setup)?;
        Ok(Self { inner: Arc::new(Inner { http, base, signer }) })
    }

    /// Where the server is.
    #[must_use]
    pub fn base(&self) -> &Url {
        &self.inner.base
    }

    /// An access token to use now; refreshed first when it is about to end.
    ///
    /// # Errors
    /// When there is none, or refreshing fails.
    pub async fn access_token(&self) -> Result<String, RestError> {
        self.inner.signer.token(self, None).await
    }

    /// Another access token than `rejected`, which the server did not accept.
    ///
    /// # Errors
    /// [`RestError::SignedOut`] when there can be no other; else when refreshing fails.
    pub async fn replace_token(&self, rejected: &str) -> Result<String, RestError> {
        self.inner.signer.token(self, Some(rejected)).await
    }

    fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, RestError> {
        let url = self.inner.base.join(path).map_err(|_| RestError::Url(path.to_owned()))?;
        Ok(self.inner.http.request(method, url).timeout(DEADLINE))
    }

    /// Sends with a token, and once more with another one when the first is not accepted.
    async fn signed(
        &self,
        method: Method,
        path: &str,
        shape: impl Fn(RequestBuilder) -> RequestBuilder + Send,
    ) -> Result<Response, RestError> {
        let token = self.access_token().await?;
        let first = shape(self.request(method.clone(), path)?.bearer_auth(&token));
        match execute(first, path).await {
            Err(error) if error.unauthenticated() => {
                let token = self.replace_token(&token).await?;
                execute(shape(self.request(method, path)?.bearer_auth(token)), path).await
            }
            answer => answer,
        }
    }

    /// Sends with a token, and reads the answer.
    pub(crate) async fn read_signed<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        shape: impl Fn(RequestBuilder) -> RequestBuilder + Send,
    ) -> Result<T, RestError> {
        read(self.signed(method, path, shape).await?, path).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T, RestError> {
        self.read_signed(Method::GET, path, |request| request.query(query)).await
    }

    async fn with_body<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &(impl Serialize + Sync),
    ) -> Result<T, RestError> {
        self.read_signed(method, path, |request| request.json(body)).await
    }

    /// All items of a listing, page by page.
    async fn all<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<Vec<T>, RestError> {
        let mut items = Vec::new();
        let mut query = query.to_vec();
        query.push(("limit", chat_protocol::limits::MAX_PAGE.to_string()));
        loop {
            let page: Page<T> = self.get(path, &query).await?;
            items.extend(page.items);
            query.retain(|(name, _)| *name != "cursor");
            match page.next {
                Some(next) => query.push(("cursor", next)),
                None => return Ok(items),
            }
        }
    }

    /// Runs `attempt` until it succeeds, fails for good, or `timeout` is over; waits between tries as the
    /// server says, with backoff.
    ///
    /// # Errors
    /// The last one, as it came.
    pub async fn retrying<T, F>(timeout: Duration, mut attempt: impl FnMut() -> F) -> Result<T, RestError>
    where
        F: Future<Output = Result<T, RestError>>,
    {
        let end = tokio::time::Instant::now() + timeout;
        let mut failures = 0;
        loop {
            let error = match attempt().await {
                Err(error) if error.retryable() => error,
                settled => return settled,
            };
            let wait = Backoff::DEFAULT.draw(failures).max(error.retry_after().unwrap_or(Duration::ZERO));
            if tokio::time::Instant::now() + wait >= end {
                return Err(error);
            }
            failures += 1;
            tokio::time::sleep(wait).await;
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

async fn execute(request: RequestBuilder, path: &str) -> Result<Response, RestError> {
    let response =
        request.send().await.map_err(|source| RestError::Request { path: path.to_owned(), source })?;
    if response.status().is_success() {
        return Ok(response);
    }
    let status = response.status().as_u16();
    let retry_after = response
        .headers()
        .get(http::header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map(Duration::from_secs);
    let body = beginning(response).await;
    match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) => Err(RestError::Problem { path: path.to_owned(), problem: Box::new(problem) }),
        // A proxy in between speaks no problem+json.
        Err(_) => Err(RestError::Status { path: path.to_owned(), status, retry_after }),
    }
}

async fn beginning(mut response: Response) -> Bytes {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_PROBLEM_BYTES {
            break;
        }
    }
    body.into()
}

async fn read<T: DeserializeOwned>(response: Response, path: &str) -> Result<T, RestError> {
    response.json().await.map_err(|source| RestError::Request { path: path.to_owned(), source })
}
