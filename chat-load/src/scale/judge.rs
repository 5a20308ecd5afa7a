//! What a run came to, beside its bars. Pure.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{
    Second, Settings,
    plot::{Line, Mark, Panel, draw},
    wire::Found,
};
use crate::{
    bench::table::{met, row},
    histogram::{Histogram, Quantiles},
    history::Verdict,
    intervals::{ByTime, INTERVAL_US, Intervals},
};

/// All sockets up within this time, with at most so much memory of the gateways each.
const UP_S: f64 = 60.0;
const KIB: f64 = 4.0;
/// Delivery p99 at the mean rate in channels of up to 1,000, and in the largest.
const MEAN_MS: f64 = 100.0;
const CROWD_MS: f64 = 300.0;
/// Deliveries a second at the peak, and their p99 in channels of up to 1,000.
const PEAK_DELIVERIES: f64 = 25_000.0;
const PEAK_MS: f64 = 300.0;
const PRESENCE_MS: f64 = 2_000.0;
/// All back within this time, with so many reads each, while the others' p99 in each five seconds stays below.
const BACK_S: f64 = 30.0;
const READS: f64 = 2.0;
const OTHERS_MS: f64 = 500.0;
/// Name of the phase in which a gateway is killed.
pub(super) const STORM: &str = "reconnect storm";
/// The deliveries of smaller runs are not compared with the bar.
const FULL: u32 = 75_000;
/// Of fewer values in five seconds there is no 99th percentile to speak of.
const JUDGED: u64 = 200;

/// A span of the run with one rate.
#[derive(Debug, Clone, Serialize)]
pub struct Phase {
    /// Name of the phase.
    pub name: &'static str,
    /// Messages a second that were due, without those to the largest channel.
    pub rate: f64,
    /// When the first message was due, in microseconds from the start.
    pub start_us: u64,
    /// When the last one was.
    pub end_us: u64,
    /// Deliveries a second, of sockets that were there.
    pub deliveries: f64,
    /// Delivery in channels of up to 1,000, to sockets that did not lose their gateway.
    pub channels: Option<Quantiles>,
    /// The same in the largest channel.
    pub crowd: Option<Quantiles>,
    /// The highest p99 in five seconds of all deliveries to sockets that did not lose their gateway.
    pub worst_p99_ms: Option<f64>,
    /// From when a message was due to its ack.
    pub ack: Option<Quantiles>,
    /// From a change of presence to its being heard of.
    pub presence: Option<Quantiles>,
    /// How many of these were heard of.
    pub presence_heard: u64,
    /// Processor cores used: by all gateways, each process beside them, and the workers.
    pub cores: Vec<(String, f64)>,
}

impl Phase {
    pub(super) const fn new(name: &'static str, rate: f64, start_us: u64, end_us: u64) -> Self {
        Self {
            name,
            rate,
            start_us,
            end_us,
            deliveries: 0.0,
            channels: None,
            crowd: None,
            worst_p99_ms: None,
            ack: None,
            presence: None,
            presence_heard: 0,
            cores: Vec::new(),
        }
    }

    fn measure(&mut self, by_time: &ByTime, names: &[String], seconds: &[Second]) {
        let span = |intervals: &Intervals| intervals.between(self.start_us, self.end_us);
        let (channels, crowd, returned) =
            (span(&by_time.channels), span(&by_time.crowd), span(&by_time.returned));
        let length = (self.end_us - self.start_us) as f64 / 1e6;
        self.deliveries = (channels.count() + crowd.count() + returned.count()) as f64 / length;
        self.worst_p99_ms = worst(by_time, self.start_us, self.end_us);
        self.ack = span(&by_time.ack).quantiles();
        let presence = span(&by_time.presence);
        (self.presence, self.presence_heard) = (presence.quantiles(), presence.count());
        (self.channels, self.crowd) = (channels.quantiles(), crowd.quantiles());
        let inside =
            |second: &&Second| (self.start_us as f64..=self.end_us as f64).contains(&(second.at * 1e6));
        let (first, last) = (seconds.iter().find(inside), seconds.iter().rev().find(inside));
        if let Some((first, last)) = first.zip(last).filter(|(first, last)| last.at > first.at) {
            let used = first.cpu.iter().zip(&last.cpu).map(|(from, to)| (to - from) / (last.at - first.at));
            self.cores = names.iter().cloned().zip(used).collect();
        }
    }
}

