//! The bus of a single process: a bounded broadcast channel.

use async_trait::async_trait;
use tokio::sync::broadcast::{
    self,
    error::{RecvError, TryRecvError},
};

use super::{Bus, BusError, BusMessage, Subscription};

/// Messages kept for a slow subscriber before it starts to miss some.
const CAPACITY: usize = 8 * 1024;

/// An in-process bus.
pub struct LocalBus {
    tx: broadcast::Sender<BusMessage>,
}

impl LocalBus {
    /// A bus without subscribers.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(CAPACITY)
    }

    /// A bus that keeps `capacity` messages for slow subscribers.
    #[must_use]
    pub fn with_capacity(capacity: usize) -> Self {
        Self { tx: broadcast::Sender::new(capacity) }
    }
}

impl Default for LocalBus {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Bus for LocalBus {
    async fn publish(&self, message: BusMessage) -> Result<(), BusError> {
        // Nobody listening is fine: the store remembers.
        drop(self.tx.send(message));
        Ok(())
    }

    fn subscribe(&self) -> Box<dyn Subscription> {
        Box::new(LocalSubscription { rx: self.tx.subscribe() })
    }
}

struct LocalSubscription {
    rx: broadcast::Receiver<BusMessage>,
}

#[async_trait]
impl Subscription for LocalSubscription {
    async fn next(&mut self) -> Result<BusMessage, BusError> {
        self.rx.recv().await.map_err(|e| match e {
            RecvError::Lagged(n) => BusError::Missed(n),
            RecvError::Closed => BusError::Closed,
        })
    }

    fn try_next(&mut self) -> Option<Result<BusMessage, BusError>> {
        match self.rx.try_recv() {
            Ok(message) => Some(Ok(message)),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Lagged(n)) => Some(Err(BusError::Missed(n))),
            Err(TryRecvError::Closed) => Some(Err(BusError::Closed)),
        }
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
    async fn a_slow_subscriber_is_told_what_it_missed_and_goes_on() {
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
}
