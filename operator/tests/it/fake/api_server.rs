//! An API server over plain HTTP, for what the operator asks of one: lists, watches, server-side apply, merge patches, creation,
//! replacement, deletion with garbage collection. It remembers what it was asked for.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Query, State},
    http::{HeaderMap, Method, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
};
use futures_util::stream;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, time::Instant};

use super::store::{Change, Place, Store, merge_patch};

/// Where ChatClusters are.
pub(crate) const CHATS: &str = "apis/folkmoot.dev/v1alpha1/chatclusters";

/// An API server.
#[derive(Clone)]
pub(crate) struct ApiServer {
    shared: Arc<Shared>,
    pub(crate) address: SocketAddr,
}

struct Shared {
    store: Mutex<Store>,
    version: watch::Sender<u64>,
    asked: Mutex<Asked>,
}

#[derive(Default)]
struct Asked {
    /// What was asked for but for lists, watches and leases, as `VERB PLURAL/NAME`.
    requests: Vec<String>,
    /// All requests but those of leases.
    count: u64,
    leases: u64,
    /// Refused with this status: kind, as a plural, and the status.
    refused: Option<(String, u16)>,
    has_addons: bool,
}

impl ApiServer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            store: Mutex::default(),
            version: watch::channel(0).0,
            asked: Mutex::default(),
        });
        let router = Router::new().fallback(answer).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { shared, address }
    }

    pub(crate) fn client(&self) -> kube::Client {
        // The client may speak TLS, if not to this one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let config = kube::Config::new(format!("http://{}", self.address).parse().unwrap());
        kube::Client::try_from(config).unwrap()
    }

    /// Does something to the objects, as a person or a controller would.
    pub(crate) fn act<T>(&self, act: impl FnOnce(&mut Store) -> T) -> T {
        let (done, version) = {
            let mut store = self.shared.store.lock();
            (act(&mut store), store.version)
        };
        self.shared.version.send_replace(version);
        done
    }

    /// What was asked for since this was called last, but for lists, watches and leases.
    pub(crate) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.asked.lock().requests)
    }

    /// All requests so far, but for those of leases.
    pub(crate) fn count(&self) -> u64 {
        self.shared.asked.lock().count
    }

    /// All requests of leases so far.
    pub(crate) fn leases(&self) -> u64 {
        self.shared.asked.lock().leases
    }

    /// Every write of this kind, a plural, is refused from now on.
    pub(crate) fn refuse(&self, plural: &str, status: u16) {
        self.shared.asked.lock().refused = Some((plural.to_owned(), status));
    }

    /// Nothing is refused any more.
    pub(crate) fn relent(&self) {
        self.shared.asked.lock().refused = None;
    }

    /// Kinds of Gateway API and Prometheus are there from now on.
    pub(crate) fn install_addons(&self) {
        self.shared.asked.lock().has_addons = true;
    }
}

/// What a path and a query say.
struct Request {
    /// API group and version, `apis/GROUP/VERSION`.
    version: String,
    place: Place,
    subresource: String,
    query: HashMap<String, String>,
    is_metadata_only: bool,
}

impl Request {
    fn read(uri: &Uri, query: HashMap<String, String>, headers: &HeaderMap) -> Self {
        let parts: Vec<&str> = uri.path().trim_matches('/').split('/').collect();
        let (version, rest) = parts.split_at(if parts[0] == "api" { 2 } else { 3 }.min(parts.len()));
        let (namespace, rest) = match rest {
            ["namespaces", namespace, rest @ ..] => (*namespace, rest),
            rest => ("", rest),
        };
        let part = |index: usize| rest.get(index).copied().unwrap_or_default();
        let version = version.join("/");
        let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Self {
            place: Place::new(&format!("{version}/{}", part(0)), namespace, part(1)),
            subresource: part(2).to_owned(),
            version,
            query,
            is_metadata_only: accept.contains("as=PartialObjectMetadata"),
        }
    }

    fn covers(&self, place: &Place) -> bool {
        place.collection == self.place.collection
            && (self.place.namespace.is_empty() || self.place.namespace == place.namespace)
    }

    /// Whether an object has the labels that are asked for.
    fn selects(&self, object: &Value) -> bool {
        let selector = self.query.get("labelSelector").map_or("", String::as_str);
        selector
            .split(',')
            .filter_map(|pair| pair.split_once('='))
            .all(|(key, value)| object["metadata"]["labels"][key] == value)
    }

