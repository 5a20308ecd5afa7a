//! The contract of [`chat_domain::store::LogStore`].

use std::{collections::HashSet, sync::Arc};

use chat_domain::store::{Appended, Refusal, Store, StoredEvent};
use chat_protocol::{ChannelId, ChannelKind, ClientId, EventBody, FileId, FileRef, Seq, UserId};

use super::fixtures::{append, commit, created, event, joined, message, named, new_channel, now, unique};

fn body(event: &StoredEvent) -> EventBody {
    serde_json::from_str(&event.body).unwrap()
}

fn text(event: &StoredEvent) -> String {
    match body(event) {
        EventBody::Message { text, .. } => text,
        other => panic!("expected a message, got {other:?}"),
    }
}

pub(crate) async fn positions_are_dense_and_ascending(store: Arc<dyn Store>) {
    let ada = UserId::new();
    let channel = new_channel(&*store, &[ada]).await;
    let batch = vec![message(ada, "a"), message(ada, "b"), message(ada, "c")];
    let outcomes = store.append(channel, batch.clone()).await.unwrap();
    assert_eq!(outcomes, [3, 4, 5].map(|seq| Appended::New { seq }));
    assert_eq!(commit(&*store, channel, message(ada, "d")).await, 6);

    let events = store.events(channel, 2, 10).await.unwrap();
    assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), [3, 4, 5, 6]);
    assert_eq!(events.iter().map(text).collect::<Vec<_>>(), ["a", "b", "c", "d"]);
    assert_eq!((events[0].by, events[0].at, events[0].id), (ada, batch[0].at, None));
    assert_eq!(store.event(channel, 5).await.unwrap().as_ref(), Some(&events[2]));
    assert_eq!(store.event(channel, 7).await.unwrap(), None);
    assert_eq!(store.append(channel, vec![]).await.unwrap(), []);
}

pub(crate) async fn a_client_id_is_committed_once(store: Arc<dyn Store>) {
    let ada = UserId::new();
    let channel = new_channel(&*store, &[ada]).await;
    let id = ClientId::new();
    let first = named(message(ada, "once"), id);
    let mut again = named(message(ada, "twice"), id);
    again.at = first.at + 5;

    // Within one batch, and in one that has new events around it.
    let outcomes = store.append(channel, vec![first.clone(), again.clone()]).await.unwrap();
    assert_eq!(outcomes, [Appended::New { seq: 3 }, Appended::Duplicate { seq: 3, at: first.at }]);
    let batch = vec![message(ada, "x"), again.clone(), message(ada, "y")];
    let outcomes = store.append(channel, batch).await.unwrap();
    let duplicate = Appended::Duplicate { seq: 3, at: first.at };
    assert_eq!(outcomes, [Appended::New { seq: 4 }, duplicate, Appended::New { seq: 5 }]);

    let events = store.events(channel, 2, 10).await.unwrap();
    assert_eq!(events.iter().map(text).collect::<Vec<_>>(), ["once", "x", "y"]);
    assert_eq!(events[0].id, Some(id));
}

pub(crate) async fn a_client_id_counts_within_its_channel_and_sender(store: Arc<dyn Store>) {
    let (ada, grace) = (UserId::new(), UserId::new());
    let (one, two) = (new_channel(&*store, &[ada, grace]).await, new_channel(&*store, &[ada]).await);
    let id = ClientId::new();
    assert_eq!(commit(&*store, one, named(message(ada, "a"), id)).await, 4);
    assert_eq!(commit(&*store, one, named(message(grace, "g"), id)).await, 5);
    assert_eq!(commit(&*store, two, named(message(ada, "a"), id)).await, 3);
    // An id names a command, whatever its kind.
    let leave = named(event(ada, EventBody::MemberLeft { user: ada }), id);
    assert!(matches!(append(&*store, one, leave).await, Appended::Duplicate { seq: 4, .. }));
    assert!(store.membership(one, ada).await.unwrap().is_some());
}

