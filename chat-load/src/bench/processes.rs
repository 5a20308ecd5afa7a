//! A cluster that somebody else runs: its gateways, and the configuration with which it can be filled.

use std::{path::PathBuf, process::Command};

use super::{
    BenchError, Lab,
    servers::{Seed, run_to_end},
};
use crate::options::Options;

/// Where a cluster is.
#[derive(Debug, Clone)]
pub struct ClusterAt {
    /// Its configuration, which `chat-server seed` takes.
    pub config: PathBuf,
    /// URLs of its gateways.
    pub gateways: Vec<String>,
    /// Its REST interface.
    pub api: String,
}

impl ClusterAt {
    /// Fills it; a quiet run of the people who are in it then, whose sockets are dealt out to all gateways.
    pub(super) fn fill(&self, lab: &Lab<'_>, name: &str, seed: Seed) -> Result<Options, BenchError> {
        let tokens = lab.directory.join(format!("{name}.tokens"));
        let mut command = Command::new(&lab.settings.server);
        command.args(["seed", "--config"]).arg(&self.config);
        seed.arguments(&mut command, &tokens);
        run_to_end("chat-server seed", &mut command)?;
        let mut options = Options::new("", seed.users);
        options.urls.clone_from(&self.gateways);
        options.api = Some(self.api.clone());
        options.tokens = Some(tokens);
        Ok(options)
    }
}