fn worst(by_time: &ByTime, from_us: u64, to_us: u64) -> Option<f64> {
    (from_us / INTERVAL_US..to_us.div_ceil(INTERVAL_US))
        .filter_map(|interval| {
            let span = interval * INTERVAL_US..(interval + 1) * INTERVAL_US;
            let mut both = by_time.channels.between(span.start, span.end);
            both.merge(&by_time.crowd.between(span.start, span.end));
            (both.count() >= JUDGED).then(|| both.quantile_us(0.99) as f64 / 1e3)
        })
        .reduce(f64::max)
}

/// What became of those whose gateway was killed.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Storm {
    /// When it was killed, in microseconds from the start.
    pub killed_us: u64,
    /// When all were back; none when they were not in time.
    pub back_us: Option<u64>,
    /// Sockets that came back.
    pub resumed: u64,
    /// Partitions that the store read for each of them; none when it was not counted.
    pub reads_each: Option<f64>,
}

/// What there is to judge.
pub(super) struct Judged<'a> {
    pub(super) settings: &'a Settings,
    pub(super) sockets: u32,
    pub(super) connected_us: u64,
    pub(super) resident: u64,
    pub(super) phases: Vec<Phase>,
    pub(super) storm: Option<Storm>,
    pub(super) found: Found,
    pub(super) verdict: Verdict,
    pub(super) altered: u64,
    pub(super) seconds: Vec<Second>,
}

/// What a run came to.
#[derive(Debug, Clone, Serialize)]
pub struct Findings {
    /// How it is called in the picture.
    pub title: String,
    /// Sockets that were held.
    pub sockets: u32,
    /// Gateways that held them.
    pub gateways: usize,
    /// From the start until all were connected, in seconds.
    pub up_s: f64,
    /// Growth of the gateways' resident memory, by sockets, in KiB.
    pub kib_each: f64,
    /// The phases, in order.
    pub phases: Vec<Phase>,
    /// The reconnect storm, when a gateway was killed.
    pub storm: Option<Storm>,
    /// What those who had lost their gateway caught up with, from when it was due.
    pub caught_up: Option<Quantiles>,
    /// Events that were owed, and those of them that came.
    pub expected: u64,
    /// Events that arrived of those.
    pub delivered: u64,
    /// Messages that were acked.
    pub acked: u64,
    /// Messages without an ack at the end, or refused for good.
    pub not_acked: u64,
    /// Lost, duplicated, out of order.
    pub broken: [u64; 3],
    /// The first few of these in words, and other broken promises.
    pub findings: Vec<String>,
    /// Sockets that were lost, and not on purpose.
    pub lost_sockets: u64,
    /// Sends that were tried again.
    pub resent: u64,
    /// Gaps that clients found in a channel.
    pub gaps: u64,
    /// Channels that were caught up with over the socket.
    pub recovered: u64,
    /// Channels that were caught up with over REST.
    pub paged: u64,
    /// Changes of presence that were made.
    pub presence_changes: u64,
    /// Why sockets ended and commands were refused.
    pub trouble: BTreeMap<String, u64>,
    /// Names of what [`Second::cpu`] counts.
    pub processes: Vec<String>,
    /// The run, second by second.
    pub seconds: Vec<Second>,
    /// p99 in milliseconds by five seconds: channels of up to 1,000, the largest channel, and those who had lost their gateway.
    pub p99: Vec<[Option<f64>; 3]>,
}

impl Findings {
    /// Whether nothing was lost, doubled or reordered.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.broken == [0; 3] && self.findings.is_empty() && self.acked > 0
    }
}