pub(crate) async fn concurrent_senders_share_one_order(store: Arc<dyn Store>) {
    const SENDERS: usize = 8;
    const BATCHES: usize = 10;
    let users: Vec<_> = (0..SENDERS).map(|_| UserId::new()).collect();
    let channel = new_channel(&*store, &users).await;
    let senders = users.iter().copied().map(|user| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let mut acked = Vec::new();
            for batch in 0..BATCHES {
                let events = (0..3).map(|i| message(user, &format!("{user} {batch} {i}"))).collect();
                let outcomes = store.append(channel, events).await.unwrap();
                let seqs: Vec<Seq> = outcomes
                    .into_iter()
                    .map(|outcome| match outcome {
                        Appended::New { seq } => seq,
                        other => panic!("expected a new event, got {other:?}"),
                    })
                    .collect();
                assert_eq!(seqs, [seqs[0], seqs[0] + 1, seqs[0] + 2], "a batch stays together");
                acked.extend(seqs.iter().zip(0..).map(|(&seq, i)| (seq, format!("{user} {batch} {i}"))));
            }
            acked
        })
    });
    let mut acked = Vec::new();
    for sender in senders.collect::<Vec<_>>() {
        let of_one = sender.await.unwrap();
        assert!(of_one.is_sorted(), "a sender's events are in the order sent");
        acked.extend(of_one);
    }
    acked.sort();
    let joined = (1 + SENDERS) as Seq;
    let log = store.events(channel, joined, 10_000).await.unwrap();
    let log: Vec<_> = log.iter().map(|event| (event.seq, text(event))).collect();
    assert_eq!(log, acked);
    assert!(log.iter().map(|(seq, _)| *seq).eq(joined + 1..=joined + (SENDERS * BATCHES * 3) as Seq));
}

pub(crate) async fn a_log_begins_with_its_channel(store: Arc<dyn Store>) {
    let ada = UserId::new();
    let channel = ChannelId::new();
    let none = Appended::Refused(Refusal::NoChannel);
    assert_eq!(append(&*store, channel, message(ada, "too early")).await, none);
    assert_eq!(append(&*store, channel, joined(ada)).await, none);
    assert_eq!(store.channel(channel).await.unwrap(), None);
    assert_eq!(store.events(channel, 0, 10).await.unwrap(), []);
    assert_eq!(store.messages(channel, Seq::MAX, 10).await.unwrap(), []);

    let create = created(ada, ChannelKind::Direct, None);
    assert_eq!(commit(&*store, channel, create.clone()).await, 1);
    assert_eq!(append(&*store, channel, create).await, Appended::Refused(Refusal::ChannelExists));
}

pub(crate) async fn a_refused_event_takes_no_position(store: Arc<dyn Store>) {
    let ada = UserId::new();
    let channel = new_channel(&*store, &[ada]).await;
    let id = ClientId::new();
    let batch = vec![message(ada, "a"), named(joined(ada), id), message(ada, "b")];
    let outcomes = store.append(channel, batch).await.unwrap();
    let refused = Appended::Refused(Refusal::NoEffect);
    assert_eq!(outcomes, [Appended::New { seq: 3 }, refused, Appended::New { seq: 4 }]);
    // What was refused did not use up its client id.
    assert_eq!(commit(&*store, channel, named(message(ada, "c"), id)).await, 5);
}

pub(crate) async fn what_changes_nothing_is_refused(store: Arc<dyn Store>) {
    let (ada, grace) = (UserId::new(), UserId::new());
    let channel = new_channel(&*store, &[ada]).await;
    let name = store.channel(channel).await.unwrap().unwrap().name.unwrap();
    for body in [
        EventBody::MemberJoined { user: ada },
        EventBody::MemberLeft { user: grace },
        EventBody::Renamed { name },
        EventBody::TopicChanged { topic: String::new() },
        EventBody::Archived { archived: false },
        EventBody::Unknown,
    ] {
        let outcome = append(&*store, channel, event(ada, body.clone())).await;
        assert_eq!(outcome, Appended::Refused(Refusal::NoEffect), "{body:?}");
    }
    assert_eq!(store.heads(&[channel]).await.unwrap(), [(channel, 2)]);

    let direct = ChannelId::new();
    commit(&*store, direct, created(ada, ChannelKind::Direct, None)).await;
    let rename = event(ada, EventBody::Renamed { name: unique("direct") });
    assert_eq!(append(&*store, direct, rename).await, Appended::Refused(Refusal::NoEffect));
}

