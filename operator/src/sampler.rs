//! How many sockets each gateway holds, asked of the gateways themselves.

use std::{net::SocketAddr, time::Duration};

use futures_util::{StreamExt as _, stream};
use tokio::time::timeout;

/// How many are asked at once.
const AT_ONCE: usize = 64;
/// One of them.
const DEADLINE: Duration = Duration::from_secs(1);
/// Longest answer that is read, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;
/// The metric.
const CONNECTIONS: &str = "folkmoot_gateway_connections";

/// What gateways said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sample {
    /// In the order in which they were asked; `None`: no answer, or one without the number.
    pub by_gateway: Vec<Option<u64>>,
}

impl Sample {
    /// Of all together; `None` when one did not say.
    #[must_use]
    pub fn total(&self) -> Option<u64> {
        self.by_gateway.iter().copied().try_fold(0_u64, |sum, one| Some(sum.saturating_add(one?)))
    }
}

/// Asks gateways.
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
        let client =
            reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build()?;
        Ok(Self { client })
    }

    /// Asks all of them for `/metrics`, at these addresses of their admin ports: 64 at once, 1 s each.
    pub async fn sample(&self, gateways: &[SocketAddr]) -> Sample {
        // Owned, since closures over references are not `Send` for every lifetime, as tasks ask for.
        let asked = stream::iter(gateways.to_vec())
            .map(|gateway| async move { timeout(DEADLINE, self.ask(gateway)).await.ok().flatten() });
        Sample { by_gateway: asked.buffered(AT_ONCE).collect().await }
    }

    async fn ask(&self, gateway: SocketAddr) -> Option<u64> {
        let mut answer = self.client.get(format!("http://{gateway}/metrics")).send().await.ok()?;
        if !answer.status().is_success() {
            return None;
        }
        let mut text = Vec::new();
        while let Some(chunk) = answer.chunk().await.ok()? {
            text.extend_from_slice(&chunk);
            if text.len() > MAX_ANSWER {
                return None;
            }
        }
        connections(std::str::from_utf8(&text).ok()?)
    }
}

/// The number in the text format of Prometheus.
fn connections(metrics: &str) -> Option<u64> {
    metrics
        .lines()
        .find_map(|line| line.strip_prefix(CONNECTIONS)?.strip_prefix(' ')?.split(' ').next()?.parse().ok())
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
            ("folkmoot_gateway_connections_total 7\nfolkmoot_gateway_connections 3", Some(3)),
            ("folkmoot_gateway_connections_total 7", None),
            ("folkmoot_gateway_connections many", None),
            ("", None),
        ] {
            assert_eq!(connections(metrics), expected, "{metrics}");
        }
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
    async fn one_that_does_not_say_leaves_the_total_open() {
        let twelve = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nfolkmoot_gateway_connections 12\n";
        let good = gateway(Some(twelve)).await;
        let refuses =
            gateway(Some("HTTP/1.1 503 no\r\nconnection: close\r\n\r\nfolkmoot_gateway_connections 12\n"))
                .await;
        let hangs = gateway(None).await;
        let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let sampler = Sampler::new().unwrap();
        let sample = sampler.sample(&[good, good]).await;
        assert_eq!((sample.total(), sample.by_gateway), (Some(24), vec![Some(12), Some(12)]));
        let began = tokio::time::Instant::now();
        let sample = sampler.sample(&[good, refuses, hangs, hangs, gone]).await;
        assert_eq!((sample.total(), sample.by_gateway), (None, vec![Some(12), None, None, None, None]));
        assert!(began.elapsed() < Duration::from_secs(5), "they are asked at once");
        assert_eq!(sampler.sample(&[]).await.total(), Some(0));
    }
}
