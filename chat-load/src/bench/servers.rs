//! The processes that are measured.

use std::{
    io::{self, BufRead, BufReader},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::Lab;
use crate::options::{Options, Protocol};

const START_DEADLINE: Duration = Duration::from_secs(30);

/// A server that would not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The program cannot be run.
    #[error("failed to run {program}")]
    Spawn {
        /// Path of the program.
        program: PathBuf,
        /// What the operating system reported.
        source: io::Error,
    },
    /// A command ended without success.
    #[error("`{what}` failed with {status}: {stderr}")]
    Ended {
        /// Name of the command.
        what: &'static str,
        /// Its exit status.
        status: std::process::ExitStatus,
        /// What it said.
        stderr: String,
    },
    /// It does not answer.
    #[error("no server answered at {0} within 30 s")]
    Silent(SocketAddr),
    /// No port, or the like.
    #[error("found no free port")]
    Port(#[source] io::Error),
}

/// How many users, in which channels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seed {
    pub(super) users: u32,
    pub(super) channels: u32,
    pub(super) members: u32,
    /// Messages in the first channel.
    pub(super) messages: u32,
}

impl Seed {
    /// Arguments of `chat-server seed` besides its store.
    pub(super) fn arguments(self, command: &mut Command, tokens: &Path) {
        command
            .args(["--users", &self.users.to_string()])
            .args(["--channels", &self.channels.to_string()])
            .args(["--members", &self.members.to_string()])
            .args(["--messages", &self.messages.to_string()])
            .arg("--tokens")
            .arg(tokens);
    }
}

/// Runs a command that ends by itself.
pub(super) fn run_to_end(what: &'static str, command: &mut Command) -> Result<(), ServerError> {
    let program = PathBuf::from(command.get_program());
    let ended = command.output().map_err(|source| ServerError::Spawn { program, source })?;
    if ended.status.success() {
        return Ok(());
    }
    let stderr = String::from_utf8_lossy(&ended.stderr).into_owned();
    Err(ServerError::Ended { what, status: ended.status, stderr })
}

/// A running server; it is killed when this is dropped.
#[derive(Debug)]
pub(super) struct Server {
    child: Child,
    url: String,
    tokens: Option<PathBuf>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Fills a store and serves it.
    pub(super) fn folkmoot(lab: &Lab<'_>, name: &str, seed: Seed) -> Result<Self, ServerError> {
        let program = &lab.settings.server;
        let data = lab.directory.join(name);
        let tokens = lab.directory.join(format!("{name}.tokens"));
        let mut command = Command::new(program);
        command.arg("seed").arg("--data-dir").arg(&data);
        seed.arguments(&mut command, &tokens);
        run_to_end("chat-server seed", &mut command)?;
        let mut command = Command::new(program);
        command.args(["dev", "--no-demo", "--data-dir"]).arg(&data);
        let mut server = Self::serve(command, lab, name, free_port()?)?;
        server.tokens = Some(tokens);
        Ok(server)
    }

    /// Starts a server whose command lacks its addresses, and waits until it listens.
    pub(super) fn serve(
        mut command: Command,
        lab: &Lab<'_>,
        name: &str,
        listen: SocketAddr,
    ) -> Result<Self, ServerError> {
        let program = PathBuf::from(command.get_program());
        let admin = free_port()?;
        let log = lab.directory.join(format!("{name}.log"));
        let stderr = std::fs::File::create(&log).map_or_else(|_| Stdio::null(), Stdio::from);
        let child = command
            .args(["--listen", &listen.to_string(), "--admin-listen", &admin.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .spawn()
            .map_err(|source| ServerError::Spawn { program, source })?;
        let mut server = Self { child, url: format!("http://{listen}"), tokens: None };
        server.await_listening(listen, &log)?;
        Ok(server)
    }

    /// Starts the broadcaster: this program, under another name.
    pub(super) fn bare() -> Result<Self, ServerError> {
        let program = std::env::current_exe()
            .map_err(|source| ServerError::Spawn { program: "folkmoot-bench".into(), source })?;
        let mut child = Command::new(&program)
            .arg("bare-broadcaster")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|source| ServerError::Spawn { program, source })?;
        let mut url = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut url).map_err(ServerError::Port)?;
        }
        Ok(Self { child, url: url.trim().to_owned(), tokens: None })
    }

    /// A quiet run against it.
    pub(super) fn options(&self, connections: u32) -> Options {
        let mut options = Options::new(&self.url, connections);
        options.tokens.clone_from(&self.tokens);
        options.protocol = if self.tokens.is_some() { Protocol::Folkmoot } else { Protocol::Bare };
        options.server_pid = Some(self.child.id());
        options
    }

    fn await_listening(&mut self, address: SocketAddr, log: &Path) -> Result<(), ServerError> {
        let until = Instant::now() + START_DEADLINE;
        while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_err() {
            if let Ok(Some(status)) = self.child.try_wait() {
                let stderr = std::fs::read_to_string(log).unwrap_or_default();
                return Err(ServerError::Ended { what: "chat-server", status, stderr });
            }
            if Instant::now() > until {
                return Err(ServerError::Silent(address));
            }
            pause(Duration::from_millis(50));
        }
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "this thread has nothing else to do, and no runtime")]
fn pause(time: Duration) {
    thread::sleep(time);
}

/// A port that was free a moment ago.
pub(super) fn free_port() -> Result<SocketAddr, ServerError> {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).map_err(ServerError::Port)
}
