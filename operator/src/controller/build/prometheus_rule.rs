//! What Prometheus warns of: what people notice, or soon will, and what to look at then.

use serde_json::{Value, json};

use super::{meta::child, service_monitor::monitoring_metadata};
use crate::{
    kinds::{Child, ChildKind},
    validate::ValidatedCluster,
};

/// The alerts, as a `PrometheusRule`.
pub(super) fn prometheus_rule(cluster: &ValidatedCluster) -> Child {
    let alerts: Vec<Value> = alerts(cluster).iter().map(Alert::rule).collect();
    child(
        ChildKind::PrometheusRule,
        &json!({
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": monitoring_metadata(cluster),
            "spec": {"groups": [{"name": "folkmoot", "rules": alerts}]},
        }),
    )
}

struct Alert {
    name: &'static str,
    expression: String,
    lasts: &'static str,
    severity: &'static str,
    summary: String,
    description: &'static str,
}

impl Alert {
    fn rule(&self) -> Value {
        json!({
            "alert": self.name,
            "expr": self.expression,
            "for": self.lasts,
            "labels": {"severity": self.severity},
            "annotations": {"summary": self.summary, "description": self.description},
        })
    }
}

fn alerts(cluster: &ValidatedCluster) -> [Alert; 12] {
    let (namespace, name) = (cluster.namespace(), cluster.name());
    let ours = format!(r#"namespace="{namespace}",app_kubernetes_io_instance="{name}""#);
    let gateways = format!(r#"{ours},app_kubernetes_io_component="gateway""#);
    // Of the operator, whose own namespace is another.
    let scaled = format!(r#"chat_namespace="{namespace}",chat="{name}""#);
    let chat = format!("Chat {namespace}/{name}");
    let nearly_full = u64::from(cluster.gateway().max_connections) * 9 / 10;
    [
        Alert {
            name: "FolkmootGatewaysDown",
            expression: format!("(sum(up{{{gateways}}}) or vector(0)) == 0"),
            lasts: "1m",
            severity: "critical",
            summary: format!("{chat} has no gateway"),
            description: "Nobody can chat. Look at the conditions and events of the ChatCluster.",
        },
        Alert {
            name: "FolkmootProcessDown",
            expression: format!("up{{{ours}}} == 0"),
            lasts: "5m",
            severity: "warning",
            summary: format!("{chat} has a process that does not answer"),
            description: "The others serve on. Look at the pod's log and events.",
        },
        Alert {
            name: "FolkmootStoreUnavailable",
            expression: format!("max by (dependency) (folkmoot_store_breaker{{{ours}}}) == 2"),
            lasts: "1m",
            severity: "critical",
            summary: format!("{chat} does not reach its store"),
            description: "Messages are refused, what is in memory is served. Look at Cassandra, and at the condition \
                          CassandraReady of the ChatCluster.",
        },
        Alert {
            name: "FolkmootBusDisconnected",
            expression: format!("min by (pod) (folkmoot_bus_connected{{{ours}}}) == 0"),
            lasts: "2m",
            severity: "warning",
            summary: format!("{chat} has a process without Pulsar"),
            description: "Messages are kept, and reach people on other gateways late. Look at Pulsar, and at the condition \
                          PulsarReady of the ChatCluster.",
        },
        Alert {
            name: "FolkmootAcksSlow",
            expression: format!(
                "histogram_quantile(0.99, sum by (le) (rate(folkmoot_gateway_ack_seconds_bucket{{{gateways}}}[5m]))) > 0.5"
            ),
            lasts: "10m",
            severity: "warning",
            summary: format!("{chat} takes more than half a second for one message in a hundred"),
            description: "Compare folkmoot_store_call_seconds to see whether it is Cassandra.",
        },
        Alert {
            name: "FolkmootOverloaded",
            expression: format!("sum(rate(folkmoot_store_refused_total{{{ours}}}[5m])) > 1"),
            lasts: "5m",
            severity: "warning",
            summary: format!("{chat} refuses requests"),
            description: "The label class says which, reason says why. Cassandra is too slow for the load, or away.",
        },
        Alert {
            name: "FolkmootGatewayFull",
            expression: format!("max(folkmoot_gateway_connections{{{gateways}}}) > {nearly_full}"),
            lasts: "5m",
            severity: "warning",
            summary: format!("{chat} has a gateway that is nearly full"),
            description: "Beyond spec.gateway.maxConnections sockets are refused. Raise spec.gateway.replicas, or \
                          maxReplicas of its autoscaling.",
        },
        Alert {
            name: "FolkmootSocketsRefused",
            expression: format!(
                r#"sum(rate(folkmoot_gateway_refusals_total{{{gateways},reason="capacity"}}[5m])) > 0"#
            ),
            lasts: "2m",
            severity: "critical",
            summary: format!("{chat} refuses sockets, since its gateways are full"),
            description: "Who is refused tries another gateway. Raise spec.gateway.replicas, or maxReplicas of its \
                          autoscaling; if that is high enough, look for pods that find no node.",
        },
        Alert {
            name: "FolkmootGatewayMemory",
            expression: format!(
                "max by (pod) (folkmoot_process_resident_memory_bytes{{{gateways}}} \
                 / folkmoot_process_memory_limit_bytes{{{gateways}}}) > 0.9"
            ),
            lasts: "5m",
            severity: "warning",
            summary: format!("{chat} has a gateway that is short of memory"),
            description: "At its limit it is killed with all of its sockets. Raise its limit, or lower \
                          targetConnectionsPerPod.",
        },
        Alert {
            name: "FolkmootReconnectsCrowd",
            expression: format!("sum(rate(folkmoot_gateway_hellos_throttled_total{{{gateways}}}[5m])) > 1"),
            lasts: "10m",
            severity: "warning",
            summary: format!("{chat} has more people coming back than it can welcome at once"),
            description: "They wait, and nothing is lost. If it does not end, look at the store, and for a balancer that \
                          cuts sockets.",
        },
        Alert {
            name: "FolkmootScalingHeld",
            expression: format!(
                "max(folkmoot_operator_scaling_desired_replicas{{{scaled}}}) > max(folkmoot_operator_scaling_replicas{{{scaled}}})"
            ),
            lasts: "10m",
            severity: "warning",
            summary: format!("{chat} needs more gateways than it is given"),
            description: "maxScaleUpPerMinute is too low, or the operator is paused or does not get on: look at its log, \
                          and at the conditions of the ChatCluster.",
        },
        Alert {
            name: "FolkmootDrainsLate",
            expression: format!(
                r#"sum(increase(folkmoot_operator_scaling_drains_total{{{scaled},outcome="deadline"}}[30m])) > 0"#
            ),
            lasts: "0m",
            severity: "warning",
            summary: format!("{chat} had a gateway that was not empty in time when it was taken away"),
            description: "Clients that did not come back elsewhere by themselves were cut off and came back then. Look \
                          for clients that ignore reconnect frames, and for gateways that refuse.",
        },
    ]
}
