//! Lets connections in, and sends away those that have to go for them.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use chat_protocol::UserId;
use http::HeaderMap;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::{
    AdmissionLimits, Closed, ConnectionMetrics, Shares,
    crowd::{Crowd, Full, Member},
    limits::CLOSING,
    under_way::UnderWay,
};
use crate::{TrustedProxies, client_address::network};

/// Who may be connected to one listener. Cheap to clone.
#[derive(Clone)]
pub struct Admission(Arc<Inner>);

struct Inner {
    limits: AdmissionLimits,
    proxies: TrustedProxies,
    crowds: Mutex<Crowds>,
    metrics: Arc<ConnectionMetrics>,
    under_way: UnderWay,
    /// Connections that are there, with those that are being closed.
    at_once: Arc<Semaphore>,
}

struct Crowds {
    strangers: Crowd<IpAddr, Sent>,
    people: Crowd<Known, Sent>,
    /// Bodies that strangers have yet to send: with HTTP/2 one connection may have many.
    bodies: Crowd<IpAddr, Sent>,
}

/// Bodies that strangers of one address may have under way. They hold memory, and places for what is handed to other processes.
const BODIES: usize = 32;

/// What sends a connection away.
#[derive(Debug)]
struct Sent {
    away: CancellationToken,
    address: IpAddr,
}

/// Who is not a stranger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Known {
    Person(UserId),
    Proxy(IpAddr),
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Stranger(IpAddr, Member),
    Known(Known, Member),
}

impl Admission {
    /// One that nobody has entered yet.
    #[must_use]
    pub fn new(limits: AdmissionLimits, proxies: TrustedProxies, metrics: Arc<ConnectionMetrics>) -> Self {
        let crowds = Crowds { strangers: Crowd::new(), people: Crowd::new(), bodies: Crowd::new() };
        let at_once = Arc::new(Semaphore::new(limits.all + CLOSING));
        // As many downloads as connections of people: `limits` leaves a second descriptor for each.
        let under_way = UnderWay::new(limits.people, Arc::clone(&metrics));
        Self(Arc::new(Inner { limits, proxies, crowds: Mutex::new(crowds), metrics, under_way, at_once }))
    }

    /// Waits until there is a descriptor for one more, which is at once, or when one that was sent away is closed.
    pub async fn ready(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0.at_once).acquire_owned().await.ok()
    }

    /// Lets a connection in. Proxies are no strangers: those behind them are, one request at a time.
    #[must_use]
    pub fn enter(&self, peer: SocketAddr, permit: OwnedSemaphorePermit) -> Guest {
        let address = peer.ip().to_canonical();
        if self.0.proxies.contains(address) {
            self.0.known(Known::Proxy(address), address, Some(permit))
        } else {
            self.0.stranger(address, Some(permit), None)
        }
    }

    /// Sends a stranger away, since there is no descriptor for the next one.
    pub fn make_room(&self) {
        let gone = {
            let mut crowds = self.0.crowds.lock();
            let gone = crowds.strangers.push_out_one();
            self.0.count(&crowds);
            gone
        };
        if let Some((_, sent)) = gone {
            self.0.send_away(&sent, Closed::OpenFiles);
        }
    }
}

impl Default for Admission {
    /// Room for many, with nothing in front and nothing that is shown.
    fn default() -> Self {
        Self::new(
            AdmissionLimits::public(65_536, 19_000, usize::MAX),
            TrustedProxies::default(),
            Arc::default(),
        )
    }
}

impl Inner {
    fn stranger(
        self: &Arc<Self>,
        address: IpAddr,
        permit: Option<OwnedSemaphorePermit>,
        connection: Option<Guest>,
    ) -> Guest {
        let (away, key) = (CancellationToken::new(), network(address));
        let sent = Sent { away: away.clone(), address };
        let (member, gone) = {
            let mut crowds = self.crowds.lock();
            // They may have what nobody else has, beyond what is theirs.
            let is_tight = self.at_once.available_permits() < CLOSING;
            let most = if is_tight { self.limits.strangers } else { self.limits.all };
            let entered = crowds.strangers.enter(key, (self.limits.strangers_per_address, most), sent);
            self.count(&crowds);
            entered
        };
        if let Some((_, sent, full)) = gone {
            self.send_away(
                &sent,
                if full == Full::Key { Closed::AddressFull } else { Closed::StrangersFull },
            );
        }
        self.guest((address, away), Place::Stranger(key, member), permit, connection)
    }

