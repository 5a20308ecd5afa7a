//! What is wrong with a spec that the rules of its definition do not see, or would not have let pass: the definition
//! in the cluster may be an older one.

use std::net::IpAddr;

use folkmoot_crds::{AutoscalingMode, ChatCluster, ChatClusterSpec, MAX_NAME};
use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity};
use kube::ResourceExt as _;

use super::Problem;

/// What is wrong, in the order of the fields; files and exposure are checked by what is made of them.
pub(super) fn problems(cluster: &ChatCluster) -> Vec<Problem> {
    let spec = &cluster.spec;
    let mut problems = Vec::new();
    let mut expect = |is_right: bool, field: &str, message: &str| {
        if !is_right {
            problems.push(Problem::new(field, message));
        }
    };

    expect(
        is_service_name(&cluster.name_any()),
        "metadata.name",
        "must be at most 40 of a-z, 0-9 and -, with a letter first and no - last, since Services are named after it",
    );
    expect(
        !spec.cassandra.contact_points.is_empty(),
        "spec.cassandra.contactPoints",
        "must name at least one host:port",
    );
    for (index, point) in spec.cassandra.contact_points.iter().enumerate() {
        expect(
            has_port(point),
            &format!("spec.cassandra.contactPoints[{index}]"),
            "must be host:port with a port from 1 to 65535",
        );
    }
    let (_, hosts) = spec.pulsar.url.split_once("://").unwrap_or_default();
    let are_hosts =
        hosts.split(',').all(|host| !host.is_empty() && (is_without_port(host) || has_port(host)));
    expect(are_hosts, "spec.pulsar.url", "must be pulsar://host:port with a port from 1 to 65535");

    for (role, resources) in
        [("gateway", &spec.gateway.resources), ("api", &spec.api.resources), ("auth", &spec.auth.resources)]
    {
        for (path, quantity) in quantities(resources) {
            expect(
                is_quantity(&quantity.0),
                &format!("spec.{role}.resources.{path}"),
                "must be a quantity such as 500m or 256Mi",
            );
        }
    }
    if let Some(autoscaling) = &spec.gateway.autoscaling {
        expect(
            (1..=autoscaling.max_replicas).contains(&autoscaling.min_replicas),
            "spec.gateway.autoscaling.maxReplicas",
            "must be at least minReplicas, which is at least 1",
        );
        expect(
            autoscaling.horizontal_pod_autoscaler.is_none() || autoscaling.mode == AutoscalingMode::External,
            "spec.gateway.autoscaling.horizontalPodAutoscaler",
            "must be set only with mode: External",
        );
    }
    for (index, proxy) in spec.api.trusted_proxies.iter().flatten().enumerate() {
        expect(
            is_network(proxy),
            &format!("spec.api.trustedProxies[{index}]"),
            "must be an IP address or a block of them, such as 10.0.0.0/8 or 2001:db8::/32",
        );
    }
    problems
}

/// What is wrong with `spec.settings`.
pub(super) fn settings(spec: &ChatClusterSpec) -> Vec<Problem> {
    let is_line = |value: &String| !value.chars().any(char::is_control);
    let broken = spec.settings.iter().filter(|(_, value)| !is_line(value));
    broken.map(|(key, _)| Problem::new(format!("spec.settings[{key}]"), "must be one line")).collect()
}

/// RFC 1035 §2.3.1, as Services want it.
fn is_service_name(name: &str) -> bool {
    name.len() <= MAX_NAME
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

fn has_port(address: &str) -> bool {
    address
        .rsplit_once(':')
        .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0))
}

fn is_without_port(host: &str) -> bool {
    !host.contains(':') || host.ends_with(']')
}

fn is_network(text: &str) -> bool {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(a, prefix)| (a, Some(prefix)));
    address.parse::<IpAddr>().is_ok_and(|address| {
        let longest = if address.is_ipv4() { 32 } else { 128 };
        prefix.is_none_or(|prefix| prefix.parse::<u8>().is_ok_and(|prefix| prefix <= longest))
    })
}

fn quantities(resources: &ResourceRequirements) -> impl Iterator<Item = (String, &Quantity)> {
    [("limits", &resources.limits), ("requests", &resources.requests)].into_iter().flat_map(
        |(name, listed)| listed.iter().flatten().map(move |(key, value)| (format!("{name}.{key}"), value)),
    )
}

