//! Runs until it is stopped.

use std::{io::IsTerminal as _, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use folkmoot_crds::ImageSpec;
use kube::Client;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::{
    addons,
    cli::{LogFormat, RunArgs},
    controller::{
        Controller, Options,
        build::{Capabilities, OperatorIdentity},
    },
    health::{self, HealthState},
    kinds::ChildKind,
    lease::{Elector, Leadership, LeaseOptions},
    live::{Live, Scope, Watches},
    metrics::Metrics,
    names,
    queue::Queue,
};

/// How many `ChatCluster`s are worked on at once. Most of it is waiting for engines and the API server.
const WORKERS: usize = 8;
/// How often it is looked whether an add-on was installed.
const LOOK_FOR_ADDONS: Duration = Duration::from_secs(300);
/// Name of the Lease.
const LEASE: &str = "folkmoot-operator";

/// Runs until SIGTERM or SIGINT, or until another operator may write.
///
/// # Errors
/// When the API server cannot be found, the address cannot be had, or the lease was lost.
#[tokio::main(worker_threads = 2)]
pub async fn run(args: &RunArgs) -> anyhow::Result<()> {
    log(args)?;
    let client =
        Client::try_default().await.context("found no cluster through KUBECONFIG or the pod's account")?;
    let instance = args.name.clone().unwrap_or_else(made_up_name);
    let metrics = Arc::new(Metrics::default());
    let queue = Arc::new(Queue::default());
    let live = Arc::new(Live::new(Arc::clone(&queue)));
    let elector = args.leader_elect.then(|| {
        Elector::new(
            client.clone(),
            LeaseOptions {
                namespace: args.namespace.clone(),
                name: LEASE.to_owned(),
                holder: instance.clone(),
            },
        )
    });
    let leadership = elector.as_ref().map_or_else(Leadership::alone, |elector| elector.leadership());
    let options = Options {
        default_image: args.default_image.as_ref().map(|reference| ImageSpec {
            reference: reference.clone(),
            pull_policy: folkmoot_crds::ImagePullPolicy::default(),
            pull_secrets: Vec::new(),
        }),
        identity: OperatorIdentity { namespace: args.namespace.clone(), pod_labels: operator_labels() },
        instance,
    };
    let controller = Controller::new(
        client.clone(),
        Arc::clone(&live),
        queue,
        leadership.clone(),
        Arc::clone(&metrics),
        options,
    )
    .context("failed to make an HTTP client")?;

    let listener = health::listen(args.listen)
        .await
        .with_context(|| format!("failed to listen on {}, which is given with --listen", args.listen))?;
    let state = HealthState {
        live: Arc::clone(&live),
        metrics: Arc::clone(&metrics),
        controller: Arc::clone(&controller),
    };
    // Watches before that: what knows of none of them yet would call itself ready.
    let watches = Watches::start(client.clone(), live, Scope::of(&args.watch_namespace));
    tokio::spawn(health::serve(listener, state));
    tokio::spawn(follow_addons(client, watches, Arc::clone(&controller)));
    if let Some(elector) = &elector {
        tokio::spawn(Arc::clone(elector).run());
    }
    tracing::info!(namespaces = ?args.watch_namespace, "watching");

    let reconciling = async {
        let mut leadership = leadership;
        leadership.acquired().await;
        metrics.leader.set(1);
        controller.run(WORKERS).await;
        metrics.leader.set(0);
    };
    let signalled = tokio::select! {
        () = reconciling => false,
        stopped = stop_signal() => { stopped?; true }
    };
    if let Some(elector) = &elector {
        elector.release().await;
    }
    if signalled {
        tracing::info!("asked to stop");
        Ok(())
    } else {
        // Starting anew is the simplest way to stop everything at once.
        bail!("the lease was not renewed in time, so another operator may write now")
    }
}

async fn stop_signal() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be waited for")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be waited for")?;
    tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
    Ok(())
}

/// Kinds of add-ons are watched from when they are there.
async fn follow_addons(client: Client, watches: Watches, controller: Arc<Controller>) {
    let mut known = Capabilities::default();
    loop {
        let found = addons::discover(&client, known).await;
        if found.gateway_api && !known.gateway_api {
            watches.begin(ChildKind::HttpRoute);
        }
        if found.prometheus && !known.prometheus {
            watches.begin(ChildKind::ServiceMonitor);
            watches.begin(ChildKind::PrometheusRule);
        }
        known = found;
        controller.set_capabilities(known);
        tokio::time::sleep(LOOK_FOR_ADDONS).await;
    }
}

fn log(args: &RunArgs) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&args.log_level).with_context(|| {
        format!("not valid log directives: '{}'; they look like info,kube=debug", args.log_level)
    })?;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(())
}

/// Labels of the operator's own pods, as its chart sets them.
fn operator_labels() -> std::collections::BTreeMap<String, String> {
    [(names::NAME_LABEL, "folkmoot-operator")].map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

fn made_up_name() -> String {
    let host = std::env::var("HOSTNAME").ok().filter(|name| !name.is_empty());
    format!("{}-{:06x}", host.as_deref().unwrap_or("folkmoot-operator"), rand::random::<u32>() & 0xff_ffff)
}