    fn known(self: &Arc<Self>, who: Known, address: IpAddr, permit: Option<OwnedSemaphorePermit>) -> Guest {
        let away = CancellationToken::new();
        let member = self.enter_people(who, Sent { away: away.clone(), address });
        self.guest((address, away), Place::Known(who, member), permit, None)
    }

    fn guest(
        self: &Arc<Self>,
        (address, away): (IpAddr, CancellationToken),
        place: Place,
        permit: Option<OwnedSemaphorePermit>,
        connection: Option<Guest>,
    ) -> Guest {
        Guest(Arc::new(Entered {
            admission: Arc::clone(self),
            address,
            away,
            place: Mutex::new(Some(place)),
            bodies: Mutex::default(),
            permit: Mutex::new(permit),
            connection,
        }))
    }

    fn enter_people(&self, who: Known, sent: Sent) -> Member {
        let most = if matches!(who, Known::Proxy(_)) { usize::MAX } else { self.limits.per_person };
        let (member, gone) = {
            let mut crowds = self.crowds.lock();
            let entered = crowds.people.enter(who, (most, self.limits.people), sent);
            self.count(&crowds);
            entered
        };
        if let Some((_, sent, full)) = gone {
            self.send_away(&sent, if full == Full::Key { Closed::PersonFull } else { Closed::PeopleFull });
        }
        member
    }

    fn send_away(&self, sent: &Sent, why: Closed) {
        sent.away.cancel();
        self.metrics.closed(why, sent.address);
    }

    /// Takes somebody out; false when they were sent away before.
    fn leave(&self, place: Place) -> bool {
        let mut crowds = self.crowds.lock();
        let left = match place {
            Place::Stranger(key, member) => crowds.strangers.leave(key, member).is_some(),
            Place::Known(who, member) => crowds.people.leave(who, member).is_some(),
        };
        self.count(&crowds);
        left
    }

    /// Shows how many there are; under the lock, so that the last one who counts is right.
    fn count(&self, crowds: &Crowds) {
        self.metrics.strangers.set(crowds.strangers.len().try_into().unwrap_or(i64::MAX));
        self.metrics.people.set(crowds.people.len().try_into().unwrap_or(i64::MAX));
    }
}

/// A connection's place, or that of a request behind a proxy; given back when the last clone is dropped. Every request has it
/// among its extensions.
#[derive(Clone)]
pub struct Guest(Arc<Entered>);

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest").field("address", &self.0.address).finish_non_exhaustive()
    }
}

struct Entered {
    admission: Arc<Inner>,
    address: IpAddr,
    away: CancellationToken,
    place: Mutex<Option<Place>>,
    /// What its requests hold of [`Crowds::bodies`].
    bodies: Mutex<Vec<(IpAddr, Member)>>,
    permit: Mutex<Option<OwnedSemaphorePermit>>,
    /// Of a request behind a proxy: the proxy's connection.
    connection: Option<Guest>,
}

/// What the body of a stranger's request holds until it is there, or is not waited for any more.
#[derive(Debug)]
pub struct StrangersBody {
    guest: Guest,
    key: IpAddr,
    member: Member,
    away: CancellationToken,
}

impl StrangersBody {
    /// Cancelled when it has to go for another one.
    #[must_use]
    pub fn away(&self) -> CancellationToken {
        self.away.clone()
    }
}

impl Drop for StrangersBody {
    fn drop(&mut self) {
        let held = (self.key, self.member);
        self.guest.0.bodies.lock().retain(|one| *one != held);
        self.guest.0.admission.crowds.lock().bodies.leave(self.key, self.member);
    }
}

