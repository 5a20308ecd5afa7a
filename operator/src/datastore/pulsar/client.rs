//! Looks at what is in Pulsar, and does what a plan says.

use std::{collections::BTreeSet, fmt::Write as _, time::Duration};

use reqwest::{Client, Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    desired::{Desired, Found, NEEDED, Policies},
    http::Http,
    plan::PulsarAction,
};
use crate::datastore::fault::{Fault, Reason};

pub use super::http::client;
pub(crate) use super::http::is_tls;

/// Deleting a namespace, all attempts together.
const DELETION: Duration = Duration::from_secs(25);

/// The admin interface of one Pulsar.
pub struct Admin(Http);

impl Admin {
    /// By this client (see [`client`]), with the token as it stands in a Secret.
    ///
    /// # Errors
    /// When the token cannot be one.
    pub fn new(client: Client, admin_url: &str, token: Option<&[u8]>) -> Result<Self, Fault> {
        Http::new(client, admin_url, token).map(Self)
    }

    /// What there is of what is desired: three requests when it is there, two when not.
    ///
    /// # Errors
    /// When Pulsar cannot be asked.
    pub async fn look(&self, desired: &Desired) -> Result<Found, Fault> {
        let Desired { tenant, namespace, .. } = desired;
        let Some(policies) = self.0.get(&format!("/namespaces/{tenant}/{namespace}")).await? else {
            let tenant = self.0.get(&format!("/tenants/{tenant}")).await?.is_some();
            return Ok(Found::Nothing { tenant });
        };
        let (events, topics) = (events(desired), format!("/non-persistent/{tenant}/{namespace}"));
        let (partitions, topics) = tokio::try_join!(self.0.get(&events), self.0.get(&topics))?;
        let partitions = partitions.and_then(|found| found["partitions"].as_u64()).unwrap_or(0);
        let ephemeral = format!("non-persistent://{tenant}/{namespace}/ephemeral");
        let listed = topics.as_ref().and_then(Value::as_array);
        Ok(Found::Namespace {
            granted: desired.role.as_ref().is_none_or(|role| {
                let granted = &policies["auth_policies"]["namespace_auth"][role];
                NEEDED.iter().all(|needed| actions(granted).any(|action| action == *needed))
            }),
            policies: read(&policies),
            partitions: u32::try_from(partitions).unwrap_or(u32::MAX),
            ephemeral: listed.is_some_and(|topics| topics.iter().any(|topic| topic == ephemeral.as_str())),
        })
    }

    /// One write. Doing it twice does no harm. Whether it changed anything.
    ///
    /// # Errors
    /// When Pulsar cannot be asked or refuses.
    pub async fn act(&self, desired: &Desired, action: PulsarAction) -> Result<bool, Fault> {
        let Desired { tenant, namespace, policies, .. } = desired;
        let of_namespace = format!("/namespaces/{tenant}/{namespace}");
        let there = &[StatusCode::CONFLICT][..];
        let json = |value: Result<Value, _>| value.unwrap_or_default();
        let (method, path, what, also_well) = match action {
            PulsarAction::MakeTenant => {
                let clusters = self.0.get("/clusters").await?.unwrap_or_default();
                (Method::PUT, format!("/tenants/{tenant}"), json!({ "allowedClusters": clusters }), there)
            }
            PulsarAction::MakeNamespace => (Method::PUT, of_namespace, json!({}), there),
            PulsarAction::SetRetention => {
                let value = json(serde_json::to_value(policies.retention));
                (Method::POST, format!("{of_namespace}/retention"), value, &[][..])
            }
            PulsarAction::SetMessageTtl => {
                (Method::POST, format!("{of_namespace}/messageTTL"), json!(policies.message_ttl), &[][..])
            }
            PulsarAction::SetBacklogQuota => {
                let path = format!("{of_namespace}/backlogQuota?backlogQuotaType=destination_storage");
                (Method::POST, path, json(serde_json::to_value(&policies.backlog_quota)), &[][..])
            }
            PulsarAction::KeepTopics => {
                let value = json(serde_json::to_value(&policies.inactive_topics));
                (Method::POST, format!("{of_namespace}/inactiveTopicPolicies"), value, &[][..])
            }
            PulsarAction::MakeEvents { partitions } => {
                (Method::PUT, events(desired), json!(partitions), &[][..])
            }
            PulsarAction::GrowEvents { to, .. } => (Method::POST, events(desired), json!(to), &[][..]),
            PulsarAction::MakeEphemeral => {
                (Method::PUT, format!("/non-persistent/{tenant}/{namespace}/ephemeral"), Value::Null, there)
            }
            PulsarAction::Grant => return self.grant(desired).await,
        };
        self.0.write(method, &path, &what, also_well).await.map(|_| true)
    }

