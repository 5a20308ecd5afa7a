//! Who waits for a password to be hashed, and whose turn it is.
//!
//! Each hash takes a core for some 30 ms, and anybody may ask for one. So those who wait have their turns by where they come from: one
//! site after the other, in each one network after the other, in each whoever came first. When the queue is full, the newest of
//! whichever has most waiting goes. Many who come from few places hold up themselves.

use std::{collections::VecDeque, net::IpAddr, sync::Arc};

use chat_http::{network, site};
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// Somebody who asks for a hash.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker {
    address: IpAddr,
    /// They have a session, a code that is good, or were signed in to the account from here.
    is_known: bool,
}

impl Asker {
    pub(super) const fn known(address: IpAddr) -> Self {
        Self { address, is_known: true }
    }

    pub(super) const fn stranger(address: IpAddr) -> Self {
        Self { address, is_known: false }
    }
}

/// The queue is full, of others who have no more waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// Places for hashes that are computed, and for those that wait for one. Cheap to clone.
#[derive(Clone)]
pub(super) struct Places(Arc<Mutex<State>>);

struct State {
    /// Nobody waits while there are any.
    free: usize,
    queue: Queue<oneshot::Sender<Place>>,
    max_waiting: usize,
}

/// A place, given back when it is dropped.
pub(super) struct Place(Places);

impl Places {
    pub(super) fn new(at_once: usize, max_waiting: usize) -> Self {
        Self(Arc::new(Mutex::new(State { free: at_once, queue: Queue::default(), max_waiting })))
    }

    /// Waits for a place.
    pub(super) async fn take(&self, asker: Asker) -> Result<Place, Full> {
        let (turn, ticket, refused) = {
            let mut state = self.0.lock();
            if state.free > 0 {
                state.free -= 1;
                return Ok(Place(self.clone()));
            }
            let (sender, turn) = oneshot::channel();
            let ticket = state.queue.push(asker, sender);
            (turn, ticket, state.make_room(asker))
        };
        drop(refused);
        let _waits = Waits { places: self, asker, ticket };
        turn.await.map_err(|_| Full)
    }

    /// Whether so many strangers wait that the next one has a place only at the expense of another.
    pub(super) fn is_crowded(&self) -> bool {
        let state = self.0.lock();
        state.queue.strangers >= state.max_strangers()
    }

    /// Takes all that are free at once.
    #[cfg(test)]
    pub(super) fn hold(&self) -> Vec<Place> {
        let free = std::mem::take(&mut self.0.lock().free);
        (0..free).map(|_| Place(self.clone())).collect()
    }

    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.0.lock().queue.len
    }
}

impl State {
    fn max_strangers(&self) -> usize {
        self.max_waiting.div_ceil(2)
    }

    /// Whoever has to go, now that this one is there as well. It may be this one.
    fn make_room(&mut self, newcomer: Asker) -> Option<oneshot::Sender<Place>> {
        if !newcomer.is_known && self.queue.strangers > self.max_strangers() {
            self.queue.take_newest_of_most(|one| !one.is_known)
        } else if self.queue.len > self.max_waiting {
            self.queue.take_newest_of_most(|_| true)
        } else {
            None
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let next = {
            let mut state = self.0.0.lock();
            let next = state.queue.next();
            state.free += usize::from(next.is_none());
            next
        };
        if let Some(next) = next {
            // Whoever went away meanwhile drops it, for the next one.
            drop(next.send(Self(self.0.clone())));
        }
    }
}

/// One who waits, and leaves the queue when they go away.
struct Waits<'a> {
    places: &'a Places,
    asker: Asker,
    ticket: u64,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        let left = self.places.0.lock().queue.remove(self.asker, self.ticket);
        drop(left);
    }
}

/// Those who wait. There are some hundreds at most, and a hash takes far longer than to look at each of them.
struct Queue<T> {
    /// In the order of their turns; none is empty.
    sites: VecDeque<Site<T>>,
    len: usize,
    strangers: usize,
    /// The number of the next one who comes.
    next: u64,
}

