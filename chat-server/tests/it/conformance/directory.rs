//! The contract of [`chat_domain::store::DirectoryStore`].

use std::sync::Arc;

use chat_domain::store::{Counts, End, Membership, NewEvent, Store, name_key};
use chat_protocol::{ChannelId, ChannelKind, EventBody, Seq, UserId, rest::User};

use super::fixtures::{commit, created, event, joined, message, new_channel, new_user, unique};
use crate::harness::wait::{DEADLINE, until_within};

pub(crate) async fn membership_is_known_from_both_sides(store: Arc<dyn Store>) {
    let (ada, grace) = (UserId::new(), UserId::new());
    let mut channels = Vec::new();
    for _ in 0..3 {
        channels.push(new_channel(&*store, &[ada, grace]).await);
    }
    channels.sort();
    let expected: Vec<_> = channels
        .iter()
        .map(|&channel| Membership { channel, since: 3, read: 3, counts: Some(Counts::default()), own: 0 })
        .collect();
    assert_eq!(store.memberships(grace).await.unwrap(), expected);
    assert_eq!(store.membership(channels[1], grace).await.unwrap(), Some(expected[1]));
    let members = store.members(channels[0], None, 10).await.unwrap();
    assert!(members.iter().any(|member| member.user == grace && member.since == 3));
    // Also when more are asked for than fit into one statement.
    let mut asked: Vec<UserId> = (0..250).map(|_| UserId::new()).collect();
    asked.extend([grace, ada]);
    let mut among = store.members_among(channels[0], &asked).await.unwrap();
    among.sort_unstable();
    let mut both = [ada, grace];
    both.sort_unstable();
    assert_eq!(among, both);

    commit(&*store, channels[1], event(grace, EventBody::MemberLeft { user: grace })).await;
    assert_eq!(store.memberships(grace).await.unwrap(), [expected[0], expected[2]]);
    assert_eq!(store.membership(channels[1], grace).await.unwrap(), None);
    assert_eq!(store.members_among(channels[1], &[grace, ada]).await.unwrap(), [ada]);
    let members = store.members(channels[1], None, 10).await.unwrap();
    assert_eq!(members.iter().map(|member| member.user).collect::<Vec<_>>(), [ada]);

    // Coming back is a new membership: it begins anew.
    let since = commit(&*store, channels[1], joined(grace)).await;
    let back =
        Membership { channel: channels[1], since, read: since, counts: Some(Counts::default()), own: 0 };
    assert_eq!(store.membership(channels[1], grace).await.unwrap(), Some(back));
    assert_eq!(store.memberships(UserId::new()).await.unwrap(), []);
}

pub(crate) async fn members_come_in_pages(store: Arc<dyn Store>) {
    let mut users: Vec<_> = (0..13).map(|_| UserId(uuid::Uuid::new_v4())).collect();
    let channel = new_channel(&*store, &users).await;
    users.sort();
    let (mut after, mut seen) = (None, Vec::new());
    loop {
        let page = store.members(channel, after, 5).await.unwrap();
        assert!(page.len() <= 5);
        let Some(last) = page.last() else { break };
        after = Some(last.user);
        seen.extend(page.iter().map(|member| member.user));
    }
    assert_eq!(seen, users);
}

pub(crate) async fn a_read_marker_only_moves_forward_and_never_beyond_the_head(store: Arc<dyn Store>) {
    let (ada, grace) = (UserId::new(), UserId::new());
    let channel = new_channel(&*store, &[grace, ada]).await;
    store.append(channel, (0..5).map(|_| message(ada, "hi")).collect()).await.unwrap();
    let read = async |seq| {
        store.set_read(grace, channel, seq).await.unwrap().map(|(place, end)| (place.read, end.head))
    };
    assert_eq!(read(5).await, Some((5, 8)));
    assert_eq!(read(4).await, Some((5, 8)));
    assert_eq!(read(Seq::MAX).await, Some((8, 8)));
    assert_eq!(read(0).await, Some((8, 8)));
    assert_eq!(store.membership(channel, grace).await.unwrap().unwrap().read, 8);
    assert_eq!(store.set_read(UserId::new(), channel, 5).await.unwrap(), None);
    assert_eq!(store.set_read(grace, ChannelId::new(), 5).await.unwrap(), None);
}

