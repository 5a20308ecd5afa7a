//! What follows from what was observed. Pure: keys come from a source of randomness that is given.

use std::time::Duration;

use folkmoot_crds::{ChatCluster, ImageSpec, MigrationStatus, PAUSED_ANNOTATION};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;

use super::{
    build::{Config, SecretHashes},
    events::Notice,
    observe::Observed,
    rollout::{self, Revision, RolloutPlan},
    scaling::{self, Scaling},
    validate::{self, Problem},
};
use crate::{
    datastore::{
        Health,
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
};

/// Whether only to look.
#[must_use]
pub fn is_paused(cluster: &ChatCluster) -> bool {
    cluster.annotations().get(PAUSED_ANNOTATION).is_some_and(|value| value != "false")
}

/// The image that all roles are to run.
///
/// # Errors
/// What only a change of the resource puts right.
pub fn problems(cluster: &ChatCluster, default_image: Option<&ImageSpec>) -> Result<ImageSpec, Vec<Problem>> {
    let image = cluster.spec.image.as_ref().or(default_image).cloned();
    let mut problems = validate::validate(cluster).err().unwrap_or_default();
    if image.is_none() {
        problems.push(Problem {
            field: "spec.image".to_owned(),
            message: "there is no image: this operator was started without a default one".to_owned(),
        });
    }
    image.filter(|_| problems.is_empty()).ok_or(problems)
}

/// What is to be done.
#[derive(Debug, Clone)]
pub struct Decided {
    /// Referenced Secrets that are missing; then nothing is applied, and running workloads are left untouched.
    pub missing: Vec<Problem>,
    /// The configuration that all roles are to run.
    pub config: Config,
    /// Which role runs what now.
    pub rollout: RolloutPlan,
    /// How many gateways there are, and which go.
    pub scaling: Scaling,
    /// What is to be done about the tables.
    pub migration: MigrationPlan,
    /// What is to be remembered of that.
    pub migration_status: MigrationStatus,
    /// Whether a migration waits for Cassandra.
    pub awaits_cassandra: bool,
    /// Keys that sign access tokens.
    pub keys: SecretData,
    /// Certificates by which processes know each other.
    pub certificates: SecretData,
    /// The token by which gateways are ordered to drain.
    pub admin_token: SecretData,
    /// When keys or certificates change next.
    secrets_due: Timestamp,
    notices: Vec<Notice>,
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

    /// What is worth an event.
    #[must_use]
    pub fn notices(&self) -> Vec<Notice> {
        self.notices.clone()
    }

    /// How long until something is due that no watch shows.
    #[must_use]
    pub fn again(&self, observed: &Observed, now: Timestamp) -> Duration {
        let mut due = self.secrets_due.min(observed.datastores.due);
        if let MigrationPlan::Failed { retry_at, .. } = &self.migration {
            due = due.min(*retry_at);
        }
        let mut wait = Duration::try_from(due.duration_since(now)).unwrap_or_default();
        if self.scaling.is_under_way() {
            wait = wait.min(super::gateways::SAMPLE_EVERY);
        }
        wait.max(Duration::from_secs(1))
    }
}

/// Decides. `seed` gives random bytes for a key or a token.
///
/// # Errors
/// When no certificate can be made.
pub fn decide(
    cluster: &ChatCluster,
    image: &ImageSpec,
    observed: &Observed,
    now: Timestamp,
    mut seed: impl FnMut() -> [u8; 32],
) -> Result<Decided, IssueError> {
    let name = cluster.name_any();
    let missing = validate::validate_secrets(cluster, &observed.secrets).err().unwrap_or_default();
    let config = Config::of(cluster, &SecretHashes::of(cluster, &observed.secrets));

    let identity = migration::identity(&image.reference, &names::keyspace(cluster), &cluster.spec.cassandra);
    let status = cluster.status.as_ref().and_then(|status| status.migration.as_ref());
    let outcome = |job: &MigrationJob| job_outcome(observed, &names::migrate_job(&name, &job.hash));
    let (migration, migration_status) = migration::plan(status, &identity, outcome, now);
    let awaits_cassandra =
        matches!(migration, MigrationPlan::Run(_)) && observed.datastores.cassandra != Health::Ready;

    let target = Revision { image: image.reference.clone(), config: config.hash.clone() };
    let mut rollout = rollout::plan(&target, migration == MigrationPlan::Current, &observed.roles(&name));
    let scaling = scaling::decide(cluster, observed, &mut rollout, now);

    let mut notices = scaling.notices(&observed.gateways);
    let rotate_after = SignedDuration::from_hours(24 * i64::from(cluster.spec.auth.key_rotation_days));
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
    Ok(Decided {
        missing,
        config,
        rollout,
        scaling,
        migration,
        migration_status,
        awaits_cassandra,
        keys,
        certificates,
        admin_token: admin::kept_or_made(observed.admin_token.as_ref(), seed),
        secrets_due: keys_due.min(certificates_due),
        notices,
    })
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
            let said =
                observed.pods.values().filter(|pod| of_it(&pod.job)).find_map(|pod| pod.trouble.clone());
            JobOutcome::Failed { message: said.or_else(|| Some(message.clone())), at: *at }
        }
        _ => JobOutcome::Running,
    }
}