pub(crate) async fn names_of_public_channels_are_unique_without_regard_to_case(store: Arc<dyn Store>) {
    let ada = UserId::new();
    let taken = Appended::Refused(Refusal::NameTaken);
    let name = unique("Général");
    let (one, two, three) = (ChannelId::new(), ChannelId::new(), ChannelId::new());
    commit(&*store, one, created(ada, ChannelKind::Public, Some(&name))).await;
    let shouted = name.to_uppercase();
    assert_eq!(append(&*store, two, created(ada, ChannelKind::Public, Some(&shouted))).await, taken);
    assert_eq!(store.channel(two).await.unwrap(), None);

    let other = unique("other");
    commit(&*store, two, created(ada, ChannelKind::Public, Some(&other))).await;
    let rename = |name: &str| event(ada, EventBody::Renamed { name: name.into() });
    assert_eq!(append(&*store, two, rename(&shouted)).await, taken);
    // Its own name in another case is no conflict, and a name that was given up is free.
    commit(&*store, one, rename(&shouted)).await;
    assert_eq!(store.channel(one).await.unwrap().unwrap().name, Some(shouted));
    commit(&*store, one, rename(&unique("moved"))).await;
    commit(&*store, three, created(ada, ChannelKind::Public, Some(&name))).await;
}

pub(crate) async fn names_of_public_channels_are_unique_in_any_form(store: Arc<dyn Store>) {
    let ada = UserId::new();
    let taken = Appended::Refused(Refusal::NameTaken);
    let base = unique("caf");
    let (composed, decomposed) = (format!("{base}\u{e9} x"), format!("{base}e\u{301} x"));
    let (one, two) = (ChannelId::new(), ChannelId::new());
    commit(&*store, one, created(ada, ChannelKind::Public, Some(&decomposed))).await;
    for same in [
        composed.clone(),
        format!("{base}\u{e9}  X"),
        format!("{base}\u{e9} ｘ"),
        format!("{composed}\u{200b}"),
    ] {
        assert_eq!(
            append(&*store, two, created(ada, ChannelKind::Public, Some(&same))).await,
            taken,
            "{same}"
        );
    }
    // Another form of its own name is its own.
    let rename = |name: &str| event(ada, EventBody::Renamed { name: name.into() });
    commit(&*store, one, rename(&composed)).await;
    commit(&*store, one, rename(&unique("moved"))).await;
    commit(&*store, two, created(ada, ChannelKind::Public, Some(&decomposed))).await;
}

pub(crate) async fn public_channels_do_not_look_alike(store: Arc<dyn Store>) {
    let ada = UserId::new();
    for (one, other, expected) in [
        ("general", "generaI", Appended::Refused(Refusal::NameTaken)),
        ("c1", "cI", Appended::Refused(Refusal::NameTaken)),
        ("AI", "Al", Appended::Refused(Refusal::NameTaken)),
        ("59", "\u{1bc}9", Appended::Refused(Refusal::NameTaken)),
        ("NATO", "\u{39d}\u{391}\u{3a4}\u{39f}", Appended::Refused(Refusal::NameTaken)),
        // Only differ in case.
        ("\u{39d}\u{395}\u{391}-web", "\u{3bd}\u{3b5}\u{3b1}-web", Appended::Refused(Refusal::NameTaken)),
        ("mail", "mall", Appended::New { seq: 1 }),
        ("#ia", "#la", Appended::New { seq: 1 }),
        ("IA", "LA", Appended::New { seq: 1 }),
        ("GENERAL", "generaI", Appended::New { seq: 1 }),
    ] {
        let prefix = unique("alike");
        let create = async |name: &str| {
            let name = format!("{prefix} {name}");
            append(&*store, ChannelId::new(), created(ada, ChannelKind::Public, Some(&name))).await
        };
        assert_eq!(create(one).await, Appended::New { seq: 1 }, "{one:?}");
        assert_eq!(create(other).await, expected, "{one:?} {other:?}");
    }
}

