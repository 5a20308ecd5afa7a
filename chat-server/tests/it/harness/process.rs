//! The real binary, so that it can be killed.

use std::{
    fs::File,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use super::wait::{DEADLINE, until_so, until_within};

const BINARY: &str = env!("CARGO_BIN_EXE_chat-server");
const READY: Duration = DEADLINE;

/// A server process on loopback ports that it keeps across restarts; killed when dropped.
pub struct ServerProcess {
    child: Child,
    data: PathBuf,
    settings: Vec<String>,
    ports: (u16, u16),
    open_files: Option<u32>,
    log: Option<PathBuf>,
    pub base_url: String,
    pub admin_url: String,
}

impl ServerProcess {
    pub fn start(data: &Path) -> Self {
        Self::start_with(data, &[])
    }

    /// With these settings, each `section.key=value`.
    pub fn start_with(data: &Path, settings: &[&str]) -> Self {
        Self::start_limited(data, settings, None)
    }

    /// With these settings, and with so many files that it may have open at most.
    pub fn start_limited(data: &Path, settings: &[&str], open_files: Option<u32>) -> Self {
        Self::start_as(data, settings, open_files, None)
    }

    /// With these settings, and what it says in this file.
    pub fn start_logged(data: &Path, settings: &[&str], log: &Path) -> Self {
        Self::start_as(data, settings, None, Some(log))
    }

    fn start_as(data: &Path, settings: &[&str], open_files: Option<u32>, log: Option<&Path>) -> Self {
        let ports = (free_port(), free_port());
        let (base_url, admin_url) =
            (format!("http://127.0.0.1:{}", ports.0), format!("http://127.0.0.1:{}", ports.1));
        let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        let child = spawn(data, &settings, ports, open_files, log);
        let (data, log) = (data.to_owned(), log.map(Path::to_owned));
        Self { child, data, settings, ports, open_files, log, base_url, admin_url }
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: no farewell, no flush.
    pub fn kill(&mut self) {
        self.child.kill().expect("is killed");
        self.child.wait().expect("is gone");
    }

    /// Starts again on the same data and ports.
    pub fn restart(&mut self) {
        self.child = spawn(&self.data, &self.settings, self.ports, self.open_files, self.log.as_deref());
    }

    /// SIGTERM, as Kubernetes ends a process.
    pub fn terminate(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status();
        assert!(sent.expect("kill starts").success(), "the process is there");
    }

    /// Waits until it has ended by itself; whether with success.
    pub async fn ended(&mut self) -> bool {
        let child = &mut self.child;
        let ended = async || child.try_wait().expect("can be waited for");
        until_within(READY, "chat-server ends", ended).await.success()
    }

    /// The value of a metric; 0 when there is none.
    pub async fn metric(&self, name: &str) -> f64 {
        metric(self.ports.1, name).await.unwrap_or(0.0)
    }

    /// Waits until a metric has reached a value.
    pub async fn wait_for_metric(&self, name: &str, value: f64) {
        let reached = async || metric(self.ports.1, name).await.is_some_and(|now| now >= value);
        until_so(&format!("{name} is {value}"), reached).await;
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(
    data: &Path,
    settings: &[String],
    ports: (u16, u16),
    open_files: Option<u32>,
    log: Option<&Path>,
) -> Child {
    let said = log.map_or_else(Stdio::inherit, |path| {
        Stdio::from(File::options().create(true).append(true).open(path).expect("can be written"))
    });
    let mut command = match open_files {
        None => Command::new(BINARY),
        Some(most) => {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("ulimit -n {most} && exec \"$0\" \"$@\""), BINARY]);
            shell
        }
    };
    let child = command
        .args(["dev", "--no-demo", "--data-dir"])
        .arg(data)
        .args(["--listen", &format!("127.0.0.1:{}", ports.0)])
        .args(["--admin-listen", &format!("127.0.0.1:{}", ports.1)])
        .args(settings.iter().flat_map(|setting| ["--set", setting]))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(said)
        .spawn()
        .expect("chat-server starts");
    let deadline = Instant::now() + READY;
    while std::net::TcpStream::connect(("127.0.0.1", ports.0)).is_err() {
        assert!(Instant::now() < deadline, "chat-server does not listen");
        std::thread::yield_now();
    }
    child
}

/// Fills a store and answers the file of tokens.
pub fn seed(data: &Path, users: u32, channels: u32, members: u32) -> PathBuf {
    let tokens = data.join("tokens.jsonl");
    let status = Command::new(BINARY)
        .args(["seed", "--data-dir"])
        .arg(data)
        .args(["--users", &users.to_string(), "--channels", &channels.to_string()])
        .args(["--members", &members.to_string(), "--tokens"])
        .arg(&tokens)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("seed starts");
    assert!(status.success(), "seed fails");
    tokens
}

/// The value of a metric, when the server answers and has it.
pub async fn metric(admin_port: u16, name: &str) -> Option<f64> {
    // Without it, reqwest does not know which of its TLS providers to take, though no test speaks TLS.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let http = reqwest::Client::builder().timeout(READY).no_proxy().build().expect("a client");
    let answer = http.get(format!("http://127.0.0.1:{admin_port}/metrics")).send().await.ok()?;
    let text = answer.text().await.ok()?;
    super::metric_in(&text, name)
}

/// A port that nobody listens on, below those that the kernel hands out to clients: a client must not get it
/// while the server is down.
fn free_port() -> u16 {
    loop {
        let port = rand::random_range(20_000..30_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
