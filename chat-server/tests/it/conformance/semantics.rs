//! Every store decides and shows as `chat_log` says: the vectors that other languages are held to, run on the store.

use std::sync::Arc;

use chat_domain::store::{Appended, Authority, NewEvent, Refusal, Store};
use chat_log::{
    permission::Denial,
    vectors::{DecideCase, decide_cases, events, fold_cases},
};
use chat_protocol::{ChannelId, ChannelKind, EventBody, Seq, UserId, rest::Role};

use super::fixtures::{append, commit, created, event, joined, message, new_channel, now, unique};

async fn run(store: &dyn Store, case: &DecideCase) {
    let prefix = unique("vectors");
    let case = case.with_names(|name| {
        // What is around the name stays: it is what the case may be about.
        let trimmed = name.trim();
        name.replace(trimmed, &format!("{prefix} {trimmed}"))
    });
    for name in &case.taken {
        commit(store, ChannelId::new(), created(case.by, ChannelKind::Public, Some(name))).await;
    }
    let channel = ChannelId::new();
    let log: Vec<NewEvent> = case.log.iter().map(|entry| event(entry.by, entry.body.clone())).collect();
    let expected: Vec<Appended> = (1..).map(|seq| Appended::New { seq }).take(log.len()).collect();
    assert_eq!(store.append(channel, log).await.unwrap(), expected, "the log of {:?}", case.name);
    assert_eq!(append(store, channel, case.event(now())).await, case.expected(), "{:?}", case.name);
}

pub(crate) async fn stores_decide_as_the_vectors_say(store: Arc<dyn Store>) {
    for case in decide_cases() {
        run(&*store, &case).await;
    }
}

pub(crate) async fn logs_show_as_the_vectors_say(store: Arc<dyn Store>) {
    for case in fold_cases() {
        let channel = ChannelId::new();
        let prefix = unique("fold");
        let mut accepted = true;
        for event in events(&case.log) {
            let body = match event.body {
                EventBody::ChannelCreated { channel_kind, topic, .. } => {
                    EventBody::ChannelCreated { channel_kind, name: Some(prefix.clone()), topic }
                }
                body => body,
            };
            let outcome = append(&*store, channel, NewEvent::of_server(event.by, event.at, body)).await;
            accepted &= matches!(outcome, Appended::New { .. });
        }
        if !accepted {
            // A log of an older version: no store of this one writes it.
            continue;
        }
        let mut messages = store.messages(channel, Seq::MAX, 100).await.unwrap();
        messages.reverse();
        for message in &mut messages {
            assert_eq!(message.channel, channel);
            message.channel = case.messages[0].channel;
        }
        assert_eq!(messages, case.messages, "{:?}", case.name);
        let members: Vec<UserId> =
            store.members(channel, None, 100).await.unwrap().into_iter().map(|member| member.user).collect();
        assert_eq!(members, case.members, "{:?}", case.name);
    }
}

pub(crate) async fn what_is_not_there_is_refused_before_names_are_looked_at(store: Arc<dyn Store>) {
    let (ada, name) = (UserId::new(), unique("taken"));
    commit(&*store, ChannelId::new(), created(ada, ChannelKind::Public, Some(&name))).await;
    let direct = ChannelId::new();
    commit(&*store, direct, created(ada, ChannelKind::Direct, None)).await;
    let rename = event(ada, EventBody::Renamed { name: name.clone() });
    assert_eq!(append(&*store, direct, rename).await, Appended::Refused(Refusal::NoEffect));
}

/// What an event changes decides about those behind it, in the same batch and in the next.
pub(crate) async fn decisions_hold_within_one_batch(store: Arc<dyn Store>) {
    let (ada, grace) = (UserId::new(), UserId::new());
    let channel = new_channel(&*store, &[ada, grace]).await;
    let by = |event: NewEvent| {
        let authority = Some(Authority { role: Role::Member, auth_version: 0 });
        NewEvent { authority, ..event }
    };
    let denied = |denial| Appended::Refused(Refusal::Denied(denial));
    let new = |seq| Appended::New { seq };
    let archive = |archived| by(event(ada, EventBody::Archived { archived }));
    let leave = by(event(grace, EventBody::MemberLeft { user: grace }));
    let says = |user| by(message(user, "hi"));
    let batch = vec![
        says(grace),
        archive(true),
        says(grace),
        archive(false),
        says(grace),
        leave,
        says(grace),
        says(ada),
    ];
    assert_eq!(
        store.append(channel, batch).await.unwrap(),
        [
            new(4),
            new(5),
            denied(Denial::Archived),
            new(6),
            new(7),
            new(8),
            denied(Denial::NotVisible),
            new(9)
        ]
    );
    assert_eq!(append(&*store, channel, says(grace)).await, denied(Denial::NotVisible));
    commit(&*store, channel, by(event(ada, EventBody::MemberJoined { user: grace }))).await;
    assert_eq!(commit(&*store, channel, says(grace)).await, 11);
    commit(&*store, channel, archive(true)).await;
    assert_eq!(append(&*store, channel, says(ada)).await, denied(Denial::Archived));
    let stranger = UserId::new();
    assert_eq!(append(&*store, channel, says(stranger)).await, denied(Denial::NotVisible));
    assert_eq!(append(&*store, channel, by(joined(stranger))).await, denied(Denial::NotVisible));
}

