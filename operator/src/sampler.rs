//! The requests to gateways: how many sockets they hold and how they do, and the order to drain.

use std::{net::SocketAddr, time::Duration};

use futures_util::{StreamExt as _, stream};
use tokio::time::timeout;

use crate::scaling::sample::GatewaySample;

/// How many are asked at once.
const AT_ONCE: usize = 64;
/// One of them.
const DEADLINE: Duration = Duration::from_secs(1);
/// Connections are kept for the next question.
const KEPT: Duration = Duration::from_secs(20);
/// Longest answer that is read, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;
/// Longest answer to a drain that is read, in bytes.
const MAX_DRAIN_ANSWER: usize = 4_096;

/// What the text format of Prometheus says; `None` when it lacks the number of sockets. What an older version does
/// not report is 0.
fn parse(metrics: &str) -> Option<GatewaySample> {
    let mut sample = GatewaySample::default();
    let mut connections = None;
    for line in metrics.lines().filter(|line| line.starts_with("folkmoot_")) {
        let Some((name, rest)) = line.split_once(' ') else { continue };
        // A time may follow.
        let Some(value) = rest.split(' ').next().and_then(number) else { continue };
        match name {
            "folkmoot_gateway_connections" => connections = Some(value),
            "folkmoot_gateway_draining" => sample.draining = value > 0,
            r#"folkmoot_gateway_refusals_total{reason="capacity"}"# => sample.refused = value,
            "folkmoot_gateway_hellos_waiting" => sample.hellos_waiting = value,
            "folkmoot_gateway_hellos_throttled_total" => sample.hellos_throttled = value,
            "folkmoot_process_resident_memory_bytes" => sample.memory = Some(value),
            "folkmoot_process_memory_limit_bytes" => sample.memory_limit = Some(value),
            _ => {}
        }
    }
    Some(GatewaySample { connections: connections?, ..sample })
}

/// A number that is not negative, without its fraction.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it saturates, and is not negative"
)]
fn number(text: &str) -> Option<u64> {
    text.parse::<u64>().ok().or_else(|| {
        let value: f64 = text.parse().ok()?;
        (value >= 0.0).then_some(value as u64)
    })
}

/// Why a gateway was not ordered to drain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DrainFault {
    /// It does not know how, or does not hold sockets. It drains when it gets the signal to end.
    #[error("the gateway does not take an order to drain")]
    Unsupported,
    /// It may do so a little later.
    #[error("the gateway did not take the order to drain, {0}")]
    NotNow(String),
}

/// Asks gateways how many connections they hold.
#[derive(Debug, Clone)]
pub struct Sampler {
    client: reqwest::Client,
}

impl Sampler {
    /// Ready to ask.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new() -> Result<Self, reqwest::Error> {
        // The client asks for the process's choice, though this is not TLS. Somebody may have chosen before, which is as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(1)
            .pool_idle_timeout(KEPT)
            .build()?;
        Ok(Self { client })
    }

    /// Asks all of them for `/metrics`, at these addresses of their admin ports: 64 at once, 1 s each. Answers in the order in
    /// which they were asked; `None`: no answer, or one without the number of sockets.
    pub async fn sample(&self, gateways: &[SocketAddr]) -> Vec<Option<GatewaySample>> {
        // Owned, since closures over references are not `Send` for every lifetime, as tasks ask for.
        let asked = stream::iter(gateways.to_vec())
            .map(|gateway| async move { timeout(DEADLINE, self.ask(gateway)).await.ok().flatten() });
        asked.buffered(AT_ONCE).collect().await
    }

    async fn ask(&self, gateway: SocketAddr) -> Option<GatewaySample> {
        let answer = self.client.get(format!("http://{gateway}/metrics")).send().await.ok()?;
        if !answer.status().is_success() {
            return None;
        }
        parse(std::str::from_utf8(&body(answer, MAX_ANSWER).await?).ok()?)
    }

    /// Orders a gateway to send its sockets away; the order may be repeated; 1 s. Answers how many sockets it has.
    ///
    /// # Errors
    /// When it does not take the order, or not now.
    pub async fn drain(&self, gateway: SocketAddr, token: &str) -> Result<u64, DrainFault> {
        let ordered = async {
            let request = self.client.post(format!("http://{gateway}/drain")).bearer_auth(token);
            let answer = request.send().await.map_err(|error| DrainFault::NotNow(error.to_string()))?;
            match answer.status().as_u16() {
                202 => {}
                404 | 405 | 409 => return Err(DrainFault::Unsupported),
                status => return Err(DrainFault::NotNow(format!("it answered {status}"))),
            }
            let body = body(answer, MAX_DRAIN_ANSWER).await.unwrap_or_default();
            let answer: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
            Ok(answer["connections"].as_u64().unwrap_or_default())
        };
        timeout(DEADLINE, ordered)
            .await
            .unwrap_or_else(|_| Err(DrainFault::NotNow("it does not answer".into())))
    }
}