    /// What the role may do beyond what it needs is kept: a write replaces all of it.
    async fn grant(&self, desired: &Desired) -> Result<bool, Fault> {
        let Some(role) = &desired.role else { return Ok(false) };
        let of_namespace = format!("/namespaces/{}/{}/permissions", desired.tenant, desired.namespace);
        let found = self.0.get(&of_namespace).await?.unwrap_or_default();
        let allowed: BTreeSet<&str> = actions(&found[role]).chain(NEEDED).collect();
        // A broker that lets everybody do everything has nothing to write it into.
        let everybody_may = [StatusCode::NOT_IMPLEMENTED];
        let path = format!("{of_namespace}/{}", escaped(role));
        let status = self.0.write(Method::POST, &path, &json!(allowed), &everybody_may).await?;
        Ok(status != StatusCode::NOT_IMPLEMENTED)
    }

    /// Deletes the namespace with all that is in it, and the tenant when nothing else is in that and it is not `public`. What is
    /// not there is well.
    ///
    /// # Errors
    /// When Pulsar cannot be asked, refuses, or is not done after 25 s.
    pub async fn delete(&self, tenant: &str, namespace: &str) -> Result<(), Fault> {
        let late = || {
            let message = format!(
                "pulsar did not delete the namespace {tenant}/{namespace} within {} s; it goes on with it",
                DELETION.as_secs()
            );
            Fault::new(Reason::Unreachable, message)
        };
        timeout(DELETION, self.delete_all(tenant, namespace)).await.unwrap_or_else(|_| Err(late()))
    }

    async fn delete_all(&self, tenant: &str, namespace: &str) -> Result<(), Fault> {
        let gone = StatusCode::NOT_FOUND;
        let of_namespace = format!("/namespaces/{tenant}/{namespace}");
        if self.0.get(&of_namespace).await?.is_some() {
            self.delete_topics(tenant, namespace).await?;
            // By force there may be more in it, such as topics of the broker itself. Not every broker allows that.
            let forced = [gone, StatusCode::METHOD_NOT_ALLOWED];
            let path = format!("{of_namespace}?force=true");
            if self.0.write(Method::DELETE, &path, &Value::Null, &forced).await?
                == StatusCode::METHOD_NOT_ALLOWED
            {
                self.0.write(Method::DELETE, &of_namespace, &Value::Null, &[gone]).await?;
            }
        }
        if tenant == "public" {
            return Ok(());
        }
        let others = self.0.get(&format!("/namespaces/{tenant}")).await?;
        if others.as_ref().and_then(Value::as_array).is_some_and(Vec::is_empty) {
            // Somebody may make another namespace in it at this moment: then it stays, which is a conflict.
            let stays = [gone, StatusCode::CONFLICT];
            self.0.write(Method::DELETE, &format!("/tenants/{tenant}"), &Value::Null, &stays).await?;
        }
        Ok(())
    }

    /// Deletes all topics, also while somebody still uses them.
    async fn delete_topics(&self, tenant: &str, namespace: &str) -> Result<(), Fault> {
        let gone = [StatusCode::NOT_FOUND];
        for kind in ["persistent", "non-persistent"] {
            let all = format!("/{kind}/{tenant}/{namespace}");
            let partitioned = self.0.get(&format!("{all}/partitioned")).await?;
            for name in names(partitioned.as_ref()) {
                let path = format!("{all}/{name}/partitions?force=true");
                self.0.write(Method::DELETE, &path, &Value::Null, &gone).await?;
            }
            let others = self.0.get(&all).await?;
            // Those of the broker itself, such as `__change_events`, go with the namespace.
            for name in names(others.as_ref()).filter(|name| !name.starts_with("__")) {
                let path = format!("{all}/{name}?force=true");
                self.0.write(Method::DELETE, &path, &Value::Null, &gone).await?;
            }
        }
        Ok(())
    }
}

/// What a role may do, as Pulsar lists it.
fn actions(listed: &Value) -> impl Iterator<Item = &str> {
    listed.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// A name as one part of a path (RFC 3986 §2.3): roles may have any characters.
fn escaped(name: &str) -> String {
    name.bytes().fold(String::new(), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}

fn events(desired: &Desired) -> String {
    format!("/persistent/{}/{}/events/partitions", desired.tenant, desired.namespace)
}

/// The last parts of the names of listed topics.
fn names(listed: Option<&Value>) -> impl Iterator<Item = &str> {
    let listed = listed.and_then(Value::as_array).into_iter().flatten();
    listed.filter_map(Value::as_str).filter_map(|topic| topic.rsplit('/').next())
}

/// Policies as `GET /namespaces/T/N` says them. One that cannot be read counts as not set.
fn read(found: &Value) -> Policies {
    fn of<T: DeserializeOwned>(value: &Value) -> Option<T> {
        T::deserialize(value).ok()
    }
    Policies {
        retention: of(&found["retention_policies"]),
        message_ttl: found["message_ttl_in_seconds"].as_u64(),
        backlog_quota: of(&found["backlog_quota_map"]["destination_storage"]),
        inactive_topics: of(&found["inactive_topic_policies"]),
    }
}
