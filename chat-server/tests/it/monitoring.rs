//! What the dashboard, the alerts and the operator's sampler ask of gateways, api and auth is there. Their registries are asked, and no
//! list; the operator's test of the same name asks that of the operator.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

use chat_cluster::metrics::ClusterMetrics;
use chat_domain::store::Store;
use chat_gateway::metrics::GatewayMetrics;
use chat_guard::{Guarded, LimitBounds};
use chat_pulsar::BusMetrics;
use chat_sqlite::SqliteStore;

use chat_server::metrics::Metrics;

/// Names of metrics of processes in a text; those of the operator are not theirs.
fn names(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("folkmoot_") && !word.starts_with("folkmoot_operator"))
        .collect()
}

/// It is there where a container has a limit.
const ELSEWHERE: [&str; 1] = ["folkmoot_process_memory_limit_bytes"];

/// A file of the repository.
fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file)).unwrap()
}

/// What a process says at `/metrics`. The store's folder must outlive it.
fn registries(directory: &Path) -> String {
    let metrics = Metrics::new();
    metrics.register(|registry| GatewayMetrics::default().register(registry));
    metrics.register(|registry| ClusterMetrics::default().register(registry));
    let bus = BusMetrics::default();
    metrics.register(|registry| bus.register(registry));
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&directory.join("folkmoot.db")).unwrap());
    let guarded = Guarded::new(store, LimitBounds::default());
    metrics.register(|registry| guarded.register(registry));
    metrics.text()
}

#[tokio::test]
async fn every_metric_that_is_asked_for_exists() {
    let directory = tempfile::tempdir().unwrap();
    let text = registries(directory.path());
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let mut there: BTreeSet<&str> = samples.filter_map(|line| line.split(['{', ' ']).next()).collect();
    // Texts name a histogram as a whole.
    there.extend(text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" histogram")));
    for file in [
        "charts/folkmoot/dashboards/folkmoot.json",
        "operator/src/controller/build/snapshots/everything/PrometheusRule.yaml",
    ] {
        let text = read(file);
        let asked = names(&text);
        assert!(!asked.is_empty(), "{file} asks for none");
        let missing: Vec<&str> =
            asked.iter().copied().filter(|name| !there.contains(name) && !ELSEWHERE.contains(name)).collect();
        assert!(missing.is_empty(), "{file} asks for {missing:?}; there are {there:?}");
    }
}

/// The sampler matches on what stands before a sample's value: the name, and the labels where it wants some of them only.
#[tokio::test]
async fn every_sample_that_the_operator_scales_by_exists() {
    let directory = tempfile::tempdir().unwrap();
    let text = registries(directory.path());
    let there: BTreeSet<&str> = text.lines().filter_map(|line| Some(line.split_once(' ')?.0)).collect();
    let sampler = read("operator/src/sampler.rs");
    let arms = sampler.lines().filter_map(|line| {
        let (pattern, _) = line.trim().split_once(" =>")?;
        let pattern = pattern.trim_start_matches("r#").trim_matches(['"', '#']);
        pattern.starts_with("folkmoot_").then_some(pattern)
    });
    let asked: BTreeSet<&str> = arms.collect();
    assert!(asked.contains("folkmoot_gateway_connections") && asked.len() >= 7, "{asked:?}");
    let missing: Vec<&str> =
        asked.iter().copied().filter(|name| !there.contains(name) && !ELSEWHERE.contains(name)).collect();
    assert!(missing.is_empty(), "the sampler asks for {missing:?}; there are {there:?}");
}
