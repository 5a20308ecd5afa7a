//! The datastores against a real Cassandra and a real Pulsar.

use std::time::{Duration, Instant};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use folkmoot_crds::ChatCluster;
use folkmoot_operator::{
    datastore::{Datastores, Engines, Fault, Health, Known, PulsarAction, Report, drifted},
    keys::{SecretData, issue::issue},
    secrets::Secrets,
};
use jiff::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::harness;

/// For anything that must come. It says that something never happens, not that a machine is slow.
const DEADLINE: Duration = Duration::from_secs(60);

/// A `ChatCluster` of a test, and what it refers to.
struct Chat {
    cluster: ChatCluster,
    namespace: String,
    secrets: Secrets,
    admin_url: String,
    token: String,
}

impl Chat {
    /// On the real Pulsar, in a namespace that nobody used before; Cassandra is nowhere. A tenant goes with its last namespace, so
    /// none that other tests use is given.
    async fn new(tenant: &str) -> Self {
        let settings = harness::pulsar().await;
        let admin_url = settings["FOLKMOOT_TEST_PULSAR_ADMIN"].clone();
        let token = std::fs::read_to_string(&settings["FOLKMOOT_TEST_PULSAR_TOKEN_FILE"]).unwrap();
        let nobody = harness::nobody().await.to_string();
        let spec = json!({
            "cassandra": { "contactPoints": [nobody] },
            "pulsar": {
                "url": settings["FOLKMOOT_TEST_PULSAR"],
                "adminUrl": admin_url,
                "tenant": tenant,
                "partitions": 3,
                "tokenSecretRef": { "name": "pulsar", "key": "token" },
            },
        });
        let secrets = [("pulsar".to_owned(), SecretData::from_iter([("token", token.clone())]))].into();
        let mut cluster = ChatCluster::new("chat", serde_json::from_value(spec).unwrap());
        cluster.metadata.uid = Some("uid".into());
        Self { cluster, namespace: harness::fresh_name(), secrets, admin_url, token }
    }

    /// As an operator that has just started.
    async fn look(&self) -> Report {
        Datastores::new().look(&self.engines(), &Known::default()).await.report()
    }

    /// The same, after what differs was put right: how Pulsar does then, and what was done.
    async fn repair(&self) -> (Health, Vec<PulsarAction>) {
        let datastores = Datastores::new();
        let mut known = datastores.look(&self.engines(), &Known::default()).await;
        let mut done = Vec::new();
        if let Some(drift) = known.report().drift {
            let outcome = datastores.repair(&self.engines(), &drift.actions, &mut done).await;
            known.repaired(outcome);
        }
        (known.report().pulsar, done)
    }

    async fn repaired(&self) -> Vec<PulsarAction> {
        let (health, done) = self.repair().await;
        assert_eq!(health, Health::Ready);
        done
    }

    fn engines(&self) -> Engines<'_> {
        engines(&self.cluster, &self.namespace, &self.secrets)
    }

    async fn delete(&self) {
        self.deleted().await.unwrap();
    }

    /// Tries again, as the operator does, while the broker is about to load or unload a topic.
    async fn deleted(&self) -> Result<(), Fault> {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let deleted = Datastores::new()
                .delete_pulsar(&self.cluster.spec.pulsar, &self.namespace, &self.secrets)
                .await;
            let is_soon = |fault: &Fault| fault.message.contains("temporarily unavailable");
            if !deleted.as_ref().is_err_and(is_soon) || Instant::now() >= end {
                return deleted;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// A request of somebody else.
    async fn admin(&self, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap();
        let url = format!("{}/admin/v2{path}", self.admin_url);
        let mut request = client.request(method, url).bearer_auth(self.token.trim());
        if !body.is_null() {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
    }

    async fn partitions(&self) -> Value {
        let path = format!("/persistent/{}/{}/events/partitions", self.tenant(), self.namespace);
        self.admin(Method::GET, &path, &Value::Null).await.1["partitions"].take()
    }

    fn tenant(&self) -> &str {
        &self.cluster.spec.pulsar.tenant
    }
}

fn engines<'a>(cluster: &'a ChatCluster, pulsar_namespace: &'a str, secrets: &'a Secrets) -> Engines<'a> {
    let (cassandra, pulsar) = (&cluster.spec.cassandra, &cluster.spec.pulsar);
    Engines { cassandra, pulsar, pulsar_namespace, secrets }
}

/// Reason and message of an engine that is not ready.
fn trouble(health: Health) -> (&'static str, String) {
    let Health::Unready { reason, message, .. } = health else { panic!("expected trouble, {health:?}") };
    (reason, message)
}

