//! Recent history, read over REST all through a run: what clients that scroll would see, compared with the logs
//! at the end.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use chat_protocol::{ChannelId, Event};
use parking_lot::Mutex;
use rand::{RngExt, SeedableRng, rngs::SmallRng};
use tokio::{runtime::Runtime, sync::Semaphore, time};

use crate::{
    engine::Plan,
    history::{LogEntry, Read, record::Record},
    logs::{entry, identity},
    rest::{Rest, RestError},
    timeline::ReadTime,
};

/// Reads under way at once; one that finds no place is not made.
const AT_ONCE: usize = 16;
/// Events before the last known one that a read asks for, so that reads overlap.
const BACK: u64 = 20;
/// Longest wait for an answer.
const DEADLINE: Duration = Duration::from_secs(5);
/// Between two tries to find out where a log ends.
const AGAIN: Duration = Duration::from_millis(200);
/// How often that is tried before the log is read from its beginning.
const TRIES: usize = 50;
/// Different reasons that are kept of reads that failed.
const MAX_REASONS: usize = 50;
/// Reads that are kept for the comparison.
const MAX_KEPT: usize = 100_000;

/// What was read so far.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    pub(crate) kept: Vec<Read>,
    pub(crate) times: Vec<ReadTime>,
    /// Why reads failed, and how often.
    pub(crate) trouble: BTreeMap<String, u64>,
    last: HashMap<ChannelId, u64>,
}

/// Begins to read, as often as the options say, until the returned task is aborted.
pub(crate) fn start(runtime: &Runtime, rest: &Rest, plan: &Arc<Plan>) -> Arc<Mutex<Reads>> {
    let reads = Arc::new(Mutex::new(Reads::default()));
    let rate = plan.options.read_rate;
    // One reader a channel: it reads again and again, as somebody does who is there.
    let mut readers: HashMap<ChannelId, usize> = HashMap::new();
    for (number, account) in plan.accounts.iter().enumerate() {
        account.channels.iter().for_each(|channel| _ = readers.entry(*channel).or_insert(number));
    }
    let readers: Vec<(ChannelId, usize)> = readers.into_iter().collect();
    if rate <= 0.0 || readers.is_empty() {
        return reads;
    }
    let (rest, plan, kept) = (rest.clone(), Arc::clone(plan), Arc::clone(&reads));
    runtime.spawn(async move {
        // Who reads has been there before, and begins where the log ends.
        for (channel, account) in &readers {
            let head = begin(&rest, *channel, &plan.accounts[*account].token).await;
            kept.lock().last.insert(*channel, head);
            one(&rest, &plan, &kept, *channel, *account).await;
        }
        let mut rng = SmallRng::seed_from_u64(plan.options.seed);
        let mut turns = time::interval(Duration::from_secs_f64(1.0 / rate));
        let places = Arc::new(Semaphore::new(AT_ONCE));
        loop {
            turns.tick().await;
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
            let (channel, account) = readers[rng.random_range(0..readers.len())];
            let (rest, plan, kept) = (rest.clone(), Arc::clone(&plan), Arc::clone(&kept));
            tokio::spawn(async move {
                one(&rest, &plan, &kept, channel, account).await;
                drop(place);
            });
        }
    });
    reads
}

/// Where a log ends now. While thousands connect, who reads is asked to come back.
async fn begin(rest: &Rest, channel: ChannelId, token: &str) -> u64 {
    for _ in 0..TRIES {
        if let Ok(head) = rest.head(channel, token).await {
            return head;
        }
        time::sleep(AGAIN).await;
    }
    0
}

async fn one(rest: &Rest, plan: &Plan, reads: &Mutex<Reads>, channel: ChannelId, account: usize) {
    let after = reads.lock().last.get(&channel).map_or(0, |last| last.saturating_sub(BACK));
    let from_us = plan.now_us();
    let page =
        time::timeout(DEADLINE, rest.page_once(channel, &plan.accounts[account].token, after, None)).await;
    let time = ReadTime { from_us, to_us: plan.now_us(), ok: matches!(page, Ok(Ok(_))) };
    let mut reads = reads.lock();
    if reads.times.len() < MAX_KEPT {
        reads.times.push(time);
    }
    let why = match page {
        Ok(Ok(page)) => return keep(plan, &mut reads, channel, after, &page.items),
        Ok(Err(RestError::Status { status, body, .. })) => {
            format!("a read was answered with {status}: {body}")
        }
        Ok(Err(_)) => "a read was not answered".to_owned(),
        Err(_) => "a read took longer than 5 s".to_owned(),
    };
    if reads.trouble.len() < MAX_REASONS || reads.trouble.contains_key(&why) {
        *reads.trouble.entry(why).or_default() += 1;
    }
}

fn keep(plan: &Plan, reads: &mut Reads, channel: ChannelId, after: u64, events: &[Event]) {
    plan.record(|| Record::Read { channel, after, events: events.iter().map(identity).collect() });
    if let Some(event) = events.last() {
        let last = reads.last.entry(channel).or_default();
        *last = (*last).max(event.seq);
    }
    if reads.kept.len() < MAX_KEPT {
        let entries: Vec<LogEntry> = events.iter().map(entry).collect();
        reads.kept.push(Read { channel, after, entries });
    }
}
