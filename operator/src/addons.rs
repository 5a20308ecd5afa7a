//! Which kinds of add-ons a cluster knows.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList;
use kube::Client;
use tokio::time::timeout;

use crate::{controller::build::Capabilities, kinds::ChildKind};

/// How long the API server may take to say it.
const DEADLINE: Duration = Duration::from_secs(5);

/// What the cluster knows. A kind that it knew before counts as known: what does not answer now is not gone.
pub async fn discover(client: &Client, before: Capabilities) -> Capabilities {
    Capabilities {
        gateway_api: before.gateway_api || serves(client, &[ChildKind::HttpRoute]).await,
        prometheus: before.prometheus
            || serves(client, &[ChildKind::ServiceMonitor, ChildKind::PrometheusRule]).await,
    }
}

async fn serves(client: &Client, kinds: &[ChildKind]) -> bool {
    for kind in kinds {
        let resource = kind.resource();
        let listed = timeout(DEADLINE, client.list_api_group_resources(&resource.api_version)).await;
        let Ok(Ok(APIResourceList { resources, .. })) = listed else { return false };
        if !resources.iter().any(|found| found.kind == resource.kind) {
            return false;
        }
    }
    true
}
