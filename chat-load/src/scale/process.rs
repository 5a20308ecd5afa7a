//! The processes that a run is made of: gateways and others, which are watched, and workers, which are started and ended here.

use std::{
    fs,
    io::{self, BufRead, BufReader, BufWriter, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc,
    thread,
    time::Duration,
};

use super::{
    ScaleError,
    wire::{Assignment, Beat, Found, Order},
};
use crate::server_process::{cpu_time, resident_bytes};

/// A gateway of the run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Name by which it is killed.
    pub name: String,
    /// Its public address.
    pub url: String,
    /// Id of its process.
    pub pid: u32,
}

/// `NAME,URL,PID`, as on the command line.
impl std::str::FromStr for Gateway {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let parsed = (|| {
            let (name, url) = (parts.next()?.to_owned(), parts.next()?.to_owned());
            let pid = parts.next()?.parse().ok()?;
            parts.next().is_none().then_some(Self { name, url, pid })
        })();
        parsed.ok_or_else(|| "not of the form NAME,URL,PID".to_owned())
    }
}

/// Another process whose time is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beside {
    /// How it is called in tables.
    pub name: String,
    /// Id of its process.
    pub pid: u32,
}

/// `NAME,PID`, as on the command line.
impl std::str::FromStr for Beside {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text
            .split_once(',')
            .and_then(|(name, pid)| Some(Self { name: name.into(), pid: pid.parse().ok()? }));
        parsed.ok_or_else(|| "not of the form NAME,PID".to_owned())
    }
}

/// Processor time of a process since its start, in seconds; 0 when it is gone.
pub(super) fn cpu_seconds(pid: u32) -> f64 {
    cpu_time(pid).map_or(0.0, |time| time.as_secs_f64())
}

/// Resident memory of all gateways that live, in bytes.
pub(super) fn resident(gateways: &[Gateway]) -> u64 {
    gateways.iter().filter_map(|gateway| resident_bytes(gateway.pid)).sum()
}

/// A worker that was started. It ends when this is dropped.
pub(super) struct Worker {
    child: Child,
    orders: BufWriter<ChildStdin>,
    pub(super) beat: Beat,
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Worker {
    /// Starts this program again as a worker, whose reports come with its number.
    pub(super) fn start(
        assignment: &Assignment,
        reports: mpsc::SyncSender<(usize, Beat)>,
    ) -> Result<Self, ScaleError> {
        let program = std::env::current_exe()?;
        let mut child =
            Command::new(program).arg("worker").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (input, output) = child.stdin.take().zip(child.stdout.take()).ok_or_else(no_pipe)?;
        let mut worker = Self { child, orders: BufWriter::new(input), beat: Beat::default() };
        worker.say(assignment)?;
        let number = usize::from(assignment.process);
        thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let Ok(beat) = serde_json::from_str(&line) else { return };
                if reports.send((number, beat)).is_err() {
                    return;
                }
            }
        })?;
        Ok(worker)
    }

    pub(super) fn order(&mut self, order: &Order) -> Result<(), ScaleError> {
        self.say(order)
    }

    fn say(&mut self, what: &impl serde::Serialize) -> Result<(), ScaleError> {
        serde_json::to_writer(&mut self.orders, what)?;
        self.orders.write_all(b"\n")?;
        Ok(self.orders.flush()?)
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it ended, which it does not by itself.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until it has written what it found, and reads that.
    pub(super) fn findings(mut self, file: &Path, wait: impl Fn(Duration)) -> Result<Found, ScaleError> {
        self.order(&Order::Stop)?;
        let mut waited = 0;
        let ended = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if waited > 1_200 {
                return Err(ScaleError::Worker("it did not end within two minutes".into()));
            }
            waited += 1;
            wait(Duration::from_millis(100));
        };
        if !ended.success() {
            return Err(ScaleError::Worker(format!("it ended with {ended}")));
        }
        Ok(serde_json::from_slice(&fs::read(file)?)?)
    }
}

fn no_pipe() -> io::Error {
    io::Error::other("a process without pipes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_read_from_the_command_line() {
        let gateway: Gateway = "gateway1,http://127.0.0.1:8080,77".parse().expect("is one");
        assert_eq!((gateway.name.as_str(), gateway.pid), ("gateway1", 77));
        assert!("gateway1,77".parse::<Gateway>().is_err());
        assert!("cassandra,12".parse::<Beside>().is_ok_and(|beside| beside.pid == 12));
        assert!("cassandra".parse::<Beside>().is_err());
    }
}
