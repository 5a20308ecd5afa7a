//! Renewal as a simulation over time, and certificates as chat-server uses them.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection,
    client::verify_server_name,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject as _},
    server::{ParsedCertificate, WebPkiClientVerifier},
    time_provider::TimeProvider,
    version::TLS13,
};

use super::{super::issue, *};

const DAY: SignedDuration = SignedDuration::from_hours(24);
/// What one pod may know later than another: a kubelet's two minutes, and some.
const LATE: SignedDuration = SignedDuration::from_mins(5);

fn start() -> Timestamp {
    Timestamp::from_second(1_767_225_600).unwrap()
}

/// Certificates that say only which they are.
fn named(name: &str) -> Issued {
    let pem = |what: &str, name: &str| format!("-----BEGIN {what}-----\n{name}\n-----END {what}-----\n");
    Issued {
        authority: pem("CERTIFICATE", &format!("authority {name}")),
        certificate: pem("CERTIFICATE", name),
        key: pem("PRIVATE KEY", name),
    }
}

fn step(found: Option<&SecretData>, now: Timestamp, name: &str) -> CertificatePlan {
    plan(found, now, |_| Ok::<_, ()>(named(name))).unwrap()
}

/// The name of what is presented, and of what is trusted.
fn seen(data: &SecretData) -> (String, BTreeSet<String>) {
    let names = |key| -> BTreeSet<String> {
        let lines = data.text(key).unwrap().lines().filter(|line| !line.starts_with("-----"));
        lines.map(|line| line.trim_start_matches("authority ").to_owned()).collect()
    };
    let presented = names(CERTIFICATE);
    assert_eq!(presented, names(KEY), "the key belongs to the certificate");
    (presented.into_iter().next().unwrap(), names(AUTHORITIES))
}

#[test]
fn whoever_reads_late_is_understood_all_the_same() {
    for (pause, away, issues) in
        [(59, None, 4), (30, None, 4), (45, None, 4), (13, Some((59, 80)), 3), (13, Some((60, 61)), 4)]
    {
        let mut stored = None;
        let mut history: Vec<(Timestamp, (String, BTreeSet<String>))> = Vec::new();
        let mut now = start();
        let mut issued = 0;
        while now < start() + DAY * 200 {
            let day = now.duration_since(start()).as_hours() / 24;
            let is_away = away.is_some_and(|(from, until)| (from..until).contains(&day));
            if !is_away {
                let name = issued.to_string();
                let mut makes = false;
                let planned = plan(stored.as_ref(), now, |_| {
                    makes = true;
                    Ok::<_, ()>(named(&name))
                });
                issued += u32::from(makes);
                if let CertificatePlan::Replace { data, .. } = planned.unwrap() {
                    history.push((now, seen(&data)));
                    stored = Some(data);
                }
            }
            let expires = expires_at(stored.as_ref().unwrap()).unwrap();
            assert!(expires > now + DAY, "what is presented at {now} expires at {expires}");
            now += SignedDuration::from_mins(pause);
        }
        for pair in history.windows(2) {
            let [(then, before), (at, after)] = pair else { unreachable!("windows of two") };
            // So at any moment a process has read this version or the last one, and no other.
            assert!(*then + LATE < *at, "written at {then} and {at}");
            for (one, other) in [(before, after), (after, before)] {
                assert!(one.1.contains(&other.0), "{:?} meets {} at {at}", one.1, other.0);
            }
        }
        assert_eq!(issued, issues, "every 60 days, seen to each {pause} minutes");
    }
}

#[test]
fn what_happens_is_said() {
    let CertificatePlan::Replace { data: first, change: CertificateChange::Made } = step(None, start(), "a")
    else {
        panic!("certificates are made")
    };
    let renew = start() + (LIFE - RENEW_BEFORE);
    let mut stored = first.clone();
    for (now, expected) in [
        (start(), Err(renew)),
        (renew - OVERLAP, Err(renew)),
        (renew, Ok((CertificateChange::NextTrusted, "a", &["a", "b"][..]))),
        (renew, Err(renew + OVERLAP)),
        (renew + OVERLAP, Ok((CertificateChange::Switched, "b", &["a", "b"]))),
        (renew + OVERLAP, Err(renew + OVERLAP + OVERLAP)),
        (renew + OVERLAP + OVERLAP, Ok((CertificateChange::LastForgotten, "b", &["b"]))),
        (renew + OVERLAP + OVERLAP, Err(renew + (LIFE - RENEW_BEFORE))),
        // Away for too long: nothing of it is good any more.
        (renew + LIFE, Ok((CertificateChange::Remade, "b", &["b"]))),
    ] {
        let found = match step(Some(&stored), now, "b") {
            CertificatePlan::Keep { until } => Err(until),
            CertificatePlan::Replace { data, change } => {
                let (presented, trusted) = seen(&data);
                stored = data;
                Ok((change, presented, trusted))
            }
        };
        let expected = expected.map(|(change, presented, trusted)| {
            (change, presented.to_owned(), trusted.iter().map(ToString::to_string).collect())
        });
        assert_eq!(found, expected, "at {now}");
        assert!(expires_at(&stored).is_some());
    }

    for key in [AUTHORITIES, CERTIFICATE, KEY, STATE] {
        let mut edited = first.clone();
        edited.insert(key, "hunter2");
        let planned = step(Some(&edited), start(), "b");
        let is_remade = matches!(planned, CertificatePlan::Replace { change: CertificateChange::Remade, .. });
        assert!(is_remade, "{key} was edited: {planned:?}");
    }
    let mut more = first;
    more.insert("tls.p12", "of somebody else");
    assert!(matches!(step(Some(&more), start(), "b"), CertificatePlan::Replace { .. }));
}

