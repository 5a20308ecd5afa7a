//! Counters that say why.

use std::{marker::PhantomData, sync::atomic::AtomicU64};

use chat_protocol::CloseCode;
use prometheus_client::metrics::{counter::Counter, family::Family};

type Labels = Vec<(&'static str, &'static str)>;
type Count = Counter<u64, AtomicU64>;

/// A closed set of reasons, each a value of the label `reason`.
pub trait Reason: Copy + PartialEq + 'static {
    /// All of them: each is shown from the start, so that the first one that happens is seen as growth.
    const ALL: &'static [Self];

    /// The label's value.
    fn name(self) -> &'static str;
}

/// Why an upgrade or a hello was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There are as many sockets as the gateway takes.
    Capacity,
    /// It had said no hello when another one needed its place.
    Crowded,
    /// The gateway drains.
    Draining,
    /// The user has as many sockets as one may have.
    RateLimited,
    /// The store, or what protects it, says: later.
    Overloaded,
    /// The token is not good, or not any more.
    Unauthenticated,
    /// No hello came in time.
    HelloTimeout,
    /// What came was no request for a socket of this protocol, no hello, or came from a page of another site.
    Malformed,
    /// The client went before it was answered.
    Gone,
}

impl Refused {
    /// Why a socket was closed, with this code or by its client, before it was welcomed.
    #[must_use]
    pub const fn closed_with(code: Option<CloseCode>) -> Self {
        match code {
            None | Some(CloseCode::Normal) => Self::Gone,
            Some(CloseCode::Restart) => Self::Draining,
            Some(CloseCode::Unauthenticated | CloseCode::SessionRevoked) => Self::Unauthenticated,
            Some(CloseCode::TooManySockets | CloseCode::RateLimited) => Self::RateLimited,
            Some(CloseCode::HelloTimeout | CloseCode::IdleTimeout) => Self::HelloTimeout,
            Some(CloseCode::TryLater | CloseCode::SlowConsumer) => Self::Overloaded,
            Some(CloseCode::Protocol | CloseCode::Unsupported | CloseCode::NotUtf8 | CloseCode::TooBig) => {
                Self::Malformed
            }
        }
    }
}

impl Reason for Refused {
    const ALL: &'static [Self] = &[
        Self::Capacity,
        Self::Crowded,
        Self::Draining,
        Self::RateLimited,
        Self::Overloaded,
        Self::Unauthenticated,
        Self::HelloTimeout,
        Self::Malformed,
        Self::Gone,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Capacity => "capacity",
            Self::Crowded => "crowded",
            Self::Draining => "draining",
            Self::RateLimited => "rate_limited",
            Self::Overloaded => "overloaded",
            Self::Unauthenticated => "unauthenticated",
            Self::HelloTimeout => "hello_timeout",
            Self::Malformed => "malformed",
            Self::Gone => "gone",
        }
    }
}

/// Why a socket was asked to reconnect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SentAway {
    /// The gateway drains.
    Drain,
    /// It was old enough.
    Age,
    /// The store was restored from a backup.
    Restored,
}

impl Reason for SentAway {
    const ALL: &'static [Self] = &[Self::Drain, Self::Age, Self::Restored];

    fn name(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Age => "age",
            Self::Restored => "restored",
        }
    }
}

/// A counter for each reason.
pub struct ByReason<R> {
    family: Family<Labels, Count>,
    counts: Vec<Count>,
    reason: PhantomData<R>,
}

impl<R: Reason> ByReason<R> {
    pub(super) fn new() -> Self {
        let family = Family::<Labels, Count>::default();
        let counts = R::ALL
            .iter()
            .map(|reason| family.get_or_create(&vec![("reason", reason.name())]).clone())
            .collect();
        Self { family, counts, reason: PhantomData }
    }

    pub(super) fn family(&self) -> Family<Labels, Count> {
        self.family.clone()
    }

    /// One more for this reason.
    pub fn inc(&self, reason: R) {
        let at = R::ALL.iter().position(|known| *known == reason);
        if let Some(count) = at.and_then(|at| self.counts.get(at)) {
            count.inc();
        }
    }
}
