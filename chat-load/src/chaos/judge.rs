//! What a run under a fault is judged by. Pure.

use chat_protocol::ErrorCode;
use serde::Serialize;

use super::fault::Fault;
use crate::{presence_errors, report::Report, timeline::Timeline};

/// The longest that a send may take, from when it was due to its ack, while one of anything is away.
pub const SEND_BAR_MS: f64 = 5_000.0;
/// The longest that a watcher may be wrong about somebody.
pub const PRESENCE_BAR_MS: f64 = 8_000.0;
/// From the beginning of an outage to the first `overloaded`, and the longest that a send waits for its answer then.
pub const OVERLOADED_BAR_MS: f64 = 1_000.0;
/// From the end of an outage until everything that was sent before it is acked.
pub const RETURN_BAR_MS: f64 = 10_000.0;
/// Share of the reads of recent history that are answered in an outage.
pub const READS_BAR: f64 = 0.99;
/// Without a fault: ack p50, ack p99 and delivery p99.
pub const CALM_BARS_MS: (f64, f64, f64) = (25.0, 500.0, 500.0);
/// Sends that were begun so soon after an outage began are under way in the store when it stops answering: what became
/// of them must be found out before they are answered.
const SETTLING_US: u64 = 1_000_000;

/// When a fault was there, in microseconds from the start of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Marks {
    /// From when on.
    pub began_us: u64,
    /// When all that the fault takes away was away.
    pub acted_us: u64,
    /// When all that was taken away was back.
    pub healed_us: u64,
    /// When the load ended.
    pub ended_us: u64,
}

/// What a run under a fault came to.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// Description of the fault.
    pub fault: &'static str,
    /// Sends that were due from the fault on.
    pub sent: usize,
    /// Those of them that were acked.
    pub acked: usize,
    /// Lost, duplicated, out of order, over the whole run.
    pub broken: [u64; 3],
    /// The longest that a send took.
    pub slowest_send_ms: f64,
    /// The longest that a watcher was wrong.
    pub presence_wrong_ms: f64,
    /// Sockets that were lost.
    pub cut: usize,
    /// Of an outage.
    pub outage: Option<Outage>,
    /// Bars that were missed, in words.
    pub missed: Vec<String>,
}

/// What an outage of the whole store came to.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Outage {
    /// Until the first `overloaded` came.
    pub first_overloaded_ms: Option<f64>,
    /// The longest that a send waited for its answer.
    pub slowest_refusal_ms: f64,
    /// Reads of recent history that were answered, and all.
    pub reads: (usize, usize),
    /// From the store's return until all that was sent before is acked.
    pub through_after_ms: f64,
}

/// Judges a run.
#[must_use]
pub fn judge(fault: Fault, marks: Marks, report: &Report, timeline: &Timeline) -> Row {
    let ms = |us: u64| us as f64 / 1e3;
    let (sent, acked) = timeline.sends_due(marks.began_us, marks.ended_us);
    // Presence travels over the broker: while it is away nobody can know.
    let known_from = if fault == Fault::BrokerKilled { marks.healed_us } else { marks.began_us };
    let until = if fault == Fault::AllNodesHang { marks.healed_us } else { marks.ended_us };
    let mut row = Row {
        fault: fault.name(),
        sent,
        acked,
        broken: [report.lost, report.duplicated, report.out_of_order],
        slowest_send_ms: ms(timeline.slowest_send_us(marks.began_us, marks.ended_us)),
        presence_wrong_ms: ms(presence_errors::longest_wrong_us(timeline, known_from, timeline.end_us)),
        cut: timeline.cut_between(marks.began_us, until),
        outage: (fault == Fault::AllNodesHang).then(|| outage(marks, timeline)),
        missed: Vec::new(),
    };
    row.missed = missed(fault, &row, report);
    row
}

fn outage(marks: Marks, timeline: &Timeline) -> Outage {
    let ms = |us: u64| us as f64 / 1e3;
    let span = marks.began_us..marks.healed_us;
    let during = timeline.refused.iter().filter(|refused| span.contains(&refused.at_us));
    let overloaded = during.clone().filter(|refused| refused.code == ErrorCode::Overloaded);
    let settled = marks.acted_us + SETTLING_US;
    let reads: Vec<bool> = timeline
        .reads
        .iter()
        .filter(|read| read.from_us >= marks.began_us && read.to_us < marks.healed_us)
        .map(|read| read.ok)
        .collect();
    Outage {
        first_overloaded_ms: overloaded
            .map(|refused| ms(refused.at_us.saturating_sub(marks.acted_us)))
            .reduce(f64::min),
        slowest_refusal_ms: during
            .filter(|refused| refused.sent_us >= settled)
            .map(|refused| ms(refused.at_us.saturating_sub(refused.sent_us)))
            .fold(0.0, f64::max),
        reads: (reads.iter().filter(|ok| **ok).count(), reads.len()),
        through_after_ms: ms(timeline.last_ack_us(marks.healed_us).saturating_sub(marks.healed_us)),
    }
}

