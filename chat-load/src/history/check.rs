//! The comparison of a run's acks and receipts with the channels' logs.

use std::collections::HashMap;

use chat_protocol::ChannelId;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::cursor::{Cursor, placed};

/// A log with a larger hole than this is not a log: what comes after it is left out.
const MAX_HOLE: u64 = 1_000_000;
/// Sentences kept to explain a verdict.
const MAX_EXAMPLES: usize = 20;

/// A send that the server said it had committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ack {
    /// The log that the ack names.
    pub channel: ChannelId,
    /// The position that it names.
    pub seq: u64,
    /// The send's client id.
    pub id: Uuid,
    /// When it was sent and acked; none of an ack that came again.
    pub times: Option<Times>,
}

/// The span in which a send was committed, in microseconds from the start of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// When it was first handed to a socket.
    pub sent_us: u64,
    /// When it was first acked.
    pub acked_us: u64,
}

/// One event of a log, as much of it as is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEntry {
    /// Its position in the log, from 1.
    pub seq: u64,
    /// Hash of what is compared, see [`crate::event_head::EventHead::fingerprint`].
    pub fingerprint: u64,
    /// The client id it was sent with.
    pub id: Option<Uuid>,
}

/// A channel's log as the server gave it, from its first event, in the order it came.
#[derive(Debug, Clone, Default)]
pub struct ChannelLog {
    /// The events, in the order of the log.
    pub entries: Vec<LogEntry>,
}

/// One receiver's account of one channel.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Receipt {
    /// Which receiver, for the explanation.
    pub receiver: u32,
    /// The channel that was received.
    pub channel: ChannelId,
    /// What it got.
    pub cursor: Cursor,
}

/// Events that were read while the run went on.
#[derive(Debug, Clone)]
pub struct Read {
    /// Of which channel.
    pub channel: ChannelId,
    /// Events after this position were asked for.
    pub after: u64,
    /// What came, in the order it came.
    pub entries: Vec<LogEntry>,
}

/// What the comparison found. All is well when nothing was lost, duplicated or out of order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Events that receivers were owed: for each receiver and channel, those after its first `welcome`.
    pub expected: u64,
    /// Those of them that they have, each counted once.
    pub delivered: u64,
    /// Acked sends that are not in the log, holes in the log, and events that a receiver never got.
    pub lost: u64,
    /// Sends that are in a log twice, and events that came to a socket twice unasked.
    pub duplicated: u64,
    /// Acks that name another position than the log, sends that stand before one that was acked before they were
    /// begun, events that came after a later one unasked, receivers that had other events at some position than
    /// the log has, and reads that contradict it.
    pub out_of_order: u64,
    /// The first few findings in words.
    pub examples: Vec<String>,
}

impl Verdict {
    /// Whether the run kept every promise.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.lost == 0 && self.duplicated == 0 && self.out_of_order == 0
    }

    fn explain(&mut self, what: impl FnOnce() -> String) {
        if self.examples.len() < MAX_EXAMPLES {
            self.examples.push(what());
        }
    }
}

/// A log made ready for lookups.
struct Indexed {
    head: u64,
    /// Position n holds the sum of `placed` over 1 ..= n.
    sums: Vec<u64>,
    by_id: HashMap<Uuid, u64>,
}

/// Compares what was acked and received with the logs.
#[must_use]
pub fn verdict(
    logs: &HashMap<ChannelId, ChannelLog>,
    acks: &[Ack],
    receipts: &[Receipt],
    reads: &[Read],
) -> Verdict {
    let mut verdict = Verdict::default();
    let indexed: HashMap<ChannelId, Indexed> =
        logs.iter().map(|(channel, log)| (*channel, index(*channel, log, &mut verdict))).collect();
    for ack in acks {
        judge_ack(ack, indexed.get(&ack.channel), &mut verdict);
    }
    judge_real_time(acks, &mut verdict);
    for receipt in receipts {
        judge_receipt(receipt, indexed.get(&receipt.channel), &mut verdict);
    }
    for read in reads {
        judge_read(read, indexed.get(&read.channel), &mut verdict);
    }
    verdict
}

fn index(channel: ChannelId, log: &ChannelLog, verdict: &mut Verdict) -> Indexed {
    let mut indexed = Indexed { head: 0, sums: vec![0], by_id: HashMap::with_capacity(log.entries.len()) };
    for entry in &log.entries {
        let due = indexed.head + 1;
        if entry.seq < due {
            verdict.out_of_order += 1;
            verdict.explain(|| format!("log of {channel}: seq {} came after {}", entry.seq, indexed.head));
            continue;
        }
        if entry.seq > due {
            verdict.lost += entry.seq - due;
            verdict
                .explain(|| format!("log of {channel}: nothing between {} and {}", indexed.head, entry.seq));
        }
        if entry.seq - due > MAX_HOLE {
            break;
        }
        let sum = indexed.sums.last().copied().unwrap_or_default();
        // A hole repeats the sum before it, so that later positions stay in place.
        indexed.sums.resize(usize::try_from(entry.seq).unwrap_or(usize::MAX), sum);
        indexed.sums.push(sum.wrapping_add(placed(entry.seq, entry.fingerprint)));
        indexed.head = entry.seq;
        if let Some(id) = entry.id
            && let Some(first) = indexed.by_id.insert(id, entry.seq)
        {
            indexed.by_id.insert(id, first);
            verdict.duplicated += 1;
            verdict.explain(|| format!("log of {channel}: {id} stands at {first} and at {}", entry.seq));
        }
    }
    indexed
}

