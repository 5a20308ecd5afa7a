//! Cassandra and Pulsar: what should be in them, what is, and what is to be done about it.

pub mod cassandra;
pub mod fault;
pub mod pulsar;
mod secrets;

use std::{collections::HashMap, time::Duration};

use folkmoot_crds::{CassandraSpec, PulsarSpec};
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
    /// It cannot be used.
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
    /// Whether Pulsar answers and has what it should, as of the last time that this was certain: see `drift`.
    pub pulsar: Health,
    /// In what Pulsar differs from what it should have; `None`: in nothing that is known.
    pub drift: Option<Drift>,
    /// When asking again gives something new.
    pub due: Timestamp,
}

/// In what Pulsar differs from what it should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// The writes that put it right, in this order.
    pub actions: Vec<PulsarAction>,
    /// Time at which a difference was seen first.
    pub since: Timestamp,
}

/// The engines of a `ChatCluster`, and what it takes to speak with them.
#[derive(Debug, Clone, Copy)]
pub struct Engines<'a> {
    /// Where Cassandra is: `spec.cassandra`.
    pub cassandra: &'a CassandraSpec,
    /// Where Pulsar is: `spec.pulsar`.
    pub pulsar: &'a PulsarSpec,
    /// Name of the namespace in Pulsar, without the tenant.
    pub pulsar_namespace: &'a str,
    /// The Secrets that the specs refer to.
    pub secrets: &'a Secrets,
}

/// Asks engines, and puts right what differs in Pulsar.
#[derive(Debug, Default)]
pub struct Datastores {
    clients: Clients,
}

/// What is known of the engines of a `ChatCluster`, from one look at them to the next.
#[derive(Debug, Clone, Default)]
pub struct Known {
    cassandra: Last,
    pulsar: Last,
    drift: Option<Drift>,
}

/// What came of the last time that an engine was asked.
#[derive(Debug, Clone)]
struct Last {
    /// Digest of what was asked for and of the access that was used.
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
    /// How long until it is asked this again, when it is asked every `pause`.
    fn wait(&self, question: &Digest, pause: Duration, now: Instant) -> Duration {
        match self.asked {
            Some(asked) if self.question == *question => pause.saturating_sub(now.duration_since(asked)),
            _ => Duration::ZERO,
        }
    }