#[tokio::test]
async fn pulsar_gets_what_is_missing_and_keeps_what_is_right() {
    let chat = Chat::new("public").await;
    let seen = chat.look().await;
    let drift = seen.drift.expect("all of it is missing");
    assert_eq!(seen.pulsar, Health::Unknown);
    let paused = drifted(&chat.cluster.spec.pulsar, &chat.namespace, &drift);
    assert_eq!(trouble(paused).0, "Drifted");
    assert_eq!(
        chat.look().await.drift.map(|again| again.actions),
        Some(drift.actions),
        "looking changes nothing"
    );

    let made = chat.repaired().await;
    let last = [
        PulsarAction::MakeNamespace,
        PulsarAction::SetRetention,
        PulsarAction::SetBacklogQuota,
        PulsarAction::SetMessageTtl,
        PulsarAction::KeepTopics,
        PulsarAction::MakeEvents { partitions: 3 },
        PulsarAction::MakeEphemeral,
    ];
    assert!(made.ends_with(&last), "{made:?}");
    assert_eq!(chat.repaired().await, []);
    assert_eq!(chat.look().await.pulsar, Health::Ready);
    chat.delete().await;
}

#[tokio::test]
async fn what_somebody_changes_in_pulsar_is_put_right() {
    let mut chat = Chat::new("public").await;
    chat.repaired().await;
    let (tenant, namespace) = (chat.tenant().to_owned(), chat.namespace.clone());
    let of_namespace = format!("/namespaces/{tenant}/{namespace}");
    let events = format!("/persistent/{tenant}/{namespace}/events/partitions");
    let none = Value::Null;
    for (method, path, body, expected) in [
        (
            Method::POST,
            format!("{of_namespace}/retention"),
            json!({ "retentionTimeInMinutes": 60, "retentionSizeInMB": 4096 }),
            vec![PulsarAction::SetRetention],
        ),
        (Method::DELETE, format!("{of_namespace}/retention"), none.clone(), vec![PulsarAction::SetRetention]),
        (Method::POST, format!("{of_namespace}/messageTTL"), json!(5), vec![PulsarAction::SetMessageTtl]),
        (
            Method::DELETE,
            format!("{of_namespace}/messageTTL"),
            none.clone(),
            vec![PulsarAction::SetMessageTtl],
        ),
        (
            Method::POST,
            format!("{of_namespace}/backlogQuota?backlogQuotaType=destination_storage"),
            json!({ "limitSize": 1_048_576, "policy": "producer_exception" }),
            vec![PulsarAction::SetBacklogQuota],
        ),
        (
            Method::DELETE,
            format!("{of_namespace}/backlogQuota?backlogQuotaType=destination_storage"),
            none.clone(),
            vec![PulsarAction::SetBacklogQuota],
        ),
        (
            Method::DELETE,
            format!("{of_namespace}/inactiveTopicPolicies"),
            none.clone(),
            vec![PulsarAction::KeepTopics],
        ),
        (
            Method::DELETE,
            format!("{events}?force=true"),
            none.clone(),
            vec![PulsarAction::MakeEvents { partitions: 3 }],
        ),
        (
            Method::DELETE,
            format!("/non-persistent/{tenant}/{namespace}/ephemeral?force=true"),
            none.clone(),
            vec![PulsarAction::MakeEphemeral],
        ),
        // More partitions than we asked for are not ours to take away.
        (Method::POST, events.clone(), json!(5), vec![]),
    ] {
        let (status, answer) = chat.admin(method.clone(), &path, &body).await;
        assert!(status.is_success(), "{method} {path}: {status} {answer}");
        assert_eq!(chat.repaired().await, expected, "after {method} {path}");
        assert_eq!(chat.repaired().await, [], "again after {method} {path}");
    }
    assert_eq!(chat.partitions().await, 5);

    chat.cluster.spec.pulsar.partitions = 7;
    assert_eq!(chat.repaired().await, [PulsarAction::GrowEvents { from: 5, to: 7 }]);
    assert_eq!(chat.partitions().await, 7);
    chat.cluster.spec.pulsar.partitions = 2;
    assert_eq!(chat.repaired().await, []);
    assert_eq!(chat.partitions().await, 7);

    // From what is retained now to less than the quota of now, and back.
    let retention = |mebibytes, quota| {
        serde_json::from_value(json!({ "mebibytes": mebibytes, "backlogQuotaMebibytes": quota })).unwrap()
    };
    chat.cluster.spec.pulsar.retention = retention(100, 50);
    assert_eq!(chat.repaired().await, [PulsarAction::SetBacklogQuota, PulsarAction::SetRetention]);
    chat.cluster.spec.pulsar.retention = retention(2000, 1000);
    assert_eq!(chat.repaired().await, [PulsarAction::SetRetention, PulsarAction::SetBacklogQuota]);
    assert_eq!(chat.repaired().await, []);
    chat.delete().await;
}