/// As Kubernetes writes amounts: a decimal number, and a suffix or an exponent.
fn is_quantity(text: &str) -> bool {
    const SUFFIXES: [&str; 15] =
        ["", "n", "u", "m", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi"];
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let is_exponent = suffix.strip_prefix(['e', 'E']).is_some_and(|digits| digits.parse::<i8>().is_ok());
    number.parse::<f64>().is_ok() && (SUFFIXES.contains(&suffix) || suffix == "Ei" || is_exponent)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use std::sync::Arc;

    use super::{super::validate, *};

    fn cluster(name: &str, changes: &serde_json::Value) -> ChatCluster {
        let mut spec = json!({
            "cassandra": {"contactPoints": ["cassandra:9042"]},
            "pulsar": {"url": "pulsar://pulsar:6650", "adminUrl": "http://pulsar:8080"},
        });
        for (key, value) in changes.as_object().unwrap() {
            spec[key] = value.clone();
        }
        let mut cluster = ChatCluster::new(name, serde_json::from_value(spec).unwrap());
        cluster.metadata.namespace = Some("chats".into());
        cluster
    }

    fn check(name: &str, changes: &serde_json::Value, expected: &[&str]) {
        let image = serde_json::from_value(json!({"reference": "folkmoot/chat-server:1"})).unwrap();
        let problems = validate(&Arc::new(cluster(name, changes)), Some(&image)).err().unwrap_or_default();
        let fields: Vec<&str> = problems.iter().map(|problem| problem.field.as_str()).collect();
        assert_eq!(fields, expected, "{name} {changes}");
    }

    #[test]
    fn problems_are_named_by_field() {
        check("chat", &json!({}), &[]);
        for name in ["1chat", "chat-", "a.b", "Chat", &"a".repeat(41)] {
            check(name, &json!({}), &["metadata.name"]);
        }
        check(&"a".repeat(40), &json!({}), &[]);
        let pulsar = |url: &str| json!({"pulsar": {"url": url, "adminUrl": "http://a:1"}});
        for url in ["pulsar://a", "pulsar://a:1,b:2", "pulsar+ssl://[::1]:6651", "pulsar://[::1]"] {
            check("chat", &pulsar(url), &[]);
        }
        for url in ["pulsar://a:0", "pulsar://a:70000", "pulsar://a:1,", "pulsar://:1"] {
            check("chat", &pulsar(url), &["spec.pulsar.url"]);
        }
        check(
            "chat",
            &json!({"cassandra": {"contactPoints": ["a:9042", "b:99999"]}}),
            &["spec.cassandra.contactPoints[1]"],
        );
        check("chat", &json!({"cassandra": {"contactPoints": []}}), &["spec.cassandra.contactPoints"]);
        check(
            "chat",
            &json!({"api": {"trustedProxies": ["10.0.0.0/8", "::1", "10.0.0.0/33", "proxy"]}}),
            &["spec.api.trustedProxies[2]", "spec.api.trustedProxies[3]"],
        );
        check(
            "chat",
            &json!({"gateway": {"resources": {"requests": {"cpu": "half", "memory": "1Gi"}}}}),
            &["spec.gateway.resources.requests.cpu"],
        );
        let autoscaling = |change: serde_json::Value| json!({"gateway": {"autoscaling": change}});
        check("chat", &autoscaling(json!({"maxReplicas": 1})), &[]);
        check(
            "chat",
            &autoscaling(json!({"minReplicas": 2, "maxReplicas": 1, "horizontalPodAutoscaler": {}})),
            &["spec.gateway.autoscaling.maxReplicas", "spec.gateway.autoscaling.horizontalPodAutoscaler"],
        );
        check("chat", &json!({"files": {"store": "S3"}}), &["spec.files.s3"]);
        check("chat", &json!({"exposure": {"host": "a"}}), &["spec.exposure"]);
        check("chat", &json!({"settings": {"log.level": "a\nb"}}), &["spec.settings[log.level]"]);
    }

    #[test]
    fn quantities_are_those_of_kubernetes() {
        for text in ["1", "0.5", "500m", "256Mi", "1e3", "1E", "2Ei", "1E-3", ".5"] {
            assert!(is_quantity(text), "{text}");
        }
        for text in ["", "m", "1 Gi", "1mi", "1.2.3", "-", "1ex"] {
            assert!(!is_quantity(text), "{text}");
        }
    }

    #[test]
    fn without_an_image_and_a_default_there_is_a_problem() {
        let problems = validate(&Arc::new(cluster("chat", &json!({}))), None).unwrap_err();
        assert_eq!(problems.iter().map(|problem| problem.field.as_str()).collect::<Vec<_>>(), ["spec.image"]);
    }
}
