//! Cases that hold every implementation to the same behaviour: other languages read them as JSON from `vectors/`, stores and
//! checkers of this workspace run them. `cargo run -p chat-log --example vectors` writes the files; a test says when they are
//! not fresh.
//!
//! Names of channels are unique in a store, so those who run the cases on a shared store put something of their own before
//! each name (see [`DecideCase::with_names`]).

use chat_protocol::{
    ChannelId, ChannelKind, Event, EventBody, Millis, Seq, UserId,
    rest::{Message, Role},
};
use serde::{Deserialize, Serialize};

use crate::{
    Appended, Authority, Decision, NewEvent, Refusal, State, count::Counts, fold, permission::Denial, scrub,
};

/// The people of the cases.
pub const PEOPLE: [u128; 4] = [0xada, 0x64ace, 0x11, 0x6e57];

/// An event of a case's log: who did it, and what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Who.
    pub by: UserId,
    /// What.
    pub body: EventBody,
}

/// May an event happen behind a log?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecideCase {
    /// What it is about.
    pub name: String,
    /// The log, from its first event on. Texts of deleted messages stand in it as they were sent.
    pub log: Vec<Entry>,
    /// Names that another channel has.
    pub taken: Vec<String>,
    /// Who tries something.
    pub by: UserId,
    /// In which role; none for the server itself.
    pub role: Option<Role>,
    /// What.
    pub body: EventBody,
    /// Why it is refused; none when it is not.
    pub refused: Option<Refusal>,
}

/// How does a log show?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoldCase {
    /// What it is about.
    pub name: String,
    /// The log, with times 1,000, 2,000 and so on.
    pub log: Vec<Entry>,
    /// All its messages, oldest first.
    pub messages: Vec<Message>,
    /// Its members, in order of id.
    pub members: Vec<UserId>,
}

/// What remains of a body when its message is deleted?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubCase {
    /// The body.
    pub body: EventBody,
    /// What remains; none: it is left alone.
    pub remains: Option<EventBody>,
}

/// How many messages has somebody not read?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountCase {
    /// What it is about.
    pub name: String,
    /// The log.
    pub log: Vec<Entry>,
    /// Whose marker.
    pub me: UserId,
    /// The last position that they have seen.
    pub read: Seq,
    /// The counts at the end of the log, when all of it is counted.
    pub end: Counts,
    /// The answer.
    pub unread: u64,
}

fn user(which: usize) -> UserId {
    UserId(uuid::Uuid::from_u128(PEOPLE[which]))
}

/// The people, by name.
#[must_use]
pub fn people() -> [UserId; 4] {
    [user(0), user(1), user(2), user(3)]
}

impl DecideCase {
    /// The case with other names of channels.
    #[must_use]
    pub fn with_names(&self, rename: impl Fn(&str) -> String) -> Self {
        let body = |body: &EventBody| match body.clone() {
            EventBody::ChannelCreated { channel_kind, name, topic } => {
                EventBody::ChannelCreated { channel_kind, name: name.map(|name| rename(&name)), topic }
            }
            EventBody::Renamed { name } => EventBody::Renamed { name: rename(&name) },
            other => other,
        };
        let log = self.log.iter().map(|entry| Entry { by: entry.by, body: body(&entry.body) }).collect();
        let taken = self.taken.iter().map(|name| rename(name)).collect();
        Self { log, taken, body: body(&self.body), ..self.clone() }
    }

    /// What is tried, with this time.
    #[must_use]
    pub fn event(&self, at: Millis) -> NewEvent {
        let authority = self.role.map(|role| Authority { role, auth_version: 0 });
        NewEvent { by: self.by, id: None, at, body: self.body.clone().into(), authority, seen: None }
    }

    /// What this crate decides.
    #[must_use]
    pub fn decided(&self) -> Option<Refusal> {
        let mut state = State::default();
        for (seq, entry) in (1..).zip(&self.log) {
            state.apply(seq, entry.by, &entry.body);
        }
        match state.decide(&self.event(0)) {
            Decision::Accept => None,
            Decision::AcceptIfFree { key, .. } => {
                let taken = self.taken.iter().any(|name| crate::name_key(name) == key);
                taken.then_some(Refusal::NameTaken)
            }
            Decision::Refuse(refusal) => Some(refusal),
        }
    }

    /// What a store must answer.
    #[must_use]
    pub fn expected(&self) -> Appended {
        self.refused.map_or(Appended::New { seq: self.log.len() as Seq + 1 }, Appended::Refused)
    }
}

