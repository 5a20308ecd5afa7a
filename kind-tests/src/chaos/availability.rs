//! A fault a minute.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use chat_load::{
    report::Sends,
    timeline::{Timeline, Tries},
};
use serde::Serialize;
use serde_json::{Value, json};

use super::{Bar, Extent, chat};
use crate::{
    chat::endpoint,
    fault::Fault,
    load::{Accounts, Load, Shape},
    scene::Scene,
};

const SOCKETS: u32 = 500;
const CHANNEL: u32 = 50;
/// Messages a second.
const RATE: f64 = 50.0;
/// From one fault to the next.
const EVERY: Duration = Duration::from_secs(60);
/// The first minute's load before its fault.
const CALM: Duration = Duration::from_secs(10);
/// What a try of a send may take, in microseconds.
const IN_TIME_US: u64 = 500_000;
/// The share of tries that are acked in time.
const PERCENT: f64 = 99.95;

/// What one minute of the run came to.
#[derive(Debug, Serialize)]
struct Minute {
    killed: &'static str,
    tries: usize,
    in_time: usize,
    late: usize,
    refused: usize,
    lost: usize,
    slowest_send_ms: f64,
    sockets_cut: usize,
}

pub(super) async fn make(scene: &Scene, extent: Extent) -> Result<(Vec<Bar>, Value)> {
    let two = json!({ "replicas": 2 });
    let gateway = json!({ "replicas": 3 });
    chat(scene, &json!({ "gateway": gateway, "api": two, "auth": two })).await?;
    let endpoint = endpoint(scene).await?;
    let accounts = Accounts::make(scene, extent.of(SOCKETS), CHANNEL.min(extent.of(SOCKETS))).await?;
    let load = Load::start(&endpoint, &accounts, Shape::of(RATE)).await?;
    tokio::time::sleep(CALM).await;
    let mut marks = vec![];
    for minute in 0..extent.minutes as usize {
        let (fault, next) = (Fault::ALL[minute % Fault::ALL.len()], Instant::now() + EVERY);
        eprintln!("chaos-cluster: minute {}: {} killed", minute + 1, fault.name());
        marks.push((fault, load.now_us()));
        fault.make(scene).await.with_context(|| format!("expected to kill: {}", fault.name()))?;
        tokio::time::sleep_until(next.into()).await;
    }
    let end_us = load.now_us();
    let ended = load.end().await?;
    let minutes: Vec<_> = marks
        .iter()
        .enumerate()
        .map(|(at, (fault, from_us))| {
            let to_us = marks.get(at + 1).map_or(end_us, |(_, next_us)| *next_us);
            minute(*fault, &ended.timeline, *from_us, to_us)
        })
        .collect();
    show(&minutes);

    let kept = ended.kept_all();
    let sends = &ended.report.sends;
    let percent = sends.prompt_percent.unwrap_or_default();
    let found = kept
        .as_ref()
        .map_or_else(|error| format!("{error:#}"), |()| format!("all {}, 0/0/0", ended.report.sent));
    let bars = vec![
        Bar::new(
            format!("{} minutes, a fault in each", extent.minutes),
            "every send acked within its retries",
            found,
            kept.is_ok(),
        ),
        Bar::new("", "99.95 % of tries acked within 500 ms", reported(percent, sends), percent >= PERCENT),
    ];
    Ok((bars, json!({ "minutes": minutes, "report": ended.report })))
}

fn reported(percent: f64, sends: &Sends) -> String {
    let from_due = sends.prompt_from_due_percent.unwrap_or_default();
    format!("{percent:.3} % of {}; from when they were due {from_due:.3} %", sends.tries)
}

fn minute(fault: Fault, timeline: &Timeline, from_us: u64, to_us: u64) -> Minute {
    let Tries { all, in_time, late, refused, lost } = timeline.tries(from_us, to_us, IN_TIME_US);
    Minute {
        killed: fault.name(),
        tries: all,
        in_time,
        late,
        refused,
        lost,
        slowest_send_ms: timeline.slowest_send_us(from_us, to_us) as f64 / 1e3,
        sockets_cut: timeline.cut_between(from_us, to_us),
    }
}

fn show(minutes: &[Minute]) {
    println!(
        "\n  {:20} {:>6} {:>8} {:>5} {:>8} {:>5} {:>14} {:>7}",
        "killed", "tries", "in time", "late", "refused", "lost", "slowest send", "cut"
    );
    for minute in minutes {
        println!(
            "  {:20} {:>6} {:>8} {:>5} {:>8} {:>5} {:>11.2} s {:>8}",
            minute.killed,
            minute.tries,
            minute.in_time,
            minute.late,
            minute.refused,
            minute.lost,
            minute.slowest_send_ms / 1e3,
            minute.sockets_cut
        );
    }
}
