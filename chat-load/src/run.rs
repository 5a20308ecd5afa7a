//! A run from the first connect to the verdict.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{self, BufWriter, Write},
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use chat_protocol::{ChannelId, UserId};
use parking_lot::Mutex;
use rand::RngExt;

use crate::{
    client_id::RunTag,
    engine::{self, Command, Handle, Outcome, Plan, Schedule, Shared},
    history::{ChannelLog, verdict},
    logs::{self, LogReader, LogsError},
    options::{Options, OptionsError, Protocol},
    progress::Progress,
    report::{Details, Report},
    server_process::{cpu_time, resident_bytes},
    tokens::{self, Account, TokensError},
};

/// How long the server is left alone when all are connected, before its memory is read.
const QUIET: Duration = Duration::from_millis(1_000);
const TICK: Duration = Duration::from_millis(20);
/// Presence is watched of at most so many.
const MAX_TARGETS: u32 = 100;

/// A run that could not be made, or told nothing.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The options make no sense.
    #[error("the options make no sense")]
    Options(#[from] OptionsError),
    /// There are no accounts to use.
    #[error("there are no accounts to use")]
    Tokens(#[from] TokensError),
    /// Nobody was welcomed.
    #[error("expected the server to welcome somebody within {seconds} s: {trouble}")]
    NoAnswer {
        /// How long it had.
        seconds: f64,
        /// What happened instead.
        trouble: String,
    },
    /// The logs could not be read at the end.
    #[error("cannot compare with the logs")]
    Logs(#[from] LogsError),
    /// A file could not be written.
    #[error("expected to write {path}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The machine does not let a worker work.
    #[error("a worker failed")]
    Worker(#[source] io::Error),
}

/// Makes a run and compares what was acked and received with the logs.
///
/// # Errors
/// When the run could not be made, nobody was welcomed, or the logs could not be read.
pub fn run(options: &Options) -> Result<Report, RunError> {
    options.validate()?;
    let plan = Arc::new(plan(options)?);
    let shared = Arc::new(Shared::default());
    let reader = LogReader::start(&plan)?;
    let rss_before = options.server_pid.and_then(resident_bytes);
    let cpu_before = options.server_pid.and_then(cpu_time);
    let workers: Vec<Handle> = (0..options.threads)
        .map(|id| engine::spawn(id, &plan, &shared, reader.requests()))
        .collect::<io::Result<_>>()
        .map_err(RunError::Worker)?;
    reader.serve(workers.iter().map(Handle::sender).collect());

    let mut driver = Driver { plan, shared, workers, progress: Progress::new(options.quiet) };
    let mut details = Details { server_rss_before: rss_before, ..Details::default() };
    driver.connect(cpu_before, &mut details);
    let connections = driver.shared.live.load(Ordering::Relaxed);
    if connections == 0 {
        let outcome = driver.stop()?;
        return Err(RunError::NoAnswer { seconds: options.connect_timeout, trouble: told(&outcome.trouble) });
    }
    driver.wait("connected", Instant::now() + QUIET, |_| false);
    details.server_rss_connected = options.server_pid.and_then(resident_bytes);

    driver.load(&mut details);
    driver.drain();
    let mut logs = HashMap::new();
    if !driver.plan.is_bare() {
        reader.read(&driver.plan, &mut logs)?;
        driver.settle(logs::heads(&logs));
    } else {
        driver.settle_bare(options.drain);
    }
    let (plan, shared) = (Arc::clone(&driver.plan), Arc::clone(&driver.shared));
    let outcome = driver.stop()?;
    if plan.is_bare() {
        logs = logs::from_acks(&outcome);
    } else {
        // What was written since the first reading: sends that nobody waited for any more.
        reader.read(&plan, &mut logs)?;
    }
    logs::record(&plan, &reader);
    flush_history(&plan)?;
    Ok(report(connections, &plan, &shared, outcome, &logs, &details, &reader))
}

fn plan(options: &Options) -> Result<Plan, RunError> {
    let target = options.target()?;
    let accounts = match (&options.tokens, options.protocol) {
        (Some(path), Protocol::Folkmoot) => tokens::load(path, options.connections as usize)?,
        _ => vec![Account { user: UserId(uuid::Uuid::nil()), token: "none".into(), channels: Vec::new() }],
    };
    let watchers = options.watchers();
    // Whom others watch must have one socket only, or nobody would see it go.
    let unique = (options.connections as usize).min(accounts.len());
    let last =
        u32::try_from(unique).unwrap_or(u32::MAX).min(watchers + MAX_TARGETS.min(options.connections / 10));
    let targets = if watchers == 0 || accounts.len() < options.connections as usize {
        watchers..watchers
    } else {
        watchers..last.max(watchers)
    };
    let history = match &options.history {
        Some(path) => {
            let file = File::create(path).map_err(|source| RunError::Write { path: path.clone(), source })?;
            Some(Mutex::new(BufWriter::new(file)))
        }
        None => None,
    };
    Ok(Plan {
        options: options.clone(),
        target,
        accounts,
        // Not of the seed: two runs on the same data must not use the same ids.
        tag: RunTag::new(rand::rng().random()),
        epoch: Instant::now(),
        watchers,
        targets,
        history,
    })
}

struct Driver {
    plan: Arc<Plan>,
    shared: Arc<Shared>,
    workers: Vec<Handle>,
    progress: Progress,
}

impl Driver {
    /// Waits until a condition holds or the time is over; whether it held.
    fn wait(&mut self, phase: &str, until: Instant, mut done: impl FnMut(&Self) -> bool) -> bool {
        loop {
            if done(self) {
                return true;
            }
            let now = Instant::now();
            if now >= until || self.workers.iter().any(Handle::is_finished) {
                return false;
            }
            self.progress.tick(phase, &self.shared);
            pause(TICK.min(until - now));
        }
    }

    fn connect(&mut self, cpu_before: Option<Duration>, details: &mut Details) {
        let options = &self.plan.options;
        let (all, pid) = (options.connections, options.server_pid);
        let ramp = options.ramp.filter(|r| *r > 0.0).map_or(0.0, |r| f64::from(all) / r);
        let until = Instant::now() + Duration::from_secs_f64(options.connect_timeout + ramp);
        let began_us = self.plan.now_us();
        self.wait("connecting", until, |driver| {
            let shared = &driver.shared;
            shared.welcomed.load(Ordering::Relaxed) + shared.dead.load(Ordering::Relaxed) >= all
        });
        let cpu = pid.and_then(cpu_time);
        let welcomed = self.shared.welcomed.load(Ordering::Relaxed);
        let took_us = self.shared.last_welcome_us.load(Ordering::Relaxed).saturating_sub(began_us);
        if welcomed > 0 {
            details.connects_per_second = f64::from(welcomed) * 1e6 / took_us.max(1) as f64;
            details.server_cpu_us_per_connect =
                cpu.zip(cpu_before).map(|(after, before)| micros(after, before) / f64::from(welcomed));
        }
    }

    /// The measured window, and the warm-up before it.
    fn load(&mut self, details: &mut Details) {
        let options = self.plan.options.clone();
        let us =
            |seconds: f64| u64::try_from(Duration::from_secs_f64(seconds).as_micros()).unwrap_or(u64::MAX);
        let start_us = self.plan.now_us() + 10_000;
        let window_us = start_us + us(options.warmup);
        let end_us = window_us + us(options.seconds);
        let schedule = Schedule { start_us, window_us, end_us, rate: options.rate };
        self.workers.iter().for_each(|worker| worker.tell(Command::Start(schedule)));
        let pacer = self.start_pacer(schedule);
        let at = |us: u64| self.plan.epoch + Duration::from_micros(us);
        let (window, end) = (at(window_us), at(end_us));
        let me = std::process::id();
        self.wait("warming up", window, |_| false);
        let sample = |shared: &Shared| {
            let received = shared.received.load(Ordering::Relaxed);
            (Instant::now(), received, options.server_pid.and_then(cpu_time), cpu_time(me))
        };
        let before = sample(&self.shared);
        self.wait("measuring", end, |_| false);
        let after = sample(&self.shared);
        details.window_seconds = (after.0 - before.0).as_secs_f64();
        details.window_deliveries = after.1 - before.1;
        let seconds = |after: Option<Duration>, before: Option<Duration>| {
            after.zip(before).map(|(after, before)| after.saturating_sub(before).as_secs_f64())
        };
        details.server_cpu_seconds = seconds(after.2, before.2);
        details.generator_cpu_seconds = seconds(after.3, before.3);
        details.server_rss_loaded = options.server_pid.and_then(resident_bytes);
        // It ends by itself with the schedule.
        if let Ok(pacer) = pacer {
            let _ = pacer.join();
        }
    }

    /// Wakes workers when a message is due: the system's sleep is far more punctual than epoll's timeout,
    /// which counts milliseconds.
    fn start_pacer(&self, schedule: Schedule) -> io::Result<thread::JoinHandle<()>> {
        let wakers: Vec<_> = self.workers.iter().map(|worker| Arc::clone(&worker.waker)).collect();
        let epoch = self.plan.epoch;
        thread::Builder::new().name("pacer".into()).spawn(move || {
            for (n, waker) in (0..).zip(wakers.iter().cycle()) {
                let Some(due_us) = schedule.due_us(n) else { return };
                let due = epoch + Duration::from_micros(due_us);
                if let Some(left) = due.checked_duration_since(Instant::now()) {
                    pause(left);
                }
                if waker.wake().is_err() {
                    return;
                }
            }
        })
    }

    /// Waits until every send is answered, and those who were dropped are back.
    fn drain(&mut self) {
        let until = Instant::now() + Duration::from_secs_f64(self.plan.options.drain);
        self.wait("draining", until, |driver| {
            let shared = &driver.shared;
            let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
            let live = shared.live.load(Ordering::Relaxed) + shared.dead.load(Ordering::Relaxed);
            get(&shared.acked) + get(&shared.refused) >= get(&shared.sent)
                && live >= shared.welcomed.load(Ordering::Relaxed)
        });
    }

    /// Waits until every receiver has its channels up to these heads.
    fn settle(&mut self, heads: HashMap<ChannelId, u64>) {
        let until = Instant::now() + Duration::from_secs_f64(self.plan.options.drain);
        let heads = Arc::new(heads);
        self.workers.iter().for_each(|worker| worker.tell(Command::Heads(Arc::clone(&heads))));
        self.wait("settling", until, |driver| driver.workers.iter().all(Handle::is_settled));
    }

    /// The broadcaster tells no log: waits until nothing comes any more.
    fn settle_bare(&mut self, drain: f64) {
        let until = Instant::now() + Duration::from_secs_f64(drain);
        let mut last = (Instant::now(), 0);
        self.wait("settling", until, |driver| {
            let received = driver.shared.received.load(Ordering::Relaxed);
            if received != last.1 {
                last = (Instant::now(), received);
            }
            last.0.elapsed() > Duration::from_millis(500)
        });
    }

    fn stop(self) -> Result<Outcome, RunError> {
        self.workers.iter().for_each(|worker| worker.tell(Command::Stop));
        let mut outcome = Outcome::default();
        for worker in self.workers {
            outcome.merge(worker.join().map_err(RunError::Worker)?);
        }
        self.progress.end();
        Ok(outcome)
    }
}

fn report(
    connections: u32,
    plan: &Plan,
    shared: &Shared,
    outcome: Outcome,
    logs: &HashMap<ChannelId, ChannelLog>,
    details: &Details,
    reader: &LogReader,
) -> Report {
    let verdict = verdict(logs, &outcome.acks, &outcome.receipts);
    let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let mut violations = outcome.violations;
    if reader.altered() > 0 {
        violations.insert("a message of the log has another text than was sent".into(), reader.altered());
    }
    let options = &plan.options;
    let dead = shared.dead.load(Ordering::Relaxed);
    let live = shared.live.load(Ordering::Relaxed);
    let rss = details.server_rss_connected.zip(details.server_rss_before);
    let cpu = details.server_cpu_seconds.filter(|_| details.window_deliveries > 0);
    Report {
        connections,
        sent: get(&shared.sent),
        acked: get(&shared.acked),
        delivered: verdict.delivered,
        expected: verdict.expected,
        lost: verdict.lost,
        duplicated: verdict.duplicated,
        out_of_order: verdict.out_of_order,
        resumed: get(&shared.resumed),
        ack_ms: outcome.ack.quantiles(),
        delivery_ms: outcome.delivery.quantiles(),
        presence_ms: outcome.presence.quantiles(),
        server_cpu_us_per_delivery: cpu.map(|s| s * 1e6 / details.window_deliveries as f64),
        server_rss_bytes_per_connection: rss
            .map(|(after, before)| (after as f64 - before as f64) / f64::from(connections)),
        details: Details {
            unacked: outcome.unacked,
            refused: get(&shared.refused),
            resent: outcome.resent,
            dropped: get(&shared.dropped),
            gaps: outcome.gaps,
            recovered: outcome.recovered,
            paged: outcome.paged,
            missing_connections: options.connections.saturating_sub(live.max(connections)),
            dead_connections: dead,
            presence_changes: get(&shared.presence_changes),
            presence_heard: outcome.presence.count(),
            trouble: outcome.trouble,
            violations,
            findings: verdict.examples,
            ..details.clone()
        },
    }
}

fn flush_history(plan: &Plan) -> Result<(), RunError> {
    let Some((history, path)) = plan.history.as_ref().zip(plan.options.history.as_ref()) else {
        return Ok(());
    };
    let flushed = history.lock().flush();
    flushed.map_err(|source| RunError::Write { path: path.clone(), source })
}

fn told(trouble: &BTreeMap<String, u64>) -> String {
    if trouble.is_empty() {
        return "nothing came".into();
    }
    trouble.iter().map(|(what, n)| format!("{what} ({n} times)")).collect::<Vec<_>>().join(", ")
}

#[expect(clippy::disallowed_methods, reason = "these threads have nothing else to do, and no runtime")]
fn pause(time: Duration) {
    thread::sleep(time);
}

fn micros(after: Duration, before: Duration) -> f64 {
    after.saturating_sub(before).as_secs_f64() * 1e6
}
