//! What the main thread does while the workers work: phase after phase, each with a bound.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use chat_protocol::ChannelId;
use mio::Waker;

use crate::{
    engine::{Command, Handle, Outcome, Plan, Schedule, Shared},
    progress::Progress,
    report::Details,
    run::RunError,
    server_process::{cpu_time, resident_bytes},
};

const TICK: Duration = Duration::from_millis(20);

/// The main thread's view of a run.
pub(crate) struct Driver {
    pub(crate) plan: Arc<Plan>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) workers: Vec<Handle>,
    pub(crate) progress: Progress,
}

impl Driver {
    /// Waits until a condition holds or the time is over; whether it held.
    pub(crate) fn wait(&mut self, phase: &str, until: Instant, mut done: impl FnMut(&Self) -> bool) -> bool {
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

    pub(crate) fn connect(&mut self, cpu_before: Option<Duration>, details: &mut Details) {
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

    /// The measured window, and the warm-up before it. A script runs in it, and ends it.
    pub(crate) fn load<T: Send + 'static>(
        &mut self,
        details: &mut Details,
        script: Option<impl FnOnce() -> T + Send + 'static>,
    ) -> Result<Option<T>, RunError> {
        let options = self.plan.options.clone();
        let us =
            |seconds: f64| u64::try_from(Duration::from_secs_f64(seconds).as_micros()).unwrap_or(u64::MAX);
        let start_us = self.plan.now_us() + 10_000;
        let window_us = start_us + us(options.warmup);
        let end_us = window_us + us(options.seconds);
        self.shared.end_us.store(end_us, Ordering::Relaxed);
        let rate = options.rate;
        let schedule = Schedule { start_us, window_us, end_us, rate, first: 0, crowd: None, toggle: None };
        self.workers.iter().for_each(|worker| worker.send(Command::Start(schedule)));
        let wakers = self.workers.iter().map(|worker| Arc::clone(&worker.waker)).collect();
        let pacer = start_pacer(self.plan.epoch, Arc::clone(&self.shared), wakers, schedule);
        let at = |us: u64| self.plan.epoch + Duration::from_micros(us);
        let (window, end) = (at(window_us), at(end_us));
        let me = std::process::id();
        self.wait("warming up", window, |_| false);
        let sample = |shared: &Shared| {
            let received = shared.received.load(Ordering::Relaxed);
            (Instant::now(), received, options.server_pid.and_then(cpu_time), cpu_time(me))
        };
        let before = sample(&self.shared);
        let script = script
            .map(|script| thread::Builder::new().name("script".into()).spawn(script))
            .transpose()
            .map_err(RunError::Worker)?;
        let over = self.wait("measuring", end, |_| script.as_ref().is_some_and(|s| s.is_finished()));
        if over {
            let now = self.plan.now_us();
            self.shared.end_us.store(now, Ordering::Relaxed);
            self.workers.iter().for_each(|worker| worker.send(Command::Until(now)));
        }
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
        let panicked = |_| RunError::Worker(io::Error::other("the script panicked"));
        script.map(|script| script.join().map_err(panicked)).transpose()
    }

    /// Waits until every send is answered, and those who were dropped are back.
    pub(crate) fn drain(&mut self) {
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
    pub(crate) fn settle(&mut self, heads: HashMap<ChannelId, u64>) {
        let until = Instant::now() + Duration::from_secs_f64(self.plan.options.drain);
        let heads = Arc::new(heads);
        self.workers.iter().for_each(|worker| worker.send(Command::Heads(Arc::clone(&heads))));
        self.wait("settling", until, |driver| driver.workers.iter().all(Handle::is_settled));
    }

    /// The broadcaster has no log: waits until nothing comes any more.
    pub(crate) fn settle_bare(&mut self, drain: f64) {
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

    pub(crate) fn stop(self) -> Result<Outcome, RunError> {
        self.workers.iter().for_each(|worker| worker.send(Command::Stop));
        let mut outcome = Outcome::default();
        for worker in self.workers {
            outcome.merge(worker.join().map_err(RunError::Worker)?);
        }
        self.progress.end();
        Ok(outcome)
    }
}

/// Wakes workers when a message is due: the system's sleep is far more punctual than epoll's timeout,
/// which counts milliseconds.
pub(crate) fn start_pacer(
    epoch: Instant,
    shared: Arc<Shared>,
    wakers: Vec<Arc<Waker>>,
    schedule: Schedule,
) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name("pacer".into()).spawn(move || {
        for (n, waker) in (schedule.first..).zip(wakers.iter().cycle()) {
            let Some(due_us) = schedule.due_us(n) else { return };
            if due_us >= shared.end_us.load(Ordering::Relaxed) {
                return;
            }
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

#[expect(clippy::disallowed_methods, reason = "these threads have nothing else to do, and no runtime")]
pub(crate) fn pause(time: Duration) {
    thread::sleep(time);
}

fn micros(after: Duration, before: Duration) -> f64 {
    after.saturating_sub(before).as_secs_f64() * 1e6
}