pub(crate) async fn a_name_that_was_refused_takes_nothing_and_one_that_is_given_up_leaves_nothing(
    store: Arc<dyn Store>,
) {
    let ada = UserId::new();
    let taken = Appended::Refused(Refusal::NameTaken);
    let prefix = unique("both");
    let create = |name: &str| created(ada, ChannelKind::Public, Some(&format!("{prefix} {name}")));
    let rename = |name: &str| event(ada, EventBody::Renamed { name: format!("{prefix} {name}") });
    let [one, two, three, four] = [(); 4].map(|()| ChannelId::new());
    commit(&*store, one, create("cl")).await;
    commit(&*store, two, create("other")).await;
    // It looks like `cl`, but as far as case goes like `ci`, which stays free.
    assert_eq!(append(&*store, three, create("cI")).await, taken);
    assert_eq!(append(&*store, two, rename("cI")).await, taken);
    commit(&*store, three, create("ci")).await;
    assert_eq!(append(&*store, four, create("C1")).await, taken);
    // In another case it is not written like `cI` any more, and still nobody else's.
    commit(&*store, three, rename("elsewhere")).await;
    commit(&*store, one, rename("CL")).await;
    commit(&*store, two, rename("cI")).await;
    assert_eq!(append(&*store, one, rename("cl")).await, taken);
    commit(&*store, one, rename("moved")).await;
    assert_eq!(append(&*store, four, create("cl")).await, taken);
    commit(&*store, two, rename("moved too")).await;
    commit(&*store, four, create("cl")).await;
}

/// So that nobody learns what private channels are called by asking for their names.
pub(crate) async fn a_private_channel_shares_its_name_with_anything(store: Arc<dyn Store>) {
    let ada = UserId::new();
    let rename = |name: &str| event(ada, EventBody::Renamed { name: name.into() });
    let (secret, open) = (unique("layoffs"), unique("open"));
    let [first, second, third, fourth] = [(); 4].map(|()| ChannelId::new());
    commit(&*store, first, created(ada, ChannelKind::Private, Some(&secret))).await;
    commit(&*store, second, created(ada, ChannelKind::Private, Some(&secret))).await;
    commit(&*store, third, created(ada, ChannelKind::Public, Some(&secret))).await;
    commit(&*store, fourth, created(ada, ChannelKind::Public, Some(&open))).await;
    commit(&*store, first, rename(&open)).await;
    commit(&*store, third, rename(&unique("moved"))).await;
    commit(&*store, fourth, rename(&secret)).await;
    // What a private channel is called belongs to nobody when it is given up, either.
    commit(&*store, second, rename(&unique("elsewhere"))).await;
    assert_eq!(append(&*store, third, rename(&secret)).await, Appended::Refused(Refusal::NameTaken));
}

