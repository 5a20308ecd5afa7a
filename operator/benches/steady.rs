//! What the operator costs: its memory at rest, its memory and requests with 200 ChatClusters that are well, and how soon a changed
//! spec is applied. The API server and the engines are in this process; the operator is one of its own. It fails when a bar is missed.

#![allow(missing_docs)]
#![allow(clippy::unwrap_used)]

#[path = "../tests/it/fake/mod.rs"]
mod fake;

use std::{
    net::SocketAddr,
    process::{Child, Command, ExitCode, Stdio},
    time::Duration,
};

use axum::{Router, routing::get};
use fake::{
    api_server::{ApiServer, CHATS},
    engines::Engines,
    store::{Place, Store, merge_patch},
};
use folkmoot_operator::{names, role::Role};
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    time::{Instant, sleep},
};

const FEW: usize = 3;
const MANY: usize = 200;
/// Namespaces that they are spread over.
const NAMESPACES: usize = 20;
/// Changes of a spec that are timed.
const CHANGES: usize = 20;
/// For how long requests are counted.
const COUNTED: Duration = Duration::from_secs(120);
/// Memory is read this long after the last change: the allocator gives back what it does not need.
const CALM: Duration = Duration::from_secs(15);

const MAX_RSS_AT_REST: f64 = 20.0;
const MAX_RSS: f64 = 50.0;
const MAX_REQUESTS_A_MINUTE: f64 = 1.0;
const MAX_SECONDS: f64 = 1.0;

/// The operator, which ends with this.
struct Operator(Child);

impl Drop for Operator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Operator {
    fn start(server: SocketAddr) -> Self {
        let kubeconfig = std::env::temp_dir().join(format!("folkmoot-bench-{}.json", std::process::id()));
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "bench",
            "clusters": [{ "name": "bench", "cluster": { "server": format!("http://{server}") } }],
            "users": [{ "name": "bench", "user": {} }],
            "contexts": [{ "name": "bench", "context": { "cluster": "bench", "user": "bench" } }],
        });
        std::fs::write(&kubeconfig, config.to_string()).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_folkmoot-operator"))
            .args(["run", "--listen", "127.0.0.1:0", "--default-image", "folkmoot/chat-server:1"])
            .args(["--log-level", "warn", "--log-format", "text"])
            .env("KUBECONFIG", &kubeconfig)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// A number of `/proc/PID/status`, in MiB.
    fn mebibytes(&self, key: &str) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
    }

    /// Processor time so far.
    fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.0.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        // A tick is a hundredth of a second on every Linux that this runs on.
        Duration::from_millis(ticks * 10)
    }
}

fn chat(number: usize) -> Place {
    Place::new(CHATS, &format!("team-{}", number % NAMESPACES), &format!("chat-{number}"))
}

/// A ChatCluster and the pods that it will have.
fn add(store: &mut Store, number: usize, spec: &Value, gateway: SocketAddr) {
    let place = chat(number);
    for role in Role::ALL {
        for pod in 0..2 {
            let name = format!("{}-{}-{pod}", place.name, role.as_str());
            let labels = names::labels(&place.name, names::Component::Role(role));
            let pod = json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": { "labels": labels },
                "status": { "podIP": gateway.ip(), "conditions": [{ "type": "Ready", "status": "True" }] },
            });
            store.put(&Place::new("api/v1/pods", &place.namespace, &name), pod);
        }
    }
    let cluster =
        json!({ "apiVersion": "folkmoot.dev/v1alpha1", "kind": "ChatCluster", "metadata": {}, "spec": spec });
    store.put(&place, cluster);
}

fn is_ready(store: &Store, place: &Place) -> bool {
    let cluster = store.get(place).unwrap();
    let is = |kind: &str, status: &str, reason: &str| {
        let conditions = cluster["status"]["conditions"].as_array().into_iter().flatten();
        conditions
            .into_iter()
            .any(|it| it["type"] == kind && it["status"] == status && it["reason"] == reason)
    };
    is("Ready", "True", "Ready") && is("Progressing", "False", "Settled")
}

async fn until(what: &str, within: Duration, is_so: impl Fn() -> bool) -> Duration {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < within, "not so in time: {what}");
        sleep(Duration::from_millis(2)).await;
    }
    began.elapsed()
}

