//! What happened to the Deployments and Jobs of a chat, in order.

use std::{pin::pin, sync::Arc};

use anyhow::{Result, ensure};
use futures_util::StreamExt as _;
use k8s_openapi::api::{apps::v1::Deployment, batch::v1::Job, core::v1::PodTemplateSpec};
use kind_tests::{children::OF_CHAT, scene::Scene};
use kube::{
    ResourceExt as _,
    runtime::watcher::{self, Event, watcher},
};
use parking_lot::Mutex;
use tokio::task::JoinHandle;

/// The order in which roles are replaced.
const ROLES: [&str; 3] = ["chat-auth", "chat-api", "chat-gateway"];

/// One report from the API server.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Moment {
    /// State of a Deployment.
    Role {
        name: String,
        image: String,
        /// Whether all of its pods are of that image and ready.
        settled: bool,
        ready: i32,
    },
    /// A migration by this image has succeeded.
    Migrated { image: String },
}

/// Watches from when it was made.
pub(crate) struct Timeline {
    moments: Arc<Mutex<Vec<Moment>>>,
    watching: JoinHandle<()>,
}

impl Timeline {
    pub(crate) fn start(scene: &Scene) -> Self {
        let moments: Arc<Mutex<Vec<Moment>>> = Arc::default();
        let config = watcher::Config::default().labels(OF_CHAT);
        let roles = watcher(scene.api::<Deployment>(), config.clone());
        let jobs = watcher(scene.api::<Job>(), config);
        let reported = Arc::clone(&moments);
        let watching = tokio::spawn(async move {
            let (mut roles, mut jobs) = (pin!(roles), pin!(jobs));
            loop {
                // A watch that breaks is begun again by itself, and sends everything once more.
                let moment = tokio::select! {
                    Some(event) = roles.next() => object(event).map(|deployment| role(&deployment)),
                    Some(event) = jobs.next() => object(event).and_then(|job| migrated(&job)),
                    else => return,
                };
                reported.lock().extend(moment);
            }
        });
        Self { moments, watching }
    }

    pub(crate) fn moments(&self) -> Vec<Moment> {
        self.moments.lock().clone()
    }

    /// Each role got `image` when those before it had settled with it, and the tables were migrated by it; there were never fewer
    /// than `gateways` gateways ready.
    pub(crate) fn check(self, image: &str, gateways: i32) -> Result<()> {
        self.watching.abort();
        let moments = self.moments();
        let (mut migrated, mut settled) = (false, [false; ROLES.len()]);
        for moment in &moments {
            match moment {
                Moment::Migrated { image: by } => migrated |= by == image,
                Moment::Role { name, image: runs, settled: now, ready } => {
                    ensure!(
                        name != "chat-gateway" || *ready >= gateways,
                        "expected {gateways} ready gateways, there were {ready}"
                    );
                    let Some(place) = ROLES.iter().position(|role| role == name) else { continue };
                    if runs != image {
                        continue;
                    }
                    ensure!(migrated, "{name} got {image} before the tables were migrated: {moments:#?}");
                    ensure!(
                        settled[..place].iter().all(|before| *before),
                        "{name} got {image} before {:?} had settled: {moments:#?}",
                        &ROLES[..place]
                    );
                    settled[place] |= now;
                }
            }
        }
        ensure!(settled.iter().all(|role| *role), "expected all roles to settle with {image}: {moments:#?}");
        Ok(())
    }
}

fn object<K>(event: watcher::Result<Event<K>>) -> Option<K> {
    match event {
        Ok(Event::Apply(object) | Event::InitApply(object)) => Some(object),
        _ => None,
    }
}

fn image(template: &PodTemplateSpec) -> String {
    let containers = template.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default();
    containers.first().and_then(|container| container.image.clone()).unwrap_or_default()
}

fn role(deployment: &Deployment) -> Moment {
    let status = deployment.status.clone().unwrap_or_default();
    let wanted = deployment.spec.replicas.unwrap_or(1);
    let count = |number: Option<i32>| number.unwrap_or(0);
    let settled = status.observed_generation == deployment.metadata.generation
        && count(status.updated_replicas) == wanted
        && count(status.ready_replicas) == wanted
        && count(status.replicas) == wanted;
    let ready = count(status.ready_replicas);
    Moment::Role { name: deployment.name_any(), image: image(&deployment.spec.template), settled, ready }
}

fn migrated(job: &Job) -> Option<Moment> {
    let succeeded = job.status.as_ref().and_then(|status| status.succeeded).unwrap_or(0) > 0;
    let template = job.spec.as_ref().map(|spec| &spec.template)?;
    (succeeded && job.name_any().contains("-migrate-")).then(|| Moment::Migrated { image: image(template) })
}
