//! How processes of a cluster know each other: certificates of the cluster's own authority, on both sides.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    client::verify_server_name,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    server::{ParsedCertificate, WebPkiClientVerifier},
    version::TLS13,
};
use tokio::time::Instant;

/// The DNS name (RFC 5280 §4.2.1.6) that the certificate of every process of a cluster carries. Pods come and go with
/// their addresses; what is proven is that the other side belongs to the cluster, not which of its processes it is.
/// Other certificates of the same authority do not open this door.
pub const CERTIFICATE_NAME: &str = "processes.folkmoot.internal";

/// How long certificates are used before their files are looked at again.
const FRESH_FOR: Duration = Duration::from_secs(1);

/// Where a process's certificates are; all PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFiles {
    /// Authorities that the others' certificates are checked against. More than one while they change.
    pub ca: PathBuf,
    /// This process's certificate, for both sides of a connection, and those between it and the authority.
    pub cert: PathBuf,
    /// Path of the certificate's key.
    pub key: PathBuf,
}

/// Certificates that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("failed to read {}", path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// What the operating system reported.
        source: io::Error,
    },
    /// A file holds something else.
    #[error("found no {what} in {}", path.display())]
    Pem {
        /// What should be in there.
        what: &'static str,
        /// Path of the file.
        path: PathBuf,
        /// What the PEM parser reported; none when the file holds none of it.
        source: Option<rustls::pki_types::pem::Error>,
    },
    /// Certificate, key and authority do not belong together, or are of a kind that is not known.
    #[error("the certificate, its key or the authority cannot be used")]
    Unusable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What both sides of connections use.
#[derive(Clone)]
pub(super) struct TlsConfigs {
    pub server: Arc<ServerConfig>,
    pub client: Arc<ClientConfig>,
}

/// This process's certificates, as its files say now: what issues them replaces them while it runs.
pub(super) struct Identity {
    files: CertificateFiles,
    current: Mutex<Current>,
}

struct Current {
    contents: Contents,
    configs: TlsConfigs,
    looked: Instant,
}

#[derive(PartialEq, Eq)]
struct Contents {
    ca: Vec<u8>,
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl Identity {
    /// Reads the files.
    pub(super) async fn load(files: CertificateFiles) -> Result<Self, TlsError> {
        let contents = Contents::read(&files).await?;
        let configs = contents.configs(&files)?;
        Ok(Self { files, current: Mutex::new(Current { contents, configs, looked: Instant::now() }) })
    }

    /// What new connections use. While the files cannot be used, what they were before goes on.
    pub(super) async fn configs(&self) -> TlsConfigs {
        {
            let mut current = self.current.lock();
            if current.looked.elapsed() < FRESH_FOR {
                return current.configs.clone();
            }
            current.looked = Instant::now();
        }
        match Contents::read(&self.files).await {
            Ok(contents) => self.renew(contents),
            Err(error) => self.keep(&error),
        }
    }

    fn renew(&self, contents: Contents) -> TlsConfigs {
        if self.current.lock().contents == contents {
            return self.current.lock().configs.clone();
        }
        match contents.configs(&self.files) {
            Ok(configs) => {
                tracing::info!(certificate = %self.files.cert.display(), "certificates were renewed");
                let mut current = self.current.lock();
                current.contents = contents;
                current.configs = configs.clone();
                configs
            }
            Err(error) => self.keep(&error),
        }
    }

    fn keep(&self, error: &TlsError) -> TlsConfigs {
        tracing::error!(
            error = error as &dyn std::error::Error,
            "certificates were not renewed; the last ones stay"
        );
        self.current.lock().configs.clone()
    }
}

impl Contents {
    async fn read(files: &CertificateFiles) -> Result<Self, TlsError> {
        Ok(Self { ca: read(&files.ca).await?, cert: read(&files.cert).await?, key: read(&files.key).await? })
    }

    fn configs(&self, files: &CertificateFiles) -> Result<TlsConfigs, TlsError> {
        let mut authorities = RootCertStore::empty();
        for authority in certificates(&self.ca, &files.ca)? {
            authorities.add(authority).map_err(|error| TlsError::Unusable(error.into()))?;
        }
        let authorities = Arc::new(authorities);
        let chain = certificates(&self.cert, &files.cert)?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| TlsError::Pem {
            what: "a private key",
            path: files.key.clone(),
            source: Some(error),
        })?;

        // Named, since another one is compiled in too, and with two there is no default.
        let provider: Arc<CryptoProvider> = Arc::new(ring::default_provider());
        let unusable = |error: rustls::Error| TlsError::Unusable(error.into());
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&authorities), Arc::clone(&provider))
                .build()
                .map_err(|error| TlsError::Unusable(error.into()))?;
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(unusable)?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(unusable)?;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(unusable)?
            .with_root_certificates(authorities)
            .with_client_auth_cert(chain, key)
            .map_err(unusable)?;
        server.alpn_protocols = vec![b"h2".to_vec()];
        client.alpn_protocols = vec![b"h2".to_vec()];
        Ok(TlsConfigs { server: Arc::new(server), client: Arc::new(client) })
    }
}

/// The name that a server's certificate must carry.
pub(super) fn name() -> ServerName<'static> {
    ServerName::try_from(CERTIFICATE_NAME).expect("it is a valid DNS name")
}

/// Whether a client's certificate, which was checked to be of the authority, carries the name too.
pub(super) fn is_of_the_cluster(chain: Option<&[CertificateDer<'_>]>) -> bool {
    let Some(certificate) = chain.and_then(<[_]>::first) else { return false };
    ParsedCertificate::try_from(certificate).is_ok_and(|parsed| verify_server_name(&parsed, &name()).is_ok())
}

async fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    tokio::fs::read(path).await.map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |source| TlsError::Pem { what: "one or more certificates", path: path.to_owned(), source };
    let found: Vec<_> =
        CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|error| wrong(Some(error)))?;
    if found.is_empty() { Err(wrong(None)) } else { Ok(found) }
}
