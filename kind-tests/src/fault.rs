//! The parts of a chat, killed with -9 one at a time. Those of Kubernetes come back by themselves, engines are started again.

use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use tokio::process::Command;

use crate::{
    command,
    gateways::{self, is_ready, restarts},
    operator::Operator,
    scene::Scene,
    settings::Settings,
};

/// How long a node of Cassandra is away.
const AWAY: Duration = Duration::from_secs(20);

/// How nice an engine is to everything else while it starts: elsewhere it has processors of its own.
const STARTS_NICE: &str = "10";

/// What is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// A process with sockets.
    Gateway,
    /// A process of the REST API.
    Api,
    /// A process that issues tokens.
    Auth,
    /// The operator that holds the lease.
    Operator,
    /// Pulsar, all of it.
    Broker,
    /// The second node of Cassandra, of three.
    CassandraNode,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Gateway, Self::Api, Self::Auth, Self::Operator, Self::Broker, Self::CassandraNode];

    /// What it is that dies.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Api => "api",
            Self::Auth => "auth",
            Self::Operator => "operator",
            Self::Broker => "broker",
            Self::CassandraNode => "one Cassandra node",
        }
    }

    /// Kills it. Returns when it is dead; engines, when they are back.
    ///
    /// # Errors
    /// When it cannot be killed: engines can only where `scripts/engines` runs them.
    pub async fn make(self, scene: &Scene) -> Result<()> {
        let settings = &scene.settings;
        match self {
            Self::Gateway | Self::Api | Self::Auth => {
                let of_role =
                    format!("app.kubernetes.io/instance=chat,app.kubernetes.io/component={}", self.name());
                let pods = scene.api::<Pod>().list(&ListParams::default().labels(&of_role)).await?.items;
                // Whoever was killed before has hardly any sockets now.
                let ready = pods.iter().filter(|pod| is_ready(pod));
                let pod = ready.min_by_key(|pod| restarts(pod)).context("expected a pod that is ready")?;
                gateways::kill(scene, pod).await
            }
            Self::Operator => {
                let operator = Operator::of(scene);
                operator.kill(&operator.leader().await?).await
            }
            Self::Broker => {
                act(settings, "pulsar", &["kill"]).await?;
                act(settings, "pulsar", &["start"]).await
            }
            Self::CassandraNode => {
                act(settings, "cassandra", &["kill", "2"]).await?;
                tokio::time::sleep(AWAY).await;
                act(settings, "cassandra", &["start", "2"]).await
            }
        }
    }
}

/// What is done to an engine: the words of `scripts/engines/NAME.sh`.
async fn act(settings: &Settings, engine: &str, words: &[&str]) -> Result<()> {
    let folder =
        settings.engines.as_ref().context("expected engines that scripts/engines runs, to kill them")?;
    let mut script = Command::new(settings.root.join(format!("scripts/engines/{engine}.sh")));
    script.args(words).arg("--dir").arg(folder).env("ENGINES_NICE", STARTS_NICE);
    let output = command::run(&mut script, "").await?;
    output.succeeded().with_context(|| format!("{engine}.sh {}", words.join(" "))).map(drop)
}
