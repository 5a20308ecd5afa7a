//! Something of which there is so much for all people, and a part of it for each. The part shrinks with what is free, so that something
//! is left for whoever has nothing yet. People who wait have their turns one after the other.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use chat_protocol::UserId;
use parking_lot::Mutex;
use tokio::{
    sync::oneshot,
    time::{Instant, timeout_at},
};

/// Whoever waits while nothing of what they have goes on for so long is refused.
pub(super) const STANDSTILL: Duration = Duration::from_secs(30);
/// How long whoever has nothing waits for others.
pub(super) const OTHERS: Duration = Duration::from_secs(10);
/// Nobody has more than one part in so many of what is free, unless it is one thing.
const PART: u32 = 4;

/// Whom something is counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Who {
    Person(UserId),
    /// Strangers of an IPv4 address or an IPv6 /64, whose requests are handed to another process.
    Network(IpAddr),
}

/// Why somebody does not get what they wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// Nothing of what they have goes on.
    Own,
    /// Others have all there is.
    Others,
}

/// How much others need what somebody has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    /// Nobody waits who has nothing.
    None,
    /// Somebody does, and this is the only thing that its person has.
    OfOnly,
    /// Somebody does, and its person has several.
    OfSeveral,
}

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Pool(Arc<Mutex<State>>);

struct State {
    free: u32,
    /// The most that one person may have.
    each: u32,
    /// Whoever has something, or waits.
    people: HashMap<Who, Person>,
    /// Those who wait; whose turn was longest ago comes first.
    turns: VecDeque<Who>,
    next: u64,
}

struct Person {
    has: u32,
    /// In how many things.
    things: usize,
    /// When some of it was last given back, or something that has some of it last went on.
    moved: Instant,
    waiting: VecDeque<Waiter>,
}

struct Waiter {
    ticket: u64,
    count: u32,
    turn: oneshot::Sender<Taken>,
}

/// Some of a pool, given back when it is dropped.
pub(super) struct Taken {
    pool: Pool,
    who: Who,
    count: u32,
}

/// What comes of asking.
pub(super) enum Asked {
    Now(Taken),
    Wait(Wait),
}

/// Somebody who waits, and leaves when this is dropped.
pub(super) struct Wait {
    pool: Pool,
    who: Who,
    ticket: u64,
    turn: oneshot::Receiver<Taken>,
}

/// What those get whose turn it is; to be sent without the lock.
type Turns = Vec<(oneshot::Sender<Taken>, Taken)>;

impl Pool {
    /// Of so much in all, and so much of it for each. The first thing that somebody asks for is to be no more than that.
    pub(super) fn new(all: u32, each: u32) -> Self {
        Self(Arc::new(Mutex::new(State {
            free: all,
            each,
            people: HashMap::new(),
            turns: VecDeque::new(),
            next: 0,
        })))
    }

    pub(super) fn ask(&self, who: Who, count: u32) -> Asked {
        let mut state = self.0.lock();
        if state.turns.is_empty() && state.is_turn_of(who, count) && count <= state.free {
            return Asked::Now(state.give(self, who, count));
        }
        let (sender, turn) = oneshot::channel();
        let ticket = state.next;
        state.next += 1;
        state.wait(who, Waiter { ticket, count, turn: sender });
        let mut wait = Wait { pool: self.clone(), who, ticket, turn };
        // Those who wait may all wait for what they have themselves.
        self.serve(state);
        match wait.turn.try_recv() {
            Ok(taken) => Asked::Now(taken),
            Err(_) => Asked::Wait(wait),
        }
    }

    /// Hands out what is free.
    fn serve(&self, mut state: parking_lot::MutexGuard<'_, State>) {
        let turns = state.serve(self);
        drop(state);
        for (sender, taken) in turns {
            // Whoever went away meanwhile gives it back.
            drop(sender.send(taken));
        }
    }

    #[cfg(test)]
    pub(super) fn people(&self) -> usize {
        self.0.lock().people.len()
    }
}

impl Person {
    fn new() -> Self {
        Self { has: 0, things: 0, moved: Instant::now(), waiting: VecDeque::new() }
    }
}

