//! Whether Cassandra answers: a connection to one of its nodes, TLS when an authority is named, and the one request that needs no
//! login.

use std::{io, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, lookup_host},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::cql::{self, Answer};
use crate::datastore::fault::{Fault, Reason};

/// All nodes are asked at once, and the first answer counts.
const DEADLINE: Duration = Duration::from_secs(3);

/// TLS that trusts these authorities; PEM.
///
/// # Errors
/// When there is none among them.
pub fn tls(authorities: &[u8]) -> Result<Arc<ClientConfig>, Fault> {
    let unusable = || {
        let message =
            "there are no usable PEM certificates under the key that spec.cassandra.caSecretRef names";
        Fault::new(Reason::TlsFailed, message)
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(authorities) {
        roots.add(certificate.map_err(|_| unusable())?).map_err(|_| unusable())?;
    }
    if roots.is_empty() {
        return Err(unusable());
    }
    // Named, since another one may be compiled in too.
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().map_err(|_| unusable())?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// Whether one of these nodes, `host:port`, answers; within 3 s.
///
/// # Errors
/// What is the matter with the node that came furthest.
pub async fn probe(contact_points: &[String], tls: Option<&Arc<ClientConfig>>) -> Result<(), Fault> {
    let mut asked: FuturesUnordered<_> = contact_points.iter().map(|point| ask_in_time(point, tls)).collect();
    let mut worst: Option<Fault> = None;
    while let Some(answer) = asked.next().await {
        match answer {
            Ok(()) => return Ok(()),
            // Somebody who answers wrongly says more than nobody.
            Err(fault) if worst.as_ref().is_none_or(|worst| worst.reason == Reason::Unreachable) => {
                worst = Some(fault);
            }
            Err(_) => {}
        }
    }
    let none = || Fault::new(Reason::Unreachable, "spec.cassandra.contactPoints names no node of cassandra");
    Err(worst.unwrap_or_else(none))
}

async fn ask_in_time(point: &str, tls: Option<&Arc<ClientConfig>>) -> Result<(), Fault> {
    let late = || unreachable(point, &format!("there was none within {} s", DEADLINE.as_secs()));
    timeout(DEADLINE, ask(point, tls)).await.unwrap_or_else(|_| Err(late()))
}

async fn ask(point: &str, tls: Option<&Arc<ClientConfig>>) -> Result<(), Fault> {
    let mut addresses = lookup_host(point).await.map_err(|error| unreachable(point, &error.to_string()))?;
    let address = addresses.next().ok_or_else(|| unreachable(point, "the name has no address"))?;
    let stream = TcpStream::connect(address).await.map_err(|error| unreachable(point, &error.to_string()))?;
    let Some(tls) = tls else { return options(point, stream, false).await };
    // Processes learn of nodes by their addresses, so these are what certificates must name.
    let name = ServerName::IpAddress(address.ip().into());
    let connected = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await;
    let stream = connected.map_err(|error| {
        let message = format!(
            "cassandra at {point} ({address}) has no certificate for this address from an authority in \
             spec.cassandra.caSecretRef: {error}"
        );
        Fault::new(Reason::TlsFailed, message)
    })?;
    options(point, stream, true).await
}

async fn options(
    point: &str,
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    is_tls: bool,
) -> Result<(), Fault> {
    let mut header = [0; cql::HEADER];
    let exchange = async {
        stream.write_all(&cql::OPTIONS).await?;
        stream.flush().await?;
        stream.read_exact(&mut header).await?;
        io::Result::Ok(cql::answer(header))
    };
    match exchange.await {
        Ok(Answer::Supported) => Ok(()),
        Ok(Answer::Error(length)) => {
            let mut body = Vec::new();
            // The message is made of as much as arrives.
            let _ = stream.take(u64::try_from(length).unwrap_or(0)).read_to_end(&mut body).await;
            let text = cql::error_text(&body);
            let message = format!("cassandra at {point} does not serve the protocol v4, it answered: {text}");
            Err(Fault::new(Reason::Refused, message))
        }
        Ok(Answer::Other) => {
            let message = format!(
                "something other than cassandra answers at {point}; see spec.cassandra.contactPoints"
            );
            Err(Fault::new(Reason::Refused, message))
        }
        Err(error) if is_tls => Err(unreachable(point, &error.to_string())),
        // A TLS server says at most seven bytes, its alert.
        Err(_) => {
            let message = format!(
                "cassandra at {point} closed a connection without TLS; if it asks for TLS, name its \
                 authority in spec.cassandra.caSecretRef"
            );
            Err(Fault::new(Reason::TlsFailed, message))
        }
    }
}

fn unreachable(point: &str, found: &str) -> Fault {
    let message = format!(
        "no answer from cassandra at {point}: {found}; check spec.cassandra.contactPoints, and whether a NetworkPolicy or \
         firewall is between it and the operator"
    );
    Fault::new(Reason::Unreachable, message)
}
