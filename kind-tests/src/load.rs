//! chat-load against a chat's Service: sockets that send and listen through whatever happens, and the truth about what became of it.

use std::{
    collections::HashSet,
    fs,
    io::Write as _,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use chat_load::{
    options::Options,
    report::Report,
    run::{Clock, Run, run_during},
    timeline::Timeline,
    tokens::{self, Account},
};
use k8s_openapi::api::core::v1::Secret;
use tempfile::{NamedTempFile, TempDir};
use tokio::{process::Command, sync::oneshot, time::timeout};

use crate::{
    chat::Endpoint,
    command,
    scene::{Scene, status},
    settings::Settings,
};

/// The Secret with the keys that the operator makes, and where they are in it.
const SIGNING_KEYS: (&str, &str) = ("chat-signing-keys", "keys.json");
/// A load goes on until it gets the signal to end, or for this long.
const LONGEST: Duration = Duration::from_secs(3_600);
/// Beyond the time that its sockets may take to connect.
const BEGUN: Duration = Duration::from_secs(60);

/// Accounts that sockets can be opened with, in the order of their channels.
pub struct Accounts(Vec<Account>);

impl Accounts {
    /// Fills the tables of a chat that is ready with accounts, in channels of `members` each: `chat-server seed` past the chat, with the
    /// keys that its processes have.
    ///
    /// # Errors
    /// When the keys or the tables cannot be reached.
    pub async fn make(scene: &Scene, users: u32, members: u32) -> Result<Self> {
        let folder = TempDir::new()?;
        let keyspace =
            status(&scene.chat().await?).keyspace.context("expected the keyspace in the status")?;
        let (name, key) = SIGNING_KEYS;
        let secret = scene.api::<Secret>().get(name).await.context("expected the signing keys")?;
        let keys = secret.data.unwrap_or_default().remove(key).context("expected keys in the Secret")?;
        let (keys_file, tokens) = (folder.path().join("keys.json"), folder.path().join("tokens.jsonl"));
        fs::write(&keys_file, keys.0)?;
        let mut seed = Command::new(scene.settings.programs.join("chat-server"));
        seed.arg("seed").arg("--data-dir").arg(folder.path()).arg("--tokens").arg(&tokens);
        for (option, number) in
            [("--users", users), ("--members", members), ("--channels", (users / members).max(1))]
        {
            seed.args([option, &number.to_string()]);
        }
        seed.envs(cassandra(&scene.settings, &folder)?)
            .env("FOLKMOOT_CASSANDRA__KEYSPACE", keyspace)
            .env("FOLKMOOT_AUTH__SIGNING_KEYS_FILE", &keys_file);
        command::run(&mut seed, "").await?.succeeded().context("chat-server seed")?;
        let accounts = tokens::load(&tokens, users as usize)?;
        ensure!(accounts.len() == users as usize, "expected {users} accounts, got {}", accounts.len());
        Ok(Self(accounts))
    }

    /// The next `count` of them: all of each of their channels. A load compares with the logs as they are when it has ended, so nobody
    /// else may write to its channels meanwhile.
    ///
    /// # Errors
    /// When there are not so many, or some of those that are left have a channel in common with them.
    pub fn take(&mut self, count: usize) -> Result<Self> {
        ensure!(count <= self.0.len(), "expected {count} accounts, there are {}", self.0.len());
        let (taken, left) = self.0.split_at(count);
        let channels: HashSet<_> = taken.iter().flat_map(|account| &account.channels).collect();
        let shared = left.iter().flat_map(|account| &account.channels).find(|id| channels.contains(id));
        ensure!(shared.is_none(), "expected whole channels, {shared:?} has members beyond the first {count}");
        Ok(Self(self.0.drain(..count).collect()))
    }
}

/// Where the tables are, without TLS: the processes' own connections show that it works.
fn cassandra(settings: &Settings, folder: &TempDir) -> Result<Vec<(&'static str, String)>> {
    let mut variables = vec![
        ("FOLKMOOT_STORE__ENGINE", "cassandra".to_owned()),
        ("FOLKMOOT_CASSANDRA__CONTACT_POINTS", settings.cassandra.contact_points.join(",")),
    ];
    if let Some((user, password)) = &settings.cassandra.credentials {
        let file = folder.path().join("password");
        fs::write(&file, password)?;
        variables.push(("FOLKMOOT_CASSANDRA__USER", user.clone()));
        variables.push(("FOLKMOOT_CASSANDRA__PASSWORD_FILE", file.display().to_string()));
    }
    Ok(variables)
}

/// What a load is like.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Messages a second over all sockets.
    pub rate: f64,
    /// New sockets a second; as fast as they are taken without it.
    pub ramp: Option<f64>,
    /// How long all may take to connect.
    pub connect: Duration,
    /// Over how long gateways that drain send their sockets away: what the rate of those that come back is compared with.
    pub drain_window: Option<Duration>,
}