impl State {
    /// Whether they may have so much more, if it is there.
    fn is_turn_of(&self, who: Who, count: u32) -> bool {
        let has = self.people.get(&who).map_or(0, |person| person.has);
        has == 0 || has.saturating_add(count) <= self.each.min(self.free / PART)
    }

    fn give(&mut self, pool: &Pool, who: Who, count: u32) -> Taken {
        let person = self.people.entry(who).or_insert_with(Person::new);
        person.has += count;
        person.things += 1;
        self.free -= count;
        Taken { pool: pool.clone(), who, count }
    }

    fn wait(&mut self, who: Who, waiter: Waiter) {
        let person = self.people.entry(who).or_insert_with(Person::new);
        if person.waiting.is_empty() {
            self.turns.push_back(who);
        }
        person.waiting.push_back(waiter);
    }

    fn serve(&mut self, pool: &Pool) -> Turns {
        let mut turns = Vec::new();
        let mut at = 0;
        while let Some(who) = self.turns.get(at).copied() {
            let Some(count) = self.people.get(&who).and_then(|one| one.waiting.front()).map(|one| one.count)
            else {
                self.turns.remove(at);
                continue;
            };
            if !self.is_turn_of(who, count) {
                at += 1;
                continue;
            }
            if count > self.free {
                // Those behind do not take it away bit by bit.
                break;
            }
            self.turns.remove(at);
            let taken = self.give(pool, who, count);
            let Some(person) = self.people.get_mut(&who) else { continue };
            if let Some(waiter) = person.waiting.pop_front() {
                turns.push((waiter.turn, taken));
            }
            if !person.waiting.is_empty() {
                self.turns.push_back(who);
            }
        }
        turns
    }

    /// Forgets whoever has nothing and wants nothing.
    fn forget(&mut self, who: Who) {
        if self.people.get(&who).is_some_and(|person| person.things == 0 && person.waiting.is_empty()) {
            self.people.remove(&who);
        }
    }

    fn is_needed(&self) -> bool {
        self.turns.iter().any(|who| self.people.get(who).is_some_and(|person| person.things == 0))
    }
}

impl Taken {
    /// What has it goes on: whoever waits for it waits on.
    pub(super) fn moved(&self) {
        if let Some(person) = self.pool.0.lock().people.get_mut(&self.who) {
            person.moved = Instant::now();
        }
    }

    pub(super) fn need(&self) -> Need {
        let state = self.pool.0.lock();
        let things = state.people.get(&self.who).map_or(0, |person| person.things);
        match (state.is_needed(), things) {
            (false, _) => Need::None,
            (true, 0 | 1) => Need::OfOnly,
            (true, _) => Need::OfSeveral,
        }
    }

