//! Cases that hold every implementation to the same behaviour: other languages read them as JSON from `vectors/`, stores and
//! checkers of this workspace run them. `cargo run -p chat-log --example vectors` writes the files; a test says when they are
//! not fresh.
//!
//! Names of channels are unique in a store, so those who run the cases on a shared store put something of their own before
//! each name (see [`DecideCase::with_names`]).

mod cases;

use chat_protocol::{
    ChannelId, Event, EventBody, Millis, Seq, UserId,
    rest::{Message, Role},
};
use serde::{Deserialize, Serialize};

use crate::{Appended, Authority, Decision, NewEvent, Refusal, State, count::Counts};

pub use cases::{count_cases, decide_cases, fold_cases, scrub_cases};

/// The people of the cases.
pub const PEOPLE: [u128; 4] = [0xada, 0x64ace, 0x11, 0x6e57];

/// An event of a case's log: who did it, and what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Who did it.
    pub by: UserId,
    /// What the event does.
    pub body: EventBody,
}

/// May an event happen behind a log?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DecideCase {
    /// What it is about.
    pub name: String,
    /// The log, from its first event on. Texts of deleted messages stand in it as they were sent.
    pub log: Vec<Entry>,
    /// Names that other public channels have.
    pub taken: Vec<String>,
    /// Who tries something.
    pub by: UserId,
    /// In which role; none for the server itself.
    pub role: Option<Role>,
    /// What they try.
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
    /// The body of the deleted message.
    pub body: EventBody,
    /// What remains; none: it is left alone.
    pub remains: Option<EventBody>,
}

/// How many messages has somebody not read?
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CountCase {
    /// What it is about.
    pub name: String,
    /// The log, from its first event on.
    pub log: Vec<Entry>,
    /// The user whose marker it is.
    pub me: UserId,
    /// The last position that they have seen.
    pub read: Seq,
    /// The counts at the end of the log, when all of it is counted.
    pub end: Counts,
    /// How many messages are unread.
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
        NewEvent { authority, ..NewEvent::of_server(self.by, at, self.body.clone()) }
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
            Decision::AcceptIfFree { claims, .. } => {
                let taken =
                    |name: &String| crate::name_claims(name).iter().any(|claim| claims.contains(claim));
                let taken = self.taken.iter().any(taken);
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
    use crate::{
        count::{End, Marker, Unread, unread},
        permission::Denial,
    };

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
            Refusal::NoTarget => Some(Refusal::TooManyReactions),
            Refusal::TooManyReactions => Some(Refusal::Denied(Denial::NotVisible)),
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