    fn shown(&self, object: &Value) -> Value {
        if self.is_metadata_only {
            json!({
                "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"],
            })
        } else {
            object.clone()
        }
    }

    fn manager(&self) -> &str {
        self.query.get("fieldManager").map_or("nobody", String::as_str)
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request = Request::read(&uri, query, &headers);
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    if request.place.collection.ends_with('/') {
        return kinds(&shared, &request);
    }
    let is_lease = request.place.collection.ends_with("/leases");
    if is_lease {
        shared.asked.lock().leases += 1;
    } else {
        shared.asked.lock().count += 1;
    }
    if method == Method::GET && request.place.name.is_empty() {
        let is_watch = request.query.get("watch").is_some_and(|value| value != "false");
        return if is_watch { follow(shared, request) } else { list(&shared, &request) };
    }
    if !is_lease {
        let verb = match (method.as_str(), request.subresource.as_str()) {
            ("PATCH", "status") => "status",
            ("PATCH", "scale") => "scale",
            ("PATCH", _) if is_apply(&headers) => "apply",
            ("PATCH", _) => "patch",
            ("POST", _) => "create",
            ("DELETE", _) => "delete",
            (_, _) => "get",
        };
        let what = if request.place.collection.ends_with("/events") {
            format!("event {}", body["reason"].as_str().unwrap_or_default())
        } else {
            format!("{verb} {}", request.place.short())
        };
        shared.asked.lock().requests.push(what);
        if method != Method::GET
            && let Some((plural, status)) = &shared.asked.lock().refused
            && request.place.collection.ends_with(&format!("/{plural}"))
        {
            return failure(*status, "Refused", "it is refused here");
        }
    }
    let (answer, version) = {
        let mut store = shared.store.lock();
        let answer = match method.as_str() {
            "GET" => store.get(&request.place).map_or_else(not_found, |object| shown(&request, &object)),
            "DELETE" => delete(&mut store, &request, &body),
            "PATCH" => patch(&mut store, &request, &body, is_apply(&headers)),
            _ => write(&mut store, &request, body, method == Method::POST),
        };
        (answer, store.version)
    };
    shared.version.send_replace(version);
    answer
}

fn is_apply(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/apply-patch+yaml")
}

fn kinds(shared: &Shared, request: &Request) -> Response {
    let kinds: &[&str] = match request.version.as_str() {
        "apis/gateway.networking.k8s.io/v1" => &["HTTPRoute"],
        "apis/monitoring.coreos.com/v1" => &["ServiceMonitor", "PrometheusRule"],
        _ => &[],
    };
    if kinds.is_empty() || !shared.asked.lock().has_addons {
        return not_found();
    }
    let resources: Vec<Value> = kinds
        .iter()
        .map(|kind| json!({ "kind": kind, "name": kind.to_lowercase(), "singularName": "", "namespaced": true, "verbs": [] }))
        .collect();
    json_body(&json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": request.version.trim_start_matches("apis/"),
        "resources": resources,
    }))
}

fn list(shared: &Shared, request: &Request) -> Response {
    let store = shared.store.lock();
    let items: Vec<Value> = store
        .objects
        .iter()
        .filter(|(place, object)| request.covers(place) && request.selects(object))
        .map(|(_, object)| request.shown(object))
        .collect();
    json_body(&json!({
        "kind": "List", "apiVersion": "v1", "metadata": { "resourceVersion": store.version.to_string() }, "items": items,
    }))
}

fn follow(shared: Arc<Shared>, request: Request) -> Response {
    let since: u64 =
        request.query.get("resourceVersion").and_then(|version| version.parse().ok()).unwrap_or(0);
    let seconds = request.query.get("timeoutSeconds").and_then(|seconds| seconds.parse().ok()).unwrap_or(300);
    let end_at = Instant::now() + Duration::from_secs(seconds);
    let changed = shared.version.subscribe();
    let start = {
        let store = shared.store.lock();
        store.log.partition_point(|change| change.version <= since)
    };
    let lines = stream::unfold(
        (shared, request, changed, start),
        move |(shared, request, mut changed, at)| async move {
            loop {
                changed.mark_unchanged();
                let (text, end) = {
                    let store = shared.store.lock();
                    let lines: String =
                        store.log[at..].iter().filter_map(|change| line(&request, change)).collect();
                    (lines, store.log.len())
                };
                if !text.is_empty() {
                    return Some((Ok::<_, std::io::Error>(text), (shared, request, changed, end)));
                }
                tokio::time::timeout_at(end_at, changed.changed()).await.ok()?.ok()?;
            }
        },
    );
    ([(header::CONTENT_TYPE, "application/json")], Body::from_stream(lines)).into_response()
}