fn missed(fault: Fault, row: &Row, report: &Report) -> Vec<String> {
    let mut missed = Vec::new();
    let mut bar = |met: bool, what: String| {
        if !met {
            missed.push(format!("{}: {what}", row.fault));
        }
    };
    bar(
        report.is_clean(),
        format!("{:?} lost, duplicated, out of order; {:?}", row.broken, report.details.violations),
    );
    bar(row.sent > 0 && row.acked == row.sent, format!("{} of {} sends acked", row.acked, row.sent));
    match row.outage {
        None => {
            bar(row.slowest_send_ms < SEND_BAR_MS, format!("a send took {:.0} ms", row.slowest_send_ms));
            bar(
                row.presence_wrong_ms < PRESENCE_BAR_MS,
                format!("presence was wrong for {:.0} ms", row.presence_wrong_ms),
            );
        }
        Some(outage) => {
            bar(row.cut == 0, format!("{} sockets dropped", row.cut));
            match outage.first_overloaded_ms {
                Some(ms) => {
                    bar(ms <= OVERLOADED_BAR_MS, format!("the first overloaded came after {ms:.0} ms"))
                }
                None => bar(false, "no send was answered with overloaded".into()),
            }
            bar(
                outage.slowest_refusal_ms <= OVERLOADED_BAR_MS,
                format!("a send was answered after {:.0} ms", outage.slowest_refusal_ms),
            );
            let (ok, all) = outage.reads;
            bar(all > 0 && ok as f64 >= READS_BAR * all as f64, format!("{ok} of {all} reads answered"));
            bar(
                outage.through_after_ms < RETURN_BAR_MS,
                format!("all was through {:.0} ms after the return", outage.through_after_ms),
            );
        }
    }
    if fault == Fault::None {
        let (p50, p99, delivery) = CALM_BARS_MS;
        bar(
            report.ack_ms.is_some_and(|q| q.p50 < p50 && q.p99 < p99),
            format!("acks took {:?}", report.ack_ms),
        );
        bar(
            report.delivery_ms.is_some_and(|q| q.p99 < delivery),
            format!("deliveries took {:?}", report.delivery_ms),
        );
    }
    missed
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::timeline::{AckedSend, Cut, PresenceEvent, ReadTime, Refused};

    const S: u64 = 1_000_000;
    const MARKS: Marks = Marks { began_us: 10 * S, acted_us: 10 * S, healed_us: 40 * S, ended_us: 55 * S };

    fn report() -> Report {
        Report { connections: 1, sent: 1, acked: 1, ..Report::default() }
    }

    fn good() -> Timeline {
        let mut timeline = Timeline::new(Instant::now());
        timeline.end_us = 60 * S;
        timeline.sends = vec![
            AckedSend { due_us: 9 * S, sent_us: 9 * S, acked_us: 9 * S + 1 },
            AckedSend { due_us: 20 * S, sent_us: 20 * S, acked_us: 45 * S },
            AckedSend { due_us: 50 * S, sent_us: 50 * S, acked_us: 50 * S + 2 },
        ];
        let code = ErrorCode::Overloaded;
        timeline.refused = vec![Refused { at_us: 10 * S + 400_000, sent_us: 10 * S, code }];
        timeline.reads = vec![ReadTime { from_us: 20 * S, to_us: 20 * S + 5, ok: true }];
        timeline
    }

    #[test]
    fn a_good_outage_meets_all_bars() {
        let row = judge(Fault::AllNodesHang, MARKS, &report(), &good());
        assert_eq!(row.missed, Vec::<String>::new());
        assert_eq!((row.sent, row.acked), (2, 2));
        assert_eq!(
            row.outage.map(|o| (o.first_overloaded_ms, o.through_after_ms)),
            Some((Some(400.0), 5_000.0))
        );
    }

    #[test]
    fn each_bar_of_an_outage_is_judged() {
        let check = |plant: fn(&mut Timeline), what: &str| {
            let mut timeline = good();
            plant(&mut timeline);
            let missed = judge(Fault::AllNodesHang, MARKS, &report(), &timeline).missed;
            assert!(missed.len() == 1 && missed[0].contains(what), "{what}: {missed:?}");
        };
        check(|t| t.refused[0].at_us = 12 * S, "first overloaded");
        check(|t| t.refused.clear(), "no send was answered");
        check(
            |t| t.refused.push(Refused { at_us: 15 * S, sent_us: 12 * S, code: ErrorCode::Unavailable }),
            "after 3000",
        );
        check(|t| t.reads[0].ok = false, "0 of 1 reads");
        check(|t| t.reads.clear(), "0 of 0 reads");
        check(|t| t.sends[1].acked_us = 51 * S, "11000 ms after the return");
        check(|t| t.cuts.push(Cut { at_us: 12 * S, why: String::new() }), "1 sockets");
        check(|t| t.unacked.push(50 * S), "2 of 3 sends");
    }

    #[test]
    fn one_fault_may_cost_a_send_five_seconds_and_presence_eight() {
        let fault = |timeline: &Timeline| judge(Fault::GatewayKilled, MARKS, &report(), timeline).missed;
        let mut timeline = good();
        timeline.sends[1].acked_us = 24 * S;
        assert_eq!(
            fault(&timeline),
            Vec::<String>::new(),
            "sockets may be cut, and nobody need hear of overload"
        );
        timeline.sends[1].acked_us = 26 * S;
        assert!(fault(&timeline)[0].contains("a send took 6000 ms"));
        timeline.sends[1].acked_us = 24 * S;
        let user = chat_protocol::UserId::new();
        let truth = |online| PresenceEvent::Changed { user, online };
        timeline.presence = vec![
            (S, truth(true)),
            (S, PresenceEvent::Reported { watcher: 1, user, online: true }),
            (11 * S, truth(false)),
        ];
        timeline.presence.insert(0, (0, PresenceEvent::Watches { watcher: 1 }));
        timeline.presence.push((20 * S, PresenceEvent::Reported { watcher: 1, user, online: false }));
        assert!(fault(&timeline)[0].contains("presence was wrong for 9000 ms"), "{:?}", fault(&timeline));
        let mut lost = report();
        lost.lost = 1;
        timeline.presence.clear();
        assert!(judge(Fault::NodeKilled, MARKS, &lost, &timeline).missed[0].contains("[1, 0, 0] lost"));
    }
}