pub(super) fn findings(judged: Judged<'_>) -> Findings {
    let Judged { settings, sockets, found, verdict, seconds, .. } = judged;
    let beside = settings.beside.iter().map(|beside| beside.name.clone());
    let processes: Vec<String> =
        ["gateways".to_owned()].into_iter().chain(beside).chain(["load".to_owned()]).collect();
    let mut phases = judged.phases;
    phases.iter_mut().for_each(|phase| phase.measure(&found.by_time, &processes, &seconds));
    let violations = found.violations.iter().map(|(what, n)| format!("{what} ({n} times)"));
    let altered = (judged.altered > 0)
        .then(|| format!("{} messages have another text in the log than was sent", judged.altered));
    let by_time = &found.by_time;
    let caught_up = by_time.caught_up.between(0, u64::MAX).quantiles();
    let p99 = |intervals: &Intervals, at: usize| {
        let interval = intervals.all().get(at).filter(|interval| interval.count() >= 20);
        interval.map(|interval: &Histogram| interval.quantile_us(0.99) as f64 / 1e3)
    };
    let lines = [&by_time.channels, &by_time.crowd, &by_time.returned];
    let count = lines.iter().map(|intervals| intervals.all().len()).max().unwrap_or_default();
    Findings {
        title: settings.title.clone(),
        sockets,
        gateways: settings.gateways.len(),
        up_s: judged.connected_us as f64 / 1e6,
        kib_each: judged.resident as f64 / 1024.0 / f64::from(sockets.max(1)),
        phases,
        storm: judged.storm,
        caught_up,
        expected: verdict.expected,
        delivered: verdict.delivered,
        acked: found.acks.len() as u64,
        not_acked: found.unacked + found.refused,
        broken: [verdict.lost, verdict.duplicated, verdict.out_of_order],
        findings: verdict.examples.into_iter().chain(violations).chain(altered).collect(),
        lost_sockets: found.lost_sockets,
        resent: found.resent,
        gaps: found.gaps,
        recovered: found.recovered,
        paged: found.paged,
        presence_changes: found.presence_changes,
        p99: (0..count).map(|at| lines.map(|intervals| p99(intervals, at))).collect(),
        trouble: found.trouble,
        processes,
        seconds,
    }
}

