//! CPU time and memory of the server, as Linux reports them (proc(5)).

use std::{fs, time::Duration};

/// Length of a tick in `/proc/PID/stat`: `USER_HZ`, part of the kernel's interface and 100 on every machine that
/// Rust supports (`sysconf(_SC_CLK_TCK)`).
const TICK: Duration = Duration::from_millis(10);

/// User and system time of all threads of a process since its start, to 10 ms; none when it is gone.
#[must_use]
pub fn cpu_time(pid: u32) -> Option<Duration> {
    parse_cpu(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Resident memory of a process in bytes; none when it is gone.
#[must_use]
pub fn resident_bytes(pid: u32) -> Option<u64> {
    parse_resident(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
}

fn parse_cpu(stat: &str) -> Option<Duration> {
    // The second field is the program's name in parentheses and may hold anything, so count from its end:
    // utime and stime are fields 14 and 15.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let utime: u32 = fields.next()?.parse().ok()?;
    let stime: u32 = fields.next()?.parse().ok()?;
    Some(TICK * (utime + stime))
}

fn parse_resident(status: &str) -> Option<u64> {
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(kib.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 2 3 4 150 50 9 9 20 0 2 0 1 1 1";
        assert_eq!(parse_cpu(stat), Some(Duration::from_secs(2)));
        assert_eq!(parse_resident("Name:\tx\nVmRSS:\t    2048 kB\n"), Some(2 << 20));
        assert_eq!(parse_cpu("no"), None);
    }

    #[test]
    fn this_process_has_both() {
        assert!(cpu_time(std::process::id()).is_some());
        assert!(resident_bytes(std::process::id()).is_some_and(|b| b > 100_000));
    }
}