/// The log as events of one channel, with times 1,000, 2,000 and so on.
#[must_use]
pub fn events(log: &[Entry]) -> Vec<Event> {
    let channel = ChannelId(uuid::Uuid::from_u128(0xc4a));
    (1..)
        .zip(log)
        .map(|(seq, Entry { by, body })| Event {
            channel,
            seq,
            at: seq * 1_000,
            by: *by,
            id: None,
            body: body.clone(),
        })
        .collect()
}

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
        created(K::Private, Some(" tAKEN ")),
        Some(Refusal::NameTaken),
    );
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
        deleted,
        (grace, Some(R::Member)),
        EventBody::Deleted { target: 5 },
        Some(Refusal::NoTarget),
    );

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

/// All files: name and content.
///
/// # Errors
/// When something cannot be encoded, which is a defect.
pub fn files() -> Result<[(&'static str, String); 4], serde_json::Error> {
    fn json<T: Serialize>(cases: &[T]) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string_pretty(cases)? + "\n")
    }
    Ok([
        ("decide.json", json(&decide_cases())?),
        ("fold.json", json(&fold_cases())?),
        ("scrub.json", json(&scrub_cases())?),
        ("count.json", json(&count_cases())?),
    ])
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, path::Path};

    use super::*;
    use crate::count::{End, Marker, Unread, unread};

    #[test]
    fn this_crate_decides_as_the_cases_say() {
        for case in decide_cases() {
            assert_eq!(case.decided(), case.refused, "{}", case.name);
        }
    }

    /// Adding a refusal means adding a case of it: this match has no catch-all arm.
    #[test]
    fn every_refusal_occurs_in_the_cases() {
        let refused: HashSet<Refusal> = decide_cases().iter().filter_map(|case| case.refused).collect();
        let next = |refusal: Refusal| match refusal {
            Refusal::NoChannel => Some(Refusal::ChannelExists),
            Refusal::ChannelExists => Some(Refusal::NameTaken),
            Refusal::NameTaken => Some(Refusal::NoEffect),
            Refusal::NoEffect => Some(Refusal::NoTarget),
            Refusal::NoTarget => Some(Refusal::Denied(Denial::NotVisible)),
            Refusal::Denied(Denial::NotVisible) => Some(Refusal::Denied(Denial::Archived)),
            Refusal::Denied(Denial::Archived) => Some(Refusal::Denied(Denial::NotMember)),
            Refusal::Denied(Denial::NotMember) => Some(Refusal::Denied(Denial::NotAuthor)),
            Refusal::Denied(Denial::NotAuthor) => Some(Refusal::Denied(Denial::NotAuthorOrModerator)),
            Refusal::Denied(Denial::NotAuthorOrModerator) => Some(Refusal::Denied(Denial::FixedMembers)),
            Refusal::Denied(Denial::FixedMembers) => Some(Refusal::Denied(Denial::GuestAdds)),
            Refusal::Denied(Denial::GuestAdds) => Some(Refusal::Denied(Denial::GuestChanges)),
            Refusal::Denied(Denial::GuestChanges) => Some(Refusal::Denied(Denial::NotModerator)),
            // Decided by who appends, from what it knows of the author: not from the log.
            Refusal::Denied(Denial::NotModerator | Denial::RoleChanged) => None,
        };
        let mut refusal = Some(Refusal::NoChannel);
        while let Some(one) = refusal {
            assert!(refused.contains(&one), "no case is refused as {one:?}");
            refusal = next(one);
        }
    }

    #[test]
    fn counting_agrees_with_the_cases() {
        for case in count_cases() {
            let mut ends = vec![End::begun_anew(0)];
            for entry in &case.log {
                ends.push(ends[ends.len() - 1].after(&entry.body));
            }
            let end = ends[ends.len() - 1];
            assert_eq!(end.counts, case.end, "{}", case.name);
            let counts = Some(ends[usize::try_from(case.read).unwrap()].counts);
            if let Unread::Exactly(n) = unread(&end, &Marker { seq: case.read, counts, own: 0 }) {
                let own = (case.read + 1..)
                    .zip(&case.log[usize::try_from(case.read).unwrap()..])
                    .any(|(_, entry)| entry.by == case.me && matches!(entry.body, EventBody::Message { .. }));
                assert!(own || n == case.unread, "{}", case.name);
            }
        }
    }

    #[test]
    fn the_files_are_fresh() {
        for (name, content) in files().unwrap() {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(name);
            let found = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(found == content, "{name} is not fresh: cargo run -p chat-log --example vectors");
        }
    }
}
