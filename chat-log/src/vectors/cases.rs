//! The cases themselves.

use chat_protocol::{ChannelKind, EventBody, Seq, UserId, rest::Role};

use super::{CountCase, DecideCase, Entry, FoldCase, ScrubCase, events, people};
use crate::{Refusal, State, count::Counts, fold, permission::Denial, scrub};

fn entry(by: UserId, body: EventBody) -> Entry {
    Entry { by, body }
}

fn created(kind: ChannelKind, name: Option<&str>) -> EventBody {
    EventBody::ChannelCreated {
        channel_kind: kind,
        name: name.map(Into::into),
        topic: "what it is about".into(),
    }
}

fn text(text: &str) -> EventBody {
    EventBody::Message { text: text.into(), files: vec![], deleted: false }
}

fn edited(target: Seq, text: &str) -> EventBody {
    EventBody::Edited { target, text: text.into(), deleted: false }
}

fn reaction(target: Seq, emoji: &str) -> EventBody {
    EventBody::Reaction { target, emoji: emoji.into(), removed: false }
}

fn taken_back(target: Seq, emoji: &str) -> EventBody {
    EventBody::Reaction { target, emoji: emoji.into(), removed: true }
}

/// So many different emoji.
fn emoji(n: u32) -> Vec<String> {
    (0..n).filter_map(|i| char::from_u32(0x1F600 + i)).map(String::from).collect()
}

fn joined(user: UserId) -> EventBody {
    EventBody::MemberJoined { user }
}

fn left(user: UserId) -> EventBody {
    EventBody::MemberLeft { user }
}

/// A channel that `ada` made, with `ada` and `grace` in it, and a message of each: positions 1 to 5.
fn channel_of(kind: ChannelKind) -> Vec<Entry> {
    let [ada, grace, ..] = people();
    let name = (!kind.is_direct()).then_some("General");
    vec![
        entry(ada, created(kind, name)),
        entry(ada, joined(ada)),
        entry(ada, joined(grace)),
        entry(ada, text("from ada")),
        entry(grace, text("from grace")),
    ]
}

