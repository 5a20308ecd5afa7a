//! What is done to the cluster.

use std::time::Duration;

use clap::ValueEnum;

/// A fault that a run injects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// Nothing: the same load, to compare with.
    None,
    /// One Cassandra node is killed (SIGKILL) and started again.
    NodeKilled,
    /// One Cassandra node hangs (SIGSTOP) and goes on (SIGCONT).
    NodeHangs,
    /// The broker is killed and started again at once.
    BrokerKilled,
    /// A gateway is killed and started again.
    GatewayKilled,
    /// All Cassandra nodes hang and go on.
    AllNodesHang,
}

/// What can be done to a process of the cluster: the words that `scripts/cluster.sh` takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Kills it with SIGKILL.
    Kill,
    /// Suspends it with SIGSTOP.
    Stop,
    /// Resumes it with SIGCONT.
    Cont,
    /// Starts it again and waits until it serves.
    Start,
}

impl Verb {
    /// As the script takes it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Cont => "cont",
            Self::Start => "start",
        }
    }
}

/// A step of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// What is done.
    pub verb: Verb,
    /// To which process.
    pub process: &'static str,
}

const fn step(verb: Verb, process: &'static str) -> Step {
    Step { verb, process }
}

const NODES: [&str; 3] = ["cassandra1", "cassandra2", "cassandra3"];

impl Fault {
    /// All of them, in the order in which they are made.
    pub const ALL: [Self; 6] = [
        Self::None,
        Self::NodeKilled,
        Self::NodeHangs,
        Self::BrokerKilled,
        Self::GatewayKilled,
        Self::AllNodesHang,
    ];

    /// A description for reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "no fault",
            Self::NodeKilled => "one Cassandra node killed",
            Self::NodeHangs => "one Cassandra node hangs",
            Self::BrokerKilled => "broker killed",
            Self::GatewayKilled => "gateway killed",
            Self::AllNodesHang => "all of Cassandra hangs",
        }
    }

    /// How it begins.
    #[must_use]
    pub fn begin(self) -> Vec<Step> {
        match self {
            Self::None => Vec::new(),
            Self::NodeKilled => vec![step(Verb::Kill, NODES[1])],
            Self::NodeHangs => vec![step(Verb::Stop, NODES[2])],
            Self::BrokerKilled => vec![step(Verb::Kill, "pulsar")],
            Self::GatewayKilled => vec![step(Verb::Kill, "gateway1")],
            Self::AllNodesHang => NODES.map(|node| step(Verb::Stop, node)).to_vec(),
        }
    }

    /// How it is healed.
    #[must_use]
    pub fn heal(self) -> Vec<Step> {
        match self {
            Self::None => Vec::new(),
            Self::NodeKilled => vec![step(Verb::Start, NODES[1])],
            Self::NodeHangs => vec![step(Verb::Cont, NODES[2])],
            Self::BrokerKilled => vec![step(Verb::Start, "pulsar")],
            Self::GatewayKilled => vec![step(Verb::Start, "gateway1")],
            Self::AllNodesHang => NODES.map(|node| step(Verb::Cont, node)).to_vec(),
        }
    }

    /// How long it lasts before it is healed. A broker comes back by itself anywhere: it is started at once, which
    /// takes it long enough.
    #[must_use]
    pub const fn lasts(self) -> Duration {
        match self {
            Self::BrokerKilled => Duration::ZERO,
            Self::AllNodesHang => Duration::from_secs(30),
            _ => Duration::from_secs(20),
        }
    }
}