/// Waits for a place in a channel to become so: markers follow messages a little later.
async fn place_becomes(
    store: &dyn Store,
    channel: ChannelId,
    user: UserId,
    is: impl Fn(&Membership) -> bool,
) -> Membership {
    until_within(DEADLINE, "the marker follows", async || {
        store.membership(channel, user).await.unwrap().filter(&is)
    })
    .await
}

pub(crate) async fn who_writes_on_top_of_what_they_had_read_has_read_it(store: Arc<dyn Store>) {
    let (ada, grace) = (UserId::new(), UserId::new());
    let channel = new_channel(&*store, &[ada, grace]).await;
    let says = |by, seen| NewEvent { seen, ..message(by, "hi") };
    assert_eq!(commit(&*store, channel, says(ada, Some(3))).await, 4);
    // The second was sent before the first one was acknowledged.
    assert_eq!(commit(&*store, channel, says(ada, Some(3))).await, 5);
    let place = place_becomes(&*store, channel, ada, |place| place.read == 5 && place.own == 5).await;
    assert_eq!(place.counts, Some(Counts { n: 2, d: 0, m: 0 }));
    assert_eq!(store.membership(channel, grace).await.unwrap().unwrap().read, 3);

    // Grace had not seen the last one, and a bot says nothing of what it has seen.
    assert_eq!(commit(&*store, channel, says(grace, Some(4))).await, 6);
    let place = place_becomes(&*store, channel, grace, |place| place.own == 6).await;
    assert_eq!((place.read, place.counts), (3, Some(Counts::default())));
    assert_eq!(commit(&*store, channel, says(grace, None)).await, 7);
    let place = place_becomes(&*store, channel, grace, |place| place.own == 7).await;
    assert_eq!(place.read, 3);
    // What is no message of others does not stand in the way.
    let topic = event(ada, EventBody::TopicChanged { topic: "new".into() });
    assert_eq!(commit(&*store, channel, topic).await, 8);
    assert_eq!(commit(&*store, channel, says(grace, Some(5))).await, 9);
    place_becomes(&*store, channel, grace, |place| place.read == 9).await;
}

pub(crate) async fn markers_and_ends_carry_what_was_counted(store: Arc<dyn Store>) {
    let (ada, grace) = (UserId::new(), UserId::new());
    let channel = new_channel(&*store, &[ada, grace]).await;
    let deletion = event(ada, EventBody::Deleted { target: 5 });
    let events = vec![message(ada, "4"), message(ada, "5"), deletion, message(ada, "7")];
    let commit = store.commit(channel, events).await.unwrap();
    assert_eq!(commit.before, Some(End { head: 3, from: 1, counts: Counts::default() }));
    let end = End { head: 7, from: 1, counts: Counts { n: 3, d: 1, m: 0 } };
    assert_eq!(store.ends(&[channel]).await.unwrap(), [(channel, end)]);
    assert_eq!(store.channel(channel).await.unwrap().unwrap().end, end);
    let counted: Vec<_> =
        store.events(channel, 0, 10).await.unwrap().into_iter().map(|event| event.counts.unwrap()).collect();
    assert_eq!(
        counted.iter().map(|counts| (counts.n, counts.d)).collect::<Vec<_>>(),
        [(0, 0), (0, 0), (0, 0), (1, 0), (2, 0), (2, 1), (3, 1)]
    );
    for (seq, counts) in [(5, counted[4]), (7, counted[6])] {
        let (marked, at) = store.set_read(grace, channel, seq).await.unwrap().unwrap();
        assert_eq!((marked.read, marked.counts, at), (seq, Some(counts), end));
        let place = store.membership(channel, grace).await.unwrap().unwrap();
        assert_eq!((place.read, place.counts), (seq, Some(counts)));
    }
}