    /// Time between two questions.
    fn pause(&self) -> Duration {
        if self.health == Health::Ready { WELL } else { UNWELL }
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

impl Known {
    /// What that says.
    #[must_use]
    pub fn report(&self) -> Report {
        let now = Instant::now();
        let cassandra = self.cassandra.wait(&self.cassandra.question, self.cassandra.pause(), now);
        let pulsar = self.pulsar.wait(&self.pulsar.question, self.pulsar_pause(), now);
        Report {
            cassandra: self.cassandra.health.clone(),
            pulsar: self.pulsar.health.clone(),
            drift: self.drift.clone(),
            due: Timestamp::now().checked_add(cassandra.min(pulsar)).unwrap_or(Timestamp::MAX),
        }
    }

    fn pulsar_pause(&self) -> Duration {
        if self.drift.is_some() { UNWELL } else { self.pulsar.pause() }
    }

    /// Pulsar has what it should, or could not be put right.
    pub fn repaired(&mut self, outcome: Result<(), Fault>) {
        self.pulsar = self.pulsar.then(self.pulsar.question, Instant::now(), outcome);
        self.drift = None;
    }
}

impl Datastores {
    /// Has asked nobody yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks both engines at once, each when it is due: every 30 s while it is well, every 5 s while it is not, and at once when
    /// the spec or a Secret changed. Only reads. Ends within 20 s.
    pub async fn look(&self, engines: &Engines<'_>, known: &Known) -> Known {
        let (cassandra, (pulsar, drift)) =
            tokio::join!(look_at_cassandra(&known.cassandra, engines), self.look_at_pulsar(known, engines));
        Known { cassandra, pulsar, drift }
    }

    async fn look_at_pulsar(&self, known: &Known, engines: &Engines<'_>) -> (Last, Option<Drift>) {
        let Engines { pulsar: spec, pulsar_namespace: namespace, secrets, .. } = *engines;
        let (last, access) = (&known.pulsar, PulsarAccess::of(spec, secrets));
        let given = access.as_ref().map(|access| (access.authorities, access.token, &access.role));
        let question = digest(&(spec, namespace, given.ok()));
        if !last.wait(&question, known.pulsar_pause(), Instant::now()).is_zero() {
            return (last.clone(), known.drift.clone());
        }
        let asked = async {
            let access = access?;
            let desired = desired(spec, namespace, access.role.clone());
            Ok(plan(&desired, &self.admin(spec, &access)?.look(&desired).await?))
        };
        match timeout(TOGETHER, asked).await.unwrap_or_else(|_| Err(late(spec))) {
            Err(fault) => (last.then(question, Instant::now(), Err(fault)), None),
            Ok(actions) if actions.is_empty() => (last.then(question, Instant::now(), Ok(())), None),
            // Whether that is trouble depends on whether it may be put right.
            Ok(actions) => {
                let since = known.drift.as_ref().map_or_else(Timestamp::now, |drift| drift.since);
                let last = Last { question, asked: Some(Instant::now()), health: last.health.clone() };
                (last, Some(Drift { actions, since }))
            }
        }
    }

    /// Puts right what differs in Pulsar, and says in `done` what was, also when it does not come to an end. Ends
    /// within 20 s.
    ///
    /// # Errors
    /// When Pulsar cannot be asked or refuses.
    pub async fn repair(
        &self,
        engines: &Engines<'_>,
        actions: &[PulsarAction],
        done: &mut Vec<PulsarAction>,
    ) -> Result<(), Fault> {
        let Engines { pulsar: spec, pulsar_namespace: namespace, secrets, .. } = *engines;
        let repaired = async {
            let access = PulsarAccess::of(spec, secrets)?;
            let (desired, admin) =
                (desired(spec, namespace, access.role.clone()), self.admin(spec, &access)?);
            for action in actions {
                if admin.act(&desired, *action).await? {
                    done.push(*action);
                }
            }
            Ok(())
        };
        timeout(TOGETHER, repaired).await.unwrap_or_else(|_| Err(late(spec)))
    }

    fn admin(&self, spec: &PulsarSpec, access: &PulsarAccess<'_>) -> Result<Admin, Fault> {
        Admin::new(self.clients.get(&spec.admin_url, access.authorities)?, &spec.admin_url, access.token)
    }

    /// Deletes the namespace with all topics, and the tenant when nothing else is in it. It is no error if they are
    /// not there. Ends within 30 s.
    ///
    /// # Errors
    /// When Pulsar cannot be asked or refuses; doing it again goes on from there.
    pub async fn delete_pulsar(
        &self,
        spec: &PulsarSpec,
        namespace: &str,
        secrets: &Secrets,
    ) -> Result<(), Fault> {
        let admin = self.admin(spec, &PulsarAccess::of(spec, secrets)?)?;
        admin.delete(&spec.tenant, namespace).await
    }
}

/// How Pulsar does for a `ChatCluster` that is paused, so that nothing is put right.
#[must_use]
pub fn drifted(spec: &PulsarSpec, namespace: &str, drift: &Drift) -> Health {
    let message = format!(
        "tenant, namespace, policies, rights and topics of {}/{namespace} differ from spec.pulsar in {} points; \
         nothing is put right while the ChatCluster is paused",
        spec.tenant,
        drift.actions.len()
    );
    Health::Unready { reason: Reason::Drifted.as_str(), message, since: drift.since }
}

async fn look_at_cassandra(last: &Last, engines: &Engines<'_>) -> Last {
    let spec = engines.cassandra;
    let authorities = secrets::cassandra_authorities(spec, engines.secrets);
    let question = digest(&(&spec.contact_points, &spec.ca_secret_ref, authorities.as_ref().ok()));
    if !last.wait(&question, last.pause(), Instant::now()).is_zero() {
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
            let found = last.wait(&question, last.pause(), now + Duration::from_secs(after));
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

    #[test]
    fn pulsar_that_differs_is_looked_at_soon_and_repaired_or_reported() {
        let now = Instant::now();
        let since = Timestamp::from_second(1).expect("is a time");
        let drift = Drift { actions: vec![PulsarAction::MakeTenant], since };
        let ready = Last::default().then(digest(&1), now, Ok(()));
        let mut known = Known { cassandra: ready.clone(), pulsar: ready, drift: Some(drift.clone()) };
        assert_eq!(known.pulsar_pause(), UNWELL, "it is well, but differs");
        let report = known.report();
        assert_eq!((report.pulsar, report.drift), (Health::Ready, Some(drift)), "nothing was put right yet");

        known.repaired(Err(Fault::new(Reason::Refused, "no rights")));
        assert_eq!((known.pulsar_pause(), known.report().drift), (UNWELL, None), "it is looked at again");
        assert!(matches!(known.report().pulsar, Health::Unready { reason: "Refused", .. }));
        known.repaired(Ok(()));
        assert_eq!((known.pulsar_pause(), known.report().pulsar), (WELL, Health::Ready));
    }
}