/// Answers as a gateway does.
async fn gateway() -> SocketAddr {
    // Gateways are asked at a port that is always the same; addresses of loopback are many.
    let listener = TcpListener::bind("127.99.0.1:8081").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().route("/metrics", get(|| async { "folkmoot_gateway_connections 375\n" }));
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// From a change of a spec until what is made of it was applied and its status says so.
async fn change(server: &ApiServer, number: usize) -> Duration {
    let place = chat(0);
    server.act(|store| {
        let mut cluster = (*store.get(&place).unwrap()).clone();
        merge_patch(&mut cluster, &json!({ "spec": { "gateway": { "maxConnections": 1_000 + number } } }));
        store.put(&place, cluster);
    });
    let took = until("the change is applied", Duration::from_secs(30), || {
        server.act(|store| {
            let cluster = store.get(&place).unwrap();
            cluster["status"]["observedGeneration"] == cluster["metadata"]["generation"]
        })
    });
    let took = took.await;
    until("it is rolled out", Duration::from_secs(30), || server.act(|store| is_ready(store, &place))).await;
    took
}

#[tokio::main]
async fn main() -> ExitCode {
    let (server, engines, gateway) = (ApiServer::start().await, Engines::start().await, gateway().await);
    let spec = engines.spec();
    server.act(|store| {
        store.has_controllers = true;
        (0..FEW).for_each(|number| add(store, number, &spec, gateway));
    });
    let operator = Operator::start(server.address);
    let are_ready =
        |count: usize| server.act(|store| (0..count).all(|number| is_ready(store, &chat(number))));
    let few = until("a few are ready", Duration::from_secs(60), || are_ready(FEW)).await;
    sleep(CALM).await;
    let at_rest = operator.mebibytes("VmRSS");
    let parts = |operator: &Operator| [operator.mebibytes("RssAnon"), operator.mebibytes("RssFile")];
    let parts_at_rest = parts(&operator);

    let mut times = Vec::new();
    for number in 0..CHANGES {
        times.push(change(&server, number).await);
    }
    times.sort_unstable();
    let slowest = times[CHANGES - 1].as_secs_f64();

    server.act(|store| (FEW..MANY).for_each(|number| add(store, number, &spec, gateway)));
    let many = until("all are ready", Duration::from_secs(300), || are_ready(MANY)).await;
    sleep(CALM).await;
    let (count, leases, cpu, began) = (server.count(), server.leases(), operator.cpu(), Instant::now());
    server.requests();
    sleep(COUNTED).await;
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    #[allow(clippy::cast_precision_loss)]
    let per_minute = |since: u64, now: u64| (now - since) as f64 / minutes;
    let (all, leases) = (per_minute(count, server.count()), per_minute(leases, server.leases()));
    let asked = server.requests();
    let requests = per_minute(0, asked.len() as u64);
    let cpu = (operator.cpu() - cpu).as_secs_f64() / began.elapsed().as_secs_f64() * 100.0;
    let rss = operator.mebibytes("VmRSS");
    let parts = parts(&operator);

    println!(
        "{FEW} ChatClusters ready after {:.1} s, {} more after {:.1} s",
        few.as_secs_f64(),
        MANY - FEW,
        many.as_secs_f64()
    );
    let bars = [
        (format!("memory at rest with {FEW}, MiB"), at_rest, MAX_RSS_AT_REST),
        (format!("memory with {MANY}, MiB"), rss, MAX_RSS),
        (format!("requests a minute with {MANY}"), requests, MAX_REQUESTS_A_MINUTE),
        (format!("slowest of {CHANGES} changed specs, s"), slowest, MAX_SECONDS),
    ];
    let mut is_well = true;
    for (what, found, bar) in bars {
        let verdict = if found <= bar { "met" } else { "missed" };
        is_well &= found <= bar;
        println!("{what:<50} {found:>8.2}   bar {bar:>5.1}   {verdict}");
    }
    println!("{:<50} {:>8.2}", "median of changed specs, s", times[CHANGES / 2].as_secs_f64());
    for (count, [own, program]) in [(FEW, parts_at_rest), (MANY, parts)] {
        println!("{:<50} {own:>8.2}", format!("memory of its own with {count}, MiB"));
        println!("{:<50} {program:>8.2}", format!("the program's pages with {count}, MiB"));
    }
    println!("{:<50} {:>8.2}", "peak memory, MiB", operator.mebibytes("VmHWM"));
    println!("{:<50} {:>8.2}", "requests a minute that begin a watch anew", all - requests);
    println!("{:<50} {leases:>8.2}", "requests a minute for the lease");
    println!("{:<50} {cpu:>8.2}", "processor, % of one");
    for request in asked.iter().take(20) {
        println!("  asked meanwhile: {request}");
    }
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