struct Site<T> {
    key: IpAddr,
    networks: VecDeque<Network<T>>,
}

struct Network<T> {
    key: IpAddr,
    waiting: VecDeque<Waiter<T>>,
}

struct Waiter<T> {
    ticket: u64,
    is_known: bool,
    value: T,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { sites: VecDeque::new(), len: 0, strangers: 0, next: 0 }
    }
}

impl<T> Queue<T> {
    fn push(&mut self, asker: Asker, value: T) -> u64 {
        let ticket = self.next;
        self.next += 1;
        self.len += 1;
        self.strangers += usize::from(!asker.is_known);
        let (site, network) = (site(asker.address), network(asker.address));
        let at = self.sites.iter().position(|one| one.key == site).unwrap_or_else(|| {
            self.sites.push_back(Site { key: site, networks: VecDeque::new() });
            self.sites.len() - 1
        });
        let networks = &mut self.sites[at].networks;
        let at = networks.iter().position(|one| one.key == network).unwrap_or_else(|| {
            networks.push_back(Network { key: network, waiting: VecDeque::new() });
            networks.len() - 1
        });
        networks[at].waiting.push_back(Waiter { ticket, is_known: asker.is_known, value });
        ticket
    }

    /// Whose turn it is.
    fn next(&mut self) -> Option<T> {
        let mut site = self.sites.pop_front()?;
        let mut network = site.networks.pop_front()?;
        let waiter = network.waiting.pop_front()?;
        if !network.waiting.is_empty() {
            site.networks.push_back(network);
        }
        if !site.networks.is_empty() {
            self.sites.push_back(site);
        }
        Some(self.taken(waiter))
    }

    fn remove(&mut self, asker: Asker, ticket: u64) -> Option<T> {
        let key = site(asker.address);
        let at = self.sites.iter().position(|one| one.key == key)?;
        self.take_out(at, ticket)
    }

    /// Of those who count, the newest one of the network that has most, of the site that has most.
    fn take_newest_of_most(&mut self, counts: impl Fn(&Waiter<T>) -> bool) -> Option<T> {
        let of = |network: &Network<T>| network.waiting.iter().filter(|one| counts(one)).count();
        let candidates = self.sites.iter().enumerate().flat_map(|(at, site)| {
            let of_site: usize = site.networks.iter().map(of).sum();
            let counts = &counts;
            site.networks.iter().filter_map(move |network| {
                let newest = network.waiting.iter().rev().find(|one| counts(one))?;
                Some((of_site, of(network), newest.ticket, at))
            })
        });
        let (_, _, ticket, at) = candidates.max()?;
        self.take_out(at, ticket)
    }

    fn take_out(&mut self, at: usize, ticket: u64) -> Option<T> {
        let networks = &mut self.sites[at].networks;
        let (of, place) = networks.iter().enumerate().find_map(|(of, network)| {
            Some((of, network.waiting.iter().position(|one| one.ticket == ticket)?))
        })?;
        let waiter = networks[of].waiting.remove(place)?;
        networks.retain(|network| !network.waiting.is_empty());
        if networks.is_empty() {
            self.sites.remove(at);
        }
        Some(self.taken(waiter))
    }

