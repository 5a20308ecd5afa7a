//! Cassandra and Pulsar, through the scripts that run them.

use anyhow::{Context as _, Result};
use tokio::process::Command;

use crate::{command, settings::Settings};

/// What is done to an engine: the words of `scripts/engines/NAME.sh`.
pub(super) async fn act(settings: &Settings, engine: &str, words: &[&str]) -> Result<()> {
    let folder =
        settings.engines.as_ref().context("expected engines that scripts/engines runs, to kill them")?;
    let mut script = Command::new(settings.root.join(format!("scripts/engines/{engine}.sh")));
    script.args(words).arg("--dir").arg(folder);
    let said = command::run(&mut script, "").await?;
    said.succeeded().with_context(|| format!("{engine}.sh {}", words.join(" "))).map(drop)
}
