//! Cassandra and Pulsar: what should be in them, what is, and what is to be done about it.

pub mod cassandra;
pub mod fault;
pub mod pulsar;
mod secrets;

use std::{collections::HashMap, time::Duration};

use folkmoot_crds::{CassandraSpec, ChatCluster, PulsarSpec};
use jiff::Timestamp;
use parking_lot::Mutex;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, timeout};

use self::{
    cassandra::probe,
    pulsar::{
        client::{Admin, client, is_tls},
        desired::desired,
        plan::plan,
    },
    secrets::PulsarAccess,
};
use crate::secrets::Secrets;
pub use fault::{Fault, Reason};
pub use pulsar::plan::PulsarAction;

/// An engine that is well is asked this often.
const WELL: Duration = Duration::from_secs(30);
/// One that is not, this often.
const UNWELL: Duration = Duration::from_secs(5);
/// All requests of a check together.
const TOGETHER: Duration = Duration::from_secs(20);

/// Whether an engine can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// It was not asked yet.
    Unknown,
    /// It answers, and is as it should be.
    Ready,
    /// It is not.
    Unready {
        /// For a program: `Unreachable`, `Unauthorized`, `TlsFailed`, `SecretMissing`, `Refused`, `Drifted`.
        reason: &'static str,
        /// For a person: which address, what was expected, what came, what to do.
        message: String,
        /// Time of the first failure in a row.
        since: Timestamp,
    },
}

/// What is known of both engines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whether Cassandra answers. Tables are the migration's.
    pub cassandra: Health,
    /// Whether Pulsar answers and has what it should.
    pub pulsar: Health,
    /// What was made or put right in Pulsar just now, for events; empty when all was as it should be, or was not looked at.
    pub repaired: Vec<PulsarAction>,
    /// When asking again gives something new.
    pub due: Timestamp,
}

/// What [`Datastores::check`] may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Make what is missing and put right what differs.
    Repair,
    /// Only look; what differs is reported as `Drifted`. For a paused `ChatCluster`.
    Observe,
}

/// Asks engines, and remembers what they said.
#[derive(Debug, Default)]
pub struct Datastores {
    known: Mutex<HashMap<String, Known>>,
    clients: Clients,
}

/// What is known of the engines of a `ChatCluster`.
#[derive(Debug, Clone, Default)]
struct Known {
    cassandra: Last,
    pulsar: Last,
}

/// How it was to ask an engine the last time.
#[derive(Debug, Clone)]
struct Last {
    /// Of what was asked for, by whom.
    question: Digest,
    /// When it was asked; never: `None`.
    asked: Option<Instant>,
    health: Health,
}

impl Default for Last {
    fn default() -> Self {
        Self { question: Digest::default(), asked: None, health: Health::Unknown }
    }
}

impl Last {
    /// How long until it is asked this again.
    fn wait(&self, question: &Digest, now: Instant) -> Duration {
        let pause = if self.health == Health::Ready { WELL } else { UNWELL };
        match self.asked {
            Some(asked) if self.question == *question => pause.saturating_sub(now.duration_since(asked)),
            _ => Duration::ZERO,
        }
    }

    /// With another answer; `since` goes on while it is the same trouble.
    fn then(&self, question: Digest, now: Instant, answer: Result<(), Fault>) -> Self {
        let health = match (answer, &self.health) {
            (Ok(()), _) => Health::Ready,
            (Err(Fault { reason, message }), Health::Unready { reason: last, since, .. })
                if *last == reason.as_str() =>
            {
                Health::Unready { reason: reason.as_str(), message, since: *since }
            }
            (Err(Fault { reason, message }), _) => {
                Health::Unready { reason: reason.as_str(), message, since: Timestamp::now() }
            }
        };
        Self { question, asked: Some(now), health }
    }
}

impl Datastores {
    /// Knows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks both engines at once, each when it is due: every 30 s while it is well, every 5 s while it is not, and at once when
    /// the spec or a Secret changed. Ends within 20 s.
    pub async fn check(
        &self,
        cluster: &ChatCluster,
        pulsar_namespace: &str,
        secrets: &Secrets,
        mode: Mode,
    ) -> Report {
        let uid = cluster.metadata.uid.clone().unwrap_or_default();
        let known = self.known.lock().get(&uid).cloned().unwrap_or_default();
        let (cassandra, (pulsar, repaired)) = tokio::join!(
            check_cassandra(&known.cassandra, &cluster.spec.cassandra, secrets),
            self.check_pulsar(&known.pulsar, &cluster.spec.pulsar, pulsar_namespace, secrets, mode),
        );
        let now = Instant::now();
        let wait = cassandra.wait(&cassandra.question, now).min(pulsar.wait(&pulsar.question, now));
        let report = Report {
            cassandra: cassandra.health.clone(),
            pulsar: pulsar.health.clone(),
            repaired,
            due: Timestamp::now().checked_add(wait).unwrap_or(Timestamp::MAX),
        };
        self.known.lock().insert(uid, Known { cassandra, pulsar });
        report
    }

    async fn check_pulsar(
        &self,
        last: &Last,
        spec: &PulsarSpec,
        namespace: &str,
        secrets: &Secrets,
        mode: Mode,
    ) -> (Last, Vec<PulsarAction>) {
        let access = PulsarAccess::of(spec, secrets);
        let given = access.as_ref().map(|access| (access.authorities, access.token, &access.role));
        let question = digest(&(spec, namespace, given.ok(), mode == Mode::Repair));
        let now = Instant::now();
        if !last.wait(&question, now).is_zero() {
            return (last.clone(), Vec::new());
        }
        let mut done = Vec::new();
        let answer = match access {
            Ok(access) => {
                let asked = self.repair(spec, namespace, &access, mode, &mut done);
                timeout(TOGETHER, asked).await.unwrap_or_else(|_| Err(late(spec)))
            }
            Err(fault) => Err(fault),
        };
        (last.then(question, Instant::now(), answer), done)
    }

