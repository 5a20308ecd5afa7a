//! What the dashboard and the alerts ask of gateways, api and auth is there. Their registries are asked, and no list; the operator's test
//! of the same name asks that of the operator.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

use chat_server::{
    bus::pulsar::BusMetrics,
    metrics::Metrics,
    store::{
        Store,
        guard::{Guarded, LimitBounds},
        sqlite::SqliteStore,
    },
};

/// Names of metrics of processes in a text; those of the operator are not theirs.
fn names(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|word| word.starts_with("folkmoot_") && !word.starts_with("folkmoot_operator"))
        .collect()
}

#[tokio::test]
async fn every_metric_that_is_asked_for_exists() {
    let metrics = Metrics::new();
    let bus = BusMetrics::default();
    metrics.register(|registry| bus.register(registry));
    let directory = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&directory.path().join("folkmoot.db")).unwrap());
    let guarded = Guarded::new(store, LimitBounds::default());
    metrics.register(|registry| guarded.register(registry));
    let text = metrics.text();
    let samples = text.lines().filter(|line| !line.starts_with('#'));
    let mut there: BTreeSet<&str> = samples.filter_map(|line| line.split(['{', ' ']).next()).collect();
    // Texts name a histogram as a whole.
    there.extend(text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" histogram")));
    // It is there where a container has a limit.
    let elsewhere = BTreeSet::from(["folkmoot_process_memory_limit_bytes"]);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for file in [
        "charts/folkmoot/dashboards/folkmoot.json",
        "operator/src/controller/build/snapshots/everything/PrometheusRule.yaml",
    ] {
        let text = fs::read_to_string(root.join(file)).unwrap();
        let asked = names(&text);
        assert!(!asked.is_empty(), "{file} asks for none");
        let missing: Vec<&str> =
            asked.iter().copied().filter(|name| !there.contains(name) && !elsewhere.contains(name)).collect();
        assert!(missing.is_empty(), "{file} asks for {missing:?}; there are {there:?}");
    }
}
