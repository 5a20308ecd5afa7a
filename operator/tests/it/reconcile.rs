//! What one reconcile asks of the API server, and in which order, in each situation.

use std::sync::Arc;

use folkmoot_crds::PAUSED_ANNOTATION;
use folkmoot_operator::{
    addons,
    controller::{Again, Controller, ReconcileError, build::Capabilities},
    kinds::ChildKind,
    lease::{Elector, Leadership, LeaseOptions},
    live::{Key, Live, Watches},
    names,
    queue::Queue,
};
use serde_json::{Value, json};

use crate::fake;
use crate::fake::{
    Started,
    api_server::{ApiServer, CHATS},
    engines::Engines,
    place, until,
};

const DEPLOYMENTS: &str = "apis/apps/v1/deployments";
const SERVICES: &str = "api/v1/services";
const SECRETS: &str = "api/v1/secrets";
const PODS: &str = "api/v1/pods";
const POLICIES: &str = "apis/networking.k8s.io/v1/networkpolicies";

/// A situation that a reconcile finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scenario {
    /// A `ChatCluster` of which nothing is there.
    Fresh,
    /// Everything is there and well.
    Settled,
    /// Somebody changed the replicas of a Deployment.
    Edited,
    /// Somebody took our labels off a Service, so that it is not seen any more.
    Unlabelled,
    /// Somebody deleted a Service.
    Deleted,
    /// The spec does not ask for NetworkPolicies any more.
    Orphans,
    /// Somebody changed the replicas, and wants to be let alone.
    Paused,
    /// The spec cannot be.
    Invalid,
    /// Nothing is there, and Cassandra neither.
    NoCassandra,
    /// Nothing is there, but the API server takes no Services.
    Refused,
    /// Somebody else has a Service of that name.
    NameTaken,
    /// It is being deleted, and keyspace and topics with it.
    Ending,
}

/// The API server, the engines and an operator before them.
struct Stage {
    server: ApiServer,
    engines: Engines,
    live: Arc<Live>,
    controller: Arc<Controller>,
    key: Key,
    watches: Watches,
}

impl Stage {
    async fn set(scenario: Scenario) -> Self {
        Self::with(scenario, |_| Leadership::alone()).await
    }

    async fn with(scenario: Scenario, leadership: impl FnOnce(&ApiServer) -> Leadership) -> Self {
        let (server, engines) = (ApiServer::start().await, Engines::start().await);
        let mut spec = engines.spec();
        if scenario == Scenario::Ending {
            spec["deletionPolicy"] = json!("Delete");
        }
        if scenario == Scenario::NoCassandra {
            engines.cassandra_goes_away();
        }
        server.act(|store| {
            store.has_controllers = true;
            store.put(
                &place(CHATS, "demo"),
                json!({ "apiVersion": "folkmoot.dev/v1alpha1", "kind": "ChatCluster", "metadata": {}, "spec": spec }),
            );
        });
        let Started { live, controller, watches } = Started::before(&server, leadership(&server));
        let stage = Self { server, engines, live, controller, key: Key::new("chat", "demo"), watches };
        stage.happen(scenario).await;
        stage
    }

    async fn happen(&self, scenario: Scenario) {
        use Scenario::*;
        if !matches!(scenario, Fresh | NoCassandra | Refused | NameTaken) {
            self.settle().await;
        }
        let api = place(DEPLOYMENTS, "demo-api");
        let chat = place(CHATS, "demo");
        let spec = |patch: Value| {
            self.server.act(|store| {
                let mut cluster = (*store.get(&chat).unwrap()).clone();
                fake::store::merge_patch(&mut cluster, &patch);
                store.put(&chat, cluster);
            });
        };
        match scenario {
            Fresh | Settled | NoCassandra => {}
            Refused => self.server.refuse("services", 403),
            Edited => self.server.act(|store| store.edit(&api, &["spec", "replicas"], json!(7))),
            Unlabelled => self.server.act(|store| {
                let path = ["metadata", "labels", names::MANAGED_BY_LABEL];
                store.edit(&place(SERVICES, "demo-auth"), &path, json!("somebody"));
            }),
            Deleted => self.server.act(|store| drop(store.delete(&place(SERVICES, "demo-auth")))),
            Orphans => spec(json!({ "spec": { "networkPolicy": { "enabled": false } } })),
            Paused => {
                spec(json!({ "metadata": { "annotations": { "folkmoot.dev/paused": "true" } } }));
                self.server.act(|store| store.edit(&api, &["spec", "replicas"], json!(7)));
            }
            Invalid => {
                spec(json!({ "spec": { "api": { "resources": { "requests": { "memory": "lots" } } } } }))
            }
            NameTaken => self.server.act(|store| {
                let theirs =
                    json!({ "apiVersion": "v1", "kind": "Service", "metadata": {}, "spec": { "ports": [] } });
                store.put(&place(SERVICES, "demo"), theirs);
            }),
            Ending => self.server.act(|store| {
                // One pod has not ended yet.
                let labels =
                    names::labels("demo", names::Component::Role(folkmoot_operator::role::Role::Api));
                let pod = json!({ "apiVersion": "v1", "kind": "Pod", "metadata": { "labels": labels } });
                store.put(&place(PODS, "demo-api-x"), pod);
                store.delete(&chat);
            }),
        }
        self.server.requests();
    }