    /// Does what is to be done, and says in `done` what was, also when it does not come to an end.
    async fn repair(
        &self,
        spec: &PulsarSpec,
        namespace: &str,
        access: &PulsarAccess<'_>,
        mode: Mode,
        done: &mut Vec<PulsarAction>,
    ) -> Result<(), Fault> {
        let admin = self.admin(spec, access)?;
        let desired = desired(spec, namespace, access.role.clone());
        let actions = plan(&desired, &admin.look(&desired).await?);
        if mode == Mode::Observe && !actions.is_empty() {
            let message = format!(
                "tenant, namespace, policies, rights and topics of {}/{namespace} differ from spec.pulsar in {} points; \
                 nothing is put right while the ChatCluster is paused",
                spec.tenant,
                actions.len()
            );
            return Err(Fault::new(Reason::Drifted, message));
        }
        for action in actions {
            if admin.act(&desired, action).await? {
                done.push(action);
            }
        }
        Ok(())
    }

    fn admin(&self, spec: &PulsarSpec, access: &PulsarAccess<'_>) -> Result<Admin, Fault> {
        Admin::new(self.clients.get(&spec.admin_url, access.authorities)?, &spec.admin_url, access.token)
    }

    /// Deletes the namespace with all topics, and the tenant when nothing else is in it. What is not there is well. Ends within
    /// 30 s.
    ///
    /// # Errors
    /// When Pulsar cannot be asked or refuses; doing it again goes on from there.
    pub async fn delete_pulsar(
        &self,
        cluster: &ChatCluster,
        pulsar_namespace: &str,
        secrets: &Secrets,
    ) -> Result<(), Fault> {
        let spec = &cluster.spec.pulsar;
        let admin = self.admin(spec, &PulsarAccess::of(spec, secrets)?)?;
        admin.delete(&spec.tenant, pulsar_namespace).await
    }

    /// Forgets a `ChatCluster`, by its uid.
    pub fn forget(&self, uid: &str) {
        self.known.lock().remove(uid);
    }
}

async fn check_cassandra(last: &Last, spec: &CassandraSpec, secrets: &Secrets) -> Last {
    let authorities = secrets::cassandra_authorities(spec, secrets);
    let question = digest(&(&spec.contact_points, &spec.ca_secret_ref, authorities.as_ref().ok()));
    if !last.wait(&question, Instant::now()).is_zero() {
        return last.clone();
    }
    let answer = async {
        let tls = authorities?.map(probe::tls).transpose()?;
        probe::probe(&spec.contact_points, tls.as_ref()).await
    };
    let answer = answer.await;
    last.then(question, Instant::now(), answer)
}

fn late(spec: &PulsarSpec) -> Fault {
    let message = format!(
        "pulsar's admin interface at {} is slow: it did not answer all requests within {} s",
        spec.admin_url,
        TOGETHER.as_secs()
    );
    Fault::new(Reason::Unreachable, message)
}

/// HTTP clients, one for each set of authorities: making one reads all public authorities.
#[derive(Debug, Default)]
struct Clients(Mutex<HashMap<Digest, reqwest::Client>>);

impl Clients {
    /// More are forgotten: authorities change now and then.
    const MAX: usize = 64;

    fn get(&self, admin_url: &str, authorities: Option<&[u8]>) -> Result<reqwest::Client, Fault> {
        let key = digest(&(authorities, is_tls(admin_url)));
        let mut clients = self.0.lock();
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        if clients.len() >= Self::MAX {
            clients.clear();
        }
        let client = client(admin_url, authorities)?;
        clients.insert(key, client.clone());
        Ok(client)
    }
}

type Digest = [u8; 32];

fn digest(what: &impl Serialize) -> Digest {
    // Only compared with others of its kind.
    Sha256::digest(serde_json::to_vec(what).unwrap_or_default()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_asked_when_it_is_due() {
        let (asked, other) = (digest(&1), digest(&2));
        let now = Instant::now();
        let fault = |reason| Err(Fault::new(reason, "expected"));
        let never = Last::default();
        let well = never.then(asked, now, Ok(()));
        let unwell = never.then(asked, now, fault(Reason::Unreachable));
        for (last, question, after, wait) in [
            (&never, asked, 0, 0),
            (&well, asked, 0, 30),
            (&well, asked, 29, 1),
            (&well, asked, 31, 0),
            (&well, other, 0, 0),
            (&unwell, asked, 1, 4),
            (&unwell, other, 1, 0),
        ] {
            let found = last.wait(&question, now + Duration::from_secs(after));
            assert_eq!(found, Duration::from_secs(wait), "{last:?} after {after} s");
        }

        let since = |last: &Last| match last.health {
            Health::Unready { since, .. } => since,
            _ => panic!("expected trouble, {last:?}"),
        };
        let early = Timestamp::from_second(1).expect("is a time");
        let mut old = unwell;
        old.health = Health::Unready { reason: "Unreachable", message: "expected".into(), since: early };
        assert_eq!(since(&old.then(asked, now, fault(Reason::Unreachable))), early);
        assert!(since(&old.then(asked, now, fault(Reason::Unauthorized))) > early);
        assert_eq!(old.then(asked, now, Ok(())).health, Health::Ready);
    }
}
