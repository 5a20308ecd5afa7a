//! What calls are for, in the order in which they win when there is not room for all.

use std::time::Duration;

/// A kind of calls with a budget of its own. Earlier ones win: those who are connected and write come first, those who
/// are only about to come in come last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Appends to logs.
    Append,
    /// Single rows that a command is decided by, and read markers.
    Lookup,
    /// The newest messages of a channel, events after a position, and heads: what resuming clients and gap repair read.
    Recent,
    /// People, channels and members, listed and changed.
    Directory,
    /// Pages of messages further back.
    OldHistory,
    /// Descriptions of uploaded files.
    Upload,
    /// Passwords, sessions, keys.
    Auth,
    /// What a `welcome` needs: a user's channels.
    Connect,
}

/// How many classes there are.
pub(super) const CLASSES: usize = 8;

/// What may fail by itself: appends may be stuck while reads go on, and the other way round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dependency {
    /// Appends to channel logs.
    Log,
    /// All other reads and writes.
    Rows,
}

impl Dependency {
    pub(super) const ALL: [Self; 2] = [Self::Log, Self::Rows];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Log => "log",
            Self::Rows => "rows",
        }
    }
}

/// What a class may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Budget {
    /// The part of the limit that all classes together may use before this one has to wait: the rest is kept free for
    /// those before it.
    pub(super) ceiling: f64,
    /// The part of the limit that this class alone may use.
    pub(super) share: f64,
    /// Calls that may wait.
    pub(super) queue: usize,
    /// How long they may wait.
    pub(super) wait: Duration,
    /// How long a call may take once it was let in.
    pub(super) deadline: Duration,
    /// A call that is not slower than this is never taken as a sign of overload, in seconds.
    pub(super) unsuspicious: f64,
}

impl Class {
    /// All of them, the most important first.
    pub const ALL: [Self; CLASSES] = [
        Self::Append,
        Self::Lookup,
        Self::Recent,
        Self::Directory,
        Self::OldHistory,
        Self::Upload,
        Self::Auth,
        Self::Connect,
    ];

    /// Its name in metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::Lookup => "lookup",
            Self::Recent => "recent",
            Self::Directory => "directory",
            Self::OldHistory => "old_history",
            Self::Upload => "upload",
            Self::Auth => "auth",
            Self::Connect => "connect",
        }
    }

    pub(super) const fn index(self) -> usize {
        self as usize
    }

    pub(super) const fn dependency(self) -> Dependency {
        match self {
            Self::Append => Dependency::Log,
            _ => Dependency::Rows,
        }
    }

    pub(super) const fn budget(self) -> Budget {
        const fn budget(ceiling: f64, share: f64, queue: usize, wait_ms: u64) -> Budget {
            Budget {
                ceiling,
                share,
                queue,
                wait: Duration::from_millis(wait_ms),
                deadline: Duration::from_secs(4),
                unsuspicious: 0.05,
            }
        }
        match self {
            // What was sent is settled by the store for up to 8 s. Whoever waits is answered well within a second.
            Self::Append => {
                Budget { deadline: Duration::from_secs(9), unsuspicious: 0.1, ..budget(1.0, 1.0, 4_096, 400) }
            }
            Self::Lookup => budget(1.0, 0.9, 4_096, 400),
            Self::Recent => budget(0.9, 0.6, 1_024, 500),
            Self::Directory => budget(0.8, 0.5, 1_024, 1_000),
            Self::OldHistory => Budget { unsuspicious: 0.2, ..budget(0.7, 0.25, 256, 1_000) },
            Self::Upload => budget(0.7, 0.25, 256, 1_000),
            Self::Auth => budget(0.6, 0.3, 1_024, 1_000),
            // Whoever connects has nothing yet to lose, and comes back by himself.
            Self::Connect => budget(0.5, 0.3, 2_048, 2_000),
        }
    }
}
