//! Gateways come and go: the operator as it runs, an API server, and gateways that say how many sockets they hold.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use folkmoot_operator::{lease::Leadership, live::Watches, names, role::Role};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    task::JoinHandle,
    time::{interval, timeout},
};

use crate::fake::{
    DEADLINE, Started,
    api_server::{ApiServer, CHATS},
    engines::Engines,
    place,
    store::{Place, Store, merge_patch},
    until,
};

const DEPLOYMENTS: &str = "apis/apps/v1/deployments";
const AUTOSCALERS: &str = "apis/autoscaling/v2/horizontalpodautoscalers";
const PODS: &str = "api/v1/pods";
const SECRETS: &str = "api/v1/secrets";
/// A gateway: what it says and which orders it got.
#[derive(Debug, Default)]
struct Gateway {
    connections: u64,
    /// The tokens of whoever ordered it to drain.
    drain_orders: Vec<String>,
    /// How often it was asked for its metrics.
    asked: u64,
}

type Shared = Arc<Mutex<Gateway>>;

/// Gateways are asked at a port that is always the same; addresses of loopback are many.
async fn gateway(host: &str, connections: u64) -> Shared {
    let shared = Shared::new(Mutex::new(Gateway { connections, ..Gateway::default() }));
    let metrics = async |State(gateway): State<Shared>| {
        let mut gateway = gateway.lock();
        gateway.asked += 1;
        let draining = u8::from(!gateway.drain_orders.is_empty());
        format!(
            "folkmoot_gateway_connections {}\nfolkmoot_gateway_draining {draining}\n",
            gateway.connections
        )
    };
    let drain = async |State(gateway): State<Shared>, headers: HeaderMap| {
        let mut gateway = gateway.lock();
        gateway.drain_orders.push(headers["authorization"].to_str().unwrap().to_owned());
        gateway.connections = 0;
        (StatusCode::ACCEPTED, r#"{"draining":true,"connections":0}"#)
    };
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/drain", post(drain))
        .with_state(Arc::clone(&shared));
    let address: SocketAddr = format!("{host}:8081").parse().unwrap();
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    shared
}

/// The API server, the engines and gateways, with a ReplicaSet's controller.
struct Stage {
    server: ApiServer,
    _engines: Engines,
    /// By the name of their pods.
    gateways: BTreeMap<String, Shared>,
}

impl Stage {
    /// A chat with gateways that hold so many sockets. `net` keeps the addresses of tests apart.
    async fn set(net: u8, spec: &Value, connections: &[u64]) -> Self {
        let (server, engines) = (ApiServer::start().await, Engines::start().await);
        let mut whole = engines.spec();
        merge_patch(&mut whole, &json!({ "gateway": spec }));
        server.act(|store| {
            store.has_controllers = true;
            let chat = json!({
                "apiVersion": "folkmoot.dev/v1alpha1", "kind": "ChatCluster", "metadata": {}, "spec": whole,
            });
            store.put(&place(CHATS, "demo"), chat);
        });
        let mut gateways = BTreeMap::new();
        for (index, connections) in connections.iter().enumerate() {
            let (host, name) = (format!("127.{net}.0.{}", index + 1), format!("demo-gateway-{index}"));
            gateways.insert(name.clone(), gateway(&host, *connections).await);
            server.act(|store| add_pod(store, &name, &host));
        }
        let controller = server.clone();
        tokio::spawn(async move {
            let mut looks = interval(Duration::from_millis(50));
            loop {
                looks.tick().await;
                controller.act(take_pods_away);
            }
        });
        Self { server, _engines: engines, gateways }
    }

    fn operator(&self) -> Operator {
        let Started { controller, watches, .. } = Started::before(&self.server, Leadership::alone());
        let running = tokio::spawn(async move { controller.run(4).await });
        Operator { running, _watches: watches }
    }

    fn change(&self, gateway: &Value) {
        self.server.act(|store| {
            let chat = place(CHATS, "demo");
            let mut object = (*store.get(&chat).unwrap()).clone();
            merge_patch(&mut object, &json!({ "spec": { "gateway": gateway } }));
            store.put(&chat, object);
        });
    }

    fn get(&self, collection: &str, name: &str) -> Option<Value> {
        self.server.act(|store| store.get(&place(collection, name))).map(|object| (*object).clone())
    }

    fn status(&self) -> Value {
        self.get(CHATS, "demo").unwrap()["status"].clone()
    }

    fn replicas(&self) -> Option<i64> {
        self.get(DEPLOYMENTS, "demo-gateway")?["spec"]["replicas"].as_i64()
    }

    /// Waits until the operator has looked at the gateways, done what follows, and looks again.
    async fn gateways_are_asked_again(&self) {
        let asked = || self.gateways["demo-gateway-0"].lock().asked;
        let before = asked();
        // The second comes when all that followed from the first is done.
        until("the operator looks at the gateways again", || asked() >= before + 2).await;
    }

    fn pods(&self) -> Vec<String> {
        self.server.act(|store| pods(store).into_iter().map(|(place, _)| place.name).collect())
    }
}

/// An operator, which ends with this at whatever it does.
struct Operator {
    running: JoinHandle<()>,
    _watches: Watches,
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.running.abort();
    }
}

fn add_pod(store: &mut Store, name: &str, host: &str) {
    let mut labels = names::labels("demo", names::Component::Role(Role::Gateway));
    labels.insert(names::TEMPLATE_LABEL.into(), "abc".into());
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "labels": labels },
        "status": { "podIP": host, "conditions": [{ "type": "Ready", "status": "True" }] },
    });
    store.put(&place(PODS, name), pod);
}

