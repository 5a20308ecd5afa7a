//! One process of a run: it holds its sockets, does as it is ordered on its standard input, and reports on its output.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::{
    ScaleError,
    wire::{Assignment, Beat, Found, Order},
};
use crate::{
    client_id::RunTag,
    driver::start_pacer,
    engine::{self, Command, Plan, Schedule, Share, Shared},
    logs::LogReader,
    options::Options,
    tokens,
};

/// Between two reports.
const BEAT: Duration = Duration::from_millis(200);
/// Nobody orders anything for longer than this.
const SILENCE: Duration = Duration::from_secs(1_200);

/// Works until it is ordered to stop, or whoever orders is gone.
///
/// # Errors
/// When the sockets cannot be held or the findings cannot be written.
pub fn work() -> Result<(), ScaleError> {
    let mut lines = BufReader::new(io::stdin()).lines();
    let assignment: Assignment = match lines.next() {
        Some(line) => serde_json::from_str(&line?)?,
        None => return Ok(()),
    };
    let (orders, inbox) = mpsc::sync_channel(8);
    thread::Builder::new().name("orders".into()).spawn(move || {
        for line in lines.map_while(Result::ok) {
            let Ok(order) = serde_json::from_str(&line) else { return };
            if orders.send(order).is_err() {
                return;
            }
        }
    })?;
    let plan = Arc::new(plan(&assignment)?);
    let shared = Arc::new(Shared::default());
    let reader = LogReader::start(&plan).map_err(crate::run::RunError::from)?;
    let worker = engine::spawn(0, &plan, &shared, reader.requests())?;
    reader.serve(vec![worker.sender()]);
    let mut last_order = Instant::now();
    loop {
        match inbox.recv_timeout(BEAT) {
            Ok(Order::Load { start_us, end_us, rate, first, crowd, toggle }) => {
                shared.end_us.store(end_us, Ordering::Relaxed);
                let schedule = Schedule { start_us, window_us: start_us, end_us, rate, first, crowd, toggle };
                worker.send(Command::Start(schedule));
                // It ends by itself with the schedule.
                start_pacer(plan.epoch, Arc::clone(&shared), vec![Arc::clone(&worker.waker)], schedule)?;
            }
            Ok(Order::Settle { heads }) => worker.send(Command::Heads(Arc::new(heads))),
            Ok(Order::Stop) => break,
            Err(RecvTimeoutError::Timeout) if last_order.elapsed() < SILENCE => {
                report(&plan, &shared, worker.is_settled())?;
                if worker.is_finished() {
                    break;
                }
                continue;
            }
            // Whoever gives orders is gone.
            Err(_) => return Ok(()),
        }
        last_order = Instant::now();
    }
    worker.send(Command::Stop);
    let outcome = worker.join()?;
    let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let found = Found {
        by_time: outcome.by_time,
        acks: outcome.acks,
        receipts: outcome.receipts,
        unacked: outcome.unacked,
        refused: get(&shared.refused),
        lost_sockets: outcome.lost_sockets,
        resent: outcome.resent,
        gaps: outcome.gaps,
        recovered: outcome.recovered,
        paged: outcome.paged,
        presence_changes: get(&shared.presence_changes),
        trouble: outcome.trouble,
        violations: outcome.violations,
    };
    let mut file = BufWriter::new(File::create(&assignment.findings)?);
    serde_json::to_writer(&mut file, &found)?;
    file.flush()?;
    Ok(())
}

fn plan(assignment: &Assignment) -> Result<Plan, ScaleError> {
    let accounts = tokens::load(&assignment.tokens, usize::MAX)?;
    let connections = u32::try_from(accounts.len()).unwrap_or(u32::MAX);
    let mut options = Options::new("", connections);
    options.urls.clone_from(&assignment.gateways);
    options.api = Some(assignment.api.clone());
    options.tokens = Some(assignment.tokens.clone());
    options.source_addresses = assignment.source_addresses;
    options.seed = 1 + u64::from(assignment.process);
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = since.saturating_sub(Duration::from_micros(assignment.began_unix_us));
    let watchers = assignment.watchers.min(connections);
    Ok(Plan {
        gateways: options.targets().map_err(crate::run::RunError::from)?,
        api: options.api_target().map_err(crate::run::RunError::from)?,
        options,
        accounts,
        tag: RunTag::new(assignment.tag),
        epoch: Instant::now().checked_sub(since).unwrap_or_else(Instant::now),
        watchers,
        targets: watchers..connections,
        history: None,
        share: Some(Share {
            process: assignment.process,
            crowd: assignment.crowd,
            watched_by_each: assignment.watched_by_each,
        }),
    })
}

fn report(plan: &Plan, shared: &Shared, settled: bool) -> io::Result<()> {
    let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let beat = Beat {
        at_us: plan.now_us(),
        live: shared.live.load(Ordering::Relaxed),
        welcomed: shared.welcomed.load(Ordering::Relaxed),
        dead: shared.dead.load(Ordering::Relaxed),
        last_welcome_us: get(&shared.last_welcome_us),
        sent: get(&shared.sent),
        answered: get(&shared.acked) + get(&shared.refused),
        received: get(&shared.received),
        resumed: get(&shared.resumed),
        settled,
    };
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, &beat)?;
    out.write_all(b"\n")?;
    out.flush()
}
