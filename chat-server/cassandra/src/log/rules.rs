//! What is remembered of a channel to decide about events of known senders without a read.

use std::collections::{HashMap, HashSet};

use chat_log::{ChannelFacts, State, membership_change};
use chat_protocol::{EventBody, Seq, UserId};

/// Users of one channel whose membership is remembered.
const MEMBERS: usize = 4_096;

/// Who may do what in a channel. Good for as long as no event has changed that but those that were followed.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// The event that last changed it, when this was read or followed.
    as_of: Option<Seq>,
    /// Without name and topic, which are read when they are needed.
    channel: Option<ChannelFacts>,
    members: HashMap<UserId, bool>,
}

impl Rules {
    /// Forgets everything unless it is as of this event.
    pub(super) fn hold_for(&mut self, ruled: Seq) {
        if self.as_of != Some(ruled) {
            *self = Self { as_of: Some(ruled), ..Self::default() };
        }
    }

    /// Whether the channel is known.
    pub(super) const fn has_channel(&self) -> bool {
        self.channel.is_some()
    }

    /// Those whose membership is not known.
    pub(super) fn unknown(&self, users: impl IntoIterator<Item = UserId>) -> HashSet<UserId> {
        users.into_iter().filter(|user| !self.members.contains_key(user)).collect()
    }

    /// What was read of the channel.
    pub(super) fn learn_channel(&mut self, facts: &ChannelFacts) {
        self.channel = Some(ChannelFacts { name: None, topic: String::new(), ..facts.clone() });
    }

    /// Who of these are members.
    pub(super) fn learn_members(&mut self, asked: HashSet<UserId>, members: &HashSet<UserId>) {
        if self.members.len() + asked.len() > MEMBERS {
            self.members.clear();
        }
        self.members.extend(asked.into_iter().map(|user| (user, members.contains(&user))));
    }

    /// What is known, for a decision about these users.
    pub(super) fn fill(&self, state: &mut State, users: impl IntoIterator<Item = UserId>) {
        state.channel.clone_from(&self.channel);
        state.members = users.into_iter().filter(|user| self.members.get(user) == Some(&true)).collect();
    }

    /// Follows an event that was appended and changed who may do what.
    pub(super) fn follow(&mut self, seq: Seq, body: &EventBody) {
        self.as_of = Some(seq);
        if let Some((user, came)) = membership_change(body) {
            self.members.insert(user, came);
            return;
        }
        match (body, &mut self.channel) {
            (EventBody::Archived { archived }, Some(channel)) => channel.archived = *archived,
            _ => *self = Self { as_of: Some(seq), ..Self::default() },
        }
    }
}