/// What a socket of a person holds for as long as it is open: its part of all that may be open.
#[derive(Debug)]
pub struct Seat(#[expect(dead_code, reason = "given back when it is dropped")] Option<OwnedSemaphorePermit>);

impl Guest {
    /// Whose request it is that came over this connection: its own, or, when it is a proxy's, that of whoever stands behind.
    #[must_use]
    pub fn of_request(&self, headers: &HeaderMap) -> Self {
        let inner = &self.0.admission;
        if !inner.proxies.contains(self.0.address) {
            return self.clone();
        }
        inner.stranger(inner.proxies.client_of(self.0.address, headers), None, Some(self.clone()))
    }

    /// It is a person's socket from now on, and counted as such elsewhere.
    #[must_use]
    pub fn seat(self) -> Seat {
        let entered = &*self.0;
        if let Some(place) = entered.place.lock().take() {
            entered.admission.leave(place);
        }
        let connection = entered.connection.as_ref().map_or(entered, |connection| &*connection.0);
        Seat(connection.permit.lock().take())
    }

    /// A body begins. `None`: people's have no bound here.
    #[must_use]
    pub fn body(&self) -> Option<StrangersBody> {
        let entered = &*self.0;
        let place = entered.place.lock();
        let Some(Place::Stranger(key, _)) = *place else { return None };
        let away = CancellationToken::new();
        let sent = Sent { away: away.clone(), address: entered.address };
        let (member, gone) = entered.admission.crowds.lock().bodies.enter(key, (BODIES, usize::MAX), sent);
        entered.bodies.lock().push((key, member));
        if let Some((_, sent, _)) = gone {
            entered.admission.send_away(&sent, Closed::BodiesFull);
        }
        Some(StrangersBody { guest: self.clone(), key, member, away })
    }

    /// A valid token was shown: from now on it is a person's.
    pub fn known(&self, user: UserId) {
        let entered = &*self.0;
        let mut place = entered.place.lock();
        let Some(Place::Stranger(key, member)) = *place else { return };
        for (key, member) in entered.bodies.lock().drain(..) {
            entered.admission.crowds.lock().bodies.leave(key, member);
        }
        if entered.admission.leave(Place::Stranger(key, member)) {
            let who = Known::Person(user);
            let sent = Sent { away: entered.away.clone(), address: entered.address };
            let member = entered.admission.enter_people(who, sent);
            *place = Some(Place::Known(who, member));
        } else {
            *place = None;
        }
    }

    /// Whose turn it is: the server's, or the client's.
    pub fn answering(&self, answering: bool) {
        let mut place = self.0.place.lock();
        let mut crowds = self.0.admission.crowds.lock();
        *place = match *place {
            Some(Place::Stranger(key, member)) => {
                crowds.strangers.turn(key, member, answering).map(|member| Place::Stranger(key, member))
            }
            Some(Place::Known(who, member)) => {
                crowds.people.turn(who, member, answering).map(|member| Place::Known(who, member))
            }
            None => None,
        };
    }

    /// Whether no valid token was shown so far.
    #[must_use]
    pub fn is_stranger(&self) -> bool {
        !matches!(*self.0.place.lock(), Some(Place::Known(..)))
    }

    /// Whose it is, once they have shown a valid token.
    #[must_use]
    pub fn person(&self) -> Option<UserId> {
        match *self.0.place.lock() {
            Some(Place::Known(Known::Person(user), _)) => Some(user),
            _ => None,
        }
    }

    /// The IPv4 address or the IPv6 /64 that it comes from.
    #[must_use]
    pub fn network(&self) -> IpAddr {
        network(self.0.address)
    }

    /// What a request of it will hold.
    #[must_use]
    pub fn shares(&self) -> Shares {
        Shares::new(self.0.admission.under_way.clone())
    }

    /// Whether it is a request on a proxy's connection.
    pub(super) fn is_behind_proxy(&self) -> bool {
        self.0.connection.is_some()
    }

    /// Returns when it has to go for somebody else.
    pub async fn sent_away(&self) {
        self.0.away.cancelled().await;
    }

    /// Cancelled when it has to go for somebody else. It keeps no place.
    #[must_use]
    pub fn away(&self) -> CancellationToken {
        self.0.away.clone()
    }

    /// Counts why it is closed, or one of its requests refused.
    pub fn closed(&self, why: Closed) {
        self.0.admission.metrics.closed(why, self.0.address);
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some(place) = self.place.get_mut().take() {
            self.admission.leave(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(proxies: &str) -> Admission {
        let limits = AdmissionLimits {
            strangers: 6,
            strangers_per_address: 2,
            people: 4,
            per_person: 2,
            sockets: 2,
            all: 12,
        };
        let proxies = TrustedProxies::new(proxies.parse());
        Admission::new(limits, proxies, Arc::default())
    }

    async fn enter(admission: &Admission, address: &str) -> Guest {
        let permit = admission.ready().await.expect("is open");
        admission.enter(SocketAddr::new(address.parse().expect("an address"), 1), permit)
    }

    fn is_sent_away(guest: &Guest) -> bool {
        guest.0.away.is_cancelled()
    }

    #[tokio::test]
    async fn strangers_are_counted_by_address_and_people_by_person() {
        let admission = admission("10.0.0.0/8");
        let first = enter(&admission, "192.0.2.1").await;
        let second = enter(&admission, "192.0.2.1").await;
        let third = enter(&admission, "192.0.2.1").await;
        assert!(is_sent_away(&first) && !is_sent_away(&second));
        // An office: whoever has shown a token is nothing to the others.
        second.known(UserId::new());
        third.known(UserId::new());
        let office: Vec<Guest> =
            [enter(&admission, "192.0.2.1").await, enter(&admission, "192.0.2.1").await].into();
        assert!(![&second, &third].into_iter().chain(&office).any(is_sent_away));
        assert!(!second.is_stranger() && office[0].is_stranger());

        let ada = UserId::new();
        let mut hers = Vec::new();
        for n in 0..3 {
            let one = enter(&admission, &format!("192.0.2.{}", 10 + n)).await;
            one.known(ada);
            hers.push(one);
        }
        assert_eq!(hers.iter().map(is_sent_away).collect::<Vec<_>>(), [true, false, false]);
        assert_eq!(admission.0.metrics.people.get(), 4);
        drop((second, third, office, hers));
        assert_eq!((admission.0.metrics.people.get(), admission.0.metrics.strangers.get()), (0, 0));
    }

    #[tokio::test]
    async fn who_stands_behind_a_proxy_is_counted_and_not_the_proxy() {
        let admission = admission("10.0.0.0/8");
        let mut connections = Vec::new();
        for _ in 0..3 {
            connections.push(enter(&admission, "10.0.0.1").await);
        }
        assert!(!connections.iter().any(|one| is_sent_away(one) || one.is_stranger()));
        let request = |connection: usize, client: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", client.parse().expect("a value"));
            connections[connection].of_request(&headers)
        };
        let (first, other) = (request(0, "192.0.2.1"), request(0, "192.0.2.2"));
        let (second, third) = (request(1, "192.0.2.1"), request(2, "192.0.2.1"));
        assert!(is_sent_away(&first) && ![&other, &second, &third].into_iter().any(is_sent_away));
        assert!(!connections.iter().any(is_sent_away), "the connection stays for others");
    }

    #[tokio::test]
    async fn of_the_bodies_of_strangers_the_oldest_of_an_address_goes_and_those_of_people_stay() {
        let admission = admission("10.0.0.0/8");
        let (one, other) = (enter(&admission, "192.0.2.1").await, enter(&admission, "192.0.2.1").await);
        let elsewhere = enter(&admission, "192.0.2.2").await.body().expect("is a stranger's");
        let persons = one.body().expect("is a stranger's");
        one.known(UserId::new());
        assert!(one.body().is_none(), "a person's");
        let mut bodies: Vec<_> = (0..BODIES).filter_map(|_| other.body()).collect();
        let is_gone = |body: &StrangersBody| body.away().is_cancelled();
        assert!(!bodies.iter().any(is_gone));
        bodies.push(other.body().expect("is a stranger's"));
        assert_eq!(bodies.iter().filter(|body| is_gone(body)).count(), 1);
        assert!(is_gone(&bodies[0]) && !is_gone(&persons) && !is_gone(&elsewhere));
        // Those that are there make room.
        bodies.drain(..10);
        bodies.extend((0..9).filter_map(|_| other.body()));
        assert!(!bodies.iter().any(is_gone));
        drop((bodies, persons, elsewhere));
        assert_eq!(admission.0.crowds.lock().bodies.len(), 0);
    }

    #[tokio::test]
    async fn strangers_have_what_nobody_else_has_until_it_is_needed() {
        let admission = admission("10.0.0.0/8");
        let mut strangers = Vec::new();
        for n in 0..12 {
            strangers.push(enter(&admission, &format!("192.0.2.{n}")).await);
        }
        assert!(!strangers.iter().any(is_sent_away), "there is room");
        let mut seats = Vec::new();
        for n in 0..8 {
            // Whoever was sent away is closed.
            strangers.retain(|one| !is_sent_away(one));
            seats.push(enter(&admission, &format!("198.51.100.{n}")).await.seat());
        }
        strangers.retain(|one| !is_sent_away(one));
        assert!((4..=12).contains(&strangers.len()), "{}", strangers.len());
        assert!(admission.0.metrics.strangers.get() <= 12);
        drop((strangers, seats));
        assert_eq!(admission.0.at_once.available_permits(), 12 + CLOSING);
    }

    #[tokio::test]
    async fn who_is_being_answered_stays() {
        let admission = admission("10.0.0.0/8");
        let first = enter(&admission, "192.0.2.1").await;
        first.answering(true);
        let second = enter(&admission, "192.0.2.1").await;
        let _third = enter(&admission, "192.0.2.1").await;
        assert!(!is_sent_away(&first) && is_sent_away(&second));
        admission.make_room();
        admission.make_room();
        assert!(is_sent_away(&first));
    }
}
