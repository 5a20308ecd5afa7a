//! The channels of one socket, and the read markers that its client was sent: none that it gets is older than one before,
//! whatever order they come in from the processes that moved them.

use std::collections::HashMap;

use chat_protocol::{ChannelId, ChannelState, Seq, ServerFrame};

/// A read marker of the socket's user that moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) channel: ChannelId,
    pub(super) seq: Seq,
    pub(super) unread: Option<u64>,
    /// The position up to which that counts.
    pub(super) head: Option<Seq>,
}

impl Moved {
    pub(super) const fn frame(self) -> ServerFrame {
        let Self { channel, seq, unread, head } = self;
        ServerFrame::Read { channel, seq, unread, head }
    }
}

#[derive(Debug, Default)]
pub(super) struct Places {
    /// Channels whose events the socket gets, each with the last marker that was sent.
    subscribed: Vec<(ChannelId, Seq)>,
    /// The last move of each channel that came before the welcome, which may say more already.
    early: Vec<Moved>,
    welcomed: bool,
}

impl Places {
    pub(super) fn subscribe(&mut self, channel: ChannelId) {
        self.subscribed.push((channel, 0));
    }

    pub(super) fn unsubscribe(&mut self, channel: ChannelId) {
        self.subscribed.retain(|(other, _)| *other != channel);
    }

    pub(super) fn unsubscribe_all(&mut self) -> Vec<ChannelId> {
        std::mem::take(&mut self.subscribed).into_iter().map(|(channel, _)| channel).collect()
    }

    /// Takes what the welcome says. Answers the moves that are to follow it.
    pub(super) fn welcome(&mut self, channels: &[ChannelState]) -> Vec<Moved> {
        self.welcomed = true;
        let sent: HashMap<ChannelId, Seq> =
            channels.iter().map(|state| (state.channel, state.read)).collect();
        for (channel, marker) in &mut self.subscribed {
            *marker = sent.get(channel).copied().unwrap_or_default().max(*marker);
        }
        let early = std::mem::take(&mut self.early);
        early.into_iter().filter(|moved| self.take(*moved)).collect()
    }

    /// Whether a move is to be sent now.
    pub(super) fn take(&mut self, moved: Moved) -> bool {
        if !self.welcomed {
            match self.early.iter_mut().find(|early| early.channel == moved.channel) {
                Some(early) if early.seq > moved.seq => {}
                Some(early) => *early = moved,
                None => self.early.push(moved),
            }
            return false;
        }
        let Some((_, marker)) = self.subscribed.iter_mut().find(|(channel, _)| *channel == moved.channel)
        else {
            // Its user has just come to the channel.
            return true;
        };
        let is_news = *marker <= moved.seq;
        *marker = moved.seq.max(*marker);
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moved(channel: ChannelId, seq: Seq) -> Moved {
        Moved { channel, seq, unread: None, head: None }
    }

    fn state(channel: ChannelId, read: Seq) -> ChannelState {
        ChannelState { channel, head: 100, read, unread: None }
    }

    #[test]
    fn a_marker_never_goes_back() {
        let (a, b) = (ChannelId::new(), ChannelId::new());
        let mut places = Places::default();
        [a, b].into_iter().for_each(|channel| places.subscribe(channel));
        assert!(places.welcome(&[state(a, 5), state(b, 9)]).is_empty());
        let sent = [(a, 4), (a, 5), (a, 7), (a, 6), (b, 8), (b, 10), (a, 8)]
            .into_iter()
            .filter(|(channel, seq)| places.take(moved(*channel, *seq)));
        assert_eq!(sent.collect::<Vec<_>>(), [(a, 5), (a, 7), (b, 10), (a, 8)]);
    }

    #[test]
    fn what_came_before_the_welcome_follows_it_unless_it_is_older() {
        let (a, b) = (ChannelId::new(), ChannelId::new());
        let mut places = Places::default();
        [a, b].into_iter().for_each(|channel| places.subscribe(channel));
        for early in [moved(a, 4), moved(b, 12), moved(b, 11)] {
            assert!(!places.take(early), "nothing goes before the welcome");
        }
        assert_eq!(places.welcome(&[state(a, 5), state(b, 9)]), [moved(b, 12)]);
        assert!(!places.take(moved(b, 11)));
        assert_eq!(places.unsubscribe_all(), [a, b]);
    }
}
