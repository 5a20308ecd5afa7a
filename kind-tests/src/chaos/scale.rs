//! 0 to 3,000 sockets and back, and a steady load with noise.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    Bar, Extent, chat,
    judge::{Step, step_down, steps_up, times_down},
    sampling::Sampling,
};
use crate::{
    chat::endpoint,
    gateways::Gateways,
    load::{Accounts, Load, Shape},
    scene::Scene,
    wait::until,
};

/// Sockets that a gateway is to hold.
const TARGET: u32 = 1_000;
/// Those that stay; with half of the others, they are three gateways full.
const STEADY: u32 = 2_700;
/// Those that come and go: ten percent of 3,000 up and down.
const NOISE: u32 = 600;
/// In so many parts.
const PARTS: u32 = 6;
/// How long the operator waits until it believes that fewer are enough, in seconds. Short, so that a run ends.
const WINDOW: u32 = 60;
/// Over how long a gateway sends its sockets away, in seconds.
const DRAIN: u32 = 5;
/// How soon each step is made that the policy says, in seconds.
const STEP: f64 = 30.0;
/// How long it is waited for.
const WAIT: Duration = Duration::from_secs(120);
/// How long each level of the noise stays.
const LEVEL: Duration = Duration::from_secs(20);
/// New sockets a second.
const RAMP: f64 = 50.0;

pub(super) async fn make(scene: &Scene, extent: Extent) -> Result<(Vec<Bar>, Value)> {
    let target = extent.of(TARGET);
    let one = json!({ "replicas": 1 });
    let gateway = json!({
        "drainSeconds": DRAIN,
        "autoscaling": {
            "mode": "Operator",
            "minReplicas": 1,
            "maxReplicas": 6,
            "targetConnectionsPerPod": target,
            "bufferPercent": 0,
            "stabilizationSeconds": WINDOW,
        },
    });
    chat(scene, &json!({ "gateway": gateway, "api": one, "auth": one })).await?;
    let (endpoint, gateways) = (endpoint(scene).await?, Gateways(scene));
    let (steady, part) = (extent.of(STEADY), extent.of(NOISE / PARTS));
    let mut accounts = Accounts::make(scene, steady + part * PARTS, 10).await?;
    until("one gateway at first", WAIT, async || gateways.are(1).await).await?;

    let sampling = Sampling::start(scene);
    let shape = Shape {
        ramp: Some(RAMP * extent.size.max(0.2)),
        connect: Duration::from_secs(300),
        ..Shape::of(10.0)
    };
    let load = Load::start(&endpoint, &accounts.take(steady as usize)?, shape).await?;
    let mut noise = Noise { parts: vec![], idle: vec![] };
    for _ in 0..PARTS {
        noise.idle.push(accounts.take(part as usize)?);
    }
    noise.become_so_many(PARTS as usize / 2, &endpoint).await?;
    // The judgement is made from the samples; what does not come is not waited for any longer.
    let _ = until("three gateways", WAIT, async || gateways.are(3).await).await;
    let up = sampling.now();

    let end = Instant::now() + Duration::from_secs(60) * extent.minutes;
    // Any order will do, if it is the same each time: x → 5x + 3 modulo 7 goes through 3, 4, 2, 6, 5, 0, and so on.
    let mut level = PARTS as usize / 2;
    while Instant::now() < end {
        let next = Instant::now() + LEVEL;
        level = (5 * level + 3) % (PARTS as usize + 1);
        noise.become_so_many(level, &endpoint).await?;
        tokio::time::sleep_until(next.min(end).into()).await;
    }
    let steady_until = sampling.now();

    let ended = load.end().await?;
    noise.become_so_many(0, &endpoint).await?;
    let left = sampling.now();
    let window = Duration::from_secs(WINDOW.into());
    let _ = until("one gateway again", window + WAIT, async || gateways.are(1).await).await;
    let events = gateways.events().await?;
    let samples = sampling.end().await;

    let mut bars: Vec<_> =
        steps_up(&samples, target.into(), 3).iter().map(|step| judged(step, "up")).collect();
    if bars.len() < 2 {
        bars.push(Bar::new("scale up to three", "30 s", "so many sockets were never seen", false));
    }
    let downs = times_down(&samples, up, steady_until);
    bars.push(Bar::new(
        format!("{} minutes of a steady load with ±10 % noise", extent.minutes),
        "no gateway taken away",
        format!("{downs} times"),
        downs == 0,
    ));
    bars.push(judged(&step_down(&samples, left, WINDOW.into()), "down"));
    let kept = ended.kept_all();
    let cut = ended.timeline.cuts.len();
    bars.push(Bar::new(
        "those who stayed",
        "nothing lost, nobody sent away",
        kept.as_ref().map_or_else(|error| format!("{error:#}"), |()| format!("{cut} sent away")),
        kept.is_ok() && cut == 0,
    ));
    let details = json!({ "samples": samples, "events": events, "steady": { "from": up, "to": steady_until }, "left": left });
    Ok((bars, details))
}

fn judged(step: &Step, way: &str) -> Bar {
    let found = step.took().map_or_else(|| "never".into(), |took| format!("{took:.1} s"));
    let met = step.took().is_some_and(|took| took <= STEP);
    Bar::new(
        format!("scale {way} to {}", step.to),
        format!("{STEP:.0} s after the policy says so"),
        found,
        met,
    )
}

/// Sockets that come and go, a part at a time.
struct Noise {
    parts: Vec<(Load, Accounts)>,
    idle: Vec<Accounts>,
}

impl Noise {
    async fn become_so_many(&mut self, parts: usize, endpoint: &crate::chat::Endpoint) -> Result<()> {
        while self.parts.len() > parts {
            let Some((load, accounts)) = self.parts.pop() else { break };
            load.end().await?;
            self.idle.push(accounts);
        }
        while self.parts.len() < parts {
            let Some(accounts) = self.idle.pop() else { break };
            self.parts.push((Load::start(endpoint, &accounts, Shape::of(0.0)).await?, accounts));
        }
        Ok(())
    }
}
