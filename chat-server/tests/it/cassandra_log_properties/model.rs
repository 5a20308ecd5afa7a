//! What a log says, worked out anew from its events, and whether the tables say the same.

use std::collections::{BTreeMap, HashMap, HashSet};

use chat_cassandra::{
    CassandraStore,
    cql::{Cql, Statement, Value},
    schema::PUBLIC_SHARD,
};
use chat_domain::store::{LogStore, StoredEvent, name_claims, name_key};
use chat_protocol::{ChannelId, ChannelKind, EventBody, Millis, Reactions, Seq, UserId};

use crate::harness::wait::until_so;

/// A message as it reads now.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Text {
    text: String,
    edited_at: Option<Millis>,
    deleted: bool,
    reactions: Reactions,
}

#[derive(Debug, Default)]
pub(crate) struct Model {
    kind: Option<ChannelKind>,
    name: Option<String>,
    topic: String,
    archived: bool,
    members: BTreeMap<UserId, Seq>,
    messages: BTreeMap<Seq, Text>,
    /// The last reaction.
    reacted: Seq,
    /// Edits of each message.
    edits: HashMap<Seq, Vec<Seq>>,
}

impl Model {
    /// Replays a log; every event in it must have been acceptable where it stands. Texts that are scrubbed must be.
    pub(crate) fn replay(log: &[StoredEvent]) -> Self {
        let mut model = Self::default();
        for event in log {
            let body: EventBody = serde_json::from_str(&event.body).unwrap();
            model.follow(event, body);
        }
        let scrubbed: HashSet<Seq> = log
            .iter()
            .filter(|event| {
                matches!(
                    serde_json::from_str(&event.body).unwrap(),
                    EventBody::Message { deleted: true, .. } | EventBody::Edited { deleted: true, .. }
                )
            })
            .map(|event| event.seq)
            .collect();
        let deleted = model.messages.iter().filter(|(_, text)| text.deleted).map(|(seq, _)| *seq);
        let expected: HashSet<Seq> = deleted
            .flat_map(|seq| model.edits.get(&seq).cloned().unwrap_or_default().into_iter().chain([seq]))
            .collect();
        assert_eq!(scrubbed, expected, "exactly the texts of deleted messages are gone");
        model
    }

    /// What no other channel may claim: of a public one.
    pub(crate) fn claims(&self) -> Vec<String> {
        self.name
            .as_deref()
            .filter(|_| self.kind == Some(ChannelKind::Public))
            .map(name_claims)
            .unwrap_or_default()
    }

    fn follow(&mut self, event: &StoredEvent, body: EventBody) {
        let StoredEvent { seq, at, .. } = *event;
        match body {
            EventBody::ChannelCreated { channel_kind, name, topic } => {
                assert_eq!(seq, 1);
                (self.kind, self.name, self.topic) = (Some(channel_kind), name, topic);
            }
            EventBody::Message { text, .. } => {
                let message = Text { text, edited_at: None, deleted: false, reactions: Reactions::new() };
                self.messages.insert(seq, message);
            }
            EventBody::Edited { target, text, .. } => {
                let message = self.messages.get_mut(&target).expect("edits are of messages");
                assert!(!message.deleted, "edit {seq} of {target}, which is deleted");
                (message.text, message.edited_at) = (text, Some(at));
                self.edits.entry(target).or_default().push(seq);
            }
            EventBody::Deleted { target } => {
                let message = self.messages.get_mut(&target).expect("deletions are of messages");
                assert!(!message.deleted, "{target} is deleted twice");
                *message =
                    Text { text: String::new(), edited_at: None, deleted: true, reactions: Reactions::new() };
            }
            EventBody::Reaction { target, emoji, removed } => {
                self.reacted = seq;
                let message = self.messages.get_mut(&target).expect("reactions are to messages");
                assert!(!message.deleted, "reaction {seq} to {target}, which is deleted");
                let who = message.reactions.entry(emoji).or_default();
                assert!(
                    if removed { who.remove(&event.by) } else { who.insert(event.by) },
                    "{seq} changes nothing"
                );
                message.reactions.retain(|_, who| !who.is_empty());
            }
            EventBody::MemberJoined { user } => {
                assert_eq!(self.members.insert(user, seq), None, "{user} joins twice");
            }
            EventBody::MemberLeft { user } => {
                assert!(self.members.remove(&user).is_some(), "{user} leaves without being there");
            }
            EventBody::Renamed { name } => {
                assert_ne!(self.name.as_ref(), Some(&name));
                self.name = Some(name);
            }
            EventBody::TopicChanged { topic } => {
                assert_ne!(self.topic, topic);
                self.topic = topic;
            }
            EventBody::Archived { archived } => {
                assert_ne!(self.archived, archived);
                self.archived = archived;
            }
            EventBody::Unknown => panic!("an unknown event is refused"),
        }
    }