/// The decisions. Every refusal and every denial occurs.
#[must_use]
pub fn decide_cases() -> Vec<DecideCase> {
    use ChannelKind as K;
    use Role as R;
    let [ada, grace, linus, guest] = people();
    let mut cases = Vec::new();
    let mut case =
        |name: &str, log: Vec<Entry>, (by, role): (UserId, Option<Role>), body, refused: Option<Refusal>| {
            cases.push(DecideCase {
                name: name.into(),
                log,
                taken: vec!["Taken".into()],
                by,
                role,
                body,
                refused,
            });
        };
    let server = |by| (by, None);
    let with = |mut log: Vec<Entry>, more: &[Entry]| {
        log.extend_from_slice(more);
        log
    };
    let (public, private, direct) = (channel_of(K::Public), channel_of(K::Private), channel_of(K::Direct));
    let archived = with(public.clone(), &[entry(ada, EventBody::Archived { archived: true })]);
    let gone = with(public.clone(), &[entry(grace, left(grace))]);
    let deleted = with(public.clone(), &[entry(grace, EventBody::Deleted { target: 5 })]);
    let denied = |denial| Some(Refusal::Denied(denial));

    case("a log begins with its channel", vec![], server(ada), text("too early"), Some(Refusal::NoChannel));
    case(
        "nobody joins what is not there",
        vec![],
        (ada, Some(R::Member)),
        joined(ada),
        Some(Refusal::NoChannel),
    );
    case(
        "a channel is made once",
        public.clone(),
        server(ada),
        created(K::Public, Some("Other")),
        Some(Refusal::ChannelExists),
    );
    case("a new channel", vec![], server(ada), created(K::Public, Some("New")), None);
    case(
        "a name is taken without regard to case",
        vec![],
        server(ada),
        created(K::Public, Some(" tAKEN ")),
        Some(Refusal::NameTaken),
    );
    case(
        "a name is taken in any form",
        vec![],
        server(ada),
        created(K::Public, Some("Ｔａｋｅｎ")),
        Some(Refusal::NameTaken),
    );
    case("a private channel takes no name", vec![], server(ada), created(K::Private, Some("Taken")), None);
    case(
        "a direct channel has no name to take",
        vec![],
        server(ada),
        created(K::Direct, Some("Taken")),
        None,
    );

    case("a member writes", public.clone(), (grace, Some(R::Member)), text("hi"), None);
    case("the server writes for whom it wants", public.clone(), server(linus), text("hi"), None);
    case(
        "a guest who is a member writes",
        with(private.clone(), &[entry(ada, joined(guest))]),
        (guest, Some(R::Guest)),
        text("hi"),
        None,
    );
    case(
        "who is no member does not write",
        public.clone(),
        (linus, Some(R::Owner)),
        text("hi"),
        denied(Denial::NotMember),
    );
    case(
        "a private channel does not exist for others",
        private.clone(),
        (linus, Some(R::Owner)),
        text("hi"),
        denied(Denial::NotVisible),
    );
    case(
        "a public channel does not exist for a guest",
        public.clone(),
        (guest, Some(R::Guest)),
        text("hi"),
        denied(Denial::NotVisible),
    );
    case(
        "nobody writes behind the archiving",
        archived.clone(),
        (ada, Some(R::Owner)),
        text("late"),
        denied(Denial::Archived),
    );
    case(
        "nobody writes behind their own leaving",
        gone.clone(),
        (grace, Some(R::Member)),
        text("late"),
        denied(Denial::NotMember),
    );
    case(
        "who came back writes",
        with(gone, &[entry(grace, joined(grace))]),
        (grace, Some(R::Member)),
        text("hi"),
        None,
    );

    case("one's own message is edited", public.clone(), (grace, Some(R::Member)), edited(5, "better"), None);
    case(
        "nobody edits another's message",
        public.clone(),
        (ada, Some(R::Owner)),
        edited(5, "mine"),
        denied(Denial::NotAuthor),
    );
    case(
        "an edit needs a message",
        public.clone(),
        (grace, Some(R::Member)),
        edited(1, "x"),
        Some(Refusal::NoTarget),
    );
    case(
        "an edit needs a position of the log",
        public.clone(),
        server(ada),
        edited(99, "x"),
        Some(Refusal::NoTarget),
    );
    case(
        "an edit of an edit",
        with(public.clone(), &[entry(grace, edited(5, "x"))]),
        server(grace),
        edited(6, "y"),
        Some(Refusal::NoTarget),
    );
    case(
        "a deleted message is not edited",
        deleted.clone(),
        (grace, Some(R::Member)),
        edited(5, "x"),
        Some(Refusal::NoTarget),
    );
    case(
        "permission comes before the look-up",
        private.clone(),
        (linus, Some(R::Member)),
        edited(99, "x"),
        denied(Denial::NotVisible),
    );
    case(
        "one's own message is deleted",
        public.clone(),
        (grace, Some(R::Member)),
        EventBody::Deleted { target: 5 },
        None,
    );
    case(
        "the creator deletes another's",
        public.clone(),
        (ada, Some(R::Member)),
        EventBody::Deleted { target: 5 },
        None,
    );
    case(
        "a member does not delete another's",
        public.clone(),
        (grace, Some(R::Member)),
        EventBody::Deleted { target: 4 },
        denied(Denial::NotAuthorOrModerator),
    );
    case(
        "nobody deletes another's in a direct channel",
        direct.clone(),
        (ada, Some(R::Admin)),
        EventBody::Deleted { target: 5 },
        denied(Denial::NotAuthorOrModerator),
    );
    case(
        "a message is deleted once",
        deleted.clone(),
        (grace, Some(R::Member)),
        EventBody::Deleted { target: 5 },
        Some(Refusal::NoTarget),
    );

    let member = (grace, Some(R::Member));
    let reacted = with(public.clone(), &[entry(grace, reaction(4, "👍"))]);
    let back = with(reacted.clone(), &[entry(grace, taken_back(4, "👍"))]);
    let no_effect = Some(Refusal::NoEffect);
    case("a member reacts", public.clone(), member, reaction(4, "👍"), None);
    case("also to their own message", public.clone(), member, reaction(5, "👍"), None);
    case("a reaction is added once", reacted.clone(), member, reaction(4, "👍"), no_effect);
    case("others may have the same", reacted.clone(), (ada, Some(R::Member)), reaction(4, "👍"), None);
    case("another kind is another reaction", reacted.clone(), member, reaction(4, "🎉"), None);
    case("another message is another reaction", reacted.clone(), member, reaction(5, "👍"), None);
    case("a reaction is taken back", reacted.clone(), member, taken_back(4, "👍"), None);
    case("nobody takes back another's", reacted, (ada, Some(R::Owner)), taken_back(4, "👍"), no_effect);
    case("a reaction is taken back once", back.clone(), member, taken_back(4, "👍"), no_effect);
    case("and added again", back, member, reaction(4, "👍"), None);
    let no_target = Some(Refusal::NoTarget);
    case("nobody reacts to what is no message", public.clone(), member, reaction(3, "👍"), no_target);
    case("nor to what is not there", public.clone(), member, reaction(99, "👍"), no_target);
    case("nor to a deleted message", deleted, member, reaction(5, "👍"), no_target);
    let archived_too = with(archived.clone(), &[]);
    case("nor in an archived channel", archived_too, member, reaction(4, "👍"), denied(Denial::Archived));
    let stranger = (linus, Some(R::Member));
    case(
        "who is no member does not react",
        public.clone(),
        stranger,
        reaction(4, "👍"),
        denied(Denial::NotMember),
    );
    let many = |by: UserId, n| emoji(n).iter().map(|emoji| entry(by, reaction(4, emoji))).collect::<Vec<_>>();
    let too_many = Some(Refusal::TooManyReactions);
    let own = with(public.clone(), &many(grace, 10));
    case("one person has ten kinds of reactions at most", own.clone(), member, reaction(4, "👍"), too_many);
    case("somebody else has ten more", own, (ada, Some(R::Member)), reaction(4, "👍"), None);
    let mut twenty = many(linus, 20);
    twenty[10..].iter_mut().for_each(|entry| entry.by = guest);
    let four = with(public.clone(), &[entry(linus, joined(linus)), entry(guest, joined(guest))]);
    let kinds = with(four, &twenty);
    case("a message has twenty kinds at most", kinds.clone(), member, reaction(4, "👍"), too_many);
    case("those that are there can be joined", kinds, member, reaction(4, "\u{1F600}"), None);

    case("a public channel is joined", public.clone(), (linus, Some(R::Member)), joined(linus), None);
    case(
        "joining twice changes nothing",
        public.clone(),
        (grace, Some(R::Member)),
        joined(grace),
        Some(Refusal::NoEffect),
    );
    case(
        "a private channel is not joined",
        private.clone(),
        (linus, Some(R::Admin)),
        joined(linus),
        denied(Denial::NotVisible),
    );
    case(
        "a direct channel has fixed members",
        direct.clone(),
        (ada, Some(R::Owner)),
        joined(linus),
        denied(Denial::FixedMembers),
    );
    case("a member adds others", private.clone(), (grace, Some(R::Member)), joined(linus), None);
    case(
        "a guest adds nobody",
        with(private.clone(), &[entry(ada, joined(guest))]),
        (guest, Some(R::Guest)),
        joined(linus),
        denied(Denial::GuestAdds),
    );
    case("a member leaves", public.clone(), (grace, Some(R::Member)), left(grace), None);
    case(
        "who is not there does not leave",
        public.clone(),
        (linus, Some(R::Member)),
        left(linus),
        Some(Refusal::NoEffect),
    );
    case("who was removed already", public.clone(), server(ada), left(linus), Some(Refusal::NoEffect));
    case("the creator removes a member", public.clone(), (ada, Some(R::Member)), left(grace), None);
    case(
        "a member removes nobody",
        public.clone(),
        (grace, Some(R::Member)),
        left(ada),
        denied(Denial::NotModerator),
    );
    case(
        "a direct channel is not left",
        direct.clone(),
        (ada, Some(R::Member)),
        left(ada),
        denied(Denial::FixedMembers),
    );

    case(
        "a new name",
        public.clone(),
        (grace, Some(R::Member)),
        EventBody::Renamed { name: "Lounge".into() },
        None,
    );
    case(
        "the same name in another case",
        public.clone(),
        (grace, Some(R::Member)),
        EventBody::Renamed { name: "GENERAL".into() },
        None,
    );
    case(
        "the same name",
        public.clone(),
        (grace, Some(R::Member)),
        EventBody::Renamed { name: "General".into() },
        Some(Refusal::NoEffect),
    );
    case(
        "another's name",
        public.clone(),
        (grace, Some(R::Member)),
        EventBody::Renamed { name: "taken".into() },
        Some(Refusal::NameTaken),
    );
    case(
        "a direct channel gets no name, not even a taken one",
        direct,
        server(ada),
        EventBody::Renamed { name: "Taken".into() },
        Some(Refusal::NoEffect),
    );
    case(
        "a guest changes nothing",
        with(private, &[entry(ada, joined(guest))]),
        (guest, Some(R::Guest)),
        EventBody::TopicChanged { topic: "x".into() },
        denied(Denial::GuestChanges),
    );
    case(
        "a new topic",
        public.clone(),
        (grace, Some(R::Member)),
        EventBody::TopicChanged { topic: "another".into() },
        None,
    );
    case(
        "the same topic",
        public.clone(),
        (grace, Some(R::Member)),
        EventBody::TopicChanged { topic: "what it is about".into() },
        Some(Refusal::NoEffect),
    );
    case(
        "an archived channel keeps its topic",
        archived.clone(),
        (ada, Some(R::Owner)),
        EventBody::TopicChanged { topic: "x".into() },
        denied(Denial::Archived),
    );
    case(
        "the creator archives",
        public.clone(),
        (ada, Some(R::Member)),
        EventBody::Archived { archived: true },
        None,
    );
    case(
        "a member does not archive",
        public.clone(),
        (grace, Some(R::Member)),
        EventBody::Archived { archived: true },
        denied(Denial::NotModerator),
    );
    case(
        "archiving twice",
        archived.clone(),
        (ada, Some(R::Member)),
        EventBody::Archived { archived: true },
        Some(Refusal::NoEffect),
    );
    case(
        "an archived channel is brought back",
        archived.clone(),
        (ada, Some(R::Member)),
        EventBody::Archived { archived: false },
        None,
    );
    case("an archived channel is left", archived, (grace, Some(R::Member)), left(grace), None);
    case("a kind that is not known", public, server(ada), EventBody::Unknown, Some(Refusal::NoEffect));
    cases
}

