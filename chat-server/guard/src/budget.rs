//! What each class of calls may have.

use std::time::Duration;

use chat_domain::store::class::Class;

/// How many classes there are.
pub(super) const CLASSES: usize = Class::ALL.len();

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

pub(super) const fn index(class: Class) -> usize {
    class as usize
}

pub(super) const fn dependency_of(class: Class) -> Dependency {
    match class {
        Class::Append => Dependency::Log,
        _ => Dependency::Rows,
    }
}

pub(super) const fn budget(class: Class) -> Budget {
    const fn common(ceiling: f64, share: f64, queue: usize, wait_ms: u64) -> Budget {
        Budget {
            ceiling,
            share,
            queue,
            wait: Duration::from_millis(wait_ms),
            deadline: Duration::from_secs(4),
            unsuspicious: 0.05,
        }
    }
    match class {
        // What was sent is settled by the store for up to 8 s. Whoever waits is answered well within a second.
        Class::Append => {
            Budget { deadline: Duration::from_secs(9), unsuspicious: 0.1, ..common(1.0, 1.0, 4_096, 400) }
        }
        Class::Lookup => common(1.0, 0.9, 4_096, 400),
        Class::Recent => common(0.9, 0.6, 1_024, 500),
        Class::Directory => common(0.8, 0.5, 1_024, 1_000),
        Class::OldHistory => Budget { unsuspicious: 0.2, ..common(0.7, 0.25, 256, 1_000) },
        Class::Upload => common(0.7, 0.25, 256, 1_000),
        Class::Auth => common(0.6, 0.3, 1_024, 1_000),
        // Whoever connects has nothing yet to lose, and comes back by himself.
        Class::Connect => common(0.5, 0.3, 2_048, 2_000),
    }
}
