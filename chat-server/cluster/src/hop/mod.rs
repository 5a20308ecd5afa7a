//! The hop: a send is handed to the process that owns its channel, since several processes that write to one channel
//! hold each other up.
//!
//! HTTP/2, one connection from each process to each owner, both sides known by certificates of the cluster's own
//! authority. In reading order: `wire` is what is said, `server` takes appends, `client` knows who owns what, `peer`
//! is one owner as seen from another process, `circuit` decides when it is left alone.

mod circuit;
mod client;
mod peer;
mod server;
mod wire;

use std::{
    io,
    net::{Ipv6Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use chat_domain::chat::{Chat, Owners};
use chat_protocol::Generation;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Node,
    tls::{CertificateFiles, Identity, TlsError},
};
use crate::{config::ClusterConfig, listen::listen, metrics::ClusterMetrics};

/// How long those who stop wait for what they have taken.
const GRACE: Duration = Duration::from_secs(5);

/// Who may own channels at the moment.
#[derive(Debug, Clone)]
pub struct Live {
    /// The processes, this one included if it may.
    pub nodes: Arc<[Node]>,
    /// The generation of the store that they and this process work on, as far as is known.
    pub generation: Option<Generation>,
}

/// Says who may own channels at the moment.
pub type LiveOwners = Arc<dyn Fn() -> Live + Send + Sync>;

/// How this process takes part.
#[derive(Debug, Clone)]
pub struct HopOptions {
    /// Where it takes appends; `None`: nowhere, so it owns nothing.
    pub listen: Option<SocketAddr>,
    /// `host:port` by which others reach it; empty: where it listens.
    pub advertise: String,
    /// How processes know each other. Without, only loopback addresses are served and asked, in plain text.
    pub certificates: Option<CertificateFiles>,
    /// How long an owner may take before a batch is written without it.
    pub timeout: Duration,
}

impl HopOptions {
    /// What a configuration says.
    ///
    /// # Errors
    /// Some of the three files of certificates are named and some are not.
    pub fn new(config: &ClusterConfig) -> Result<Self, HopError> {
        let files = [&config.ca_file, &config.cert_file, &config.key_file];
        let named = files.iter().filter(|file| file.as_path() != Path::new("")).count();
        let certificates = match named {
            0 => None,
            3 => Some(CertificateFiles {
                ca: config.ca_file.clone(),
                cert: config.cert_file.clone(),
                key: config.key_file.clone(),
            }),
            _ => return Err(HopError::Incomplete),
        };
        let listen = config.listens().then_some(config.listen);
        let advertise = bracketed(&config.advertise);
        Ok(Self { listen, advertise, certificates, timeout: config.owner_timeout })
    }
}

/// Why a process cannot take part.
#[derive(Debug, thiserror::Error)]
pub enum HopError {
    /// Two of three do not make a pair.
    #[error("only some of cluster.ca_file, cluster.cert_file and cluster.key_file are set; set all or none")]
    Incomplete,
    /// Anybody who reaches the address could write in anybody's name.
    #[error(
        "listening on {0}, which is not loopback, needs cluster.ca_file, cluster.cert_file and cluster.key_file"
    )]
    Insecure(SocketAddr),
    /// Nobody can connect to all addresses of a machine.
    #[error(
        "cluster.advertise is missing: cluster.listen is {0}, which does not show how other processes reach this one"
    )]
    Advertise(SocketAddr),
    /// The address cannot be had.
    #[error("failed to listen for other processes on {address}, which is given with cluster.listen")]
    Listen {
        /// Address to listen on.
        address: SocketAddr,
        /// What the operating system reported.
        source: io::Error,
    },
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// This process's ends of all hops.
pub struct Hop {
    address: Option<String>,
    listener: Mutex<Option<TcpListener>>,
    identity: Option<Arc<Identity>>,
    timeout: Duration,
    metrics: Arc<ClusterMetrics>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Hop {
    /// Reads the certificates and listens; nobody is served yet.
    ///
    /// # Errors
    /// When a file or the address cannot be had, or the address must not be served without certificates.
    pub async fn open(options: HopOptions, metrics: Arc<ClusterMetrics>) -> Result<Self, HopError> {
        let identity = match options.certificates {
            Some(files) => Some(Arc::new(Identity::load(files).await?)),
            None => None,
        };
        let listener = match options.listen {
            Some(address) if identity.is_none() && !address.ip().is_loopback() => {
                return Err(HopError::Insecure(address));
            }
            Some(address) if address.ip().is_unspecified() && options.advertise.is_empty() => {
                return Err(HopError::Advertise(address));
            }
            Some(address) => {
                let listener = listen(address);
                Some(listener.map_err(|source| HopError::Listen { address, source })?)
            }
            None => None,
        };
        let listens_on = listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let address = listens_on.map(|address| match options.advertise {
            advertise if advertise.is_empty() => address.to_string(),
            advertise => advertise,
        });
        Ok(Self {
            address,
            listener: Mutex::new(listener),
            identity,
            timeout: options.timeout,
            metrics,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        })
    }

    /// How others reach this process (`host:port`); `None` when it takes no appends.
    #[must_use]
    pub fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// Takes appends for this chat from now on. Only the first call counts.
    pub fn serve(&self, chat: Arc<Chat>) {
        if let Some(listener) = self.listener.lock().take() {
            let serving = server::Serving {
                identity: self.identity.clone(),
                chat,
                metrics: Arc::clone(&self.metrics),
                stop: self.stop.clone(),
            };
            self.tasks.spawn(serving.run(listener));
        }
    }

    /// The owners of channels as the process `name` sees them; for [`Chat::set_owners`].
    #[must_use]
    pub fn owners(&self, name: Arc<str>, live: LiveOwners) -> Arc<dyn Owners> {
        client::Peers::owners(client::Asking {
            name,
            live,
            identity: self.identity.clone(),
            timeout: self.timeout,
            metrics: Arc::clone(&self.metrics),
            stop: self.stop.clone(),
        })
    }

    /// Takes and hands over nothing more, and waits for a bounded time for what was taken.
    pub async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(GRACE, self.tasks.wait()).await.is_err() {
            tracing::warn!("appends of other processes were cut off at shutdown");
        }
    }
}

/// `host:port` with the brackets that an IPv6 address needs beside a port (RFC 3986 §3.2.2). A pod's template can say only
/// `$(POD_IP):7443`, whatever family that address is of; what follows the last colon is the port.
fn bracketed(advertise: &str) -> String {
    match advertise.rsplit_once(':').map(|(host, port)| (host.parse::<Ipv6Addr>(), port)) {
        Some((Ok(host), port)) => format!("[{host}]:{port}"),
        _ => advertise.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advertised_address_may_be_of_any_family() {
        for (given, expected) in [
            ("10.1.2.3:7443", "10.1.2.3:7443"),
            ("fd00::1:7443", "[fd00::1]:7443"),
            ("fd00:0:0:0:0:0:0:1:7443", "[fd00::1]:7443"),
            ("[fd00::1]:7443", "[fd00::1]:7443"),
            ("gateway-0.chat.svc:7443", "gateway-0.chat.svc:7443"),
            ("", ""),
        ] {
            let config = ClusterConfig { advertise: given.into(), ..ClusterConfig::default() };
            assert_eq!(HopOptions::new(&config).unwrap().advertise, expected);
        }
    }
}