    /// Reconciles until there is nothing left to do.
    async fn settle(&self) {
        for _ in 0..20 {
            self.reconcile().await.unwrap();
            if self.server.requests().is_empty() {
                return;
            }
        }
        panic!("there is always something to do");
    }

    /// One reconcile, once everything that is there was seen.
    async fn reconcile(&self) -> Result<Again, ReconcileError> {
        until("everything is seen", || self.has_seen_everything()).await;
        self.controller.reconcile(&self.key).await
    }

    fn has_seen_everything(&self) -> bool {
        let version = |object: &Value| object["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
        let seen: Vec<String> = {
            let cluster = self.live.cluster(&self.key);
            let children = self.live.children(&self.key);
            let cluster = cluster.iter().filter_map(|cluster| cluster.metadata.resource_version.clone());
            cluster.chain(children.values().map(|child| child.resource_version.clone())).collect()
        };
        let pods = self.live.pods(&self.key).len();
        self.server.act(|store| {
            let is_ours = |object: &Value| {
                object["metadata"]["labels"][names::MANAGED_BY_LABEL] == names::FIELD_MANAGER
            };
            let mut there: Vec<String> = Vec::new();
            let mut pods_there = 0;
            for (place, object) in &store.objects {
                if place.collection == PODS {
                    pods_there += 1;
                } else if place.collection == CHATS || is_ours(object) {
                    there.push(version(object));
                }
            }
            let mut seen = seen.clone();
            seen.sort_unstable();
            there.sort_unstable();
            self.live.is_synced() && seen == there && pods == pods_there
        })
    }

    /// `Status/Reason` of a condition.
    fn condition(&self, kind: &str) -> String {
        let chat = self.server.act(|store| store.get(&place(CHATS, "demo"))).unwrap();
        let conditions = chat["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.iter().find(|condition| condition["type"] == kind).unwrap();
        format!("{}/{}", found["status"].as_str().unwrap(), found["reason"].as_str().unwrap())
    }

    fn message(&self, kind: &str) -> String {
        let chat = self.server.act(|store| store.get(&place(CHATS, "demo"))).unwrap();
        let conditions = chat["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let found = conditions.iter().find(|condition| condition["type"] == kind).unwrap();
        found["message"].as_str().unwrap().to_owned()
    }

    fn is_there(&self, collection: &str, name: &str) -> bool {
        self.server.act(|store| store.get(&place(collection, name)).is_some())
    }

    /// What one reconcile asks for.
    async fn asks(&self) -> Vec<String> {
        self.reconcile().await.unwrap();
        self.server.requests()
    }
}

/// The order in which a kind is applied.
fn rank(request: &str) -> usize {
    let plural = request.split([' ', '/']).nth(1).unwrap();
    let kinds = ChildKind::ALL.map(|kind| kind.resource().plural);
    kinds.iter().position(|kind| kind == plural).unwrap_or_else(|| panic!("{request} is of no child"))
}

#[tokio::test]
async fn a_fresh_chat_is_made_in_order_and_reported_last() {
    let stage = Stage::set(Scenario::Fresh).await;
    let asked = stage.asks().await;
    let (reported, made): (Vec<&String>, Vec<&String>) = asked
        .iter()
        .filter(|request| !request.starts_with("get"))
        .partition(|request| request.starts_with("event") || request.contains("chatclusters"));
    let ranks: Vec<usize> = made.iter().map(|request| rank(request)).collect();
    assert!(ranks.is_sorted(), "what others refer to comes first: {made:#?}");
    assert!(made.iter().all(|request| request.starts_with("apply ")), "{made:#?}");
    assert!(
        made.last().unwrap().starts_with("apply jobs/demo-migrate-"),
        "no role before the tables: {made:#?}"
    );
    assert_eq!(reported[0], "status chatclusters/demo");
    assert!(reported[1..].iter().all(|request| request.starts_with("event ")), "{reported:#?}");
    assert_eq!(stage.condition("Ready"), "False/MigrationRunning");

    let asked = stage.asks().await;
    let made: Vec<&String> = asked.iter().filter(|request| request.starts_with("apply")).collect();
    assert_eq!(
        made,
        ["apply deployments/demo-auth", "apply deployments/demo-api", "apply deployments/demo-gateway"]
    );
    stage.settle().await;
    assert_eq!(stage.condition("Ready"), "True/Ready");
    assert_eq!(stage.condition("Progressing"), "False/Settled");
    assert_eq!(stage.engines.namespaces(), ["folkmoot/chat.demo"]);
}

#[tokio::test]
async fn an_unchanged_chat_costs_nothing() {
    let stage = Stage::set(Scenario::Settled).await;
    let before = stage.server.count();
    for _ in 0..20 {
        stage.reconcile().await.unwrap();
    }
    assert_eq!(stage.server.requests(), Vec::<String>::new());
    assert_eq!(stage.server.count(), before);
}

#[tokio::test]
async fn another_operator_looks_at_each_object_once_and_changes_none() {
    let stage = Stage::set(Scenario::Settled).await;
    let version = stage.server.act(|store| store.version);
    let another = fake::controller(
        &stage.server,
        Arc::clone(&stage.live),
        Arc::new(Queue::default()),
        Leadership::alone(),
    );
    another.reconcile(&stage.key).await.unwrap();
    let asked = stage.server.requests();
    assert!(asked.iter().all(|request| request.starts_with("apply ")), "{asked:#?}");
    assert_eq!(stage.server.act(|store| store.version), version, "nothing changed");
    another.reconcile(&stage.key).await.unwrap();
    assert_eq!(stage.server.requests(), Vec::<String>::new());
}

#[tokio::test]
async fn kinds_of_addons_are_made_from_when_they_are_there() {
    let stage = Stage::set(Scenario::Settled).await;
    let client = stage.server.client();
    assert_eq!(addons::discover(&client, Capabilities::default()).await, Capabilities::default());
    stage.server.install_addons();
    let found = addons::discover(&client, Capabilities::default()).await;
    assert_eq!(found, Capabilities { gateway_api: true, prometheus: true });
    stage.watches.begin(ChildKind::ServiceMonitor);
    stage.watches.begin(ChildKind::PrometheusRule);
    stage.controller.set_capabilities(found);
    let mut asked = stage.asks().await;
    asked.retain(|request| request.starts_with("apply"));
    assert_eq!(asked, ["apply servicemonitors/demo", "apply prometheusrules/demo"]);
    assert_eq!(stage.asks().await, Vec::<String>::new());
}

#[tokio::test]
async fn what_somebody_changed_is_applied_again_and_nothing_else() {
    let stage = Stage::set(Scenario::Edited).await;
    assert_eq!(
        stage.asks().await,
        ["apply deployments/demo-api", "status chatclusters/demo"],
        "the replicas that were there for a moment are reported"
    );
    stage.settle().await;
    let api = stage.server.act(|store| store.get(&place(DEPLOYMENTS, "demo-api"))).unwrap();
    assert_eq!(api["spec"]["replicas"], 2);
}

#[tokio::test]
async fn a_roll_out_that_somebody_paused_by_hand_goes_on() {
    let stage = Stage::set(Scenario::Settled).await;
    let api = place(DEPLOYMENTS, "demo-api");
    stage.server.act(|store| store.edit(&api, &["spec", "paused"], json!(true)));
    stage.settle().await;
    assert_eq!(stage.server.act(|store| store.get(&api)).unwrap()["spec"]["paused"], false);
}

#[tokio::test]
async fn what_somebody_hid_is_found_again() {
    let stage = Stage::set(Scenario::Unlabelled).await;
    assert_eq!(stage.asks().await, ["get services/demo-auth", "apply services/demo-auth"]);
    assert_eq!(stage.asks().await, Vec::<String>::new());
}

#[tokio::test]
async fn what_somebody_deleted_is_made_again_and_nothing_else() {
    let stage = Stage::set(Scenario::Deleted).await;
    assert_eq!(stage.asks().await, ["get services/demo-auth", "apply services/demo-auth"]);
    assert_eq!(stage.asks().await, Vec::<String>::new());
}

#[tokio::test]
async fn keys_that_were_deleted_are_made_anew_but_only_once_they_are_surely_gone() {
    let stage = Stage::set(Scenario::Settled).await;
    let keys = place(SECRETS, "demo-signing-keys");
    let before = stage.server.act(|store| store.get(&keys)).unwrap();
    stage.server.act(|store| drop(store.delete(&keys)));
    let asked = stage.asks().await;
    assert_eq!(asked[0], "get secrets/demo-signing-keys", "before it is decided that there are none");
    assert!(asked.contains(&"apply secrets/demo-signing-keys".to_owned()), "{asked:#?}");
    assert!(asked.contains(&"event SigningKeysChanged".to_owned()), "{asked:#?}");
    assert_ne!(stage.server.act(|store| store.get(&keys)).unwrap()["data"], before["data"]);
}

#[tokio::test]
async fn what_the_spec_does_not_ask_for_any_more_is_deleted() {
    let stage = Stage::set(Scenario::Orphans).await;
    let mut asked = stage.asks().await;
    asked.retain(|request| !request.starts_with("event") && !request.starts_with("status"));
    let policies = ["demo-api", "demo-auth", "demo-gateway", "demo-migrate"];
    assert_eq!(asked, policies.map(|name| format!("delete networkpolicies/{name}")));
    assert!(!stage.is_there(POLICIES, "demo-api"));
}

#[tokio::test]
async fn a_paused_chat_is_left_alone_and_reports_that() {
    let stage = Stage::set(Scenario::Paused).await;
    assert_eq!(stage.asks().await, ["status chatclusters/demo", "event Paused"]);
    assert_eq!(stage.condition("Progressing"), "False/Paused");
    assert_eq!(stage.asks().await, Vec::<String>::new());
}

#[tokio::test]
async fn what_differs_in_pulsar_is_put_right_unless_the_chat_is_paused() {
    let stage = Stage::set(Scenario::Fresh).await;
    let chat = place(CHATS, "demo");
    let pause = |value: Value| {
        stage.server.act(|store| {
            let mut cluster = (*store.get(&chat).unwrap()).clone();
            cluster["metadata"]["annotations"] = json!({ PAUSED_ANNOTATION: value });
            store.put(&chat, cluster);
        });
    };
    pause(json!("true"));
    stage.reconcile().await.unwrap();
    assert_eq!(stage.engines.namespaces(), Vec::<String>::new(), "looking changes nothing");
    assert_eq!(stage.condition("PulsarReady"), "False/Drifted");
    assert!(stage.message("PulsarReady").contains("nothing is put right while the ChatCluster is paused"));

    pause(json!("false"));
    let asked = stage.asks().await;
    assert!(asked.contains(&"event PulsarRepaired".to_owned()), "{asked:#?}");
    assert_eq!(stage.engines.namespaces(), ["folkmoot/chat.demo"]);
    assert_eq!(stage.condition("PulsarReady"), "True/Ready");
}

#[tokio::test]
async fn an_invalid_spec_is_reported_and_waits_for_its_change() {
    let stage = Stage::set(Scenario::Invalid).await;
    assert_eq!(stage.reconcile().await.unwrap(), Again::OnChange);
    let asked = stage.server.requests();
    assert_eq!(asked[0], "status chatclusters/demo");
    assert!(asked[1..].iter().all(|request| request == "event InvalidSpec"), "{asked:#?}");
    assert_eq!(stage.condition("Degraded"), "True/InvalidSpec");
    assert_eq!(stage.condition("GatewayAvailable"), "True/Available", "running workloads are left untouched");
    assert_eq!(stage.asks().await, Vec::<String>::new());
}

#[tokio::test]
async fn without_cassandra_all_is_made_but_the_migration() {
    let stage = Stage::set(Scenario::NoCassandra).await;
    let asked = stage.asks().await;
    assert!(asked.contains(&"apply services/demo".to_owned()), "{asked:#?}");
    assert!(!asked.iter().any(|request| request.contains("jobs/")), "{asked:#?}");
    assert_eq!(stage.condition("CassandraReady"), "False/TlsFailed", "it closes connections");
    assert_eq!(stage.condition("PulsarReady"), "True/Ready", "nothing else stops");
    assert_eq!(stage.condition("SchemaCurrent"), "False/AwaitingCassandra");
    assert!(stage.condition("Degraded").starts_with("True/Cassandra"));
}

#[tokio::test]
async fn what_the_api_server_refuses_is_reported_and_tried_again() {
    let stage = Stage::set(Scenario::Refused).await;
    stage.reconcile().await.unwrap_err();
    assert_eq!(stage.condition("Degraded"), "True/ApplyFailed");
    assert_eq!(stage.message("Degraded"), "failed to apply the Service demo: it is refused here");
    stage.server.relent();
    stage.settle().await;
    assert_eq!(stage.condition("Degraded"), "False/AsExpected");
}

#[tokio::test]
async fn an_object_of_somebody_else_is_not_taken() {
    let stage = Stage::set(Scenario::NameTaken).await;
    let theirs = stage.server.act(|store| store.get(&place(SERVICES, "demo"))).unwrap();
    stage.reconcile().await.unwrap_err();
    assert!(stage.message("Degraded").contains("the Service demo belongs to somebody else"));
    assert_eq!(stage.server.act(|store| store.get(&place(SERVICES, "demo"))).unwrap(), theirs);
    stage.server.act(|store| drop(store.delete(&place(SERVICES, "demo"))));
    stage.settle().await;
    assert_eq!(stage.condition("Ready"), "True/Ready");
}

#[tokio::test]
async fn a_chat_that_keeps_its_data_goes_at_once() {
    let stage = Stage::set(Scenario::Settled).await;
    stage.server.act(|store| drop(store.delete(&place(CHATS, "demo"))));
    assert_eq!(stage.asks().await, Vec::<String>::new());
    assert!(!stage.is_there(CHATS, "demo") && !stage.is_there(DEPLOYMENTS, "demo-api"));
    assert_eq!(stage.engines.namespaces(), ["folkmoot/chat.demo"], "its data is kept");
}

#[tokio::test]
async fn a_chat_that_takes_its_data_along_ends_its_processes_first() {
    let stage = Stage::set(Scenario::Ending).await;
    let asked = stage.asks().await;
    let roles = ["demo-api", "demo-auth", "demo-gateway"];
    assert_eq!(asked, roles.map(|name| format!("delete deployments/{name}")));
    assert_eq!(stage.asks().await, Vec::<String>::new(), "a pod has not ended");
    assert_eq!(stage.engines.namespaces(), ["folkmoot/chat.demo"]);

    stage.server.act(|store| drop(store.delete(&place(PODS, "demo-api-x"))));
    let asked = stage.asks().await;
    assert!(asked.iter().any(|request| request.starts_with("apply jobs/demo-drop-")), "{asked:#?}");
    assert_eq!(stage.engines.namespaces(), Vec::<String>::new());
    assert!(stage.is_there(CHATS, "demo"), "the keyspace was not seen to be dropped");

    assert_eq!(stage.asks().await, ["patch chatclusters/demo"]);
    assert!(!stage.is_there(CHATS, "demo"));
}

#[tokio::test]
async fn who_does_not_hold_the_lease_writes_nothing() {
    let elector = |server: &ApiServer| {
        let options = LeaseOptions { namespace: "chat".into(), name: "lease".into(), holder: "ada".into() };
        Elector::new(server.client(), options).leadership()
    };
    let stage = Stage::with(Scenario::Fresh, elector).await;
    assert!(matches!(stage.reconcile().await, Err(ReconcileError::NotLeader(_))));
    assert_eq!(stage.server.requests(), Vec::<String>::new());
}