pub(crate) async fn events_follow_into_the_channel(store: Arc<dyn Store>) {
    let ada = UserId::new();
    let (channel, name) = (ChannelId::new(), unique("plans"));
    let body = EventBody::ChannelCreated {
        channel_kind: ChannelKind::Public,
        name: Some(name.clone()),
        topic: "what next".into(),
    };
    let create = event(ada, body);
    commit(&*store, channel, create.clone()).await;
    let row = store.channel(channel).await.unwrap().unwrap();
    assert_eq!((row.id, row.kind, row.name, row.archived), (channel, ChannelKind::Public, Some(name), false));
    assert_eq!((row.topic.as_str(), row.created_by, row.created_at), ("what next", ada, create.at));
    assert_eq!(row.end.head, 1);

    let renamed = unique("ideas");
    let changes = [
        EventBody::Renamed { name: renamed.clone() },
        EventBody::TopicChanged { topic: "later".into() },
        EventBody::Archived { archived: true },
    ];
    store.append(channel, changes.map(|body| event(ada, body)).to_vec()).await.unwrap();
    let missing = ChannelId::new();
    let rows = store.channels(&[channel, missing]).await.unwrap();
    let [row] = rows.as_slice() else { panic!("expected one channel, got {rows:?}") };
    assert_eq!((row.name.as_ref(), row.topic.as_str()), (Some(&renamed), "later"));
    assert_eq!((row.archived, row.end.head), (true, 4));
    commit(&*store, channel, event(ada, EventBody::Archived { archived: false })).await;
    assert!(!store.channel(channel).await.unwrap().unwrap().archived);
}

pub(crate) async fn reading_in_pages_gives_every_event_once(store: Arc<dyn Store>) {
    let ada = UserId::new();
    let channel = new_channel(&*store, &[ada]).await;
    store.append(channel, (0..21).map(|i| message(ada, &i.to_string())).collect()).await.unwrap();
    let (mut after, mut seen) = (0, Vec::new());
    loop {
        let page = store.events(channel, after, 5).await.unwrap();
        assert!(page.len() <= 5);
        let Some(last) = page.last() else { break };
        after = last.seq;
        seen.extend(page.iter().map(|event| event.seq));
        if seen.len() == 10 {
            // What is appended meanwhile comes at the end and moves nothing.
            commit(&*store, channel, message(ada, "meanwhile")).await;
        }
    }
    assert!(seen.into_iter().eq(1..=24));
    assert_eq!(store.events(channel, Seq::MAX, 5).await.unwrap(), []);
}

pub(crate) async fn heads_leave_out_what_does_not_exist(store: Arc<dyn Store>) {
    let ada = UserId::new();
    let (one, two) = (new_channel(&*store, &[]).await, new_channel(&*store, &[ada]).await);
    let mut heads = store.heads(&[one, ChannelId::new(), two]).await.unwrap();
    heads.sort();
    assert_eq!(heads, [(one, 1), (two, 2)]);
    assert_eq!(store.heads(&[]).await.unwrap(), []);
}

pub(crate) async fn messages_read_as_they_are_now(store: Arc<dyn Store>) {
    let (ada, grace) = (UserId::new(), UserId::new());
    let channel = new_channel(&*store, &[ada, grace]).await;
    let file = FileRef { id: FileId::new(), name: "a.txt".into(), media_type: "text/plain".into(), size: 3 };
    let id = ClientId::new();
    let body = EventBody::Message { text: "kept".into(), files: vec![file.clone()], deleted: false };
    let kept = commit(&*store, channel, named(event(ada, body), id)).await;
    let edited = commit(&*store, channel, message(grace, "typo")).await;
    let deleted = commit(&*store, channel, message(ada, "mistake")).await;
    let edit =
        |target, text: &str| event(grace, EventBody::Edited { target, text: text.into(), deleted: false });
    commit(&*store, channel, edit(edited, "better")).await;
    commit(&*store, channel, edit(deleted, "still a mistake")).await;
    let mut last = edit(edited, "best");
    last.at = now() + 77;
    commit(&*store, channel, last.clone()).await;
    commit(&*store, channel, event(ada, EventBody::Deleted { target: deleted })).await;

    let messages = store.messages(channel, Seq::MAX, 10).await.unwrap();
    assert_eq!(messages.iter().map(|message| message.seq).collect::<Vec<_>>(), [deleted, edited, kept]);
    assert_eq!((messages[0].text.as_str(), messages[0].deleted, messages[0].edited_at), ("", true, None));
    assert_eq!((messages[1].text.as_str(), messages[1].deleted), ("best", false));
    assert_eq!((messages[1].edited_at, messages[1].by), (Some(last.at), grace));
    assert_eq!((messages[2].text.as_str(), messages[2].edited_at), ("kept", None));
    assert_eq!((messages[2].id, messages[2].channel, messages[2].by), (Some(id), channel, ada));
    assert_eq!(messages[2].files, [file]);
}

