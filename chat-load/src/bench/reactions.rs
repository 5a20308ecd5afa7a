//! What reactions cost messages: one channel on Cassandra through two gateways, without and with people who react to what was
//! written last, in turns.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chat_client::{Auth, Client, ClientError, Update, Updates};
use chat_protocol::{ChannelId, EventBody, Seq};
use serde::Serialize;
use tokio::{
    task::JoinSet,
    time::{Instant, interval_at, timeout_at},
};

use super::{
    BenchError, Lab, Results,
    servers::Seed,
    table::{met, ms, print, row},
};
use crate::{
    histogram::Quantiles,
    options::Options,
    run::{Clock, run_during},
    tokens::{self, Account},
};

const MEMBERS: u32 = 25;
/// Messages a second.
const MESSAGES: f64 = 20.0;
/// Reactions a second, over all people.
const REACTIONS: f64 = 50.0;
/// JVMs need this long to be fast.
const WARMUP_SECONDS: f64 = 40.0;
/// The p99 of acks with reactions, by what it is without.
const BAR: f64 = 1.5;
/// What people react with; no more kinds than one person may have on a message.
const EMOJI: [&str; 8] = ["👍", "🎉", "😂", "👀", "🚀", "❤️", "🙏", "🔥"];
/// Longest wait for people to be connected, and for an answer at the end.
const WAIT_FOR: Duration = Duration::from_secs(30);

/// What one window of the load came to.
#[derive(Debug, Serialize)]
pub struct Reactions {
    /// Reactions a second that were due.
    pub rate: f64,
    /// Reactions that were acked.
    pub acked: u64,
    /// Reactions that were refused or not answered.
    pub failed: u64,
    /// Of messages, from due to acked.
    pub ack_ms: Option<Quantiles>,
    /// Whether nothing was lost, doubled or reordered.
    pub clean: bool,
}

/// People who react.
struct Crowd {
    channel: ChannelId,
    /// Reactions a second of each.
    rate: f64,
    /// The last message that anybody of them has seen.
    newest: AtomicU64,
    acked: AtomicU64,
    failed: AtomicU64,
}

pub(super) fn measure(lab: &Lab<'_>, results: &mut Results) -> Result<(), BenchError> {
    let Some(cluster) = &lab.settings.cluster else { return Err(BenchError::NoCluster) };
    let seed = Seed { users: MEMBERS, channels: 1, members: MEMBERS, messages: 0 };
    let mut options = cluster.fill(lab, "reactions", seed)?;
    (options.rate, options.seconds) = (MESSAGES, lab.pick(30.0, 8.0));
    for round in 0..lab.pick(3, 1) {
        for rate in [0.0, REACTIONS] {
            options.warmup = if round == 0 && rate == 0.0 { WARMUP_SECONDS } else { 5.0 };
            one(results, &options, rate)?;
        }
    }
    show(&results.reactions);
    Ok(())
}

fn one(results: &mut Results, options: &Options, rate: f64) -> Result<(), BenchError> {
    let failed = |source| BenchError::Run { what: "reactions", source };
    let no_tokens = || failed(crate::options::OptionsError::NoTokens.into());
    let path: &Path = options.tokens.as_deref().ok_or_else(no_tokens)?;
    let accounts = tokens::load(path, MEMBERS as usize).map_err(|source| failed(source.into()))?;
    let channel = *accounts.first().and_then(|account| account.channels.first()).ok_or_else(no_tokens)?;
    let crowd = Arc::new(Crowd {
        channel,
        rate: rate / f64::from(MEMBERS),
        newest: AtomicU64::new(0),
        acked: AtomicU64::new(0),
        failed: AtomicU64::new(0),
    });
    let (people, urls, seconds) = (Arc::clone(&crowd), options.urls.clone(), options.seconds);
    let script = move |_: &Clock| people.react(&accounts, &urls, Duration::from_secs_f64(seconds));
    let run = run_during(options, Some(script)).map_err(failed)?;
    let name = if rate == 0.0 { "without reactions" } else { "with reactions" };
    results.judge(&format!("messages {name}"), &run.report);
    if let Some(Err(error)) = run.script {
        results.broken.push(format!("{name}: {error}"));
    }
    results.reactions.push(Reactions {
        rate,
        acked: crowd.acked.load(Ordering::Relaxed),
        failed: crowd.failed.load(Ordering::Relaxed),
        ack_ms: run.report.ack_ms,
        clean: run.report.is_clean(),
    });
    Ok(())
}

