//! Processes of pods, where they are to be seen from here: on this machine, as root.

use std::fs;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::DeleteParams};
use tokio::process::Command;

use crate::command;

/// Sends a signal to a pod's process of this program; `false` when no process of this machine is it.
///
/// # Errors
/// When `kill` cannot be run.
pub async fn signal(pod: &Pod, program: &str, signal: &str) -> Result<bool> {
    let uid = pod.metadata.uid.clone().unwrap_or_default();
    let Some(process) = of_pod(&uid, program) else { return Ok(false) };
    let mut kill = Command::new("kill");
    let output = command::run(kill.args([&format!("-{signal}"), &process.to_string()]), "").await?;
    // Somebody else's process, where one is not root.
    Ok(output.status.success())
}

/// Ends a pod's process of this program as a crash of its machine would: it can say goodbye to nobody. Where its process is not to be
/// seen from here, the pod is deleted by force, which is nearly that.
///
/// # Errors
/// When it cannot.
pub async fn kill(pods: &Api<Pod>, pod: &Pod, program: &str) -> Result<()> {
    if signal(pod, program, "KILL").await? {
        return Ok(());
    }
    let name = pod.metadata.name.as_deref().context("expected a name")?;
    let by_force = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    pods.delete(name, &by_force).await?;
    Ok(())
}

/// The process of a program in the cgroup of a pod.
fn of_pod(uid: &str, program: &str) -> Option<u32> {
    let spellings = [format!("pod{uid}"), format!("pod{}", uid.replace('-', "_"))];
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let process: u32 = entry.file_name().to_str()?.parse().ok()?;
        let groups = fs::read_to_string(entry.path().join("cgroup")).ok()?;
        let arguments = fs::read_to_string(entry.path().join("cmdline")).ok()?;
        let ours = spellings.iter().any(|spelling| groups.contains(spelling.as_str()));
        (ours && arguments.split('\0').next()?.ends_with(program)).then_some(process)
    })
}