fn judge_ack(ack: &Ack, log: Option<&Indexed>, verdict: &mut Verdict) {
    match log.and_then(|log| log.by_id.get(&ack.id)) {
        None => {
            verdict.lost += 1;
            verdict.explain(|| {
                format!("acked at {} of {} but not in the log: {}", ack.seq, ack.channel, ack.id)
            });
        }
        Some(seq) if *seq != ack.seq => {
            verdict.out_of_order += 1;
            verdict.explain(|| {
                format!("acked at {} of {} but stands at {seq}: {}", ack.seq, ack.channel, ack.id)
            });
        }
        Some(_) => {}
    }
}

/// A page is a range of the log, whenever it was read: what was once given at a position stays there.
fn judge_read(read: &Read, log: Option<&Indexed>, verdict: &mut Verdict) {
    let sum = |seq: u64| log.zip(usize::try_from(seq).ok()).and_then(|(log, at)| log.sums.get(at)).copied();
    for (due, entry) in (read.after + 1..).zip(&read.entries) {
        let found = placed(entry.seq, entry.fingerprint);
        let kept = sum(entry.seq).zip(sum(entry.seq.wrapping_sub(1))).map(|(to, from)| to.wrapping_sub(from));
        if entry.seq == due && kept == Some(found) {
            continue;
        }
        verdict.out_of_order += 1;
        let what =
            if entry.seq == due { "another event than the log" } else { "an event of another position" };
        verdict.explain(|| {
            format!(
                "read of {} after {}: at {due} came {what}, with seq {}",
                read.channel, read.after, entry.seq
            )
        });
        return;
    }
}

/// Appends are linearizable: what was acked before another send was begun stands before it.
fn judge_real_time(acks: &[Ack], verdict: &mut Verdict) {
    let mut timed: Vec<(ChannelId, u64, Times)> =
        acks.iter().filter_map(|ack| Some((ack.channel, ack.seq, ack.times?))).collect();
    // From the end of each log: the earliest ack among all that stand behind.
    timed.sort_unstable_by_key(|(channel, seq, _)| (*channel, std::cmp::Reverse(*seq)));
    let mut earliest: Option<(ChannelId, u64, u64)> = None;
    for (channel, seq, times) in timed {
        let behind = earliest.filter(|(of, ..)| *of == channel);
        if let Some((_, later, acked_us)) = behind
            && later != seq
            && acked_us < times.sent_us
        {
            verdict.out_of_order += 1;
            verdict.explain(|| {
                format!(
                    "log of {channel}: {seq} was begun after {later} was acked ({acked_us} to {} µs)",
                    times.sent_us
                )
            });
        }
        if behind.is_none_or(|(_, _, acked_us)| times.acked_us < acked_us) {
            earliest = Some((channel, seq, times.acked_us));
        }
    }
}

fn judge_receipt(receipt: &Receipt, log: Option<&Indexed>, verdict: &mut Verdict) {
    let Receipt { receiver, channel, cursor } = receipt;
    let tally = cursor.tally();
    verdict.duplicated += tally.duplicated;
    verdict.out_of_order += tally.out_of_order;
    if tally.duplicated + tally.out_of_order > 0 {
        verdict.explain(|| format!("receiver {receiver} of {channel}: {tally:?}"));
    }
    let head = log.map_or(0, |log| log.head);
    let reached = cursor.contiguous().min(head);
    let owed = head.saturating_sub(cursor.base());
    let beyond_gap = cursor.pending().filter(|seq| *seq <= head).count() as u64;
    let got = reached.saturating_sub(cursor.base()) + beyond_gap;
    verdict.expected += owed;
    verdict.delivered += got;
    if got < owed {
        verdict.lost += owed - got;
        verdict.explain(|| {
            format!(
                "receiver {receiver} of {channel}: has all up to {}, the head is {head}",
                cursor.contiguous()
            )
        });
    }
    // Events that were delivered and are not in the log: the server forgot what it had committed.
    let vanished = cursor.contiguous().saturating_sub(head.max(cursor.base()))
        + cursor.pending().filter(|seq| *seq > head).count() as u64;
    if vanished > 0 || head < cursor.base() {
        verdict.lost += vanished.max(cursor.base().saturating_sub(head));
        verdict.explain(|| {
            format!("receiver {receiver} of {channel}: has {}, the log ends at {head}", cursor.contiguous())
        });
        return;
    }
    if let Some(log) = log {
        let sum =
            |seq: u64| usize::try_from(seq).ok().and_then(|at| log.sums.get(at)).copied().unwrap_or_default();
        if cursor.digest() != sum(reached).wrapping_sub(sum(cursor.base())) {
            verdict.out_of_order += 1;
            verdict.explain(|| {
                format!(
                    "receiver {receiver} of {channel}: had other events in {} to {reached} than the log",
                    cursor.base() + 1
                )
            });
        }
    }
}