    fn taken(&mut self, waiter: Waiter<T>) -> T {
        self.len -= 1;
        self.strangers -= usize::from(!waiter.is_known);
        waiter.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stranger(address: &str) -> Asker {
        Asker::stranger(address.parse().expect("an address"))
    }

    fn known(address: &str) -> Asker {
        Asker::known(address.parse().expect("an address"))
    }

    fn all(queue: &mut Queue<&'static str>) -> Vec<&'static str> {
        std::iter::from_fn(|| queue.next()).collect()
    }

    #[test]
    fn a_network_with_one_waiter_is_served_after_one_of_each_other() {
        let mut queue = Queue::default();
        for name in ["a1", "a2", "a3"] {
            queue.push(stranger("192.0.2.1"), name);
        }
        for name in ["b1", "b2"] {
            queue.push(stranger("192.0.2.2"), name);
        }
        queue.push(stranger("192.0.2.3"), "c1");
        assert_eq!(queue.next(), Some("a1"));
        // Whoever comes again is behind all who wait.
        queue.push(stranger("192.0.2.4"), "d1");
        assert_eq!(all(&mut queue), ["b1", "c1", "a2", "d1", "b2", "a3"]);
        assert_eq!((queue.len, queue.strangers, queue.sites.len()), (0, 0, 0));
    }

    #[test]
    fn the_networks_of_one_site_share_its_turn() {
        let mut queue = Queue::default();
        for (address, name) in [
            ("2001:db8:0:1::1", "a1"),
            ("2001:db8:0:1::2", "a2"),
            ("2001:db8:0:2::1", "b1"),
            ("2001:db8:0:3::1", "c1"),
            ("2001:db8:1:1::1", "other"),
            ("::ffff:192.0.2.1", "v4"),
            ("192.0.2.1", "the same"),
        ] {
            queue.push(stranger(address), name);
        }
        assert_eq!(all(&mut queue), ["a1", "other", "v4", "b1", "the same", "c1", "a2"]);
    }

    #[test]
    fn room_is_made_by_the_newest_of_those_who_have_most() {
        let mut queue = Queue::default();
        for (address, name) in [
            ("192.0.2.1", "a1"),
            ("192.0.2.1", "a2"),
            ("2001:db8:0:1::1", "b1"),
            ("2001:db8:0:2::1", "b2"),
            ("2001:db8:0:2::2", "b3"),
            ("2001:db8:0:1::1", "b4"),
            ("2001:db8:0:1::1", "b5"),
        ] {
            queue.push(stranger(address), name);
        }
        queue.push(known("2001:db8:0:1::1"), "known");
        let mut gone = || queue.take_newest_of_most(|one| !one.is_known);
        assert_eq!([gone(), gone(), gone()], [Some("b5"), Some("b4"), Some("b3")]);
        // Of sites with as many, the one whose network has more; of networks with as many, whoever came last.
        assert_eq!([gone(), gone(), gone()], [Some("a2"), Some("b2"), Some("b1")]);
        assert_eq!([gone(), gone()], [Some("a1"), None]);
        assert_eq!(all(&mut queue), ["known"]);
    }

    #[tokio::test]
    async fn a_full_queue_makes_room_for_whoever_comes_from_elsewhere() {
        let places = Places::new(1, 6);
        let held = places.hold();
        let waits = |asker| {
            let places = places.clone();
            tokio::spawn(async move { places.take(asker).await.map(drop) })
        };
        let queued = async |count: usize| {
            while places.waiting() != count {
                tokio::task::yield_now().await;
            }
        };
        let mut crowd = Vec::new();
        for count in 1..=3 {
            crowd.push(waits(stranger("192.0.2.1")));
            queued(count).await;
        }
        assert!(places.is_crowded());
        assert_eq!(places.take(stranger("192.0.2.1")).await.err(), Some(Full), "it has most itself");
        let newcomer = waits(stranger("192.0.2.2"));
        assert_eq!(crowd.remove(2).await.expect("ends"), Err(Full), "the newest of the crowd goes");
        assert_eq!(places.waiting(), 3);
        // Those who are known have the other half.
        let friends: Vec<_> = (0..3).map(|_| waits(known("192.0.2.3"))).collect();
        queued(6).await;
        assert_eq!(places.take(known("192.0.2.3")).await.err(), Some(Full));
        // Whoever hangs up leaves.
        crowd.remove(1).abort();
        queued(5).await;
        drop(held);
        newcomer.await.expect("ends").expect("has a turn");
        for one in crowd.into_iter().chain(friends) {
            one.await.expect("ends").expect("has a turn");
        }
        assert_eq!(places.hold().len(), 1, "all places are free again");
    }
}