pub(crate) async fn messages_come_in_pages_newest_first(store: Arc<dyn Store>) {
    let ada = UserId::new();
    let channel = new_channel(&*store, &[ada]).await;
    let mut expected = Vec::new();
    for i in 0..12 {
        let target = commit(&*store, channel, message(ada, &i.to_string())).await;
        expected.push((target, i.to_string()));
        commit(&*store, channel, event(ada, EventBody::TopicChanged { topic: i.to_string() })).await;
    }
    // Each page has the edits of its own messages, the newest of each.
    for (target, text) in expected.iter_mut().step_by(3) {
        for new in ["better", "best"] {
            let body = EventBody::Edited { target: *target, text: format!("{new} {text}"), deleted: false };
            commit(&*store, channel, event(ada, body)).await;
        }
        *text = format!("best {text}");
    }
    expected.reverse();
    let (mut before, mut seen) = (Seq::MAX, Vec::new());
    loop {
        let page = store.messages(channel, before, 5).await.unwrap();
        let Some(last) = page.last() else { break };
        before = last.seq;
        seen.extend(page.into_iter().map(|message| (message.seq, message.text)));
    }
    assert_eq!(seen, expected);
}

pub(crate) async fn deletion_scrubs_the_log(store: Arc<dyn Store>) {
    let ada = UserId::new();
    let channel = new_channel(&*store, &[ada]).await;
    let target = commit(&*store, channel, message(ada, "secret")).await;
    let other = commit(&*store, channel, message(ada, "open")).await;
    let edit = EventBody::Edited { target, text: "secret too".into(), deleted: false };
    let edited = commit(&*store, channel, event(ada, edit)).await;
    let deleted = commit(&*store, channel, event(ada, EventBody::Deleted { target })).await;

    let events = store.events(channel, target - 1, 10).await.unwrap();
    assert_eq!(events.iter().map(|event| event.seq).collect::<HashSet<_>>().len(), 4);
    assert_eq!(body(&events[0]), EventBody::Message { text: String::new(), files: vec![], deleted: true });
    assert_eq!((events[1].seq, text(&events[1])), (other, "open".into()));
    assert_eq!(events[2].seq, edited);
    assert_eq!(body(&events[2]), EventBody::Edited { target, text: String::new(), deleted: true });
    assert_eq!((events[3].seq, body(&events[3])), (deleted, EventBody::Deleted { target }));
}

pub(crate) async fn only_messages_are_edited_and_deleted(store: Arc<dyn Store>) {
    let ada = UserId::new();
    let channel = new_channel(&*store, &[ada]).await;
    let elsewhere = new_channel(&*store, &[ada]).await;
    commit(&*store, elsewhere, message(ada, "elsewhere")).await;
    let no_target = Appended::Refused(Refusal::NoTarget);
    let edit = |target| event(ada, EventBody::Edited { target, text: "x".into(), deleted: false });
    let delete = |target| event(ada, EventBody::Deleted { target });
    for target in [0, 1, 2, 3, Seq::MAX] {
        assert_eq!(append(&*store, channel, edit(target)).await, no_target, "{target}");
        assert_eq!(append(&*store, channel, delete(target)).await, no_target, "{target}");
    }
    let target = commit(&*store, channel, message(ada, "here")).await;
    let edited = commit(&*store, channel, edit(target)).await;
    assert_eq!(append(&*store, channel, edit(edited)).await, no_target);
    commit(&*store, channel, delete(target)).await;
    assert_eq!(append(&*store, channel, edit(target)).await, no_target);
    assert_eq!(append(&*store, channel, delete(target)).await, no_target);
}
