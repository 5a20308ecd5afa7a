//! Requests to Pulsar's admin interface, and what went wrong with them.

use std::{error::Error as StdError, time::Duration};

use reqwest::{
    Certificate, Client, Method, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION},
    redirect,
};
use serde_json::Value;

use crate::datastore::fault::{Fault, Reason};

/// A request that only reads.
const READ: Duration = Duration::from_secs(3);
/// One that makes something: topics take their time.
const WRITE: Duration = Duration::from_secs(10);
/// Longest answer that is read, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;
/// Longest part of an answer that is shown, in characters.
const MAX_REASON: usize = 300;
/// How often a broker may send us to another one.
const MAX_REDIRECTS: usize = 5;

/// A client for this address that trusts these authorities (PEM), or the usual public ones. Making one is slow: share it.
///
/// # Errors
/// When they cannot be used.
pub fn client(admin_url: &str, authorities: Option<&[u8]>) -> Result<Client, Fault> {
    // The client asks for the process's choice. Somebody may have chosen before, which is as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let fault = |message| Fault::new(Reason::TlsFailed, message);
    let unusable =
        || fault("there are no usable PEM certificates under the key that spec.pulsar.caSecretRef names");
    // Redirects are followed by hand: the token goes along.
    let client = Client::builder().no_proxy().redirect(redirect::Policy::none()).connect_timeout(READ);
    let client = match authorities {
        Some(pem) => {
            let authorities = Certificate::from_pem_bundle(pem).map_err(|_| unusable())?;
            if authorities.is_empty() {
                return Err(unusable());
            }
            client.tls_certs_only(authorities)
        }
        None if is_tls(admin_url) => client,
        // Those of the system need not be there when nobody asks for them.
        None => client.tls_certs_only([]),
    };
    client.build().map_err(|_| match authorities {
        Some(_) => unusable(),
        None => fault(
            "spec.pulsar.caSecretRef is missing, and the operator finds no public authorities in its image",
        ),
    })
}

/// Whether this is an address with TLS.
pub(crate) fn is_tls(admin_url: &str) -> bool {
    admin_url.starts_with("https:")
}

/// The admin interface of one Pulsar.
pub(super) struct Http {
    client: Client,
    base: String,
    /// The header's value, `Bearer …`.
    token: Option<HeaderValue>,
}

impl Http {
    /// `token` as it stands in the Secret.
    pub(super) fn new(client: Client, admin_url: &str, token: Option<&[u8]>) -> Result<Self, Fault> {
        let token = match token {
            None => None,
            Some(token) => Some(bearer(token).ok_or_else(|| {
                Fault::new(
                    Reason::Unauthorized,
                    "the Secret of spec.pulsar does not hold a token in one line",
                )
            })?),
        };
        Ok(Self { client, base: format!("{}/admin/v2", admin_url.trim_end_matches('/')), token })
    }

    /// What is there; `None`: nothing.
    pub(super) async fn get(&self, path: &str) -> Result<Option<Value>, Fault> {
        match self.ask(&Method::GET, path, &Value::Null).await? {
            (StatusCode::NOT_FOUND, _) => Ok(None),
            (status, answer) if status.is_success() => match serde_json::from_str(&answer) {
                Ok(value) => Ok(Some(value)),
                Err(_) => Err(self.refused(&Method::GET, path, status, &answer)),
            },
            (status, answer) => Err(self.refused(&Method::GET, path, status, &answer)),
        }
    }

    /// Writes. One of `also_well` is no failure.
    pub(super) async fn write(
        &self,
        method: Method,
        path: &str,
        what: &Value,
        also_well: &[StatusCode],
    ) -> Result<StatusCode, Fault> {
        let (status, answer) = self.ask(&method, path, what).await?;
        if status.is_success() || also_well.contains(&status) {
            return Ok(status);
        }
        Err(self.refused(&method, path, status, &answer))
    }