/// All that it says, unless that is more than `most` bytes.
async fn body(mut answer: reqwest::Response, most: usize) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    while let Some(chunk) = answer.chunk().await.ok()? {
        text.extend_from_slice(&chunk);
        if text.len() > most {
            return None;
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    #[test]
    fn the_number_is_found() {
        for (metrics, expected) in [
            ("# TYPE folkmoot_gateway_connections gauge\nfolkmoot_gateway_connections 12\n# EOF\n", Some(12)),
            ("folkmoot_gateway_connections 0 1767225600", Some(0)),
            ("folkmoot_gateway_connections 1.2e3", Some(1_200)),
            ("folkmoot_gateway_connections_total 7\nfolkmoot_gateway_connections 3", Some(3)),
            ("folkmoot_gateway_connections_total 7", None),
            ("folkmoot_gateway_connections many", None),
            ("folkmoot_gateway_connections -1", None),
            ("", None),
        ] {
            let found = parse(metrics).map(|sample| sample.connections);
            assert_eq!(found, expected, "{metrics}");
        }
    }

    #[test]
    fn other_metrics_are_read() {
        let text = r#"# HELP folkmoot_gateway_refusals Upgrades and hellos refused
folkmoot_gateway_connections 900
folkmoot_gateway_draining 1
folkmoot_gateway_refusals_total{reason="capacity"} 4
folkmoot_gateway_refusals_total{reason="malformed"} 99
folkmoot_gateway_hellos_waiting 2
folkmoot_gateway_hellos_throttled_total 11
folkmoot_process_resident_memory_bytes 750
folkmoot_process_memory_limit_bytes 1000
"#;
        let sample = parse(text).unwrap();
        let expected = GatewaySample {
            connections: 900,
            draining: true,
            refused: 4,
            hellos_waiting: 2,
            hellos_throttled: 11,
            memory: Some(750),
            memory_limit: Some(1_000),
        };
        assert_eq!(sample, expected);
    }

    /// Answers everybody with this; nothing: takes connections and never answers.
    async fn gateway(answer: Option<&'static str>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                if let Some(answer) = answer {
                    let _ = stream.read(&mut [0; 1024]).await;
                    let _ = stream.write_all(answer.as_bytes()).await;
                } else {
                    held.push(stream);
                }
            }
        });
        address
    }

    #[tokio::test]
    async fn a_gateway_without_an_answer_is_unknown_and_delays_nobody() {
        let twelve = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nfolkmoot_gateway_connections 12\n";
        let good = gateway(Some(twelve)).await;
        let refuses =
            gateway(Some("HTTP/1.1 503 no\r\nconnection: close\r\n\r\nfolkmoot_gateway_connections 12\n"))
                .await;
        let hangs = gateway(None).await;
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let sampler = Sampler::new().unwrap();
        let asked = async |gateways: &[SocketAddr]| -> Vec<Option<u64>> {
            let samples = sampler.sample(gateways).await;
            samples.into_iter().map(|sample| sample.map(|sample| sample.connections)).collect()
        };
        // On a machine that stands still for a moment even a good one does not answer in time.
        let answers = async { while asked(&[good, good]).await != [Some(12), Some(12)] {} };
        timeout(DEADLINE * 60, answers).await.expect("both answer");
        assert_eq!(asked(&[good, refuses, hangs, gone]).await[1..], [None; 3]);
        // One after the other would take longer than that.
        let crowd = vec![hangs; 100];
        let asked_at_once = timeout(DEADLINE * 60, asked(&crowd)).await;
        assert_eq!(asked_at_once.expect("they are asked at once"), vec![None; 100]);
        assert!(asked(&[]).await.is_empty());
    }

    #[tokio::test]
    async fn a_gateway_is_ordered_to_drain_or_answers_why_not() {
        let sampler = Sampler::new().unwrap();
        let ordered = async |answer: Option<&'static str>| sampler.drain(gateway(answer).await, "t").await;
        let taken = "HTTP/1.1 202 Accepted\r\nconnection: close\r\n\r\n{\"draining\":true,\"connections\":7}";
        assert_eq!(ordered(Some(taken)).await, Ok(7));
        let unknown = "HTTP/1.1 404 Not Found\r\nconnection: close\r\n\r\n";
        assert_eq!(ordered(Some(unknown)).await, Err(DrainFault::Unsupported));
        let refused = "HTTP/1.1 401 Unauthorized\r\nconnection: close\r\n\r\n";
        assert!(matches!(ordered(Some(refused)).await, Err(DrainFault::NotNow(why)) if why.contains("401")));
        assert!(matches!(ordered(None).await, Err(DrainFault::NotNow(_))));
    }
}
