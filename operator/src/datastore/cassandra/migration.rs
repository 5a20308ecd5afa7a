//! Whether the tables are as the target needs them, and when the Job that makes them so runs.

use folkmoot_crds::{CassandraSpec, MigrationStatus};
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::times::{of_api, to_api};

/// A failed migration is tried again after this long, then after twice as long, and so on.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(10);
/// At most after this long.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(5);

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

impl MigrationJob {
    fn new(identity: &str, attempt: u32) -> Self {
        let hash = hash([identity, &attempt.to_string()].into_iter());
        Self { identity: identity.to_owned(), attempt, hash }
    }
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
        /// The last lines of its pod's log, when they are known.
        message: Option<String>,
        /// Time at which it gave up.
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
        /// Message for a person.
        message: String,
        /// Time of the next try.
        retry_at: Timestamp,
    },
}

/// Ten characters that change when the tables must be looked at: with the image, and with where and how they are made.
#[must_use]
pub fn identity(image: &str, keyspace: &str, spec: &CassandraSpec) -> String {
    let replication = spec.replication.iter().map(|(datacenter, copies)| format!("{datacenter}:{copies}"));
    let parts = [image, keyspace, &spec.local_datacenter].map(str::to_owned).into_iter();
    hash(parts.chain(spec.contact_points.iter().cloned()).chain(replication))
}

/// What is to be done, and what is to be remembered of it in the status. `outcome_of` says what became of a Job.
///
/// Nothing depends on the status having been written: what it lacks is found out again from the Jobs that are there.
#[must_use]
pub fn plan(
    status: Option<&MigrationStatus>,
    identity: &str,
    outcome_of: impl Fn(&MigrationJob) -> JobOutcome,
    now: Timestamp,
) -> (MigrationPlan, MigrationStatus) {
    let mut status = status.cloned().unwrap_or_default();
    if status.completed.as_deref() == Some(identity) {
        return (MigrationPlan::Current, completed(identity));
    }
    if status.pending.as_deref() != Some(identity) {
        status = MigrationStatus {
            completed: status.completed,
            pending: Some(identity.to_owned()),
            ..MigrationStatus::default()
        };
    }
    // The message of the last one that failed, as long as its Job is there.
    let mut reason =
        match status.failures.checked_sub(1).map(|last| outcome_of(&MigrationJob::new(identity, last))) {
            Some(JobOutcome::Failed { message, .. }) => message,
            _ => None,
        };
    loop {
        let job = MigrationJob::new(identity, status.failures);
        match outcome_of(&job) {
            JobOutcome::Succeeded => return (MigrationPlan::Current, completed(identity)),
            JobOutcome::Running => return (MigrationPlan::Running(job), status),
            JobOutcome::Failed { message, at } => {
                status.failures = status.failures.saturating_add(1);
                status.last_failure = Some(to_api(at));
                reason = message;
            }
            JobOutcome::Missing => {
                let retry_at = status
                    .last_failure
                    .as_ref()
                    .map(|failure| later(of_api(failure), pause(status.failures)));
                let plan = match retry_at.filter(|retry_at| *retry_at > now) {
                    None => MigrationPlan::Run(job),
                    Some(retry_at) => MigrationPlan::Failed {
                        message: failure_message(status.failures, reason.as_deref()),
                        retry_at,
                    },
                };
                return (plan, status);
            }
        }
        if status.failures == u32::MAX {
            let retry_at = later(now, LONGEST_PAUSE);
            return (
                MigrationPlan::Failed {
                    message: failure_message(status.failures, reason.as_deref()),
                    retry_at,
                },
                status,
            );
        }
    }
}

fn completed(identity: &str) -> MigrationStatus {
    MigrationStatus { completed: Some(identity.to_owned()), ..MigrationStatus::default() }
}

fn failure_message(failures: u32, reason: Option<&str>) -> String {
    let times = if failures == 1 { "once".to_owned() } else { format!("{failures} times") };
    match reason.map(str::trim).filter(|reason| !reason.is_empty()) {
        Some(reason) => format!("chat-server migrate failed {times}, at last with: {reason}"),
        None => format!("chat-server migrate failed {times}; the log of the migrate pod says why"),
    }
}

fn pause(failures: u32) -> SignedDuration {
    let doubled = 1_i32.checked_shl(failures.saturating_sub(1).min(30)).unwrap_or(i32::MAX);
    FIRST_PAUSE.saturating_mul(doubled).min(LONGEST_PAUSE)
}

fn later(from: Timestamp, by: SignedDuration) -> Timestamp {
    from.checked_add(by).unwrap_or(Timestamp::MAX)
}

// The types of the API use another version of the same crate.

