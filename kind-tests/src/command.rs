//! Programs that a test runs.

use std::{
    ffi::OsStr,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use tokio::{io::AsyncWriteExt as _, process::Command, time::timeout};

/// Longest time that a program may take.
const DEADLINE: Duration = Duration::from_secs(120);

/// What a program said.
#[derive(Debug)]
pub struct Said {
    /// How it ended.
    pub status: ExitStatus,
    /// On standard output.
    pub out: String,
    /// On standard error.
    pub err: String,
}

impl Said {
    /// Standard output of a program that succeeded.
    ///
    /// # Errors
    /// When it did not: with what it said.
    pub fn succeeded(self) -> Result<String> {
        if !self.status.success() {
            bail!("expected success, got {}: {} {}", self.status, self.out.trim(), self.err.trim());
        }
        Ok(self.out)
    }
}

/// Runs a program to its end with `input` on its standard input.
///
/// # Errors
/// When it cannot be started or takes longer than two minutes.
pub async fn run(command: &mut Command, input: &str) -> Result<Said> {
    run_for(command, input, DEADLINE).await
}

/// The same for one that may take as long as this.
///
/// # Errors
/// When it cannot be started or takes longer.
pub async fn run_for(command: &mut Command, input: &str, deadline: Duration) -> Result<Said> {
    let program = command.as_std().get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("expected to start {program}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its input may have ended before.
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let output = timeout(deadline, child.wait_with_output())
        .await
        .with_context(|| format!("expected {program} to end within {} s", deadline.as_secs()))??;
    Ok(Said {
        status: output.status,
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Runs `kubectl`.
///
/// # Errors
/// When it cannot be run; what it answers is for the caller to judge.
pub async fn kubectl<S: AsRef<OsStr>>(arguments: &[S], input: &str) -> Result<Said> {
    run(Command::new("kubectl").args(arguments), input).await
}