/// A change as one who watches sees it: what gets the labels that are asked for appears, what loses them is gone.
fn line(request: &Request, change: &Change) -> Option<String> {
    if !request.covers(&change.place) {
        return None;
    }
    let before = change.before.as_deref().filter(|object| request.selects(object));
    let now = change.now.as_deref().filter(|object| request.selects(object));
    let (kind, object) = match (before, now) {
        (None, None) => return None,
        (None, Some(now)) => ("ADDED", now),
        (Some(_), Some(now)) => ("MODIFIED", now),
        (Some(before), None) => ("DELETED", before),
    };
    let mut object = request.shown(object);
    object["metadata"]["resourceVersion"] = json!(change.version.to_string());
    Some(format!("{}\n", json!({ "type": kind, "object": object })))
}

fn delete(store: &mut Store, request: &Request, body: &Value) -> Response {
    let Some(found) = store.get(&request.place) else { return not_found() };
    let expected = &body["preconditions"]["uid"];
    if !expected.is_null() && *expected != found["metadata"]["uid"] {
        return conflict();
    }
    store.delete(&request.place).map_or_else(not_found, |object| shown(request, &object))
}

fn patch(store: &mut Store, request: &Request, body: &Value, is_apply: bool) -> Response {
    let found = store.get(&request.place);
    for field in ["uid", "resourceVersion"] {
        let expected = &body["metadata"][field];
        if !expected.is_null() && found.as_ref().is_none_or(|found| found["metadata"][field] != *expected) {
            return conflict();
        }
    }
    match (request.subresource.as_str(), found, is_apply) {
        ("status", Some(found), _) => {
            let mut object = (*found).clone();
            object["status"] = body["status"].clone();
            shown(request, &store.put(&request.place, object))
        }
        ("scale", Some(found), _) => {
            let mut object = (*found).clone();
            object["spec"]["gateway"]["replicas"] = body["spec"]["replicas"].clone();
            let now = store.put(&request.place, object);
            json_body(&json!({
                "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": { "name": now["metadata"]["name"] },
                "spec": { "replicas": now["spec"]["gateway"]["replicas"] },
            }))
        }
        ("", found, true) => {
            let owner = |object: &Value| {
                let owners = object["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
                owners.into_iter().find(|owner| owner["controller"] == true).map(|owner| owner["uid"].clone())
            };
            if let (Some(before), Some(now)) = (found.as_deref().and_then(owner), owner(body))
                && before != now
            {
                return failure(422, "Invalid", "only one owner can be the controller");
            }
            shown(request, &store.apply(&request.place, body, request.manager()))
        }
        ("", Some(found), false) => {
            let mut object = (*found).clone();
            merge_patch(&mut object, body);
            shown(request, &store.put(&request.place, object))
        }
        _ => not_found(),
    }
}

fn write(store: &mut Store, request: &Request, body: Value, is_new: bool) -> Response {
    let mut place = request.place.clone();
    if is_new {
        place.name = body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    }
    let found = store.get(&place);
    let expected = &body["metadata"]["resourceVersion"];
    let is_stale =
        |found: &Arc<Value>| !expected.is_null() && *expected != found["metadata"]["resourceVersion"];
    if is_new && found.is_some() || found.as_ref().is_some_and(is_stale) {
        return conflict();
    }
    shown(request, &store.put(&place, body))
}

fn shown(request: &Request, object: &Value) -> Response {
    json_body(&request.shown(object))
}

fn json_body(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

fn not_found() -> Response {
    failure(404, "NotFound", "it is not there")
}

fn conflict() -> Response {
    failure(409, "Conflict", "it is another by now")
}

fn failure(code: u16, reason: &str, message: &str) -> Response {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason,
        "message": message,
    });
    (StatusCode::from_u16(code).unwrap(), json_body(&status)).into_response()
}