#[tokio::test]
async fn processes_with_a_role_of_their_own_are_let_in() {
    let mut chat = Chat::new("public").await;
    let of = |role: &str| {
        let claims = URL_SAFE_NO_PAD.encode(json!({ "sub": role }).to_string());
        SecretData::from_iter([("token", format!("eyJhbGciOiJIUzI1NiJ9.{claims}.c2ln"))])
    };
    chat.secrets.insert("processes".into(), of("chat a/b"));
    let reference = |name: &str| serde_json::from_value(json!({ "name": name, "key": "token" })).unwrap();
    chat.cluster.spec.pulsar.admin_token_secret_ref = Some(reference("pulsar"));
    chat.cluster.spec.pulsar.token_secret_ref = Some(reference("processes"));
    assert_eq!(chat.repaired().await.last(), Some(&PulsarAction::Grant));
    assert_eq!(chat.repaired().await, []);

    // What somebody gave it beyond that stays.
    let permissions = format!("/namespaces/{}/{}/permissions", chat.tenant(), chat.namespace);
    let others = format!("{permissions}/chat%20a%2Fb");
    let (status, answer) = chat.admin(Method::POST, &others, &json!(["consume", "functions"])).await;
    assert!(status.is_success(), "{status} {answer}");
    assert_eq!(chat.repaired().await, [PulsarAction::Grant]);
    let (_, found) = chat.admin(Method::GET, &permissions, &Value::Null).await;
    let mut allowed: Vec<&str> =
        found["chat a/b"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["consume", "functions", "produce"]);

    // A token of another role takes the place of that.
    chat.secrets.insert("processes".into(), of("next"));
    assert_eq!(chat.repaired().await, [PulsarAction::Grant]);
    chat.delete().await;
}

#[tokio::test]
async fn deletion_leaves_nothing_in_pulsar() {
    let tenant = harness::fresh_name();
    let chat = Chat::new(&tenant).await;
    let other = Chat::new(&tenant).await;
    assert_eq!(chat.repaired().await.first(), Some(&PulsarAction::MakeTenant));
    assert_eq!(other.repaired().await.first(), Some(&PulsarAction::MakeNamespace));
    let is_there = async |path: String| chat.admin(Method::GET, &path, &Value::Null).await.0;

    chat.delete().await;
    assert_eq!(is_there(format!("/namespaces/{tenant}/{}", chat.namespace)).await, StatusCode::NOT_FOUND);
    assert_eq!(is_there(format!("/tenants/{tenant}")).await, StatusCode::OK, "another chat is in it");
    assert_eq!(other.repaired().await, [], "the other chat is as it was");

    // Brokers as they are shipped forbid what is simplest.
    let setting = "/brokers/configuration/forceDeleteNamespaceAllowed";
    let (forbidden, _) = chat.admin(Method::POST, &format!("{setting}/false"), &Value::Null).await;
    let deleted = other.deleted().await;
    let (restored, _) = chat.admin(Method::DELETE, setting, &Value::Null).await;
    assert!(forbidden.is_success() && restored.is_success(), "{forbidden} {restored}");
    assert_eq!(deleted, Ok(()));
    assert_eq!(is_there(format!("/tenants/{tenant}")).await, StatusCode::NOT_FOUND);
    other.delete().await;
}

#[tokio::test]
async fn problems_with_pulsar_are_reported_with_what_to_do() {
    let mut chat = Chat::new("public").await;
    let header = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJmb2xrbW9vdCJ9";
    for (token, secret) in
        [(format!("{header}.c2lnbmVkIGJ5IHNvbWVib2R5IGVsc2U"), "c2lnbmVk"), ("hunter2".into(), "hunter2")]
    {
        chat.secrets.get_mut("pulsar").unwrap().insert("token", token);
        let (reason, message) = trouble(chat.look().await.pulsar);
        assert_eq!(reason, "Unauthorized");
        assert!(
            message.contains(&chat.admin_url) && message.contains("spec.pulsar.adminTokenSecretRef"),
            "{message}"
        );
        assert!(!message.contains(secret), "{message}");
    }
    chat.secrets.remove("pulsar");
    let (reason, message) = trouble(chat.look().await.pulsar);
    assert_eq!(reason, "SecretMissing");
    assert!(message.contains("there is no Secret pulsar"), "{message}");

    chat.cluster.spec.pulsar.token_secret_ref = None;
    for address in [harness::nobody().await, harness::silence().await] {
        chat.cluster.spec.pulsar.admin_url = format!("http://{address}");
        let report = timeout(DEADLINE, chat.look()).await.expect("it is given up");
        let (reason, message) = trouble(report.pulsar);
        assert_eq!(reason, "Unreachable", "{message}");
        assert!(message.contains(&address.to_string()), "{message}");
    }
}

