//! What the dashboard and the alerts ask of the operator is there. Its registry is asked, and no list; chat-server's test of the same name
//! asks that of the gateways.

use std::{collections::BTreeSet, fs, path::Path};

use folkmoot_operator::metrics::{Chat, Metrics};

/// Names of metrics in a text: those that begin with the prefix.
fn names<'a>(text: &'a str, prefix: &str) -> BTreeSet<&'a str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
        .filter(|name| name.starts_with(prefix))
        .collect()
}

/// The operator's metrics, each with a value.
fn there() -> String {
    let metrics = Metrics::default();
    let chat = Chat { chat_namespace: "team".into(), chat: "chat".into() };
    metrics.gateways(&chat, 3, 4, 1);
    metrics.scaled(&chat, "Down", "FewerConnections");
    metrics.drained(&chat, true);
    metrics.text()
}

#[test]
fn every_metric_that_is_asked_for_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let text = there();
    let there: BTreeSet<&str> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    for file in [
        "charts/folkmoot/dashboards/folkmoot.json",
        "operator/src/controller/build/snapshots/everything/PrometheusRule.yaml",
        "docs/autoscaling.md",
    ] {
        let text = fs::read_to_string(root.join(file)).unwrap();
        let asked = names(&text, "folkmoot_operator_");
        assert!(!asked.is_empty(), "{file} asks for none");
        let missing: Vec<&&str> = asked.difference(&there).collect();
        assert!(missing.is_empty(), "{file} asks for {missing:?}; there are {there:?}");
    }
}

#[test]
fn a_chat_that_is_gone_leaves_no_gauges() {
    let metrics = Metrics::default();
    let chat = Chat { chat_namespace: "team".into(), chat: "chat".into() };
    metrics.gateways(&chat, 3, 4, 1);
    metrics.scaled(&chat, "Up", "MoreConnections");
    let shown = metrics.text();
    let labels = r#"{chat_namespace="team",chat="chat"}"#;
    for (name, value) in [("desired_replicas", 3), ("replicas", 4), ("leaving", 1)] {
        let line = format!("folkmoot_operator_scaling_{name}{labels} {value}\n");
        assert!(shown.contains(&line), "{line} is not in {shown}");
    }
    metrics.forget_gateways(&chat);
    let shown = metrics.text();
    assert!(
        !shown.contains("scaling_desired_replicas{")
            && shown.contains(r#"direction="Up",reason="MoreConnections"} 1"#)
    );
}
