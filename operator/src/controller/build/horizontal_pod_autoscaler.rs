//! Decides in the operator's stead how many gateways there are, where a cluster serves metrics of pods.

use folkmoot_crds::{AutoscalingMode, ChatCluster};
use k8s_openapi::{
    api::autoscaling::v2::{
        CrossVersionObjectReference, HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscaler,
        HorizontalPodAutoscalerBehavior, HorizontalPodAutoscalerSpec, MetricIdentifier, MetricSpec,
        MetricTarget, PodsMetricSource,
    },
    apimachinery::pkg::api::resource::Quantity,
};
use kube::Resource as _;

use super::meta::{child, metadata};
use crate::{
    kinds::{Child, ChildKind},
    names::{self, Component},
    role::Role,
    validate::ValidatedCluster,
};

/// Seconds in which `maxScaleUpPerMinute` counts.
const MINUTE: i32 = 60;

/// The autoscaler of gateways, if one is asked for. It writes the `scale` subresource of the `ChatCluster`, so that
/// what it takes away is emptied first.
pub(super) fn of_gateways(cluster: &ValidatedCluster) -> Option<Child> {
    let spec = cluster.gateway().autoscaling.as_ref()?;
    let asked = spec.horizontal_pod_autoscaler.as_ref().filter(|_| spec.mode == AutoscalingMode::External)?;
    let name = cluster.name().to_owned();
    // The buffer is capacity that is kept free, so a pod holds less on average.
    let average = u64::from(spec.target_connections_per_pod) * 100 / u64::from(100 + spec.buffer_percent);
    let rules = |policies, window| HPAScalingRules {
        policies,
        stabilization_window_seconds: window,
        ..HPAScalingRules::default()
    };
    let per_minute = HPAScalingPolicy {
        type_: "Pods".to_owned(),
        value: spec.max_scale_up_per_minute,
        period_seconds: MINUTE,
    };
    let object = HorizontalPodAutoscaler {
        metadata: metadata(
            cluster.identity(),
            names::role(&name, Role::Gateway),
            Component::Role(Role::Gateway),
        ),
        spec: HorizontalPodAutoscalerSpec {
            scale_target_ref: CrossVersionObjectReference {
                api_version: Some(ChatCluster::api_version(&()).into_owned()),
                kind: ChatCluster::kind(&()).into_owned(),
                name,
            },
            min_replicas: Some(spec.min_replicas),
            max_replicas: spec.max_replicas,
            metrics: Some(vec![MetricSpec {
                type_: "Pods".to_owned(),
                pods: Some(PodsMetricSource {
                    metric: MetricIdentifier { name: asked.metric.clone(), selector: None },
                    target: MetricTarget {
                        type_: "AverageValue".to_owned(),
                        average_value: Some(Quantity(average.max(1).to_string())),
                        ..MetricTarget::default()
                    },
                }),
                ..MetricSpec::default()
            }]),
            behavior: Some(HorizontalPodAutoscalerBehavior {
                scale_up: Some(rules(Some(vec![per_minute]), Some(0))),
                scale_down: Some(rules(None, i32::try_from(spec.stabilization_seconds).ok())),
            }),
        },
        status: None,
    };
    Some(child(ChildKind::HorizontalPodAutoscaler, &object))
}