fn pods(store: &Store) -> Vec<(Place, Arc<Value>)> {
    let all = store.objects.iter().filter(|(place, _)| place.collection == PODS);
    all.map(|(place, object)| (place.clone(), Arc::clone(object))).collect()
}

/// As a ReplicaSet's controller does: those that are marked first.
fn take_pods_away(store: &mut Store) {
    let Some(deployment) = store.get(&place(DEPLOYMENTS, "demo-gateway")) else { return };
    let wanted = usize::try_from(deployment["spec"]["replicas"].as_u64().unwrap()).unwrap();
    let mut all = pods(store);
    all.sort_by_key(|(_, pod)| pod["metadata"]["annotations"][names::DELETION_COST] != names::GOES_FIRST);
    for (pod, _) in all.iter().take(all.len().saturating_sub(wanted)) {
        store.delete(pod);
    }
}

#[tokio::test]
async fn a_scale_down_goes_on_where_the_operator_before_left_it() {
    let stage = Stage::set(90, &json!({ "replicas": 3, "drainSeconds": 0 }), &[5, 2, 9]).await;
    let first = stage.operator();
    until("the chat is ready", || stage.status()["conditions"][0]["status"] == "True").await;
    until("connections are reported", || stage.status()["connections"] == 16).await;
    stage.server.requests();

    stage.change(&json!({ "replicas": 2 }));
    until("it is written down who leaves", || !stage.status()["gateway"]["scaling"]["leaving"].is_null())
        .await;
    let emptiest = "demo-gateway-1";
    assert_eq!(stage.status()["gateway"]["scaling"]["leaving"]["pods"], json!([emptiest]));
    until("it is ordered to drain", || !stage.gateways[emptiest].lock().drain_orders.is_empty()).await;
    assert_eq!(stage.replicas(), Some(3), "it is not empty for sure yet");
    drop(first);

    let _second = stage.operator();
    until("there are two", || stage.replicas() == Some(2)).await;
    until("it is forgotten", || stage.status()["gateway"]["scaling"].is_null()).await;
    assert_eq!(stage.pods(), ["demo-gateway-0", "demo-gateway-2"]);

    let token = stage.get(SECRETS, "demo-admin-token").unwrap()["data"]["token"].as_str().unwrap().to_owned();
    let token = String::from_utf8(BASE64_STANDARD.decode(token).unwrap()).unwrap();
    let orders = stage.gateways[emptiest].lock().drain_orders.clone();
    assert!(
        orders.len() >= 2 && orders.iter().all(|order| *order == format!("Bearer {token}")),
        "{orders:?}"
    );
    for name in ["demo-gateway-0", "demo-gateway-2"] {
        assert!(stage.gateways[name].lock().drain_orders.is_empty(), "{name} stays");
    }
    let asked = stage.server.requests();
    let first = |what: &str| {
        asked.iter().position(|request| request == what).unwrap_or_else(|| panic!("{what}: {asked:#?}"))
    };
    assert!(first("status chatclusters/demo") < first("patch pods/demo-gateway-1"), "{asked:#?}");
    assert!(asked.contains(&"event ScaledDown".to_owned()), "{asked:#?}");
    assert_eq!(asked.iter().filter(|request| request.contains(" pods/")).count(), 1, "{asked:#?}");
    until("the Deployment goes on", || {
        stage.get(DEPLOYMENTS, "demo-gateway").unwrap()["spec"]["paused"] == false
    })
    .await;

    // All is well, and costs nothing: what is left to do gets done, and then gateways are asked without anything coming of it.
    let settles = async {
        loop {
            stage.server.requests();
            stage.gateways_are_asked_again().await;
            if stage.server.requests().is_empty() {
                break;
            }
        }
    };
    timeout(DEADLINE * 2, settles).await.expect("the operator comes to rest");
}

#[tokio::test]
async fn the_number_follows_the_sockets_and_others_begin_with_it() {
    let autoscaling = json!({
        "mode": "Operator", "maxReplicas": 4, "targetConnectionsPerPod": 100, "bufferPercent": 0, "stabilizationSeconds": 0,
    });
    let stage = Stage::set(91, &json!({ "autoscaling": autoscaling, "drainSeconds": 0 }), &[250]).await;
    let _operator = stage.operator();
    until("there are three", || stage.replicas() == Some(3)).await;
    until("it is reported", || stage.status()["gateway"]["scaling"]["desiredReplicas"] == 3).await;
    assert_eq!(stage.status()["gateway"]["scaling"]["mode"], "Operator");

    stage.server.requests();
    stage.change(&json!({ "autoscaling": { "mode": "External", "horizontalPodAutoscaler": {} } }));
    until("the number is handed over", || {
        stage.get(CHATS, "demo").unwrap()["spec"]["gateway"]["replicas"] == 3
    })
    .await;
    until("it is reported", || stage.status()["gateway"]["scaling"]["mode"] == "External").await;
    let autoscaler = stage.get(AUTOSCALERS, "demo-gateway").unwrap();
    assert_eq!(autoscaler["spec"]["scaleTargetRef"]["kind"], "ChatCluster");
    let asked = stage.server.requests();
    assert_eq!(asked.iter().filter(|request| *request == "scale chatclusters/demo").count(), 1, "{asked:#?}");
    stage.change(&json!({ "replicas": 4 }));
    until("what they write is so", || stage.replicas() == Some(4)).await;

    stage.change(&json!({ "autoscaling": { "horizontalPodAutoscaler": null } }));
    until("the autoscaler is gone", || stage.get(AUTOSCALERS, "demo-gateway").is_none()).await;
}
