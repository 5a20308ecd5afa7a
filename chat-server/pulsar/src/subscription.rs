//! One subscriber's end.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use chat_domain::bus::{BusError, BusMessage, Position, Subscription};
use chat_domain::opaque::Opaque;
use tokio::sync::broadcast::{
    self,
    error::{RecvError, TryRecvError},
};
use tokio_util::sync::DropGuard;

use super::{
    reading::{Item, MessageId, Reading},
    topics::Source,
};

/// The last message of each partition that was handled whole.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct PulsarPosition(pub(super) BTreeMap<Source, MessageId>);

pub(super) struct PulsarSubscription {
    rx: broadcast::Receiver<Item>,
    at: PulsarPosition,
    /// Ends readers that read for this subscription alone.
    _stop: Option<DropGuard>,
}

impl PulsarSubscription {
    pub(super) fn new(reading: &Arc<Reading>, stop: Option<DropGuard>) -> Self {
        // In this order: what is read in between comes twice, when somebody goes on from here, rather than never.
        let at = reading.position();
        Self { rx: reading.items(), at, _stop: stop }
    }

    /// What the subscriber gets of an item, if anything.
    fn take(&mut self, item: Item) -> Option<Result<BusMessage, BusError>> {
        match item {
            Item::Message(message) => Some(Ok(message)),
            Item::Missed(n) => Some(Err(BusError::Missed(n))),
            Item::Passed(source, id) => {
                self.at.0.insert(source, id);
                None
            }
        }
    }
}

#[async_trait]
impl Subscription for PulsarSubscription {
    async fn next(&mut self) -> Result<BusMessage, BusError> {
        loop {
            let item = self.rx.recv().await.map_err(|e| match e {
                RecvError::Lagged(n) => BusError::Missed(n),
                RecvError::Closed => BusError::Closed,
            })?;
            if let Some(received) = self.take(item) {
                return received;
            }
        }
    }

    fn try_next(&mut self) -> Option<Result<BusMessage, BusError>> {
        loop {
            let item = match self.rx.try_recv() {
                Ok(item) => item,
                Err(TryRecvError::Empty) => return None,
                Err(TryRecvError::Lagged(n)) => return Some(Err(BusError::Missed(n))),
                Err(TryRecvError::Closed) => return Some(Err(BusError::Closed)),
            };
            if let Some(received) = self.take(item) {
                return Some(received);
            }
        }
    }

    fn position(&self) -> Position {
        Position(Opaque::new(self.at.clone()))
    }
}