    /// It is so much from now on, or more than before by what there is.
    pub(super) fn resize(&mut self, count: u32) {
        let mut state = self.pool.0.lock();
        let State { free, each, people, .. } = &mut *state;
        let Some(person) = people.get_mut(&self.who) else { return };
        if count > self.count {
            let more = (count - self.count).min(*free).min(each.saturating_sub(person.has));
            (*free, person.has, self.count) = (*free - more, person.has + more, self.count + more);
        } else {
            let less = self.count - count;
            (*free, person.has, self.count) = (*free + less, person.has - less, count);
            person.moved = Instant::now();
            self.pool.serve(state);
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut state = self.pool.0.lock();
        state.free += self.count;
        if let Some(person) = state.people.get_mut(&self.who) {
            person.has -= self.count;
            person.things -= 1;
            // First the time, for whoever is woken.
            person.moved = Instant::now();
        }
        state.forget(self.who);
        self.pool.serve(state);
    }
}

impl Wait {
    /// Waits until there is as much as was asked for.
    pub(super) async fn turn(mut self) -> Result<Taken, Refused> {
        let began = Instant::now();
        loop {
            let (until, refused) = {
                let state = self.pool.0.lock();
                let person = state.people.get(&self.who);
                let since = person.map_or(began, |person| began.max(person.moved));
                let has_some = person.is_some_and(|person| person.things > 0);
                if has_some { (since + STANDSTILL, Refused::Own) } else { (since + OTHERS, Refused::Others) }
            };
            if until <= Instant::now() {
                return self.turn.try_recv().map_err(|_| refused);
            }
            // What was given back meanwhile is another reason to wait.
            if let Ok(taken) = timeout_at(until, &mut self.turn).await {
                return taken.map_err(|_| refused);
            }
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut state = self.pool.0.lock();
        let Some(person) = state.people.get_mut(&self.who) else { return };
        let Some(at) = person.waiting.iter().position(|one| one.ticket == self.ticket) else { return };
        let left = person.waiting.remove(at);
        if person.waiting.is_empty() {
            state.turns.retain(|who| *who != self.who);
            state.forget(self.who);
        }
        // Somebody may have waited for this one to have its turn.
        self.pool.serve(state);
        drop(left);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn somebody() -> Who {
        Who::Person(UserId::new())
    }

    fn now(pool: &Pool, who: Who, count: u32) -> Taken {
        match pool.ask(who, count) {
            Asked::Now(taken) => taken,
            Asked::Wait(_) => panic!("waits"),
        }
    }

    fn waits(pool: &Pool, who: Who, count: u32) -> tokio::task::JoinHandle<Result<Taken, Refused>> {
        match pool.ask(who, count) {
            Asked::Now(_) => panic!("has it"),
            Asked::Wait(wait) => tokio::spawn(wait.turn()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn people_have_their_turns_and_nobody_is_overtaken_bit_by_bit() {
        let pool = Pool::new(10, 8);
        let (ada, bob, eve) = (somebody(), somebody(), somebody());
        let first = now(&pool, somebody(), 8);
        let large = waits(&pool, ada, 5);
        let second_of_ada = waits(&pool, ada, 1);
        // There is enough for this one, but not for who came before.
        let small = waits(&pool, bob, 2);
        assert_eq!(first.need(), Need::OfOnly);
        drop(first);
        let large = large.await.expect("ends").expect("has it");
        let _small = small.await.expect("ends").expect("has it");
        assert!(!second_of_ada.is_finished(), "what is free is for others");
        let _third = now(&pool, eve, 3);
        drop(large);
        assert!(second_of_ada.await.expect("ends").is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_leaves_makes_way() {
        let pool = Pool::new(10, 8);
        let has = now(&pool, somebody(), 8);
        let large = waits(&pool, somebody(), 5);
        let small = waits(&pool, somebody(), 2);
        tokio::time::sleep(Duration::from_secs(1)).await;
        large.abort();
        let small = small.await.expect("ends").expect("has it");
        let late = waits(&pool, somebody(), 1);
        assert_eq!(late.await.expect("ends").err(), Some(Refused::Others));
        drop((has, small));
        let free = pool.0.lock().free;
        assert_eq!((free, pool.people()), (10, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_somebody_has_may_change() {
        let pool = Pool::new(16, 8);
        let (ada, bob) = (somebody(), somebody());
        let mut one = now(&pool, ada, 2);
        let mut other = now(&pool, bob, 8);
        one.resize(100);
        assert_eq!(one.count, 8, "no more than each may have");
        let third = waits(&pool, somebody(), 3);
        other.resize(5);
        assert!(third.await.expect("ends").is_ok());
        drop((one, other));
        assert_eq!(pool.0.lock().free, 16);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_several_is_asked_first() {
        let pool = Pool::new(40, 8);
        let ada = somebody();
        let held = [now(&pool, ada, 2), now(&pool, ada, 2)];
        let others: Vec<_> = (0..4).map(|_| now(&pool, somebody(), 8)).collect();
        assert_eq!(held[0].need(), Need::None);
        let waits_for_own = waits(&pool, ada, 2);
        assert_eq!(held[0].need(), Need::None, "she has something");
        let newcomer = waits(&pool, somebody(), 8);
        assert_eq!((held[0].need(), others[0].need()), (Need::OfSeveral, Need::OfOnly));
        newcomer.abort();
        waits_for_own.abort();
    }
}