    pub(crate) async fn check(
        &self,
        cql: &dyn Cql,
        store: &CassandraStore,
        channel: ChannelId,
        users: &[UserId],
    ) {
        self.check_messages(store, channel).await;
        let id = Value::Uuid(channel.0);
        let read = Statement::read("SELECT kind, name, topic, archived FROM channels WHERE id = ?");
        let rows = cql.execute(read, vec![id.clone()]).await.unwrap();
        let row = rows.first().expect("the channel has a row");
        assert_eq!(row.text("name"), self.name.as_deref());
        assert_eq!(
            (row.text("topic"), row.boolean("archived")),
            (Some(self.topic.as_str()), Some(self.archived))
        );

        let read = Statement::read("SELECT user, since FROM members WHERE channel = ?");
        let rows = cql.execute(read, vec![id.clone()]).await.unwrap();
        let members =
            rows.iter().map(|row| (UserId(row.uuid("user").unwrap()), seq(row.bigint("since").unwrap())));
        assert_eq!(members.collect::<BTreeMap<_, _>>(), self.members);
        for user in users {
            let read =
                Statement::read("SELECT since, read FROM user_channels WHERE user = ? AND channel = ?");
            let rows = cql.execute(read, vec![Value::Uuid(user.0), id.clone()]).await.unwrap();
            let since = rows.first().and_then(|row| row.bigint("since")).map(seq);
            assert_eq!(since.as_ref(), self.members.get(user), "{user}");
        }

        let read = Statement::read("SELECT name_key, id FROM public_channels WHERE shard = ?");
        let rows = cql.execute(read, vec![Value::TinyInt(PUBLIC_SHARD)]).await.unwrap();
        let listed: Vec<_> = rows
            .iter()
            .filter(|row| row.uuid("id") == Some(channel.0))
            .filter_map(|row| row.text("name_key"))
            .collect();
        let key = self.name.as_deref().filter(|_| self.kind == Some(ChannelKind::Public)).map(name_key);
        assert_eq!(listed, key.iter().map(String::as_str).collect::<Vec<_>>());

        self.check_reactions(cql, channel).await;
        for name in self.claims() {
            let read = Statement::serial_read("SELECT channel FROM channel_names WHERE name_key = ?");
            let rows = cql.execute(read, vec![Value::Text(name.clone())]).await.unwrap();
            assert_eq!(rows.first().and_then(|row| row.uuid("channel")), Some(channel.0), "{name}");
        }
    }

    /// Nobody waits for them, but once they were looked at they are written.
    async fn check_reactions(&self, cql: &dyn Cql, channel: ChannelId) {
        let read = Statement::read("SELECT aside FROM channels WHERE id = ?");
        let written = async || {
            let rows = cql.execute(read, vec![Value::Uuid(channel.0)]).await.unwrap();
            rows.first().and_then(|row| row.bigint("aside")).map(seq)
        };
        until_so("reactions are written", async || written().await.unwrap_or(0) >= self.reacted).await;
        let mut found: BTreeMap<Seq, Reactions> = BTreeMap::new();
        // Scenarios react to the first positions only.
        for bucket in 0..4 {
            let read =
                Statement::read("SELECT target, emoji, user FROM reactions WHERE channel = ? AND bucket = ?");
            let rows = cql.execute(read, vec![Value::Uuid(channel.0), Value::Int(bucket)]).await.unwrap();
            for row in rows {
                let reactions = found.entry(seq(row.bigint("target").unwrap())).or_default();
                let who = reactions.entry(row.text("emoji").unwrap().to_owned()).or_default();
                assert!(who.insert(UserId(row.uuid("user").unwrap())));
            }
        }
        let standing = |seq: &Seq| !self.messages[seq].deleted;
        found.retain(|seq, _| standing(seq));
        let expected = self.messages.iter().filter(|(_, message)| !message.reactions.is_empty());
        let expected: BTreeMap<_, _> = expected.map(|(seq, text)| (*seq, text.reactions.clone())).collect();
        assert_eq!(found, expected);
    }

    async fn check_messages(&self, store: &CassandraStore, channel: ChannelId) {
        let (mut before, mut read) = (Seq::MAX, Vec::new());
        loop {
            let page = store.messages(channel, before, 3).await.unwrap();
            assert!(page.len() <= 3);
            let Some(last) = page.last() else { break };
            before = last.seq;
            read.extend(page);
        }
        let read = read.into_iter().map(|message| {
            let text = Text {
                text: message.text,
                edited_at: message.edited_at,
                deleted: message.deleted,
                reactions: message.reactions,
            };
            (message.seq, text)
        });
        assert!(read.eq(self.messages.clone().into_iter().rev()), "messages read as the log says");
    }
}

fn seq(n: i64) -> Seq {
    Seq::try_from(n).unwrap()
}