impl Shape {
    /// Sockets that connect at once and send so many messages a second together.
    #[must_use]
    pub const fn of(rate: f64) -> Self {
        Self { rate, ramp: None, connect: Duration::from_secs(60), drain_window: None }
    }
}

/// A load that is under way: a socket for each account.
pub struct Load {
    clock: Clock,
    began: Instant,
    sockets: u32,
    stop: mpsc::SyncSender<()>,
    outcome: oneshot::Receiver<Result<Run<()>>>,
}

impl Load {
    /// Begins; all are connected when this returns.
    ///
    /// # Errors
    /// When nobody is let in.
    pub async fn start(endpoint: &Endpoint, accounts: &Accounts, shape: Shape) -> Result<Self> {
        let sockets = u32::try_from(accounts.0.len())?;
        let mut tokens = NamedTempFile::new()?;
        for account in &accounts.0 {
            serde_json::to_writer(&mut tokens, account)?;
            tokens.write_all(b"\n")?;
        }
        let mut options = Options::new(&endpoint.url, sockets);
        options.tokens = Some(tokens.path().to_owned());
        (options.rate, options.ramp, options.seconds) = (shape.rate, shape.ramp, LONGEST.as_secs_f64());
        options.bars.drain_window = shape.drain_window.map(|window| window.as_secs_f64());
        options.connect_timeout = shape.connect.as_secs_f64();
        let (stop, stopped) = mpsc::sync_channel(1);
        let (begun, has_begun) = oneshot::channel();
        let (ended, outcome) = oneshot::channel();
        // A thread and no task: it waits, for minutes, and has a runtime of its own.
        thread::Builder::new().name("load".into()).spawn(move || {
            let script = move |clock: &Clock| {
                let _ = begun.send(*clock);
                // Ends too when nobody is left who could stop it.
                let _ = stopped.recv();
            };
            let run = run_during(&options, Some(script)).map_err(anyhow::Error::from);
            drop(tokens);
            let _ = ended.send(run);
        })?;
        match timeout(shape.connect + BEGUN, has_begun).await.context("expected the load to begin")? {
            Ok(clock) => Ok(Self { clock, began: Instant::now(), sockets, stop, outcome }),
            Err(_) => {
                let failed = outcome.await?.err();
                Err(failed.unwrap_or_else(|| anyhow::anyhow!("the load ended before it began")))
            }
        }
    }

    /// Microseconds since its beginning, as in its [`Timeline`].
    #[must_use]
    pub fn now_us(&self) -> u64 {
        self.clock.now_us()
    }

    /// Closes all sockets and compares what was acknowledged and received with the logs.
    ///
    /// # Errors
    /// When the logs cannot be read.
    pub async fn end(self) -> Result<Ended> {
        let _ = self.stop.send(());
        let run = self.outcome.await.context("expected the load to end")??;
        let seconds = self.began.elapsed().as_secs_f64();
        Ok(Ended { sockets: self.sockets, seconds, report: run.report, timeline: run.timeline })
    }
}

/// What a load found.
pub struct Ended {
    /// How many sockets it was to have.
    pub sockets: u32,
    /// How long it sent.
    pub seconds: f64,
    /// What was found.
    pub report: Report,
    /// What happened when.
    pub timeline: Timeline,
}

impl Ended {
    /// Everything that was promised was kept: nothing lost, doubled or out of order, every send acknowledged, everybody there.
    ///
    /// # Errors
    /// When something was not: with what.
    pub fn kept_all(&self) -> Result<()> {
        let (report, details) = (&self.report, &self.report.details);
        ensure!(
            report.connections == self.sockets && details.dead_connections == 0,
            "expected {} sockets, {} connected and {} were closed for good: {:?}",
            self.sockets,
            report.connections,
            details.dead_connections,
            details.trouble
        );
        ensure!(
            report.is_clean(),
            "expected nothing to be lost, doubled or out of order: {}/{}/{}; {:?}; {:?}",
            report.lost,
            report.duplicated,
            report.out_of_order,
            details.violations,
            details.findings
        );
        ensure!(
            details.unacked == 0 && details.refused == 0 && report.acked == report.sent,
            "expected every send to be acknowledged: {} of {}, {} refused; {:?}",
            report.acked,
            report.sent,
            details.refused,
            details.trouble
        );
        Ok(())
    }

    /// For a line of a test.
    #[must_use]
    pub fn title(&self) -> String {
        let report = &self.report;
        let delivery = report.delivery_ms.map_or(0.0, |quantiles| quantiles.p99);
        format!(
            "{} sockets, {} messages, {}/{}/{} lost/doubled/reordered, {} reconnects, delivery p99 {delivery:.0} ms",
            report.connections,
            report.sent,
            report.lost,
            report.duplicated,
            report.out_of_order,
            report.reconnects.attempts
        )
    }
}
