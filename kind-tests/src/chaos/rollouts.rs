//! A scale-down and roll-outs, by image and by setting, with a thousand people in the chat.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{Bar, Extent, chat};
use crate::{
    chat::{Endpoint, endpoint},
    gateways::Gateways,
    load::{Accounts, Ended, Load, Shape},
    scene::Scene,
    wait::until,
};

const SOCKETS: u32 = 1_000;
const CHANNEL: u32 = 50;
/// Messages a second.
const RATE: f64 = 50.0;
/// Over how long a gateway sends its sockets away, in seconds.
const DRAIN: u64 = 15;
/// Longest time for one of them: three gateways, each of which drains and waits for its sockets to be back elsewhere.
const LONGEST: Duration = Duration::from_secs(600);
/// p99 of delivery, in milliseconds.
const DELIVERY_MS: f64 = 500.0;
/// How often anybody may connect again in one of them.
const TWICE: u32 = 2;
/// The rate at which sockets come back, by the mean of a drain window.
const HERD: f64 = 2.0;
/// How long the load goes on when all is done.
const AFTER: Duration = Duration::from_secs(10);

pub(super) async fn make(scene: &Scene, extent: Extent) -> Result<(Vec<Bar>, Value)> {
    let two = json!({ "replicas": 2 });
    let gateway = json!({ "replicas": 3, "drainSeconds": DRAIN });
    chat(scene, &json!({ "gateway": gateway, "api": two, "auth": two })).await?;
    let (endpoint, next) = (endpoint(scene).await?, scene.settings.image("next"));
    let accounts = Accounts::make(scene, extent.of(SOCKETS), CHANNEL.min(extent.of(SOCKETS))).await?;
    let changes = [
        ("scale-down from three to two", json!({ "gateway": { "replicas": 2 } }), false),
        ("roll-out of another image", json!({ "image": { "reference": next } }), true),
        ("roll-out of another setting", json!({ "settings": { "gateway.max_in_flight": "31" } }), true),
    ];
    let (mut bars, mut details) = (vec![], vec![]);
    for (name, spec, replaces) in changes {
        eprintln!("chaos-cluster: {name}");
        let (ended, took) = one(scene, &endpoint, &accounts, &spec, replaces).await?;
        bars.extend(judge(name, &ended));
        details.push(json!({
            "what": name,
            "seconds": took.as_secs_f64(),
            "report": ended.report,
        }));
    }
    Ok((
        bars,
        json!({ "drainSeconds": DRAIN, "changes": details, "events": Gateways(scene).events().await? }),
    ))
}

/// Makes a change under load, and waits until it is done.
async fn one(
    scene: &Scene,
    endpoint: &Endpoint,
    accounts: &Accounts,
    spec: &Value,
    replaces: bool,
) -> Result<(Ended, Duration)> {
    let gateways = Gateways(scene);
    let before = gateways.names().await?;
    let shape = Shape { drain_window: Some(Duration::from_secs(DRAIN)), ..Shape::of(RATE) };
    let load = Load::start(endpoint, accounts, shape).await?;
    let began = Instant::now();
    scene.change(&json!({ "spec": spec })).await?;
    until("two gateways, of the new kind", LONGEST, async || {
        let now = gateways.names().await?;
        let old = now.iter().filter(|name| before.contains(name)).count();
        ensure!(!replaces || old == 0, "{old} of {now:?} are old");
        gateways.are(2).await
    })
    .await?;
    scene.until_ready(LONGEST).await?;
    let took = began.elapsed();
    tokio::time::sleep(AFTER).await;
    Ok((load.end().await?, took))
}

fn judge(name: &str, ended: &Ended) -> Vec<Bar> {
    let report = &ended.report;
    let kept = ended.kept_all();
    let p99 = report.delivery_ms.map_or(f64::INFINITY, |quantiles| quantiles.p99);
    // Throughout: also in the worst seconds, and for those who were on their way to another gateway.
    let worst = report.delivery_worst.map_or(f64::INFINITY, |worst| worst.p99_ms);
    let (most, attempts) = (report.reconnects.most_by_client, report.reconnects.attempts);
    // Of waves of fewer than twenty, of which two may share a second, none is reported.
    let herd = report.reconnects.peak_to_mean.unwrap_or_default();
    let found = kept.as_ref().map_or_else(
        |error| format!("{error:#}"),
        |()| format!("0/0/0 of {} deliveries, all {} sends acked", report.delivered, report.sent),
    );
    vec![
        Bar::new(name, "lost = duplicated = out_of_order = 0", found, kept.is_ok()),
        Bar::new(
            "",
            "delivery p99 < 500 ms throughout",
            format!("{p99:.0} ms; {worst:.0} ms in the worst 5 s"),
            p99.max(worst) < DELIVERY_MS,
        ),
        Bar::new(
            "",
            "nobody reconnects more than twice",
            format!("{most} times, {attempts} in all"),
            most <= TWICE,
        ),
        Bar::new(
            "",
            "reconnect rate ≤ 2 × the mean of the drain window",
            format!("{herd:.2} ×"),
            herd <= HERD,
        ),
    ]
}
