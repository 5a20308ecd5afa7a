//! Whether the tables are as the target needs them, and when the Job that makes them so runs.

use folkmoot_crds::{CassandraSpec, MigrationStatus};
use jiff::Timestamp;

/// A run of `chat-server migrate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationJob {
    /// What the tables are brought up to date with: see [`identity`].
    pub identity: String,
    /// How often it failed before.
    pub attempt: u32,
    /// Of both; the suffix of the Job's name, ten characters of a DNS label.
    pub hash: String,
}

/// What became of a Job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobOutcome {
    /// There is none of that name.
    Missing,
    /// It is not at its end.
    Running,
    /// It did its work.
    Succeeded,
    /// It gave up.
    Failed {
        /// The last words of its pod, when they are known.
        message: Option<String>,
        /// When.
        at: Timestamp,
    },
}

/// What is to be done about the tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MigrationPlan {
    /// Nothing: they are as the target needs them.
    Current,
    /// This Job is to be made.
    Run(MigrationJob),
    /// This Job runs; its object stays as it is.
    Running(MigrationJob),
    /// The last Job failed; the next one waits.
    Failed {
        /// For a person.
        message: String,
        /// When the next one runs.
        retry_at: Timestamp,
    },
}

/// Ten characters that change when the tables must be looked at: with the image, and with where and how they are made.
#[must_use]
pub fn identity(image: &str, keyspace: &str, spec: &CassandraSpec) -> String {
    let _ = (image, keyspace, spec);
    String::new()
}

/// What is to be done, and what is to be remembered of it in the status. `outcome_of` says what became of a Job.
#[must_use]
pub fn plan(
    status: Option<&MigrationStatus>,
    identity: &str,
    outcome_of: impl Fn(&MigrationJob) -> JobOutcome,
    now: Timestamp,
) -> (MigrationPlan, MigrationStatus) {
    let _ = (identity, outcome_of, now);
    (MigrationPlan::Current, status.cloned().unwrap_or_default())
}