/// The rows of the table, the first with the names of its columns.
fn table(findings: &Findings) -> Vec<Vec<String>> {
    let below = |value: Option<f64>, bar: f64| met(value.is_some_and(|value| value < bar));
    let shown =
        |value: Option<f64>, unit: &str| value.map_or("-".into(), |value| format!("{value:.1} {unit}"));
    let p99 = |quantiles: Option<Quantiles>| quantiles.map(|quantiles| quantiles.p99);
    let mut rows = vec![row(["", "measured", "bar", ""])];
    let mut add =
        |what: &str, measured: &str, bar: &str, met: &str| rows.push(row([what, measured, bar, met]));
    let Findings { sockets, up_s, kib_each, .. } = *findings;
    add(&format!("connect: {sockets} sockets, gateways: {}", findings.gateways), "", "", "");
    add("  all up", &format!("{up_s:.1} s"), "< 60 s", met(up_s < UP_S));
    add("  connects a second", &format!("{:.0}", f64::from(sockets) / up_s.max(0.001)), "", "");
    add("  server memory a socket", &format!("{kib_each:.2} KiB"), "≤ 4 KiB", met(kib_each <= KIB));
    for phase in findings.phases.iter().filter(|phase| phase.name != "warm-up") {
        let (channels, crowd) = (p99(phase.channels), p99(phase.crowd));
        add(&format!("{}: {:.0} messages/s", phase.name, phase.rate), "", "", "");
        let deliveries = format!("{:.0}", phase.deliveries);
        let is_judged = phase.name == "peak" && sockets >= FULL;
        let (bar, enough) =
            if is_judged { ("≥ 25,000", met(phase.deliveries >= PEAK_DELIVERIES)) } else { ("", "") };
        add("  deliveries a second", &deliveries, bar, enough);
        add("  delivery p50, up to 1,000", &shown(phase.channels.map(|q| q.p50), "ms"), "", "");
        let (channels_bar, crowd_bar) = match phase.name {
            "mean rate" => (("< 100 ms", below(channels, MEAN_MS)), ("< 300 ms", below(crowd, CROWD_MS))),
            "peak" => (("< 300 ms", below(channels, PEAK_MS)), ("", "")),
            _ => (("", ""), ("", "")),
        };
        add("  delivery p99, up to 1,000", &shown(channels, "ms"), channels_bar.0, channels_bar.1);
        add("  delivery p99, largest", &shown(crowd, "ms"), crowd_bar.0, crowd_bar.1);
        if phase.name == STORM {
            let worst = phase.worst_p99_ms;
            add("  the others' worst p99 of 5 s", &shown(worst, "ms"), "< 500 ms", below(worst, OTHERS_MS));
        } else {
            let presence = p99(phase.presence);
            add("  presence p99", &shown(presence, "ms"), "< 2,000 ms", below(presence, PRESENCE_MS));
        }
        add("  ack p99", &shown(p99(phase.ack), "ms"), "", "");
        for (name, cores) in &phase.cores {
            add(&format!("  processors used: {name}"), &format!("{cores:.2}"), "", "");
        }
    }
    if let Some(storm) = findings.storm {
        let back = storm.back_us.map(|back_us| (back_us - storm.killed_us) as f64 / 1e6);
        add("a gateway killed", "", "", "");
        add(
            &format!("  its {} sockets are back", storm.resumed),
            &shown(back, "s"),
            "< 30 s",
            below(back, BACK_S),
        );
        let reads = storm.reads_each;
        let few = if reads.is_none() { "" } else { below(reads, READS + 0.005) };
        add(
            "  partitions read a resume",
            &reads.map_or("-".into(), |reads| format!("{reads:.2}")),
            "≤ 2",
            few,
        );
        add("  latest event caught up with", &shown(findings.caught_up.map(|q| q.max), "ms"), "", "");
    }
    let broken = findings.broken.map(|n| n.to_string()).join(", ");
    add("in all", "", "", "");
    add("  lost, doubled, out of order", &broken, "0, 0, 0", met(findings.is_clean()));
    add("  events delivered", &findings.delivered.to_string(), &findings.expected.to_string(), "");
    add("  messages acked", &findings.acked.to_string(), "", "");
    add("  messages not acked", &findings.not_acked.to_string(), "0", met(findings.not_acked == 0));
    rows
}

/// Prints the table, and below it what explains it.
pub fn print(findings: &Findings) {
    crate::bench::table::print(&findings.title, &table(findings));
    println!(
        "  sockets lost {}, sends tried again {}, gaps {}, recovered {}, read over REST {}, changes of presence {}",
        findings.lost_sockets,
        findings.resent,
        findings.gaps,
        findings.recovered,
        findings.paged,
        findings.presence_changes
    );
    for (what, n) in &findings.trouble {
        println!("  {what} ({n} times)");
    }
    for what in &findings.findings {
        println!("  FOUND: {what}");
    }
}

