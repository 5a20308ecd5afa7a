//! How many gateways there are and how many sockets they hold, second by second.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use futures_util::future::join_all;
use http::Request;
use kube::ResourceExt as _;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::{task::JoinHandle, time::timeout};

use crate::{
    gateways::{Gateways, is_ready},
    scene::Scene,
};

/// How often is looked.
const EVERY: Duration = Duration::from_millis(500);
/// Longest time for one sample.
const DEADLINE: Duration = Duration::from_secs(2);
/// The admin port of gateways.
const ADMIN: u16 = 8081;
/// The metric that is sampled.
const CONNECTIONS: &str = "folkmoot_gateway_connections ";

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Sample {
    /// When, in seconds from the beginning.
    pub(crate) at: f64,
    /// Sockets of all of them together; `None` when one did not say.
    pub(crate) sockets: Option<u64>,
    /// How many the Deployment is to have.
    pub(crate) wanted: i32,
    /// Pods that are there.
    pub(crate) pods: usize,
    /// Pods that are ready.
    pub(crate) ready: usize,
}

/// Looks until it is dropped or ended.
pub(crate) struct Sampling {
    scene: Scene,
    began: Instant,
    samples: Arc<Mutex<Vec<Sample>>>,
    looking: JoinHandle<()>,
}

impl Sampling {
    pub(crate) fn start(scene: &Scene) -> Self {
        let (began, samples) = (Instant::now(), Arc::new(Mutex::new(vec![])));
        let (looks_at, reported) = (scene.clone(), Arc::clone(&samples));
        let looking = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(EVERY);
            loop {
                ticks.tick().await;
                // A look that failed is no sample: the next one comes soon.
                if let Ok(Ok(sample)) = timeout(DEADLINE, look(&looks_at, began)).await {
                    reported.lock().push(sample);
                }
            }
        });
        Self { scene: scene.clone(), began, samples, looking }
    }

    /// Seconds since its beginning, as in samples.
    pub(crate) fn now(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Ends with one more look: what was waited for may be so since the last one.
    pub(crate) async fn end(self) -> Vec<Sample> {
        self.looking.abort();
        let last = timeout(DEADLINE, look(&self.scene, self.began)).await;
        let mut samples = self.samples.lock().clone();
        samples.extend(last.ok().and_then(Result::ok));
        samples
    }
}

async fn look(scene: &Scene, began: Instant) -> Result<Sample> {
    let gateways = Gateways(scene);
    let (wanted, pods) = (gateways.wanted().await?, gateways.pods().await?);
    let asked = pods.iter().map(|pod| connections(scene, pod.name_any()));
    let sockets = join_all(asked).await.into_iter().try_fold(0, |sum, one| Some(sum + one.ok()?));
    let ready = pods.iter().filter(|pod| is_ready(pod)).count();
    Ok(Sample { at: began.elapsed().as_secs_f64(), sockets, wanted, pods: pods.len(), ready })
}

/// Asked by way of the API server, which is reached from everywhere.
async fn connections(scene: &Scene, pod: String) -> Result<u64> {
    let namespace = &scene.namespace;
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}:{ADMIN}/proxy/metrics");
    let text = scene.client.request_text(Request::get(path).body(vec![])?).await?;
    let number = text.lines().find_map(|line| line.strip_prefix(CONNECTIONS));
    Ok(number.context("expected the number of connections")?.trim().parse()?)
}
