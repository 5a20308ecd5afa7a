//! The progress line: rewritten in place on a terminal, a plain line every five seconds otherwise.

use std::{
    io::{IsTerminal, Write, stderr},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use crate::engine::Shared;

const ON_TERMINAL: Duration = Duration::from_millis(500);
const ELSEWHERE: Duration = Duration::from_secs(5);

/// Says how far a run is.
#[derive(Debug)]
pub(crate) struct Progress {
    quiet: bool,
    terminal: bool,
    began: Instant,
    last: Instant,
    last_received: u64,
}

impl Progress {
    pub(crate) fn new(quiet: bool) -> Self {
        let now = Instant::now();
        Self { quiet, terminal: stderr().is_terminal(), began: now, last: now, last_received: 0 }
    }

    /// Shows the counters, when it is time to.
    pub(crate) fn tick(&mut self, phase: &str, shared: &Shared) {
        let every = if self.terminal { ON_TERMINAL } else { ELSEWHERE };
        if self.quiet || self.last.elapsed() < every {
            return;
        }
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let received = get(&shared.received);
        let rate = (received - self.last_received) as f64 / self.last.elapsed().as_secs_f64();
        self.last = Instant::now();
        self.last_received = received;
        let line = format!(
            "{:>4} s  {phase}: {} connected, {} sent, {} acked, {received} delivered ({rate:.0}/s), {} resumed",
            self.began.elapsed().as_secs(),
            shared.live.load(Ordering::Relaxed),
            get(&shared.sent),
            get(&shared.acked),
            get(&shared.resumed),
        );
        // Nobody to show it to is no reason to fail.
        let _ =
            if self.terminal { write!(stderr(), "\r\x1b[2K{line}") } else { writeln!(stderr(), "{line}") };
    }

    /// Leaves the terminal as it was.
    pub(crate) fn end(&self) {
        if self.terminal && !self.quiet {
            let _ = write!(stderr(), "\r\x1b[2K");
        }
    }
}
