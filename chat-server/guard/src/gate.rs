//! Who is let in now, who waits, who is sent away.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use chat_domain::store::StoreError;
use chat_domain::store::class::Class;
use parking_lot::Mutex;
use tokio::{sync::oneshot, time};

use super::{
    breaker::{Breaker, BreakerState, Verdict},
    budget::{CLASSES, Dependency, budget, dependency_of, index},
    limiter::{LimitBounds, Limiter, Signal},
    metrics::{GuardMetrics, Reason},
};

/// A dependency of which so many calls hang for [`STALLED`], while none came back, is taken for dead: some failures
/// would be seen only after seconds.
const STALLED_CALLS: usize = 3;
/// How long is that?
const STALLED: Duration = Duration::from_secs(1);

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The dependency answered, whatever the answer.
    Answered,
    /// The dependency said that it has too much to do.
    Overloaded,
    /// The dependency is away, or did not answer in time.
    Failed,
    /// Nothing is known: the caller went.
    Abandoned,
}

pub(super) struct Gate {
    state: Mutex<State>,
    metrics: GuardMetrics,
}

struct State {
    limiter: Limiter,
    /// Most appends at once.
    appends: u32,
    in_flight: u32,
    next: u64,
    lines: [Line; CLASSES],
    fuses: [Fuse; 2],
}

/// The calls of one class.
#[derive(Default)]
struct Line {
    in_flight: u32,
    waiting: VecDeque<oneshot::Sender<Permit>>,
}

/// The breaker of one dependency, and what it decides by.
struct Fuse {
    breaker: Breaker,
    /// When something last came back from it.
    answered: Instant,
    /// When the calls that are under way were let in, oldest first.
    since: BTreeMap<u64, Instant>,
}

/// How many calls a class has, for metrics.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    pub(super) in_flight: u32,
    pub(super) queued: usize,
    pub(super) limit: f64,
}

/// A place among the calls under way; given back when dropped.
pub(super) struct Permit {
    gate: Arc<Gate>,
    class: Class,
    number: u64,
    began: Instant,
    trial: bool,
    outcome: Outcome,
}

impl Permit {
    /// Gives the place back and says how the call ended.
    pub(super) fn finish(mut self, outcome: Outcome) {
        self.outcome = outcome;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.gate.release(self);
    }
}

enum Entry {
    Granted(Permit),
    Waits(oneshot::Receiver<Permit>),
    Refused(Reason),
}

impl Gate {
    pub(super) fn new(bounds: LimitBounds) -> Arc<Self> {
        let now = time::Instant::now().into_std();
        let fuse = || Fuse { breaker: Breaker::new(now), answered: now, since: BTreeMap::new() };
        Arc::new(Self {
            state: Mutex::new(State {
                limiter: Limiter::new(bounds),
                appends: bounds.appends.max(1),
                in_flight: 0,
                next: 0,
                lines: std::array::from_fn(|_| Line::default()),
                fuses: [fuse(), fuse()],
            }),
            metrics: GuardMetrics::new(),
        })
    }

    pub(super) const fn metrics(&self) -> &GuardMetrics {
        &self.metrics
    }

    /// A place for one call.
    ///
    /// # Errors
    /// [`StoreError::Overloaded`]: at once when the breaker is open or the queue full, else after the class's wait.
    pub(super) async fn enter(self: &Arc<Self>, class: Class) -> Result<Permit, StoreError> {
        let reason = match self.try_enter(class) {
            Entry::Granted(permit) => return Ok(permit),
            Entry::Refused(reason) => reason,
            Entry::Waits(turn) => match time::timeout(budget(class).wait, turn).await {
                Ok(Ok(permit)) => return Ok(permit),
                Ok(Err(_)) => Reason::BreakerOpen,
                Err(_) => Reason::Waited,
            },
        };
        self.metrics.refused(class, reason);
        Err(StoreError::Overloaded { retry_after_ms: reason.retry_after_ms() })
    }

    fn try_enter(self: &Arc<Self>, class: Class) -> Entry {
        let now = time::Instant::now().into_std();
        let mut state = self.state.lock();
        state.look_for_stall(dependency_of(class), now);
        match state.fuse(class).breaker.admit() {
            Verdict::Refuse => return Entry::Refused(Reason::BreakerOpen),
            Verdict::Trial => {
                return Entry::Granted(self.grant(&mut state, class, now, true));
            }
            Verdict::Pass => {}
        }
        if state.has_room(class) && state.lines[index(class)].waiting.is_empty() {
            return Entry::Granted(self.grant(&mut state, class, now, false));
        }
        let waiting = &mut state.lines[index(class)].waiting;
        let most = budget(class).queue;
        if waiting.len() >= most {
            waiting.retain(|turn| !turn.is_closed());
        }
        if waiting.len() >= most {
            return Entry::Refused(Reason::QueueFull);
        }
        let (turn, receiver) = oneshot::channel();
        waiting.push_back(turn);
        Entry::Waits(receiver)
    }

    fn grant(self: &Arc<Self>, state: &mut State, class: Class, now: Instant, trial: bool) -> Permit {
        state.next += 1;
        let number = state.next;
        state.in_flight += 1;
        state.lines[index(class)].in_flight += 1;
        state.fuse(class).since.insert(number, now);
        Permit { gate: Arc::clone(self), class, number, began: now, trial, outcome: Outcome::Abandoned }
    }

