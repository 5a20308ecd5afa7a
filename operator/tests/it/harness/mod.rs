//! Real Cassandra and Pulsar, as docs/cluster.md says: those that the environment names, or the ones in `target/engines`, which
//! the first test that asks starts and leaves running for the next.

use std::{
    collections::HashMap,
    fs::File,
    net::{SocketAddr, TcpStream, ToSocketAddrs as _},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, pem::PemObject as _},
};
use tokio::{
    net::{TcpListener, TcpStream as AsyncTcpStream},
    sync::OnceCell,
};

/// What `engines.env`, or the environment, says.
pub(crate) type Settings = HashMap<String, String>;

pub(crate) async fn pulsar() -> &'static Settings {
    static SETTINGS: OnceCell<Settings> = OnceCell::const_new();
    SETTINGS.get_or_init(|| shared("pulsar")).await
}

pub(crate) async fn cassandra() -> &'static Settings {
    static SETTINGS: OnceCell<Settings> = OnceCell::const_new();
    SETTINGS.get_or_init(|| shared("cassandra")).await
}

/// `test_SECONDS_RANDOM`, by which other tests know what was left over.
pub(crate) fn fresh_name() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    format!("test_{now}_{:08x}", rand::random::<u32>())
}

async fn shared(engine: &'static str) -> Settings {
    let variable = format!("FOLKMOOT_TEST_{}", engine.to_uppercase());
    if std::env::var_os(&variable).is_some() {
        return std::env::vars().filter(|(key, _)| key.starts_with(&variable)).collect();
    }
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("engines");
    tokio::task::spawn_blocking(move || {
        std::fs::create_dir_all(&dir).unwrap();
        // Test binaries may run beside each other: one starts the engine, the others find it.
        let lock = File::create(dir.join(format!("{engine}.lock"))).unwrap();
        lock.lock().unwrap();
        let env_file = dir.join(format!("{engine}.env"));
        if let Some(settings) = read_settings(&env_file).filter(|settings| answers(&settings[&variable])) {
            return settings;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let script = script.join(format!("scripts/engines/{engine}.sh"));
        let mut command = Command::new(script);
        // Its waits have deadlines of their own.
        let status = command.arg("up").arg("--dir").arg(&dir).stdin(Stdio::null()).status();
        assert!(status.is_ok_and(|status| status.success()), "{engine} does not start");
        read_settings(&env_file).unwrap()
    })
    .await
    .unwrap()
}

/// Lines of `KEY='value'`.
fn read_settings(path: &Path) -> Option<Settings> {
    let text = std::fs::read_to_string(path).ok()?;
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    Some(pairs.map(|(key, value)| (key.to_owned(), value.trim_matches('\'').to_owned())).collect())
}

fn answers(addresses: &str) -> bool {
    let first = addresses.split(',').next().unwrap().rsplit('/').next().unwrap();
    let address = first.to_socket_addrs().ok().and_then(|mut found| found.next());
    address.is_some_and(|address| TcpStream::connect_timeout(&address, Duration::from_secs(5)).is_ok())
}

/// An address at which nobody listens.
pub(crate) async fn nobody() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// An address at which connections are accepted and nothing is sent.
pub(crate) async fn silence() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    address
}

/// TLS in front of `target`, with a certificate for 127.0.0.1. Its authority, PEM.
pub(crate) async fn tls_before(target: String) -> (SocketAddr, String) {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = authority.self_signed(&authority_key).unwrap().pem();
    let key = KeyPair::generate().unwrap();
    let process = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = process.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, target) = (acceptor.clone(), target.clone());
            tokio::spawn(async move {
                let Ok(mut from) = acceptor.accept(stream).await else { return };
                let mut to = AsyncTcpStream::connect(target).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut from, &mut to).await;
            });
        }
    });
    (address, pem)
}
