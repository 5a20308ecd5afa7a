//! The way into the logs: by the `handover` to the process that owns the channel, or by this process's own `writer`.

use std::sync::Arc;

use chat_protocol::ChannelId;

use super::{
    ChatError, Owners,
    directory::Directory,
    handover::Outgoing,
    unit::{Origin, Submitted, Unit},
    writer::Writer,
};
use crate::store::NewEvent;

/// The logs of all channels that this process appends to.
pub(super) struct ChannelLogs {
    writer: Arc<Writer>,
    outgoing: Arc<Outgoing>,
}

impl ChannelLogs {
    pub(super) fn new(writer: Arc<Writer>, directory: Arc<Directory>) -> Self {
        Self { outgoing: Outgoing::new(Arc::clone(&writer), directory), writer }
    }

    /// Sets who answers for ownership, see [`Outgoing::set_owners`].
    pub(super) fn set_owners(&self, owners: Arc<dyn Owners>) {
        self.outgoing.set_owners(owners);
    }

    /// Queues events that are to be appended as one unit. What is submitted first is committed first.
    ///
    /// # Errors
    /// `overloaded` when too much waits for this channel already; nothing was queued then.
    pub(super) fn submit(&self, channel: ChannelId, events: Vec<NewEvent>) -> Result<Submitted, ChatError> {
        let (unit, submitted) = Unit::new(events, Origin::Own);
        self.outgoing.submit(channel, unit)?;
        Ok(submitted)
    }

    /// Queues events that another process handed over; this process writes them, whoever it thinks owns the channel.
    /// They are left out when the answer is dropped before their turn comes.
    ///
    /// # Errors
    /// As [`ChannelLogs::submit`].
    pub(super) fn take_over(
        &self,
        channel: ChannelId,
        events: Vec<NewEvent>,
    ) -> Result<Submitted, ChatError> {
        let (unit, submitted) = Unit::new(events, Origin::Other);
        self.writer.submit(channel, unit)?;
        Ok(submitted)
    }
}