/// How logs show.
#[must_use]
pub fn fold_cases() -> Vec<FoldCase> {
    let [ada, grace, linus, _] = people();
    let base = channel_of(ChannelKind::Public);
    let with = |more: &[Entry]| [base.clone(), more.to_vec()].concat();
    let logs = [
        ("messages and members", with(&[])),
        (
            "the newest edit shows",
            with(&[entry(grace, edited(5, "first")), entry(grace, edited(5, "second"))]),
        ),
        (
            "nothing remains of a deleted message",
            with(&[entry(grace, edited(5, "x")), entry(grace, EventBody::Deleted { target: 5 })]),
        ),
        (
            "an edit behind the deletion, as old logs have it, changes nothing",
            with(&[entry(grace, EventBody::Deleted { target: 5 }), entry(grace, edited(5, "late"))]),
        ),
        (
            "edits of what is no message, as old logs have them",
            with(&[entry(ada, edited(1, "x")), entry(ada, edited(77, "y"))]),
        ),
        (
            "who left and came back",
            with(&[
                entry(grace, left(grace)),
                entry(ada, joined(linus)),
                entry(ada, left(linus)),
                entry(ada, joined(grace)),
            ]),
        ),
        (
            "reactions, some of them taken back",
            with(&[
                entry(ada, reaction(5, "👍")),
                entry(grace, reaction(5, "👍")),
                entry(ada, reaction(5, "🎉")),
                entry(ada, taken_back(5, "🎉")),
                entry(grace, taken_back(5, "👍")),
                entry(grace, reaction(4, "👀")),
            ]),
        ),
        (
            "a deleted message has no reactions",
            with(&[
                entry(ada, reaction(5, "👍")),
                entry(grace, EventBody::Deleted { target: 5 }),
                entry(ada, reaction(5, "🎉")),
            ]),
        ),
        ("a reaction to what is no message shows nowhere", with(&[entry(ada, reaction(1, "👍"))])),
        (
            "an edit leaves the reactions alone",
            with(&[entry(ada, reaction(5, "👍")), entry(grace, edited(5, "x"))]),
        ),
        (
            "a message behind the archiving, as old logs have it",
            with(&[entry(ada, EventBody::Archived { archived: true }), entry(grace, text("late"))]),
        ),
    ];
    logs.into_iter()
        .map(|(name, log)| {
            let mut state = State::default();
            for (seq, entry) in (1..).zip(&log) {
                state.apply(seq, entry.by, &entry.body);
            }
            let mut members: Vec<UserId> = state.members.into_iter().collect();
            members.sort_unstable();
            FoldCase { name: name.into(), messages: fold::messages(events(&log)), members, log }
        })
        .collect()
}

