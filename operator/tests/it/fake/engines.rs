//! As much of Cassandra and Pulsar as the operator asks for.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::{Method, StatusCode, Uri},
};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// Both engines, on loopback.
pub(crate) struct Engines {
    pub(crate) cassandra: SocketAddr,
    pub(crate) pulsar: SocketAddr,
    is_away: Arc<AtomicBool>,
    namespaces: Namespaces,
}

type Namespaces = Arc<Mutex<BTreeMap<String, Value>>>;

impl Engines {
    pub(crate) async fn start() -> Self {
        let is_away = Arc::new(AtomicBool::new(false));
        let namespaces = Namespaces::default();
        Self {
            cassandra: cassandra(Arc::clone(&is_away)).await,
            pulsar: pulsar(Arc::clone(&namespaces)).await,
            is_away,
            namespaces,
        }
    }

    /// Cassandra closes every connection from now on.
    pub(crate) fn cassandra_goes_away(&self) {
        self.is_away.store(true, Ordering::Relaxed);
    }

    /// `TENANT/NAMESPACE` of all there are.
    pub(crate) fn namespaces(&self) -> Vec<String> {
        self.namespaces.lock().keys().cloned().collect()
    }

    /// The part of a spec that names them.
    pub(crate) fn spec(&self) -> Value {
        json!({
            "cassandra": { "contactPoints": [self.cassandra.to_string()] },
            "pulsar": {
                "url": format!("pulsar://{}", self.pulsar),
                "adminUrl": format!("http://{}", self.pulsar),
            },
        })
    }
}

/// Answers `OPTIONS` with `SUPPORTED`.
async fn cassandra(is_away: Arc<AtomicBool>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            if is_away.load(Ordering::Relaxed) {
                continue;
            }
            tokio::spawn(async move {
                let mut header = [0; 9];
                if stream.read_exact(&mut header).await.is_ok() {
                    let _ = stream.write_all(&[0x84, 0, header[2], header[3], 6, 0, 0, 0, 2, 0, 0]).await;
                }
            });
        }
    });
    address
}

/// Remembers namespaces with what is set of them.
async fn pulsar(namespaces: Namespaces) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(admin).with_state(namespaces);
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

async fn admin(
    State(namespaces): State<Namespaces>,
    method: Method,
    uri: Uri,
    body: Bytes,
) -> (StatusCode, Json<Value>) {
    let path: Vec<&str> = uri.path().trim_start_matches("/admin/v2/").split('/').collect();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut namespaces = namespaces.lock();
    let found = match (method.as_str(), path.as_slice()) {
        ("GET", ["clusters"]) => Some(json!(["standalone"])),
        ("GET", ["tenants", _]) => Some(json!({})),
        ("GET", ["namespaces", tenant]) => {
            let of_it = namespaces.keys().filter(|name| name.starts_with(&format!("{tenant}/")));
            Some(json!(of_it.collect::<Vec<_>>()))
        }
        ("PUT" | "DELETE", ["tenants", _]) => Some(Value::Null),
        ("GET", ["namespaces", tenant, name]) => namespaces.get(&format!("{tenant}/{name}")).cloned(),
        ("PUT", ["namespaces", tenant, name]) => {
            namespaces
                .entry(format!("{tenant}/{name}"))
                .or_insert_with(|| json!({ "events": { "partitions": 0 } }));
            Some(Value::Null)
        }
        ("DELETE", ["namespaces", tenant, name]) => namespaces.remove(&format!("{tenant}/{name}")),
        ("POST", ["namespaces", tenant, name, policy]) => {
            namespaces.get_mut(&format!("{tenant}/{name}")).map(|namespace| {
                match *policy {
                    "retention" => namespace["retention_policies"] = body,
                    "messageTTL" => namespace["message_ttl_in_seconds"] = body,
                    "backlogQuota" => namespace["backlog_quota_map"]["destination_storage"] = body,
                    _ => namespace["inactive_topic_policies"] = body,
                }
                Value::Null
            })
        }
        ("GET", ["persistent", tenant, name, "events", "partitions"]) => {
            namespaces.get(&format!("{tenant}/{name}")).map(|namespace| namespace["events"].clone())
        }
        ("PUT" | "POST", ["persistent", tenant, name, "events", "partitions"]) => {
            namespaces.get_mut(&format!("{tenant}/{name}")).map(|namespace| {
                namespace["events"] = json!({ "partitions": body });
                Value::Null
            })
        }
        ("PUT", ["non-persistent", tenant, name, "ephemeral"]) => {
            namespaces.get_mut(&format!("{tenant}/{name}")).map(|namespace| {
                namespace["topics"] = json!([format!("non-persistent://{tenant}/{name}/ephemeral")]);
                Value::Null
            })
        }
        ("GET", ["non-persistent", tenant, name]) => {
            namespaces.get(&format!("{tenant}/{name}")).map(|namespace| namespace["topics"].clone())
        }
        ("GET", ["persistent" | "non-persistent", ..]) => Some(json!([])),
        ("DELETE", ["persistent" | "non-persistent", ..]) => Some(Value::Null),
        _ => None,
    };
    match found {
        Some(found) => (StatusCode::OK, Json(found)),
        None => (StatusCode::NOT_FOUND, Json(json!({ "reason": "not found" }))),
    }
}