/// Ten characters for these parts, in this order.
fn hash<S: AsRef<str>>(parts: impl Iterator<Item = S>) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update(part.as_ref().as_bytes());
        digest.update([0]);
    }
    digest.finalize().iter().take(5).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: &str = "0123456789";

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + second).unwrap()
    }

    fn failed(reason: &str, second: i64) -> JobOutcome {
        JobOutcome::Failed { message: Some(reason.to_owned()), at: at(second) }
    }

    fn status(completed: &str, pending: &str, failures: u32, last_failure: Option<i64>) -> MigrationStatus {
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        MigrationStatus {
            completed: some(completed),
            pending: some(pending),
            failures,
            last_failure: last_failure.map(|second| to_api(at(second))),
        }
    }

    fn waits(reason: &str, retry_at: i64) -> MigrationPlan {
        MigrationPlan::Failed { message: reason.to_owned(), retry_at: at(retry_at) }
    }

    #[test]
    fn a_migration_runs_once_and_again_after_a_pause_when_it_failed() {
        let run = |attempt| MigrationPlan::Run(MigrationJob::new(IDENTITY, attempt));
        let running = |attempt| MigrationPlan::Running(MigrationJob::new(IDENTITY, attempt));
        let (once, twice) = ("chat-server migrate failed once", "chat-server migrate failed 2 times");
        let done = status(IDENTITY, "", 0, None);
        let pending = |failures, last| status("", IDENTITY, failures, last);
        use JobOutcome::{Missing, Running, Succeeded};
        let refused = || failed("no login\n", 0);
        for (name, before, jobs, now, plan_then, after) in [
            ("new", status("", "", 0, None), vec![], 0, run(0), pending(0, None)),
            (
                "made, and the status not written",
                status("", "", 0, None),
                vec![Running],
                0,
                running(0),
                pending(0, None),
            ),
            ("runs", pending(0, None), vec![Running], 0, running(0), pending(0, None)),
            ("done", pending(0, None), vec![Succeeded], 0, MigrationPlan::Current, done.clone()),
            ("its job is gone", done.clone(), vec![], 0, MigrationPlan::Current, done.clone()),
            ("deleted by hand", pending(0, None), vec![Missing], 9, run(0), pending(0, None)),
            (
                "failed",
                pending(0, None),
                vec![refused()],
                1,
                waits(&format!("{once}, at last with: no login"), 10),
                pending(1, Some(0)),
            ),
            (
                "waits",
                pending(1, Some(0)),
                vec![refused()],
                9,
                waits(&format!("{once}, at last with: no login"), 10),
                pending(1, Some(0)),
            ),
            (
                "waits, and its job is gone",
                pending(1, Some(0)),
                vec![],
                9,
                waits(&format!("{once}; the log of the migrate pod says why"), 10),
                pending(1, Some(0)),
            ),
            ("waited", pending(1, Some(0)), vec![refused()], 10, run(1), pending(1, Some(0))),
            ("again", pending(1, Some(0)), vec![refused(), Running], 11, running(1), pending(1, Some(0))),
            (
                "made, and the status lost",
                pending(0, None),
                vec![refused(), Running],
                11,
                running(1),
                pending(1, Some(0)),
            ),
            (
                "failed again",
                pending(1, Some(0)),
                vec![refused(), failed("down", 20)],
                25,
                waits(&format!("{twice}, at last with: down"), 40),
                pending(2, Some(20)),
            ),
            ("at last", pending(1, Some(0)), vec![refused(), Succeeded], 25, MigrationPlan::Current, done),
            (
                "another target",
                status("old", "older", 7, Some(0)),
                vec![],
                1,
                run(0),
                status("old", IDENTITY, 0, None),
            ),
            (
                "what was done counts while the next waits",
                status("old", IDENTITY, 1, Some(0)),
                vec![],
                10,
                run(1),
                status("old", IDENTITY, 1, Some(0)),
            ),
            (
                "long since",
                pending(40, Some(0)),
                vec![],
                299,
                waits("chat-server migrate failed 40 times; the log of the migrate pod says why", 300),
                pending(40, Some(0)),
            ),
            ("for ever", pending(u32::MAX, Some(0)), vec![], 300, run(u32::MAX), pending(u32::MAX, Some(0))),
        ] {
            let outcome_of = |job: &MigrationJob| {
                jobs.get(usize::try_from(job.attempt).unwrap()).cloned().unwrap_or(Missing)
            };
            let found = plan(Some(&before), IDENTITY, outcome_of, at(now));
            assert_eq!(found, (plan_then, after), "{name}");
        }
    }

    #[test]
    fn pauses_grow_up_to_five_minutes() {
        let pauses: Vec<i64> =
            [1, 2, 3, 5, 6, 7, 100, u32::MAX].map(|failures| pause(failures).as_secs()).to_vec();
        assert_eq!(pauses, [10, 20, 40, 160, 300, 300, 300, 300]);
    }

    #[test]
    fn the_identity_follows_what_makes_the_tables() {
        let spec = |text| serde_json::from_value::<CassandraSpec>(text).unwrap();
        let plain = || spec(serde_json::json!({ "contactPoints": ["a:9042", "b:9042"] }));
        let same = identity("image:1", "chat", &plain());
        assert!(same.len() == 10 && same.bytes().all(|byte| byte.is_ascii_hexdigit()), "{same}");
        let login = serde_json::json!({ "contactPoints": ["a:9042", "b:9042"], "credentialsSecretRef": { "name": "c" } });
        assert_eq!(same, identity("image:1", "chat", &spec(login)), "who logs in changes no table");
        for (image, keyspace, changed) in [
            ("image:2", "chat", plain()),
            ("image:1", "chat2", plain()),
            ("image:1", "chat", CassandraSpec { contact_points: vec!["b:9042".into()], ..plain() }),
            ("image:1", "chat", CassandraSpec { local_datacenter: "dc2".into(), ..plain() }),
            ("image:1", "chat", CassandraSpec { replication: [("dc1".to_owned(), 2)].into(), ..plain() }),
        ] {
            assert_ne!(same, identity(image, keyspace, &changed), "{image} {keyspace} {changed:?}");
        }
        let jobs: Vec<String> = (0..3).map(|attempt| MigrationJob::new(&same, attempt).hash).collect();
        assert!(jobs[0] != jobs[1] && jobs[1] != jobs[2] && jobs[0].len() == 10, "{jobs:?}");
    }
}