#[test]
fn nothing_prints_a_key() {
    let issued = issue::issue(start()).unwrap();
    let secret = issued.key.lines().nth(1).unwrap().to_owned();
    let text = format!("{issued:?} {:?}", plan(None, start(), |_| Ok::<_, ()>(issued.clone())));
    assert!(!text.contains(&secret), "{text}");
}

#[derive(Debug)]
struct Clock(Timestamp);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.as_second().try_into().ok()?)))
    }
}

/// Both sides of a connection, as `chat-server/cluster/src/tls.rs` makes them; a handshake, and the server's own look at the
/// name. `true` when both are content.
fn understand(server: &SecretData, client: &SecretData, now: Timestamp) -> bool {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let authorities = |data: &SecretData| {
        let mut authorities = RootCertStore::empty();
        for authority in CertificateDer::pem_slice_iter(data.get(AUTHORITIES).unwrap()) {
            authorities.add(authority.unwrap()).unwrap();
        }
        Arc::new(authorities)
    };
    let chain = |data: &SecretData| -> Vec<_> {
        CertificateDer::pem_slice_iter(data.get(CERTIFICATE).unwrap()).map(Result::unwrap).collect()
    };
    let key = |data: &SecretData| PrivateKeyDer::from_pem_slice(data.get(KEY).unwrap()).unwrap();
    // A verifier of clients takes the time from the provider of the configuration.
    let clients =
        WebPkiClientVerifier::builder_with_provider(authorities(server), Arc::clone(&provider)).build();
    let server_config = ServerConfig::builder_with_details(Arc::clone(&provider), Arc::new(Clock(now)))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_client_cert_verifier(clients.unwrap())
        .with_single_cert(chain(server), key(server))
        .unwrap();
    let client_config = ClientConfig::builder_with_details(provider, Arc::new(Clock(now)))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(authorities(client))
        .with_client_auth_cert(chain(client), key(client))
        .unwrap();
    let name = ServerName::try_from("processes.folkmoot.internal").unwrap();
    let mut server = ServerConnection::new(Arc::new(server_config)).unwrap();
    let mut client = ClientConnection::new(Arc::new(client_config), name.clone()).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        if server.process_new_packets().is_err() {
            return false;
        }
        wire.clear();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        if client.process_new_packets().is_err() {
            return false;
        }
    }
    let certificate = server.peer_certificates().and_then(<[_]>::first).unwrap();
    verify_server_name(&ParsedCertificate::try_from(certificate).unwrap(), &name).is_ok()
}

#[test]
fn processes_know_each_other_all_through_a_renewal() {
    let mut stored = None;
    let mut versions = Vec::new();
    let mut now = start();
    while now < start() + DAY * 61 {
        if let CertificatePlan::Replace { data, .. } = plan(stored.as_ref(), now, issue::issue).unwrap() {
            versions.push((now, data.clone()));
            stored = Some(data);
        }
        now += OVERLAP;
    }
    assert_eq!(versions.len(), 4, "made, next trusted, switched, last forgotten");
    for pair in versions.windows(2) {
        let [(_, before), (at, after)] = pair else { unreachable!("windows of two") };
        for (server, client) in [(before, after), (after, before), (after, after), (before, before)] {
            assert!(understand(server, client, *at), "at {at}");
        }
    }
    // That this test can fail: strangers, those from before the overlap, and what expired.
    let (last, first) = (&versions[3], &versions[0]);
    assert!(!understand(&first.1, &last.1, last.0));
    assert!(!understand(&last.1, &first.1, last.0));
    assert!(understand(&first.1, &first.1, start() - SignedDuration::from_mins(59)), "clocks differ");
    assert!(!understand(&first.1, &first.1, start() + LIFE + SignedDuration::from_secs(1)));
}