/// What remains of deleted messages: one case for each kind.
#[must_use]
pub fn scrub_cases() -> Vec<ScrubCase> {
    let [ada, ..] = people();
    let bodies = [
        created(ChannelKind::Public, Some("General")),
        text("secret"),
        edited(4, "secret"),
        EventBody::Deleted { target: 4 },
        reaction(4, "👍"),
        joined(ada),
        left(ada),
        EventBody::Renamed { name: "Lounge".into() },
        EventBody::TopicChanged { topic: "x".into() },
        EventBody::Archived { archived: true },
    ];
    bodies.into_iter().map(|body| ScrubCase { remains: scrub(&body), body }).collect()
}

/// What is unread.
#[must_use]
pub fn count_cases() -> Vec<CountCase> {
    let [ada, grace, linus, _] = people();
    let base = channel_of(ChannelKind::Public);
    let with = |more: &[Entry]| [base.clone(), more.to_vec()].concat();
    let deleted = |target| EventBody::Deleted { target };
    let cases = [
        ("what others wrote", with(&[]), ada, 3),
        ("not what one wrote oneself", with(&[entry(ada, text("x")), entry(linus, text("y"))]), ada, 4),
        (
            "not joins, topics and edits",
            with(&[entry(ada, joined(linus)), entry(grace, edited(5, "x"))]),
            ada,
            5,
        ),
        ("not what was deleted since", with(&[entry(linus, text("x")), entry(linus, deleted(6))]), ada, 5),
        (
            "a deletion of what was read changes nothing",
            with(&[entry(linus, text("x")), entry(grace, deleted(5))]),
            ada,
            5,
        ),
        ("not reactions", with(&[entry(linus, reaction(5, "👍"))]), ada, 5),
        ("nothing behind the end", with(&[]), grace, 5),
        ("everything", with(&[]), linus, 0),
    ];
    cases
        .into_iter()
        .map(|(name, log, me, read)| {
            let end = log.iter().fold(Counts::default(), |counts, entry| counts.after(&entry.body));
            let dead: Vec<Seq> = log
                .iter()
                .filter_map(|entry| match entry.body {
                    EventBody::Deleted { target } => Some(target),
                    _ => None,
                })
                .collect();
            let unread = (1..)
                .zip(&log)
                .filter(|(seq, entry)| {
                    *seq > read
                        && entry.by != me
                        && matches!(entry.body, EventBody::Message { .. })
                        && !dead.contains(seq)
                })
                .count() as u64;
            CountCase { name: name.into(), me, read, end, unread, log }
        })
        .collect()
}
