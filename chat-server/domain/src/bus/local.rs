//! The bus of a single process: a bounded broadcast channel, and a ring of what went through it last.

use std::collections::VecDeque;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::broadcast::{
    self,
    error::{RecvError, TryRecvError},
};

use crate::opaque::Opaque;

use super::{Bus, BusError, BusMessage, Position, PublishError, Subscription};

/// Messages kept for a slow subscriber before it starts to miss some.
const CAPACITY: usize = 8 * 1024;

/// An in-process bus.
pub struct LocalBus {
    tx: broadcast::Sender<BusMessage>,
    ring: Mutex<Ring>,
}

/// How many messages went before.
struct LocalPosition(u64);

/// What went through last, for those who come back.
struct Ring {
    /// How many messages went through in all.
    published: u64,
    last: VecDeque<BusMessage>,
    capacity: usize,
}

impl LocalBus {
    /// A bus without subscribers.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(CAPACITY)
    }

    /// A bus that keeps `capacity` messages for slow subscribers and for those who come back.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self {
            tx: broadcast::Sender::new(capacity),
            ring: Mutex::new(Ring { published: 0, last: VecDeque::new(), capacity }),
        }
    }
}

impl Default for LocalBus {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Bus for LocalBus {
    async fn publish(&self, message: BusMessage) -> Result<(), PublishError> {
        // Under the lock, so that the ring and every subscriber agree on the order.
        let mut ring = self.ring.lock();
        ring.published += 1;
        if ring.last.len() == ring.capacity {
            ring.last.pop_front();
        }
        ring.last.push_back(message.clone());
        // Nobody listening is fine: the store remembers.
        drop(self.tx.send(message));
        Ok(())
    }

    fn subscribe(&self) -> Box<dyn Subscription> {
        let ring = self.ring.lock();
        Box::new(LocalSubscription {
            rx: self.tx.subscribe(),
            replay: VecDeque::new(),
            missed: 0,
            at: ring.published,
        })
    }

    fn subscribe_from(&self, position: &Position) -> Box<dyn Subscription> {
        let ring = self.ring.lock();
        let oldest = ring.published - ring.last.len() as u64;
        // A position of another bus, or of another life of this one, says nothing here.
        let at = match position.0.get() {
            Some(&LocalPosition(at)) if at <= ring.published => at,
            _ => 0,
        };
        let kept = usize::try_from(at.saturating_sub(oldest)).unwrap_or(usize::MAX);
        Box::new(LocalSubscription {
            rx: self.tx.subscribe(),
            replay: ring.last.iter().skip(kept).cloned().collect(),
            missed: oldest.saturating_sub(at),
            at,
        })
    }
}

struct LocalSubscription {
    rx: broadcast::Receiver<BusMessage>,
    /// What comes before anything in `rx`.
    replay: VecDeque<BusMessage>,
    /// What went before `replay` and is gone.
    missed: u64,
    at: u64,
}

impl LocalSubscription {
    fn count(&mut self, received: Result<BusMessage, BusError>) -> Result<BusMessage, BusError> {
        self.at += match &received {
            Ok(_) => 1,
            Err(BusError::Missed(n)) => *n,
            Err(BusError::Closed) => 0,
        };
        received
    }

    fn replayed(&mut self) -> Option<Result<BusMessage, BusError>> {
        if self.missed > 0 {
            return Some(Err(BusError::Missed(std::mem::take(&mut self.missed))));
        }
        self.replay.pop_front().map(Ok)
    }
}

#[async_trait]
impl Subscription for LocalSubscription {
    async fn next(&mut self) -> Result<BusMessage, BusError> {
        let received = match self.replayed() {
            Some(replayed) => replayed,
            None => self.rx.recv().await.map_err(|e| match e {
                RecvError::Lagged(n) => BusError::Missed(n),
                RecvError::Closed => BusError::Closed,
            }),
        };
        self.count(received)
    }

    fn try_next(&mut self) -> Option<Result<BusMessage, BusError>> {
        let received = match self.replayed() {
            Some(replayed) => replayed,
            None => match self.rx.try_recv() {
                Ok(message) => Ok(message),
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Lagged(n)) => Err(BusError::Missed(n)),
                Err(TryRecvError::Closed) => Err(BusError::Closed),
            },
        };
        Some(self.count(received))
    }

    fn position(&self) -> Position {
        Position(Opaque::new(LocalPosition(self.at)))
    }
}

#[cfg(test)]
mod tests {
    use chat_protocol::{ChannelId, UserId};

    use super::*;
    use crate::bus::Signal;

    fn typing() -> BusMessage {
        BusMessage::Signal(Signal::Typing { channel: ChannelId::new(), user: UserId::new() })
    }

    #[tokio::test]
    async fn a_slow_subscriber_learns_what_it_missed_and_goes_on() {
        let bus = LocalBus::with_capacity(2);
        let mut sub = bus.subscribe();
        for _ in 0..5 {
            bus.publish(typing()).await.expect("published");
        }
        assert_eq!(sub.next().await.err(), Some(BusError::Missed(3)));
        assert!(sub.next().await.is_ok());
        assert!(sub.next().await.is_ok());
        assert!(sub.try_next().is_none());
        bus.publish(typing()).await.expect("published");
        assert!(sub.next().await.is_ok());
    }

    #[tokio::test]
    async fn who_comes_back_too_late_learns_how_much_is_gone() {
        let bus = LocalBus::with_capacity(2);
        let position = bus.subscribe().position();
        for _ in 0..5 {
            bus.publish(typing()).await.expect("published");
        }
        let mut sub = bus.subscribe_from(&position);
        assert_eq!(sub.next().await.err(), Some(BusError::Missed(3)));
        assert!(sub.next().await.is_ok());
        assert!(sub.next().await.is_ok());
        assert!(sub.try_next().is_none());
        let mut nothing_new = bus.subscribe_from(&sub.position());
        assert!(nothing_new.try_next().is_none());
    }
}
