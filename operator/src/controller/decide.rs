//! What follows from what was observed. Pure: keys come from a source of randomness that is given.

use std::time::Duration;

use folkmoot_crds::MigrationStatus;
use jiff::{SignedDuration, Timestamp};

use super::{
    build::{Config, SecretHashes},
    events::{self, Notice},
    observe::Observed,
    rollout::{self, Revision, RolloutPlan},
};
use crate::{
    datastore::{
        self, Health, PulsarAction,
        cassandra::migration::{self, JobOutcome, MigrationJob, MigrationPlan},
    },
    keys::{
        SecretData, admin,
        certificates::{self, CertificatePlan},
        issue::{self, IssueError},
        signing::{self, SigningPlan},
    },
    kinds::ChildKind,
    live::{Detail, JobState},
    names,
    role::Role,
    scaling::{
        decide::{self as scaling, Scaling},
        policy::Decision,
    },
    validate::{Problem, ValidatedCluster, validate_secrets},
};

/// Why nothing is applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Somebody wants it so.
    Paused,
    /// Referenced Secrets are missing.
    SecretsMissing,
}

/// What is the case, and what may be done about it.
#[derive(Debug, Clone)]
pub struct Decided {
    /// Why nothing is applied, and running workloads are left untouched; `None`: everything is.
    pub hold: Option<Hold>,
    /// Referenced Secrets that are missing.
    pub missing: Vec<Problem>,
    /// How Pulsar does, before anything is put right in it.
    pub pulsar: Health,
    /// What is put right in Pulsar.
    pub repair: Vec<PulsarAction>,
    /// The configuration that all roles are to run.
    pub config: Config,
    /// Which role runs what now.
    pub rollout: RolloutPlan,
    /// What is to be done about the tables.
    pub migration: MigrationPlan,
    /// What is to be remembered of that.
    pub migration_status: MigrationStatus,
    /// Whether a migration waits for Cassandra.
    pub awaits_cassandra: bool,
    /// When keys or certificates change next.
    secrets_due: Timestamp,
    /// Whether the number of gateways is changing.
    is_scaling: bool,
}

/// What is so only once it was applied: nothing of it is reported before (see [`super::apply::Resources`]).
#[derive(Debug, Clone)]
pub struct Changes {
    /// How many gateways there are, and which go.
    pub scaling: Scaling,
    /// What the policy decided about that, where the operator decides.
    pub decision: Option<Decision>,
    /// Keys that sign access tokens.
    pub keys: SecretData,
    /// Certificates by which processes know each other.
    pub certificates: SecretData,
    /// The token by which gateways are ordered to drain.
    pub admin_token: SecretData,
    /// What is worth an event.
    pub notices: Vec<Notice>,
}

impl Decided {
    /// The Job of the migration that is to be made, or that runs.
    #[must_use]
    pub fn job(&self) -> Option<&MigrationJob> {
        match &self.migration {
            MigrationPlan::Run(job) if !self.awaits_cassandra => Some(job),
            MigrationPlan::Running(job) => Some(job),
            _ => None,
        }
    }

    /// How long until something is due that no watch shows.
    #[must_use]
    pub fn again(&self, observed: &Observed, now: Timestamp) -> Duration {
        let mut due = self.secrets_due.min(observed.datastores.due);
        if let MigrationPlan::Failed { retry_at, .. } = &self.migration {
            due = due.min(*retry_at);
        }
        let mut wait = Duration::try_from(due.duration_since(now)).unwrap_or_default();
        if self.is_scaling {
            wait = wait.min(super::gateways::SAMPLE_EVERY);
        }
        wait.max(Duration::from_secs(1))
    }
}

