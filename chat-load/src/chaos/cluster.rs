//! The cluster's processes, through the script that runs them.

use std::{
    io,
    path::PathBuf,
    process::{Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::fault::Step;

/// Longest that a step may take: a Cassandra node that starts on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);
const TICK: Duration = Duration::from_millis(5);

/// A step that was not done.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// The script cannot be run.
    #[error("failed to run {script}")]
    Spawn {
        /// Path of the script.
        script: PathBuf,
        /// What the operating system reported.
        source: io::Error,
    },
    /// The script ended without success.
    #[error("`{what}` failed with {status}")]
    Failed {
        /// What it was to do.
        what: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// It took too long.
    #[error("`{0}` did not end within 120 s")]
    Late(String),
}

/// The script that controls the cluster's processes.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// `scripts/cluster.sh`, or one that takes the same words.
    pub script: PathBuf,
}

impl Cluster {
    /// Does several steps at once; when all are done.
    ///
    /// # Errors
    /// When one of them was not.
    pub fn act(&self, steps: &[Step]) -> Result<(), ClusterError> {
        let until = Instant::now() + DEADLINE;
        let mut running = Vec::new();
        for step in steps {
            let child = Command::new(&self.script)
                .args([step.verb.word(), step.process])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .map_err(|source| ClusterError::Spawn { script: self.script.clone(), source })?;
            running.push((format!("{} {}", step.verb.word(), step.process), child));
        }
        for (what, mut child) in running {
            loop {
                let ended = child
                    .try_wait()
                    .map_err(|source| ClusterError::Spawn { script: self.script.clone(), source })?;
                match ended {
                    Some(status) if status.success() => break,
                    Some(status) => return Err(ClusterError::Failed { what, status }),
                    None if Instant::now() < until => pause(TICK),
                    None => {
                        let _ = child.kill();
                        let _ = child.wait();
                        return Err(ClusterError::Late(what));
                    }
                }
            }
        }
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "this thread has nothing else to do, and no runtime")]
pub(super) fn pause(time: Duration) {
    thread::sleep(time);
}
