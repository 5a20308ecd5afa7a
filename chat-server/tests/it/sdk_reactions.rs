//! Reactions through the SDK, over both doors of a real server: each sees what the other one did.

use std::collections::{BTreeMap, BTreeSet};

use chat_client::{Auth, Client, Options, RestError, SendError, Update, Updates};
use chat_protocol::{ChannelId, ClientId, ErrorCode, Event, EventBody, UserId, rest::Message};
use tokio::time::timeout;

use crate::harness::{PASSWORD, TestServer, ws::DEADLINE};

async fn sign_in(server: &TestServer, handle: &str) -> (Client, Updates) {
    let auth = Auth::Password { handle: handle.to_owned(), password: PASSWORD.to_owned() };
    Client::connect(&server.base_url, auth, Options::default()).await.expect("is welcomed")
}

async fn next_event(updates: &mut Updates) -> Event {
    let next = async {
        loop {
            if let Update::Event(event) = updates.next().await.expect("goes on") {
                return event;
            }
        }
    };
    timeout(DEADLINE, next).await.expect("an event in time")
}

async fn newest(client: &Client, channel: ChannelId) -> Message {
    client.rest().messages(channel, 1, None).await.expect("is answered").items.remove(0)
}

fn reactions(of: &[(&str, &[UserId])]) -> BTreeMap<String, BTreeSet<UserId>> {
    of.iter().map(|(emoji, users)| ((*emoji).to_owned(), users.iter().copied().collect())).collect()
}

fn key() -> ClientId {
    ClientId(uuid::Uuid::new_v4())
}

#[tokio::test]
async fn both_doors_react_and_take_back() {
    let server = TestServer::start().await;
    let (ada, grace) = (server.register("ada").await, server.register("grace").await);
    let channel = server.channel_of(&ada, &[&grace], "room").await;
    let (ada, grace) = (ada.user.id, grace.user.id);
    let (a, mut updates) = sign_in(&server, "ada").await;
    let (g, _) = sign_in(&server, "grace").await;
    let target = a.send(channel, "hello").await.expect("is committed").seq;
    assert_eq!(next_event(&mut updates).await.seq, target);

    // What would end a path, or be decoded twice, arrives as it is.
    for emoji in ["👍", "#\u{fe0f}\u{20e3}", "*\u{fe0f}\u{20e3}"] {
        let sent = a.react(channel, target, emoji).await.expect("is committed");
        let event = next_event(&mut updates).await;
        let body = EventBody::Reaction { target, emoji: emoji.to_owned(), removed: false };
        assert_eq!((event.seq, event.by, event.body), (sent.seq, ada, body));

        let id = key();
        let committed = g.rest().react(channel, target, id, emoji).await.expect("is committed");
        let event = next_event(&mut updates).await;
        let body = EventBody::Reaction { target, emoji: emoji.to_owned(), removed: false };
        assert_eq!((event.seq, event.by, event.id, event.body), (committed.seq, grace, Some(id), body));
        let again = g.rest().react(channel, target, id, emoji).await.expect("is the same");
        assert!(again.duplicate && again.seq == committed.seq);
        assert_eq!(newest(&a, channel).await.reactions, reactions(&[(emoji, &[ada, grace])]));

        a.rest().unreact(channel, target, key(), emoji).await.expect("is committed");
        let event = next_event(&mut updates).await;
        let body = EventBody::Reaction { target, emoji: emoji.to_owned(), removed: true };
        assert_eq!((event.by, event.body), (ada, body));
        assert_eq!(newest(&a, channel).await.reactions, reactions(&[(emoji, &[grace])]));
        g.unreact(channel, target, emoji).await.expect("is committed");
        assert_eq!(next_event(&mut updates).await.by, grace);
        assert_eq!(newest(&a, channel).await.reactions, reactions(&[]));
    }
}

#[tokio::test]
async fn what_has_no_effect_is_a_conflict_and_what_is_no_message_is_not_found() {
    let server = TestServer::start().await;
    let ada = server.register("ada").await;
    let channel = server.channel_of(&ada, &[], "room").await;
    let (client, _updates) = sign_in(&server, "ada").await;
    let target = client.send(channel, "hello").await.expect("is committed").seq;
    client.react(channel, target, "👍").await.expect("is committed");
    let refused = |outcome: Result<_, SendError>| match outcome.expect_err("is refused") {
        SendError::Refused(refusal) => refusal.code,
        other => panic!("expected a refusal, got {other}"),
    };
    assert_eq!(refused(client.react(channel, target, "👍").await), ErrorCode::Conflict);
    assert_eq!(refused(client.unreact(channel, target, "🎉").await), ErrorCode::Conflict);
    assert_eq!(refused(client.react(channel, 999, "👍").await), ErrorCode::NotFound);
    assert_eq!(refused(client.react(channel, target, "ok").await), ErrorCode::Invalid);
    let code = |outcome: Result<_, RestError>| outcome.expect_err("is refused").code();
    let rest = client.rest();
    assert_eq!(code(rest.react(channel, target, key(), "👍").await), Some(ErrorCode::Conflict));
    assert_eq!(code(rest.unreact(channel, target, key(), "🎉").await), Some(ErrorCode::Conflict));
    assert_eq!(code(rest.react(channel, target, key(), "a b").await), Some(ErrorCode::Invalid));
    assert_eq!(newest(&client, channel).await.reactions, reactions(&[("👍", &[ada.user.id])]));
}