/// The run over time, as SVG.
pub(super) fn picture(findings: &Findings) -> String {
    let seconds = &findings.seconds;
    let over = |of: &dyn Fn(&Second) -> f64| seconds.iter().map(|second| (second.at, of(second))).collect();
    let rate = |of: &dyn Fn(&Second) -> f64| {
        let change = |pair: &[Second]| {
            (pair[1].at, ((of(&pair[1]) - of(&pair[0])) / (pair[1].at - pair[0].at).max(0.1)).max(0.0))
        };
        seconds.windows(2).map(change).collect()
    };
    let p99 = |which: usize| {
        let points = findings.p99.iter().enumerate();
        points
            .filter_map(|(at, values)| Some(((at as f64 + 0.5) * INTERVAL_US as f64 / 1e6, values[which]?)))
            .collect()
    };
    let line = |name: &str, points: Vec<(f64, f64)>| Line { name: name.into(), points };
    let panels = [
        Panel {
            title: format!("{}: sockets connected", findings.title),
            lines: vec![line("connected", over(&|second| f64::from(second.live)))],
            logarithmic: false,
        },
        Panel {
            title: "Deliveries a second".into(),
            lines: vec![line("deliveries", rate(&|second| second.received as f64))],
            logarithmic: false,
        },
        Panel {
            title: "Delivery p99 of five seconds, in ms".into(),
            lines: vec![
                line("up to 1,000 members", p99(0)),
                line("the largest channel", p99(1)),
                line("after the loss of a gateway", p99(2)),
            ],
            logarithmic: true,
        },
        Panel {
            title: "Processor cores used".into(),
            lines: findings
                .processes
                .iter()
                .enumerate()
                .map(|(at, name)| line(name, rate(&|second| second.cpu.get(at).copied().unwrap_or_default())))
                .collect(),
            logarithmic: false,
        },
        Panel {
            title: "Resident memory of the gateways, in MiB".into(),
            lines: vec![line("gateways", over(&|second| second.resident as f64 / 1_048_576.0))],
            logarithmic: false,
        },
    ];
    let marks: Vec<Mark> = findings
        .phases
        .iter()
        .map(|phase| Mark {
            name: phase.name.into(),
            from: phase.start_us as f64 / 1e6,
            to: phase.end_us as f64 / 1e6,
        })
        .collect();
    draw(&panels, &marks, seconds.last().map_or(1.0, |second| second.at))
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000;

    fn settings() -> Settings {
        Settings {
            tokens: "tokens".into(),
            gateways: vec!["gateway1,http://127.0.0.1:1,1".parse().expect("is a gateway")],
            api: "http://127.0.0.1:1".into(),
            beside: vec!["cassandra,2".parse().expect("is a process")],
            cluster: None,
            store_reads: None,
            workers: 1,
            seconds: 10,
            rates: (58.0, 600.0),
            source_addresses: 1,
            title: "a run".into(),
        }
    }

    fn judged(settings: &Settings, took_us: u64) -> Judged<'_> {
        let mut found = Found::default();
        for at in (10 * S..20 * S).step_by(1_000) {
            found.by_time.channels.record(at, took_us);
            found.by_time.crowd.record(at, 2 * took_us);
        }
        let second = |at: u32| Second {
            at: f64::from(at),
            cpu: vec![f64::from(at) / 2.0, 0.0, 0.0],
            ..Second::default()
        };
        Judged {
            settings,
            sockets: 1_000,
            connected_us: S,
            resident: 3 << 20,
            phases: vec![Phase::new("mean rate", 58.0, 10 * S, 20 * S)],
            storm: Some(Storm { killed_us: 5 * S, back_us: Some(9 * S), resumed: 10, reads_each: Some(1.5) }),
            found,
            verdict: Verdict::default(),
            altered: 0,
            seconds: (0..30).map(second).collect(),
        }
    }

    fn line(findings: &Findings, what: &str) -> Vec<String> {
        table(findings).into_iter().find(|row| row[0].contains(what)).expect("is in the table")
    }

    #[test]
    fn a_phase_is_measured_in_its_span_and_compared_with_its_bars() {
        let settings = settings();
        let good = findings(judged(&settings, 20_000));
        let phase = &good.phases[0];
        assert!((phase.deliveries - 2_000.0).abs() < 1.0, "{}", phase.deliveries);
        assert_eq!(
            phase.cores.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
            ["gateways", "cassandra", "load"]
        );
        assert!((phase.cores[0].1 - 0.5).abs() < 0.01);
        assert_eq!(line(&good, "p99, up to 1,000")[1..], ["20.0 ms", "< 100 ms", "met"]);
        assert_eq!(line(&good, "memory")[1..], ["3.07 KiB", "≤ 4 KiB", "met"]);
        assert_eq!(line(&good, "are back")[1..], ["4.0 s", "< 30 s", "met"]);
        let bad = findings(judged(&settings, 200_000));
        assert_eq!(line(&bad, "p99, up to 1,000")[3], "MISSED");
        assert_eq!(line(&bad, "p99, largest")[3], "MISSED");
        assert!(!bad.is_clean(), "nothing was acked");
        assert!(picture(&bad).contains("mean rate"));
    }
}