    async fn ask(&self, method: &Method, path: &str, body: &Value) -> Result<(StatusCode, String), Fault> {
        let deadline = if method == Method::GET { READ } else { WRITE };
        let answered = tokio::time::timeout(deadline, self.follow(method, path, body));
        match answered.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.failed(&error)),
            Err(_) => {
                Err(self.unreachable(&format!("{method} {path} had none within {} s", deadline.as_secs())))
            }
        }
    }

    async fn follow(
        &self,
        method: &Method,
        path: &str,
        body: &Value,
    ) -> Result<(StatusCode, String), reqwest::Error> {
        let mut url = format!("{}{path}", self.base);
        let mut redirects = 0;
        loop {
            let mut request = self.client.request(method.clone(), &url);
            if let Some(token) = &self.token {
                request = request.header(AUTHORIZATION, token.clone());
            }
            if !body.is_null() {
                request = request.header(CONTENT_TYPE, "application/json").body(body.to_string());
            }
            let mut answer = request.send().await?;
            let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            if answer.status() == StatusCode::TEMPORARY_REDIRECT
                && redirects < MAX_REDIRECTS
                && let Some(next) = location.and_then(|location| answer.url().join(location).ok())
                && may_follow(answer.url(), &next)
            {
                url = next.into();
                redirects += 1;
                continue;
            }
            let mut text = Vec::new();
            while let Some(chunk) = answer.chunk().await? {
                text.extend_from_slice(&chunk);
                if text.len() > MAX_ANSWER {
                    break;
                }
            }
            return Ok((answer.status(), String::from_utf8_lossy(&text).into_owned()));
        }
    }

    fn failed(&self, error: &reqwest::Error) -> Fault {
        let mut innermost: &(dyn StdError + 'static) = error;
        let mut is_tls = false;
        while let Some(cause) = cause_of(innermost) {
            innermost = cause;
            is_tls |= cause.is::<rustls::Error>();
        }
        if is_tls {
            let message = format!(
                "pulsar's admin interface at {} has no certificate from a trusted authority: {innermost}; \
                 spec.pulsar.caSecretRef names the authority",
                self.base
            );
            return Fault::new(Reason::TlsFailed, message);
        }
        self.unreachable(&innermost.to_string())
    }

    fn unreachable(&self, found: &str) -> Fault {
        let message = format!(
            "no answer from pulsar's admin interface at {}: {found}; check spec.pulsar.adminUrl, and whether a \
             NetworkPolicy or firewall is between it and the operator",
            self.base
        );
        Fault::new(Reason::Unreachable, message)
    }

    fn refused(&self, method: &Method, path: &str, status: StatusCode, answer: &str) -> Fault {
        let reason = reason_of(answer);
        let base = &self.base;
        if !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            let message = format!("pulsar at {base} refused {method} {path} with {status}{reason}");
            return Fault::new(Reason::Refused, message);
        }
        let with = if self.token.is_some() { "with the given token" } else { "without a token" };
        let message = format!(
            "pulsar at {base} refused {method} {path} {with}: {status}{reason}; put a token that may make \
             tenants and namespaces into a Secret and name it in spec.pulsar.adminTokenSecretRef"
        );
        Fault::new(Reason::Unauthorized, message)
    }
}

/// The token is not taken from TLS to where it can be read.
fn may_follow(from: &Url, to: &Url) -> bool {
    to.scheme() == "https" || (to.scheme() == "http" && from.scheme() == "http")
}

/// Why, when the answer says so: Pulsar answers with `{"reason": …}`, or with a page that says nothing more.
fn reason_of(answer: &str) -> String {
    let reason = serde_json::from_str::<Value>(answer).ok();
    let reason = reason.as_ref().and_then(|answer| answer["reason"].as_str()).unwrap_or(answer).trim();
    if reason.is_empty() || reason.starts_with('<') {
        return String::new();
    }
    let shown: String = reason.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect();
    format!(": {shown}")
}

fn bearer(token: &[u8]) -> Option<HeaderValue> {
    let token = std::str::from_utf8(token).ok()?.trim();
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok()?;
    value.set_sensitive(true);
    (!token.is_empty()).then_some(value)
}

/// What is wrapped in an error. An `io::Error` says the source of what is in it, and leaves that itself out.
fn cause_of<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    let inside = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    inside.map(|inside| inside as &(dyn StdError + 'static)).or_else(|| error.source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_does_not_leave_tls() {
        for (from, to, may) in [
            ("https://a/", "https://b/", true),
            ("http://a/", "http://b/", true),
            ("http://a/", "https://b/", true),
            ("https://a/", "http://b/", false),
            ("https://a/", "ftp://b/", false),
        ] {
            let url = |text: &str| text.parse::<Url>().unwrap();
            assert_eq!(may_follow(&url(from), &url(to)), may, "{from} to {to}");
        }
        let shown = format!("{:?}", bearer(b"hunter2\n").unwrap());
        assert!(!shown.contains("hunter2"), "{shown}");
        assert!(bearer(b" \n").is_none() && bearer(b"a\nb").is_none() && bearer(b"\xff").is_none());
    }

    #[test]
    fn reasons_are_shortened() {
        for (answer, expected) in [
            ("", String::new()),
            ("<html>401</html>", String::new()),
            (r#"{"reason":"no\nsuch tenant"}"#, ": nosuch tenant".to_owned()),
            ("plain", ": plain".to_owned()),
            (&"x".repeat(400), format!(": {}", "x".repeat(300))),
        ] {
            assert_eq!(reason_of(answer), expected, "{answer}");
        }
    }
}