impl Crowd {
    /// Connects everybody, and lets them react until the time is over.
    fn react(self: Arc<Self>, accounts: &[Account], urls: &[String], window: Duration) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|error| format!("failed to start the runtime of those who react: {error}"))?;
        let until = Instant::now() + window;
        runtime.block_on(async {
            let mut connecting = JoinSet::new();
            for (account, url) in accounts.iter().zip(urls.iter().cycle()) {
                let (token, url) = (account.token.clone(), url.clone());
                connecting.spawn(async move { connect(&url, token).await });
            }
            let mut people = JoinSet::new();
            while let Some(connected) = connecting.join_next().await {
                let (client, updates) = match connected {
                    Ok(Ok(connected)) => connected,
                    Ok(Err(error)) => return Err(format!("those who react failed to connect: {error}")),
                    Err(gone) => return Err(gone.to_string()),
                };
                people.spawn(Arc::clone(&self).listen(updates));
                let late = u32::try_from(people.len()).unwrap_or(0);
                people.spawn(Arc::clone(&self).one(client, late, until));
            }
            // Everybody ends by themselves, within the time that a client gives an answer.
            while timeout_at(until + WAIT_FOR, people.join_next()).await.ok().flatten().is_some() {}
            Ok(())
        })
    }

    async fn listen(self: Arc<Self>, mut updates: Updates) {
        while let Some(update) = updates.next().await {
            if let Update::Event(event) = update
                && matches!(event.body, EventBody::Message { .. })
            {
                self.newest.fetch_max(event.seq, Ordering::Relaxed);
            }
        }
    }

    /// One person, who reacts at an even pace and does not wait for the answer before the next time.
    async fn one(self: Arc<Self>, client: Client, turn: u32, until: Instant) {
        if self.rate > 0.0 {
            let period = Duration::from_secs_f64(1.0 / self.rate);
            let mut pace = interval_at(Instant::now() + period * turn / (2 * MEMBERS), period);
            let mut answers = JoinSet::new();
            let mut last: (Seq, usize) = (0, 0);
            while timeout_at(until, pace.tick()).await.is_ok() {
                let target = self.newest.load(Ordering::Relaxed);
                last = if last.0 == target { (target, last.1 + 1) } else { (target, 0) };
                let Some(emoji) = EMOJI.get(last.1).filter(|_| target > 0) else { continue };
                let (client, channel, crowd) = (client.clone(), self.channel, Arc::clone(&self));
                answers.spawn(async move {
                    let count = match client.react(channel, target, *emoji).await {
                        Ok(_) => &crowd.acked,
                        Err(_) => &crowd.failed,
                    };
                    count.fetch_add(1, Ordering::Relaxed);
                });
            }
            while answers.join_next().await.is_some() {}
        } else {
            tokio::time::sleep_until(until).await;
        }
        client.close().await;
    }
}

async fn connect(url: &str, token: String) -> Result<(Client, Updates), ClientError> {
    let options =
        chat_client::Options { first_welcome_deadline: WAIT_FOR, ..chat_client::Options::default() };
    Client::connect(url, Auth::AccessToken(token), options).await
}

fn show(measured: &[Reactions]) {
    let mut rows =
        vec![row(["", "reactions/s", "acked", "failed", "messages' ack p50 ms", "p99", "in order"])];
    for line in measured {
        let [p50, p99, _] = ms(line.ack_ms);
        rows.push(row([
            if line.rate == 0.0 { "without" } else { "with" },
            &format!("{:.0}", line.rate),
            &line.acked.to_string(),
            &line.failed.to_string(),
            &p50,
            &p99,
            met(line.clean),
        ]));
    }
    print(
        "20 messages/s in one channel on Cassandra, 2 gateways, without and with reactions in turns",
        &rows,
    );
    let ratio = |of: fn(&Quantiles) -> f64| {
        let mut ratios: Vec<f64> = measured
            .chunks_exact(2)
            .filter_map(|pair| Some(of(&pair[1].ack_ms?) / of(&pair[0].ack_ms?)))
            .collect();
        ratios.sort_by(f64::total_cmp);
        ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN)
    };
    let (p50, p99) = (ratio(|q| q.p50), ratio(|q| q.p99));
    println!(
        "with by without, median of the turns: p50 {p50:.2}, p99 {p99:.2} (bar {BAR} {})",
        met(p99 <= BAR)
    );
}
