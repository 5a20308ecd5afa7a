//! Memory of this process and how much it may have, as Linux reports them (proc(5), cgroups(7)), read when they are asked
//! for. What cannot be known is left out: an absent limit is no limit, and must not look like one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, gauge::ConstGauge},
    registry::Unit,
};

/// Where the kernel shows the tree of cgroups.
const CGROUPS: &str = "/sys/fs/cgroup";
/// Version 1 says "no limit" by a number near 2^63, rounded to pages.
const NO_LIMIT: u64 = 1 << 60;

#[derive(Debug)]
pub(super) struct ProcessMemory;

impl Collector for ProcessMemory {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut gauge = |name, help, value: Option<u64>| {
            let Some(value) = value.and_then(|value| i64::try_from(value).ok()) else { return Ok(()) };
            let metric = encoder.encode_descriptor(name, help, Some(&Unit::Bytes), MetricType::Gauge)?;
            ConstGauge::new(value).encode(metric)
        };
        gauge("process_resident_memory", "Memory of this process that is resident", resident())?;
        gauge("process_memory_limit", "Memory that the processes of its container may have", limit())
    }
}

/// `VmRSS` of this process in bytes.
fn resident() -> Option<u64> {
    resident_in(&fs::read_to_string("/proc/self/status").ok()?)
}

fn resident_in(status: &str) -> Option<u64> {
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(kib.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// The lowest limit of this process's cgroup and those around it, in bytes.
fn limit() -> Option<u64> {
    let cgroup = fs::read_to_string("/proc/self/cgroup").ok()?;
    limit_files(&cgroup).iter().filter_map(|file| limit_in(&fs::read_to_string(file).ok()?)).min()
}

fn limit_in(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|limit| *limit < NO_LIMIT)
}

/// The files that may hold a limit, for what `/proc/self/cgroup` says. In a container the named folder is often not
/// there, since it sees its own cgroup as the root: the root is among the files.
fn limit_files(cgroup: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in cgroup.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let (root, name) = match controllers {
            "" => (PathBuf::from(CGROUPS), "memory.max"),
            v1 if v1.split(',').any(|controller| controller == "memory") => {
                (Path::new(CGROUPS).join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let inside = Path::new(path.trim_start_matches('/'));
        files.extend(inside.ancestors().map(|folder| root.join(folder).join(name)));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_has_memory() {
        assert_eq!(resident_in("Name:\tx\nVmRSS:\t    2048 kB\nVmData: 1 kB\n"), Some(2 << 20));
        assert_eq!(resident_in("Name:\tx\n"), None);
        assert!(!cfg!(target_os = "linux") || resident().is_some_and(|bytes| bytes > 100_000));
    }

    #[test]
    fn a_limit_is_a_number_and_not_the_word_for_none() {
        for (text, expected) in
            [("536870912\n", Some(536_870_912)), ("max\n", None), ("9223372036854771712\n", None), ("", None)]
        {
            assert_eq!(limit_in(text), expected, "{text:?}");
        }
    }

    #[test]
    fn the_cgroup_and_all_around_it_are_looked_at() {
        let files = |cgroup| -> Vec<String> {
            limit_files(cgroup).iter().map(|file| file.display().to_string()).collect()
        };
        assert_eq!(files("0::/\n"), ["/sys/fs/cgroup/memory.max"]);
        assert_eq!(
            files("0::/kubepods/pod1/c1\n"),
            [
                "/sys/fs/cgroup/kubepods/pod1/c1/memory.max",
                "/sys/fs/cgroup/kubepods/pod1/memory.max",
                "/sys/fs/cgroup/kubepods/memory.max",
                "/sys/fs/cgroup/memory.max",
            ]
        );
        assert_eq!(
            files("5:cpu,cpuacct:/a\n4:memory:/a\n"),
            ["/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        );
        assert!(files("nonsense").is_empty());
    }
}