    fn release(self: &Arc<Self>, permit: &Permit) {
        let now = time::Instant::now().into_std();
        let took = now.saturating_duration_since(permit.began);
        let mut state = self.state.lock();
        state.fuse(permit.class).since.remove(&permit.number);
        match permit.outcome {
            Outcome::Abandoned if permit.trial => state.fuse(permit.class).breaker.abandon(),
            Outcome::Abandoned => {}
            outcome => state.record(now, permit, took, outcome),
        }
        state.in_flight -= 1;
        state.lines[index(permit.class)].in_flight -= 1;
        let late = self.admit_waiting(&mut state, now);
        drop(state);
        if permit.outcome != Outcome::Abandoned {
            self.metrics.took(permit.class, took);
        }
        // Those whose caller went at this very moment give their places back, which takes the lock.
        drop(late);
    }

    /// Lets in whoever there is room for now. Answers permits that nobody took.
    fn admit_waiting(self: &Arc<Self>, state: &mut State, now: Instant) -> Vec<Permit> {
        let mut late = Vec::new();
        for class in Class::ALL {
            if state.fuse(class).breaker.state() != BreakerState::Closed {
                // Their receivers learn it by that.
                state.lines[index(class)].waiting.clear();
                continue;
            }
            while state.has_room(class) {
                let Some(turn) = state.lines[index(class)].waiting.pop_front() else { break };
                if !turn.is_closed() {
                    late.extend(turn.send(self.grant(state, class, now, false)).err());
                }
            }
        }
        late
    }

    /// What a class has at the moment.
    pub(super) fn load(&self, class: Class) -> Load {
        let state = self.state.lock();
        let line = &state.lines[index(class)];
        Load {
            in_flight: line.in_flight,
            queued: line.waiting.iter().filter(|turn| !turn.is_closed()).count(),
            limit: state.limit_of(class),
        }
    }

    /// Where a dependency's breaker is.
    pub(super) fn breaker(&self, dependency: Dependency) -> BreakerState {
        self.state.lock().fuses[dependency as usize].breaker.state()
    }

    /// Whether a dependency should be probed: its breaker is not closed and it is time, or nothing came back for `silence`.
    pub(super) fn wants_probe(&self, dependency: Dependency, silence: Duration) -> bool {
        let now = time::Instant::now().into_std();
        let state = self.state.lock();
        let fuse = &state.fuses[dependency as usize];
        fuse.breaker.probe_due(now)
            || (fuse.breaker.state() == BreakerState::Closed
                && now.saturating_duration_since(fuse.answered) >= silence)
    }

    /// How a probe ended. `again`: it is not the first one that failed.
    pub(super) fn probed(&self, dependency: Dependency, ok: bool, again: bool) {
        let now = time::Instant::now().into_std();
        let mut state = self.state.lock();
        let state = &mut *state;
        let fuse = &mut state.fuses[dependency as usize];
        let before = fuse.breaker.state();
        if before != BreakerState::Closed {
            fuse.breaker.probed(now, ok);
        } else if ok {
            fuse.answered = now;
        } else if again {
            fuse.breaker.stalled(now);
        }
        state.changed(dependency, before);
    }
}

impl State {
    const fn fuse(&mut self, class: Class) -> &mut Fuse {
        &mut self.fuses[dependency_of(class) as usize]
    }

    fn limit_of(&self, class: Class) -> f64 {
        let share = (self.limiter.limit() * budget(class).share).max(1.0);
        if class == Class::Append { share.min(f64::from(self.appends)) } else { share }
    }

    fn has_room(&self, class: Class) -> bool {
        let ceiling = (self.limiter.limit() * budget(class).ceiling).max(1.0);
        f64::from(self.in_flight) + 1.0 <= ceiling
            && f64::from(self.lines[index(class)].in_flight) + 1.0 <= self.limit_of(class)
    }

    fn record(&mut self, now: Instant, permit: &Permit, took: Duration, outcome: Outcome) {
        let signal = if outcome == Outcome::Answered { Signal::Answered } else { Signal::Dropped };
        self.limiter.record(now, permit.class, took, signal, self.in_flight);
        let fuse = self.fuse(permit.class);
        let before = fuse.breaker.state();
        match outcome {
            Outcome::Failed => {
                fuse.breaker.record(now, false, permit.trial);
            }
            // A dependency that says it has too much to do is there.
            Outcome::Answered | Outcome::Overloaded | Outcome::Abandoned => {
                fuse.answered = now;
                fuse.breaker.record(now, true, permit.trial);
            }
        }
        self.changed(dependency_of(permit.class), before);
    }

    fn look_for_stall(&mut self, dependency: Dependency, now: Instant) {
        let fuse = &mut self.fuses[dependency as usize];
        if now.saturating_duration_since(fuse.answered) < STALLED {
            return;
        }
        let nth = fuse.since.values().nth(STALLED_CALLS - 1);
        if nth.is_some_and(|began| now.saturating_duration_since(*began) >= STALLED) {
            let before = fuse.breaker.state();
            fuse.breaker.stalled(now);
            self.changed(dependency, before);
        }
    }

    /// Follows up on a breaker that may have changed.
    fn changed(&mut self, dependency: Dependency, before: BreakerState) {
        let after = self.fuses[dependency as usize].breaker.state();
        if after == before {
            return;
        }
        let name = dependency.name();
        match after {
            BreakerState::Open => {
                tracing::warn!(dependency = name, "store does not answer; calls are refused until it does");
                for class in Class::ALL {
                    if dependency_of(class) == dependency {
                        self.lines[index(class)].waiting.clear();
                    }
                }
            }
            BreakerState::HalfOpen => {
                tracing::info!(dependency = name, "store answers a probe; trying one call at a time")
            }
            BreakerState::Closed => {
                tracing::info!(dependency = name, "store answers again");
                self.limiter.restart();
            }
        }
    }
}