pub(crate) async fn public_channels_come_in_pages_by_name(store: Arc<dyn Store>) {
    let ada = UserId::new();
    let prefix = unique("listing");
    let mut expected = Vec::new();
    for i in 0..7 {
        let (id, name) = (ChannelId::new(), format!("{prefix}-{}{i}", if i % 2 == 0 { "A" } else { "a" }));
        commit(&*store, id, created(ada, ChannelKind::Public, Some(&name))).await;
        expected.push((name_key(&name), id));
    }
    expected.sort();
    commit(&*store, ChannelId::new(), created(ada, ChannelKind::Private, Some(&format!("{prefix}-p")))).await;
    commit(&*store, expected[2].1, event(ada, EventBody::Archived { archived: true })).await;

    // Others' channels may stand before and after.
    let (mut after, mut seen) = (Some((prefix.clone(), ChannelId(uuid::Uuid::nil()))), Vec::new());
    while let page = store.public_channels(after.clone(), 3).await.unwrap()
        && !page.is_empty()
    {
        let rows = page.into_iter().map(|row| (name_key(&row.name.unwrap()), row.id));
        seen.extend(rows);
        after = seen.last().cloned();
    }
    seen.retain(|(name, _)| name.starts_with(&prefix));
    assert_eq!(seen, expected);
    assert!(!store.public_channels(None, 1).await.unwrap().is_empty());
}

pub(crate) async fn all_channels_come_in_pages(store: Arc<dyn Store>) {
    let ada = UserId::new();
    let mut made = Vec::new();
    for kind in [ChannelKind::Private, ChannelKind::Public, ChannelKind::Direct, ChannelKind::Private] {
        let (id, name) = (ChannelId::new(), (kind != ChannelKind::Direct).then(|| unique("one-of-all")));
        commit(&*store, id, created(ada, kind, name.as_deref())).await;
        made.push((id, Some(kind)));
    }
    let (mut after, mut seen) = (None, Vec::new());
    while let page = store.all_channels(after, 3).await.unwrap()
        && !page.is_empty()
    {
        assert!(page.len() <= 3);
        after = page.last().map(|(id, _)| *id);
        seen.extend(page.into_iter().filter(|channel| made.contains(channel)));
    }
    seen.sort_unstable_by_key(|(id, _)| *id);
    made.sort_unstable_by_key(|(id, _)| *id);
    assert_eq!(seen, made, "each of them once");
}

pub(crate) async fn handles_are_unique(store: Arc<dyn Store>) {
    let handle = unique("ada");
    let ada = new_user(&handle, "Ada");
    assert!(store.create_user(&ada).await.unwrap());
    assert!(!store.create_user(&new_user(&handle, "Another")).await.unwrap());
    assert!(store.has_users().await.unwrap());
    assert_eq!(store.user(ada.id).await.unwrap().as_ref(), Some(&ada));
    assert_eq!(store.user_by_handle(&handle).await.unwrap().as_ref(), Some(&ada));
    assert_eq!(store.user_by_handle(&unique("nobody")).await.unwrap(), None);
    assert_eq!(store.users(&[UserId::new(), ada.id]).await.unwrap(), [ada]);
}

pub(crate) async fn handles_that_look_alike_are_one_too_many(store: Arc<dyn Store>) {
    let rest = unique("s-handle");
    let handle = |name: &str| format!("{name}{rest}");
    for (first, others) in
        [("alice", ["a1ice", "alicc"]), ("b0b", ["bob", "bub"]), ("mark", ["rnark", "nark"])]
    {
        let user = new_user(&handle(first), "First");
        assert!(store.create_user(&user).await.unwrap());
        let [alike, unlike] = others.map(|other| new_user(&handle(other), "Other"));
        assert!(!store.create_user(&alike).await.unwrap(), "{}", alike.handle);
        assert_eq!(store.user_by_handle(&alike.handle).await.unwrap(), None, "nobody has it");
        assert_eq!(store.user_by_handle(&user.handle).await.unwrap(), Some(user));
        assert!(store.create_user(&unlike).await.unwrap(), "{}", unlike.handle);
    }
}

