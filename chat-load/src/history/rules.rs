//! Whether the events of a log could stand where they stand: each is decided again, as the store did it.

use chat_log::{Authority, Counted, Decision, NewEvent, Refusal, State, counted, target};
use chat_protocol::{Event, EventBody, rest::Role};

/// One log, followed from its first event on.
#[derive(Debug, Default)]
pub struct Replay {
    state: State,
}

impl Replay {
    /// Takes the next event of the log. Answers why it should have been refused, if it should. Roles are not known here, so
    /// everybody counts as an owner: what is found is what nobody may do.
    pub fn follow(&mut self, event: &Event) -> Option<Refusal> {
        let Event { seq, at, by, ref body, .. } = *event;
        let is_message = is_message(body);
        let authority = is_message.then_some(Authority { role: Role::Owner, auth_version: 0 });
        let decision = match body {
            // Kinds of a newer version are nobody's business.
            EventBody::Unknown => Decision::Accept,
            body => self.state.decide(&NewEvent { authority, ..NewEvent::of_server(by, at, body.clone()) }),
        };
        self.state.apply(seq, by, body);
        match decision {
            Decision::Accept | Decision::AcceptIfFree { .. } => None,
            Decision::Refuse(refusal) => Some(refusal),
        }
    }
}

/// Whether it is a message, or something about one.
fn is_message(body: &EventBody) -> bool {
    target(body).is_some() || matches!(counted(body), Counted::Message { .. })
}

#[cfg(test)]
mod tests {
    use chat_log::vectors::{decide_cases, events};

    use super::*;

    #[test]
    fn logs_of_the_vectors_are_accepted_and_what_they_refuse_is_found() {
        let mut found = 0;
        for case in decide_cases() {
            let mut log = events(&case.log);
            let mut replay = Replay::default();
            for event in &log {
                assert_eq!(replay.follow(event), None, "{}", case.name);
            }
            let last = Event {
                channel: chat_protocol::ChannelId(uuid::Uuid::nil()),
                seq: log.len() as u64 + 1,
                at: 1,
                by: case.by,
                id: None,
                body: case.body.clone(),
            };
            log.push(last.clone());
            let by_owner = case.role.is_none_or(|role| role == Role::Owner || role == Role::Member);
            if is_message(&case.body) && by_owner && case.role.is_some() && case.refused.is_some() {
                let refusal = replay.follow(&last);
                if refusal == case.refused {
                    found += 1;
                }
            }
        }
        assert!(found >= 6, "the checker finds what the vectors refuse: {found}");
    }

    #[test]
    fn a_message_that_was_deleted_since_is_no_finding() {
        let mut log = events(&chat_log::vectors::fold_cases()[0].log);
        let by = log[4].by;
        log[4].body = chat_log::scrub(&log[4].body).expect("is a message");
        let deletion = Event { seq: 6, by, body: EventBody::Deleted { target: 5 }, ..log[4].clone() };
        log.push(deletion);
        let mut replay = Replay::default();
        for event in &log {
            assert_eq!(replay.follow(event), None, "{event:?}");
        }
    }
}
