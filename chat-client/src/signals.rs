//! What a client says besides commands: read markers, the watch list, typing. Pure: the clock is passed in.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use chat_protocol::{ChannelId, ChannelState, ClientFrame, Seq, UserId};

/// At most one read marker of a channel in this time.
const READ_INTERVAL: Duration = Duration::from_secs(1);
/// At most one typing signal of a channel in this time; the server passes no more on.
const TYPING_INTERVAL: Duration = Duration::from_secs(3);

/// Signals that are still to be sent.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// Read markers that the server has not confirmed yet.
    reads: HashMap<ChannelId, Marker>,
    /// The watch list; it does not survive a connection, so it is sent on each one.
    watch: Vec<UserId>,
    watch_sent: bool,
    typing: HashSet<ChannelId>,
    typed: HashMap<ChannelId, Instant>,
}

#[derive(Debug, Default)]
struct Marker {
    seq: Seq,
    sent: Seq,
    sent_at: Option<Instant>,
}

impl Signals {
    /// A new connection, and what it knows already.
    pub(crate) fn welcome(&mut self, channels: &[ChannelState]) {
        self.watch_sent = self.watch.is_empty();
        self.typing.clear();
        self.reads.values_mut().for_each(|marker| marker.sent = 0);
        channels.iter().for_each(|state| self.confirmed(state.channel, state.read));
    }

    pub(crate) fn read(&mut self, channel: ChannelId, seq: Seq) {
        let marker = self.reads.entry(channel).or_default();
        marker.seq = marker.seq.max(seq);
    }

    /// Markers that are not confirmed are of logs that are no more.
    pub(crate) fn forget_reads(&mut self) {
        self.reads.clear();
    }

    /// The server reported the read marker.
    pub(crate) fn confirmed(&mut self, channel: ChannelId, seq: Seq) {
        if let Some(marker) = self.reads.get_mut(&channel) {
            marker.sent = marker.sent.max(seq);
        }
    }

    pub(crate) fn watch(&mut self, users: Vec<UserId>) {
        self.watch = users;
        self.watch_sent = false;
    }

    /// Only news: whoever is not connected types for nobody.
    pub(crate) fn typing(&mut self, channel: ChannelId, now: Instant) {
        let pause = self.typed.get(&channel).is_none_or(|at| now.duration_since(*at) >= TYPING_INTERVAL);
        if pause {
            self.typed.insert(channel, now);
            self.typing.insert(channel);
        }
    }

    /// The next frame to send, if one is due.
    pub(crate) fn next(&mut self, now: Instant) -> Option<ClientFrame> {
        if !self.watch_sent {
            self.watch_sent = true;
            return Some(ClientFrame::Watch { id: None, users: self.watch.clone() });
        }
        if let Some(channel) = self.typing.iter().next().copied() {
            self.typing.remove(&channel);
            return Some(ClientFrame::Typing { id: None, channel });
        }
        let (channel, marker) = self.reads.iter_mut().find(|(_, marker)| marker.due(now))?;
        marker.sent = marker.seq;
        marker.sent_at = Some(now);
        Some(ClientFrame::Read { id: None, channel: *channel, seq: marker.seq })
    }

    /// When a read marker that waits may go.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.reads.values().filter(|marker| marker.seq > marker.sent).filter_map(Marker::may_go_at).min()
    }
}

impl Marker {
    fn may_go_at(&self) -> Option<Instant> {
        self.sent_at.map(|at| at + READ_INTERVAL)
    }

    fn due(&self, now: Instant) -> bool {
        self.seq > self.sent && self.may_go_at().is_none_or(|time| time <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const CHANNEL: ChannelId = ChannelId(Uuid::from_u128(7));

    fn read(seq: Seq) -> Option<ClientFrame> {
        Some(ClientFrame::Read { id: None, channel: CHANNEL, seq })
    }

    fn connected() -> Signals {
        let mut signals = Signals::default();
        signals.welcome(&[]);
        signals
    }

    #[test]
    fn read_markers_go_once_a_second_and_never_back() {
        let now = Instant::now();
        let mut signals = connected();
        signals.read(CHANNEL, 5);
        signals.read(CHANNEL, 3);
        assert_eq!(signals.next(now), read(5));
        signals.read(CHANNEL, 9);
        assert_eq!(signals.next(now), None);
        assert_eq!(signals.wake_at(), Some(now + READ_INTERVAL));
        assert_eq!(signals.next(now + READ_INTERVAL), read(9));
    }

    #[test]
    fn an_unconfirmed_read_marker_goes_again_on_the_next_connection() {
        let now = Instant::now();
        let mut signals = connected();
        signals.read(CHANNEL, 5);
        assert_eq!(signals.next(now), read(5));
        signals.welcome(&[ChannelState { channel: CHANNEL, head: 9, read: 4, unread: None }]);
        assert_eq!(signals.next(now + READ_INTERVAL), read(5));
        signals.welcome(&[ChannelState { channel: CHANNEL, head: 9, read: 6, unread: None }]);
        assert_eq!(signals.next(now + 2 * READ_INTERVAL), None);
    }

    #[test]
    fn each_connection_is_sent_whom_to_watch() {
        let now = Instant::now();
        let mut signals = connected();
        assert_eq!(signals.next(now), None);
        let users = vec![UserId(Uuid::from_u128(1))];
        signals.watch(users.clone());
        let watch = Some(ClientFrame::Watch { id: None, users });
        assert_eq!(signals.next(now), watch);
        assert_eq!(signals.next(now), None);
        signals.welcome(&[]);
        assert_eq!(signals.next(now), watch);
    }

    #[test]
    fn typing_is_sent_every_three_seconds_at_most() {
        let now = Instant::now();
        let mut signals = connected();
        let typing = Some(ClientFrame::Typing { id: None, channel: CHANNEL });
        signals.typing(CHANNEL, now);
        assert_eq!(signals.next(now), typing);
        signals.typing(CHANNEL, now + Duration::from_secs(2));
        assert_eq!(signals.next(now + Duration::from_secs(2)), None);
        signals.typing(CHANNEL, now + TYPING_INTERVAL);
        assert_eq!(signals.next(now + TYPING_INTERVAL), typing);
    }
}
