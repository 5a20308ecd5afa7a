//! The workers of a run, and what is watched beside them.

use std::{
    collections::{BTreeMap, HashMap},
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    sync::mpsc::{self, RecvTimeoutError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use chat_protocol::ChannelId;
use rand::RngExt;

use super::{
    BACK, CONNECT, Gateway, ScaleError, Second, Settings,
    judge::Phase,
    logs::Readers,
    next_start,
    process::{Beside, Worker, cpu_seconds, resident},
    wire::{Assignment, Beat, Found, Order},
};
use crate::{
    client_id::RunTag,
    driver::pause,
    engine::Every,
    tokens::{self, Account},
};

/// Length of a message's text in bytes.
pub(super) const SIZE: u32 = 200;
/// Messages to the largest channel come at this distance.
const CROWD_US: u64 = 10_000_000;
/// Users whom one watcher watches, and how many of the sockets watch: each user is watched by one.
const WATCHED: u32 = 100;
/// How long to wait for a report before the clock is looked at.
const TICK: Duration = Duration::from_millis(50);
/// Reports that wait; whoever reports waits with them.
const REPORTS: usize = 1_024;
/// Between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(5);

/// Messages of a phase.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) name: &'static str,
    /// Messages a second, over all workers.
    pub(super) rate: f64,
    pub(super) length_us: u64,
    /// The share of the sockets that goes away in a minute, for some seconds each.
    pub(super) churn: Option<f64>,
}

/// The workers that hold the sockets, and what they report.
pub(super) struct Field {
    workers: Vec<Worker>,
    files: Vec<PathBuf>,
    reports: mpsc::Receiver<(usize, Beat)>,
    gateways: Vec<Gateway>,
    beside: Vec<Beside>,
    readers: Readers,
    sockets: Vec<u32>,
    tag: u32,
    began: Instant,
    seconds: Vec<Second>,
    next_second: Instant,
    next_progress: Instant,
    /// Number of the next message, of each worker.
    first: u64,
    phases: Vec<Phase>,
    /// Processor time of gateways that are gone.
    cpu_of_dead: f64,
}

impl Field {
    /// Deals the accounts out and starts the workers, which connect at once.
    pub(super) fn start(settings: &Settings, scratch: &Path) -> Result<Self, ScaleError> {
        let accounts = tokens::load(&settings.tokens, usize::MAX)?;
        let crowd = largest(&accounts).ok_or_else(|| ScaleError::NoChannel(settings.tokens.clone()))?;
        let processes = usize::from(settings.workers.max(1));
        let parts = deal(&accounts, processes, scratch)?;
        let mut readers = Readers::new();
        for account in &accounts {
            for channel in &account.channels {
                readers.entry(*channel).or_insert_with(|| account.token.clone());
            }
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (began, tag) = (Instant::now(), rand::rng().random());
        let (sender, reports) = mpsc::sync_channel(REPORTS);
        let mut workers = Vec::new();
        let mut files = Vec::new();
        for (process, (tokens, sockets)) in (0_u8..).zip(&parts) {
            let findings = scratch.join(format!("found-{process}.json"));
            let mut gateways: Vec<String> =
                settings.gateways.iter().map(|gateway| gateway.url.clone()).collect();
            // Each worker begins with another gateway.
            let turn = usize::from(process) % gateways.len().max(1);
            gateways.rotate_left(turn);
            let assignment = Assignment {
                process,
                tokens: tokens.clone(),
                gateways,
                api: settings.api.clone(),
                began_unix_us: u64::try_from(since.as_micros()).unwrap_or_default(),
                tag,
                crowd,
                watchers: sockets.div_ceil(WATCHED + 1),
                watched_by_each: WATCHED,
                source_addresses: settings.source_addresses,
                findings: findings.clone(),
            };
            workers.push(Worker::start(&assignment, sender.clone())?);
            files.push(findings);
        }
        Ok(Self {
            workers,
            files,
            reports,
            gateways: settings.gateways.clone(),
            beside: settings.beside.clone(),
            readers,
            sockets: parts.iter().map(|(_, sockets)| *sockets).collect(),
            tag,
            began,
            seconds: Vec::new(),
            next_second: began,
            next_progress: began + PROGRESS,
            first: 0,
            phases: Vec::new(),
            cpu_of_dead: 0.0,
        })
    }

    pub(super) fn sockets(&self) -> u32 {
        self.sockets.iter().sum()
    }

    pub(super) const fn readers(&self) -> &Readers {
        &self.readers
    }

    pub(super) const fn tag(&self) -> RunTag {
        RunTag::new(self.tag)
    }

    pub(super) fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// When the last socket was welcomed for the first time.
    pub(super) fn last_welcome_us(&self) -> u64 {
        self.workers.iter().map(|worker| worker.beat.last_welcome_us).max().unwrap_or_default()
    }

    pub(super) fn resumed(&self) -> u64 {
        self.sum(|beat| beat.resumed)
    }

    fn live(&self) -> u32 {
        self.workers.iter().map(|worker| worker.beat.live).sum()
    }

    fn sum(&self, of: impl Fn(&Beat) -> u64) -> u64 {
        self.workers.iter().map(|worker| of(&worker.beat)).sum()
    }

    /// Takes reports until something is so or the time is over; whether it is so.
    fn wait(&mut self, what: &str, until: Instant, done: impl Fn(&Self) -> bool) -> Result<bool, ScaleError> {
        loop {
            match self.reports.recv_timeout(TICK.min(until.saturating_duration_since(Instant::now()))) {
                Ok((worker, beat)) => self.workers[worker].beat = beat,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(ScaleError::Worker("all workers ended".into()));
                }
            }
            if done(self) {
                return Ok(true);
            }
            if let Some(at) = self.workers.iter_mut().position(Worker::has_ended) {
                return Err(ScaleError::Worker(format!("number {at} ended before the run did")));
            }
            let now = Instant::now();
            if now >= self.next_second {
                self.next_second = now + Duration::from_secs(1);
                self.look();
            }
            if now >= self.next_progress {
                self.next_progress = now + PROGRESS;
                self.say(what);
            }
            if now >= until {
                return Ok(false);
            }
        }
    }

    /// Keeps how things are now.
    fn look(&mut self) {
        let gateways: f64 = self.gateways.iter().map(|gateway| cpu_seconds(gateway.pid)).sum();
        let beside = self.beside.iter().map(|beside| cpu_seconds(beside.pid));
        let workers: f64 = self.workers.iter().map(|worker| cpu_seconds(worker.pid())).sum();
        let cpu = [gateways + self.cpu_of_dead].into_iter().chain(beside).chain([workers]).collect();
        self.seconds.push(Second {
            at: self.began.elapsed().as_secs_f64(),
            live: self.live(),
            received: self.sum(|beat| beat.received),
            cpu,
            resident: resident(&self.gateways),
        });
    }

    fn say(&self, what: &str) {
        let rate = match self.seconds.as_slice() {
            [.., before, last] => (last.received - before.received) as f64 / (last.at - before.at).max(0.1),
            _ => 0.0,
        };
        eprintln!(
            "{:>4} s  {what}: {} of {} connected, {} sent, {} answered, {rate:.0} deliveries/s, {} resumed",
            self.began.elapsed().as_secs(),
            self.live(),
            self.sockets(),
            self.sum(|beat| beat.sent),
            self.sum(|beat| beat.answered),
            self.resumed(),
        );
    }

    pub(super) fn pause(&mut self, what: &str, time: Duration) -> Result<(), ScaleError> {
        self.wait(what, Instant::now() + time, |_| false).map(drop)
    }

    pub(super) fn wait_until(&mut self, what: &str, at_us: u64) -> Result<(), ScaleError> {
        self.wait(what, self.began + Duration::from_micros(at_us), |_| false).map(drop)
    }

    /// Waits until all are connected.
    pub(super) fn connect(&mut self) -> Result<(), ScaleError> {
        let sockets = self.sockets();
        let until = Instant::now() + CONNECT;
        if self.wait("connecting", until, |field| field.live() >= sockets)? {
            return Ok(());
        }
        Err(ScaleError::Connect { live: self.live(), sockets })
    }

    /// Orders messages from the next interval on; when the last one is due.
    pub(super) fn begin(&mut self, load: Load) -> Result<u64, ScaleError> {
        let start_us = next_start(self.now_us());
        let end_us = start_us + load.length_us;
        let count = self.workers.len() as f64;
        let first = self.first;
        for (place, worker) in self.workers.iter_mut().enumerate() {
            let sockets = f64::from(self.sockets[place]);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "microseconds of a run"
            )]
            let us = |seconds: f64| (seconds * 1e6) as u64;
            let toggle = load
                .churn
                .map(|share| Every { first_us: start_us, every_us: us(60.0 / (share * sockets).max(1.0)) });
            let crowd =
                (place == 0).then_some(Every { first_us: start_us + CROWD_US / 4, every_us: CROWD_US });
            worker.order(&Order::Load {
                // They take turns.
                start_us: start_us + us(place as f64 / load.rate.max(0.001)),
                end_us,
                rate: load.rate / count,
                first,
                crowd,
                toggle,
            })?;
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "messages of a run")]
        let most = (load.rate / count * load.length_us as f64 / 1e6) as u64;
        self.first += most + 2;
        self.phases.push(Phase::new(load.name, load.rate, start_us, end_us));
        Ok(end_us)
    }

    /// A phase from its beginning to its end.
    pub(super) fn load(&mut self, load: Load) -> Result<(), ScaleError> {
        let end_us = self.begin(load)?;
        self.wait_until(load.name, end_us)
    }

    /// A gateway is gone, and its process number may soon be another's.
    pub(super) fn forget(&mut self, gateway: &str) {
        let before = self.seconds.last().and_then(|second| second.cpu.first()).copied().unwrap_or_default();
        self.gateways.retain(|other| other.name != gateway);
        let left: f64 = self.gateways.iter().map(|gateway| cpu_seconds(gateway.pid)).sum();
        self.cpu_of_dead = (before - left).max(0.0);
    }

    /// Waits until those who lost a gateway are back; when they were, if they were.
    pub(super) fn all_back(&mut self, since_us: u64, longest: Duration) -> Result<Option<u64>, ScaleError> {
        let sockets = self.sockets();
        let noticed = Instant::now() + Duration::from_secs(10).min(BACK);
        self.wait("storm", noticed, |field| field.live() < sockets)?;
        let until = self.began + Duration::from_micros(since_us) + longest;
        let back = self.wait("storm", until, |field| field.live() >= sockets)?;
        Ok(back.then(|| self.now_us()))
    }

    /// Waits until every send is answered and everybody is connected.
    pub(super) fn answered(&mut self, longest: Duration) -> Result<(), ScaleError> {
        let (sockets, until) = (self.sockets(), Instant::now() + longest);
        // The counts of the last report may be older than the last message.
        self.pause("draining", Duration::from_secs(1))?;
        let done = |field: &Self| {
            field.live() >= sockets && field.sum(|beat| beat.answered) >= field.sum(|beat| beat.sent)
        };
        self.wait("draining", until, done).map(drop)
    }

    /// Waits until everybody has everything up to these ends.
    pub(super) fn settle(
        &mut self,
        heads: HashMap<ChannelId, u64>,
        longest: Duration,
    ) -> Result<(), ScaleError> {
        let order = Order::Settle { heads };
        for worker in &mut self.workers {
            worker.order(&order)?;
        }
        let until = Instant::now() + longest;
        self.wait("settling", until, |field| field.workers.iter().all(|worker| worker.beat.settled)).map(drop)
    }

    /// Ends all workers and gathers what they found.
    pub(super) fn end(self) -> Result<(Found, Vec<Second>, Vec<Phase>), ScaleError> {
        let mut all = Found::default();
        let mut offset = 0;
        for ((worker, file), sockets) in self.workers.into_iter().zip(&self.files).zip(&self.sockets) {
            let mut found = worker.findings(file, pause)?;
            found.receipts.iter_mut().for_each(|receipt| receipt.receiver += offset);
            offset += sockets;
            all.merge(found);
        }
        Ok((all, self.seconds, self.phases))
    }
}

/// The channel with the most members among these.
fn largest(accounts: &[Account]) -> Option<ChannelId> {
    let mut members: BTreeMap<ChannelId, usize> = BTreeMap::new();
    for channel in accounts.iter().flat_map(|account| &account.channels) {
        *members.entry(*channel).or_default() += 1;
    }
    members.into_iter().max_by_key(|(_, count)| *count).map(|(channel, _)| channel)
}

/// A file of accounts for each process, and how many are in it.
fn deal(accounts: &[Account], processes: usize, scratch: &Path) -> Result<Vec<(PathBuf, u32)>, ScaleError> {
    (0..processes)
        .map(|process| {
            let path = scratch.join(format!("tokens-{process}.jsonl"));
            let mut file = BufWriter::new(File::create(&path)?);
            let mut count = 0;
            for account in accounts.iter().skip(process).step_by(processes) {
                serde_json::to_writer(&mut file, account)?;
                file.write_all(b"\n")?;
                count += 1;
            }
            file.flush()?;
            Ok((path, count))
        })
        .filter(|part| !matches!(part, Ok((_, 0))))
        .collect()
}
