//! Two gateways of a cluster, each a process, on a store and a bus that somebody else runs.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{
    BenchError, Lab,
    servers::{Seed, Server, ServerError, free_port, run_to_end},
};
use crate::options::Options;

/// How many.
const GATEWAYS: usize = 2;

/// Gateways that serve REST too; they are killed when this is dropped.
#[derive(Debug)]
pub(super) struct Gateways {
    servers: Vec<Server>,
    pub(super) tokens: PathBuf,
}

impl Gateways {
    /// Makes the tables and topics that the configuration names, fills them, and starts the gateways.
    pub(super) fn start(lab: &Lab<'_>, config: &Path, name: &str, seed: Seed) -> Result<Self, BenchError> {
        let program = &lab.settings.server;
        run_to_end("chat-server migrate", Command::new(program).arg("migrate").arg("--config").arg(config))?;
        let tokens = lab.directory.join(format!("{name}.tokens"));
        let mut command = Command::new(program);
        command.args(["seed", "--config"]).arg(config);
        seed.arguments(&mut command, &tokens);
        run_to_end("chat-server seed", &mut command)?;
        let servers = (0..GATEWAYS)
            .map(|number| Self::one(lab, config, &format!("{name}-gateway{number}")))
            .collect::<Result<_, _>>()?;
        Ok(Self { servers, tokens })
    }

    fn one(lab: &Lab<'_>, config: &Path, name: &str) -> Result<Server, ServerError> {
        let (listen, peers) = (free_port()?, free_port()?);
        let mut command = Command::new(&lab.settings.server);
        command
            .args(["serve", "--roles", "gateway,api", "--config"])
            .arg(config)
            .arg("--data-dir")
            .arg(lab.directory.join(name))
            .args(["--set", &format!("cluster.name={name}"), "--set", &format!("cluster.listen={peers}")])
            .stdin(Stdio::null());
        Server::serve(command, lab, name, listen)
    }

    /// A quiet run whose sockets are dealt out to all of them.
    pub(super) fn options(&self, connections: u32) -> Options {
        let mut options = Options::new("", connections);
        options.urls = self.servers.iter().map(|server| server.url().to_owned()).collect();
        options.tokens = Some(self.tokens.clone());
        options
    }
}