/// Decides. `decision` is that of the scaling policy, where the operator decides; `seed` gives random bytes for a key
/// or a token.
///
/// # Errors
/// When no certificate can be made.
pub fn decide(
    cluster: &ValidatedCluster,
    observed: &Observed,
    decision: Option<Decision>,
    now: Timestamp,
    mut seed: impl FnMut() -> [u8; 32],
) -> Result<(Decided, Changes), IssueError> {
    let name = cluster.name();
    let missing = validate_secrets(cluster, &observed.secrets).err().unwrap_or_default();
    let hold = match missing.is_empty() {
        _ if cluster.is_paused() => Some(Hold::Paused),
        false => Some(Hold::SecretsMissing),
        true => None,
    };
    let (pulsar, repair) = pulsar(cluster, observed);
    let config = Config::of(cluster, &SecretHashes::of(cluster, &observed.secrets));

    let image = &cluster.image().reference;
    let identity = migration::identity(image, cluster.keyspace(), cluster.cassandra());
    let status = cluster.status().and_then(|status| status.migration.as_ref());
    let outcome = |job: &MigrationJob| job_outcome(observed, &names::migrate_job(name, &job.hash));
    let (migration, migration_status) = migration::plan(status, &identity, outcome, now);
    let awaits_cassandra =
        matches!(migration, MigrationPlan::Run(_)) && observed.datastores.cassandra != Health::Ready;

    let target = Revision { image: image.clone(), config: config.hash.clone() };
    let mut rollout = rollout::plan(&target, migration == MigrationPlan::Current, &observed.roles(name));
    let gateways = observed.deployment(name, Role::Gateway);
    let scaling = scaling::decide(&scaling::Input {
        cluster,
        deployment: gateways,
        pods: &observed.pods,
        replica_sets: &observed.replica_sets,
        gateways: &observed.gateways,
        decision: decision.as_ref(),
        is_replacing: gateways.is_some_and(|live| rollout.is_replacing_gateways(live)),
        now,
    });
    if let Some(live) = gateways {
        rollout.hold_gateways(live, scaling.is_held, scaling.is_draining);
    }

    let mut notices = events::of_scaling(&scaling, decision.as_ref());
    let rotate_after = SignedDuration::from_hours(24 * i64::from(cluster.auth().key_rotation_days));
    let (keys, keys_due) = match signing::plan(observed.keys.as_ref(), rotate_after, now, &mut seed) {
        SigningPlan::Keep { until } => (observed.keys.clone().unwrap_or_default(), until),
        SigningPlan::Replace { data, change } => {
            notices.push(Notice::normal("SigningKeysChanged", format!("signing keys: {change}")));
            (data, now)
        }
    };
    let (certificates, certificates_due) =
        match certificates::plan(observed.certificates.as_ref(), now, issue::issue)? {
            CertificatePlan::Keep { until } => (observed.certificates.clone().unwrap_or_default(), until),
            CertificatePlan::Replace { data, change } => {
                notices
                    .push(Notice::normal("CertificatesChanged", format!("internal certificates: {change}")));
                (data, now)
            }
        };
    let decided = Decided {
        hold,
        missing,
        pulsar,
        repair,
        config,
        rollout,
        migration,
        migration_status,
        awaits_cassandra,
        secrets_due: keys_due.min(certificates_due),
        is_scaling: scaling.is_under_way(),
    };
    let admin_token = admin::kept_or_made(observed.admin_token.as_ref(), seed);
    Ok((decided, Changes { scaling, decision, keys, certificates, admin_token, notices }))
}

/// How Pulsar does, and what is put right in it: everything that differs, unless the `ChatCluster` is paused.
fn pulsar(cluster: &ValidatedCluster, observed: &Observed) -> (Health, Vec<PulsarAction>) {
    let health = observed.datastores.pulsar.clone();
    match &observed.datastores.drift {
        None => (health, Vec::new()),
        Some(drift) if cluster.is_paused() => {
            (datastore::drifted(cluster.pulsar(), cluster.pulsar_namespace(), drift), Vec::new())
        }
        Some(drift) => (health, drift.actions.clone()),
    }
}

/// What became of a Job.
#[must_use]
pub fn job_outcome(observed: &Observed, name: &str) -> JobOutcome {
    let Some(child) = observed.children.get(&(ChildKind::Job, name.to_owned())) else {
        return JobOutcome::Missing;
    };
    match &child.detail {
        Detail::Job(JobState::Succeeded) => JobOutcome::Succeeded,
        Detail::Job(JobState::Failed { message, at }) => {
            let of_it = |job: &Option<String>| job.as_deref() == Some(name);
            let trouble =
                observed.pods.values().filter(|pod| of_it(&pod.job)).find_map(|pod| pod.trouble.clone());
            JobOutcome::Failed { message: trouble.or_else(|| Some(message.clone())), at: *at }
        }
        _ => JobOutcome::Running,
    }
}