#[tokio::test]
async fn pulsar_is_known_by_its_authority() {
    let mut chat = Chat::new("public").await;
    let target = chat.admin_url.trim_start_matches("http://").to_owned();
    let (address, authority) = harness::tls_before(target).await;
    chat.cluster.spec.pulsar.admin_url = format!("https://{address}");
    let stranger = issue(Timestamp::now()).unwrap().authority;
    let reference = json!({ "name": "ca", "key": "ca.crt" });
    for (given, expected) in [
        (None, Some("TlsFailed")),
        (Some(stranger.as_str()), Some("TlsFailed")),
        (Some("no certificate"), Some("TlsFailed")),
        (Some(authority.as_str()), None),
    ] {
        let reference = given.map(|_| serde_json::from_value(reference.clone()).unwrap());
        chat.cluster.spec.pulsar.ca_secret_ref = reference;
        chat.secrets.insert("ca".into(), SecretData::from_iter([("ca.crt", given.unwrap_or_default())]));
        match (chat.repair().await.0, expected) {
            (Health::Ready, None) => {}
            (health, Some(expected)) => {
                let (reason, message) = trouble(health);
                assert_eq!(reason, expected, "{message}");
                assert!(message.contains("spec.pulsar.caSecretRef"), "{message}");
            }
            (health, None) => panic!("expected it to be ready, {health:?}"),
        }
    }
    chat.delete().await;
}

#[tokio::test]
async fn cassandra_is_asked_with_tls_and_without() {
    let settings = harness::cassandra().await;
    let point = settings["FOLKMOOT_TEST_CASSANDRA"].split(',').next().unwrap().to_owned();
    let authority = std::fs::read_to_string(&settings["FOLKMOOT_TEST_CASSANDRA_CA_FILE"]).unwrap();
    let stranger = issue(Timestamp::now()).unwrap().authority;
    let (nobody, silence) = (harness::nobody().await.to_string(), harness::silence().await.to_string());
    let (only_tls, its_authority) = harness::tls_before(point.clone()).await;
    let only_tls = only_tls.to_string();
    let pulsar = harness::nobody().await;
    let http = harness::pulsar().await["FOLKMOOT_TEST_PULSAR_ADMIN"].trim_start_matches("http://").to_owned();
    for (points, authority, expected) in [
        (vec![&point], None, None),
        (vec![&point], Some(&authority), None),
        (vec![&nobody, &point], Some(&authority), None),
        (vec![&silence, &point], None, None),
        (vec![&point], Some(&stranger), Some(("TlsFailed", &point))),
        (vec![&nobody, &point], Some(&stranger), Some(("TlsFailed", &point))),
        (vec![&only_tls], Some(&its_authority), None),
        (vec![&only_tls], None, Some(("TlsFailed", &only_tls))),
        (vec![&nobody], None, Some(("Unreachable", &nobody))),
        (vec![&nobody], Some(&authority), Some(("Unreachable", &nobody))),
        (vec![&silence], None, Some(("Unreachable", &silence))),
        (vec![&http], None, Some(("Refused", &http))),
    ] {
        let ca = authority.map(|_| json!({ "name": "ca", "key": "ca.crt" }));
        let spec = json!({
            "cassandra": { "contactPoints": points, "caSecretRef": ca },
            "pulsar": { "url": "pulsar://127.0.0.1:6650", "adminUrl": format!("http://{pulsar}") },
        });
        let cluster = ChatCluster::new("chat", serde_json::from_value(spec).unwrap());
        let authority = authority.map(String::as_str).unwrap_or_default();
        let secrets = [("ca".to_owned(), SecretData::from_iter([("ca.crt", authority)]))].into();
        let datastores = Datastores::new();
        let (engines, nothing) = (engines(&cluster, "chat", &secrets), Known::default());
        let check = datastores.look(&engines, &nothing);
        let known = timeout(DEADLINE, check).await.unwrap_or_else(|_| panic!("{points:?} are not given up"));
        let report = known.report();
        match expected {
            None => assert_eq!(report.cassandra, Health::Ready, "{points:?}"),
            Some((expected, address)) => {
                let (reason, message) = trouble(report.cassandra);
                assert_eq!(reason, expected, "{message}");
                assert!(message.contains(address.as_str()), "{message}");
            }
        }
    }
}
