//! What `make chaos-cluster` shows: gateways that follow their sockets, roll-outs that nobody notices, and what is left of the service
//! while one part after another is killed; on a real cluster, for minutes, with release builds. The short forms of the first two are
//! tests (`tests/e2e`).

mod availability;
mod judge;
mod rollouts;
mod sampling;
mod scale;

use std::{sync::Arc, time::Instant};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use kube::Client;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    manifest,
    scene::{READY, Scene},
    settings::Settings,
};

/// A part of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Row {
    /// 0 to 3,000 sockets and back, and a steady load with noise.
    Scale,
    /// Scale-down and roll-outs under load.
    Rollouts,
    /// A fault a minute.
    Availability,
}

impl Row {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Scale, Self::Rollouts, Self::Availability];

    /// Its name, as `--only` takes it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scale => "scale",
            Self::Rollouts => "rollouts",
            Self::Availability => "availability",
        }
    }

    /// Where it happens.
    #[must_use]
    pub fn namespace(self) -> String {
        format!("kt-chaos-{}", self.name())
    }
}

/// How much of it.
#[derive(Debug, Clone, Copy)]
pub struct Extent {
    /// Length of the steady load and of the run with faults, in minutes.
    pub minutes: u32,
    /// Everything else by this: 1 is what the bars are about, 0.1 a tenth of the sockets.
    pub size: f64,
}

impl Extent {
    /// So many of the `full` number, in whole hundreds of it or a few at least.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "thousands of sockets")]
    pub(crate) fn of(self, full: u32) -> u32 {
        ((f64::from(full) * self.size / 10.0).round() as u32 * 10).max(10)
    }
}

/// One bar, and what was found.
#[derive(Debug, Clone, Serialize)]
pub struct Bar {
    /// What is judged.
    pub what: String,
    /// What is asked for.
    pub bar: String,
    /// What was found.
    pub found: String,
    /// Whether it is met.
    pub met: bool,
}

impl Bar {
    pub(crate) fn new(
        what: impl Into<String>,
        bar: impl Into<String>,
        found: impl Into<String>,
        met: bool,
    ) -> Self {
        Self { what: what.into(), bar: bar.into(), found: found.into(), met }
    }
}

/// What a row came to.
#[derive(Debug, Clone, Serialize)]
pub struct Findings {
    /// Name of the row.
    pub row: &'static str,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// The bars of the row, met or missed.
    pub bars: Vec<Bar>,
    /// Everything behind them.
    pub details: Value,
}

/// Makes a row and prints its table.
///
/// # Errors
/// When it could not be made. A bar that is missed is no error.
pub async fn make(row: Row, extent: Extent, settings: Settings) -> Result<Findings> {
    let client = Client::try_default().await.context("expected a cluster by KUBECONFIG")?;
    let scene = Scene { client, settings: Arc::new(settings), namespace: row.namespace() };
    eprintln!("chaos-cluster: {}", row.name());
    let began = Instant::now();
    let made = match row {
        Row::Scale => scale::make(&scene, extent).await,
        Row::Rollouts => rollouts::make(&scene, extent).await,
        Row::Availability => availability::make(&scene, extent).await,
    };
    if made.is_err() {
        crate::runner::keep(&scene, row.name()).await;
    }
    let (bars, details) = made.with_context(|| format!("the row {}", row.name()))?;
    scene.delete_chat(READY).await?;
    let findings = Findings { row: row.name(), seconds: began.elapsed().as_secs_f64(), bars, details };
    show(&findings);
    Ok(findings)
}

fn show(findings: &Findings) {
    println!("\n{} ({:.0} s)", findings.row, findings.seconds);
    let width =
        |column: fn(&Bar) -> &String| findings.bars.iter().map(|bar| column(bar).len()).max().unwrap_or(0);
    let (what, bar, found) = (width(|bar| &bar.what), width(|bar| &bar.bar), width(|bar| &bar.found));
    for one in &findings.bars {
        let met = if one.met { "met" } else { "MISSED" };
        println!("  {:what$}  {:bar$}  {:found$}  {met}", one.what, one.bar, one.found);
    }
}

/// A chat with the copies that the engines can keep, and these fields of its roles.
pub(crate) async fn chat(scene: &Scene, roles: &Value) -> Result<()> {
    let mut object = manifest::ten_lines(&scene.settings);
    let copies = scene.settings.cassandra.contact_points.len().min(3);
    object["spec"]["cassandra"]["replication"] = json!({ "dc1": copies });
    for (role, fields) in roles.as_object().into_iter().flatten() {
        object["spec"][role.as_str()] = fields.clone();
    }
    scene.make_secrets().await?;
    scene.apply(&object).await?;
    scene.until_ready(READY).await.map(drop)
}