pub(crate) async fn who_counts_on_nobody_having_joined_is_refused_when_somebody_has(store: Arc<dyn Store>) {
    let (ada, grace, linus) = (UserId::new(), UserId::new(), UserId::new());
    let channel = new_channel(&*store, &[ada, grace]).await;
    let since = |seq, user| NewEvent { nobody_since: Some(seq), ..joined(user) };
    let refused = Appended::Refused(Refusal::Denied(Denial::NotVisible));
    assert_eq!(append(&*store, channel, since(2, linus)).await, refused);
    let no_effect = Appended::Refused(Refusal::NoEffect);
    assert_eq!(
        append(&*store, channel, since(0, ada)).await,
        no_effect,
        "who is in it already learns nothing"
    );
    let left = EventBody::MemberLeft { user: grace };
    assert_eq!(append(&*store, channel, event(grace, left)).await, Appended::New { seq: 4 });
    // Only members count. Of two in one call the second one finds the first.
    let both = store.append(channel, vec![since(2, linus), since(2, grace)]).await.unwrap();
    assert_eq!(both, [Appended::New { seq: 5 }, refused]);
    assert_eq!(append(&*store, channel, since(5, grace)).await, Appended::New { seq: 6 });
    let empty = new_channel(&*store, &[]).await;
    assert_eq!(append(&*store, empty, since(0, ada)).await, Appended::New { seq: 2 });
}

pub(crate) async fn what_belongs_together_is_committed_together_or_not_at_all(store: Arc<dyn Store>) {
    let ada = UserId::new();
    let taken = unique("taken");
    let first = ChannelId::new();
    append(&*store, first, created(ada, ChannelKind::Public, Some(&taken))).await;
    let channel = ChannelId::new();
    append(&*store, channel, created(ada, ChannelKind::Public, Some(&unique("own")))).await;
    let together = |bodies: Vec<EventBody>| -> Vec<NewEvent> {
        let event = |(n, body)| NewEvent { with_previous: n > 0, ..event(ada, body) };
        bodies.into_iter().enumerate().map(event).collect()
    };
    let (rename, topic) = (
        |name: &str| EventBody::Renamed { name: name.into() },
        |topic: &str| EventBody::TopicChanged { topic: topic.into() },
    );
    let archive = || EventBody::Archived { archived: true };
    let refused = [Appended::Refused(Refusal::NameTaken); 3];

    for bodies in [
        vec![rename(&taken), topic("changed"), archive()],
        vec![topic("changed"), archive(), rename(&taken)],
        vec![topic("changed"), rename(&taken), archive()],
    ] {
        assert_eq!(store.append(channel, together(bodies)).await.unwrap(), refused);
        let row = store.channel(channel).await.unwrap().unwrap();
        assert_eq!((row.topic.as_str(), row.archived, row.end.head), ("", false, 1));
    }
    // What has no effect stands in nobody's way, and what is beside them is decided for itself.
    let free = unique("free");
    let mut events = together(vec![topic(""), rename(&free), topic("changed")]);
    events.push(event(ada, rename(&taken)));
    events.extend(together(vec![topic("again"), archive()]));
    let outcomes = store.append(channel, events).await.unwrap();
    let new = |seq| Appended::New { seq };
    let (no_effect, name_taken) =
        (Appended::Refused(Refusal::NoEffect), Appended::Refused(Refusal::NameTaken));
    assert_eq!(outcomes, [no_effect, new(2), new(3), name_taken, new(4), new(5)]);
    let row = store.channel(channel).await.unwrap().unwrap();
    assert_eq!((row.name.as_deref(), row.topic.as_str(), row.archived), (Some(free.as_str()), "again", true));
    // The name that was given up, and none that was only asked for, is free.
    assert_eq!(append(&*store, first, event(ada, rename(&unique("other")))).await, new(2));
}