pub(crate) async fn a_user_is_renamed(store: Arc<dyn Store>) {
    let grace = new_user(&unique("grace"), "Grace");
    assert!(!store.set_display_name(grace.id, "Hopper").await.unwrap());
    store.create_user(&grace).await.unwrap();
    let display = unique("Hopper");
    assert!(store.set_display_name(grace.id, &display).await.unwrap());
    assert!(store.set_display_name(grace.id, &display).await.unwrap(), "again does no harm");
    let renamed = User { display_name: display.clone(), ..grace };
    assert_eq!(store.user(renamed.id).await.unwrap().as_ref(), Some(&renamed));
    assert_eq!(store.list_users(Some(&display), None, 10).await.unwrap(), [renamed]);
}

pub(crate) async fn users_are_listed_by_prefix_in_pages(store: Arc<dyn Store>) {
    let prefix = unique("üx");
    let mut expected = Vec::new();
    for i in 0..5 {
        // One is found by its handle, the next by its display name, one by both.
        let user = match i {
            4 => new_user(&format!("{prefix}-4"), &format!("{prefix} both")),
            i if i % 2 == 0 => new_user(&format!("{prefix}-{i}"), "Somebody"),
            i => new_user(&unique(&format!("z{i}")), &format!("{} {i}", prefix.to_uppercase())),
        };
        assert!(store.create_user(&user).await.unwrap());
        expected.push(user);
    }
    expected.sort_by(|a, b| a.handle.cmp(&b.handle));
    let shouted = prefix.to_uppercase();
    let (mut after, mut seen) = (None::<String>, Vec::new());
    loop {
        let page = store.list_users(Some(&shouted), after.as_deref(), 2).await.unwrap();
        assert!(page.len() <= 2);
        let Some(last) = page.last() else { break };
        after = Some(last.handle.clone());
        seen.extend(page);
    }
    assert_eq!(seen, expected);
    assert_eq!(store.list_users(Some("100%_"), None, 10).await.unwrap(), []);

    let all = store.list_users(None, Some(&prefix), 2).await.unwrap();
    assert_eq!(all.first().map(|user| user.handle.clone()), Some(format!("{prefix}-0")));
}

pub(crate) async fn users_are_found_by_each_word_of_their_names(store: Arc<dyn Store>) {
    let word = unique("lovelace");
    let ada = new_user(&unique("ada"), &format!("Ada Zoe\u{308}-{word} King"));
    let grace = new_user(&unique("grace"), &format!("{word} {word}"));
    for user in [&ada, &grace] {
        assert!(store.create_user(user).await.unwrap());
    }
    let found = async |sought: &str| -> Vec<UserId> {
        let all = store.list_users(Some(sought), None, 100).await.unwrap();
        all.iter().map(|user| user.id).filter(|id| [ada.id, grace.id].contains(id)).collect()
    };
    for sought in [word.clone(), word.to_uppercase(), format!(" {word}")] {
        assert_eq!(found(&sought).await, [ada.id, grace.id], "{sought}");
    }
    let whole = format!("ada zo\u{eb}-{word} ki");
    for sought in
        [&whole[..], &format!("ZOE\u{308}-{word}"), &format!("zo\u{eb}-{word}"), &format!("{word} king")]
    {
        assert_eq!(found(sought).await, [ada.id], "{sought}");
    }
    for sought in [&word[1..], &format!("zoe-{word}"), &format!("ada {word}")] {
        assert_eq!(found(sought).await, [], "{sought}");
    }
    // A name that was given up leads nowhere, but for the words that are in the new one, too.
    assert!(store.set_display_name(ada.id, &format!("Countess {word}")).await.unwrap());
    assert_eq!(found(&whole).await, []);
    for sought in [format!("countess {word}"), word.clone()] {
        assert!(found(&sought).await.contains(&ada.id), "{sought}");
    }
}
