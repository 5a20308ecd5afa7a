//! What an event of a channel's log means, in one place: may it happen ([`State::decide`]), what does it change for those
//! after it ([`State::apply`]), what follows from it outside of the log ([`effect`]), how do events show ([`fold`]), what
//! remains of a deleted message ([`scrub()`]), what counts as unread ([`count`]).
//!
//! Pure: no I/O, no clock, no async. Stores load what [`needs`] names into a [`State`] and ask it; caches, SDKs and checkers
//! [`fold`] what they have. `apply` and `fold` take whatever stands in a log, also what `decide` would refuse today: such
//! logs exist.
//!
//! To add a kind of event: add the variant to [`chat_protocol::EventBody`] and follow the compiler through `kind`; no match
//! there has a catch-all arm. The vectors in `vectors/` hold other languages to the same behaviour.

pub mod count;
mod decide;
mod emoji;
mod event;
pub mod fold;
mod kind;
pub mod permission;
pub mod text;
pub mod vectors;

pub use decide::{ChannelFacts, Decision, State, claims_name, needs, needs_for};
pub use emoji::check_emoji;
pub use event::{Appended, Authority, Body, NewEvent};
pub use kind::*;

/// What public channels are listed by: their names in lower case, surrounding space gone.
#[must_use]
pub fn name_key(name: &str) -> String {
    name.trim().to_lowercase()
}

/// Begins the claim of a name as it is written. No look begins with a space, so claims of different kinds are never equal.
const WRITTEN: &str = " w ";
/// Begins the claim of a name without regard to case.
const FOLDED: &str = " f ";

/// What a public channel with this name claims. No two may have any of it in common: [how it looks](text::look) in any case, how
/// it looks [as it is written](text::written_look), and, unless that is ASCII, of which the first says the same, the name
/// [without regard to case and form](text::fold).
#[must_use]
pub fn name_claims(name: &str) -> Vec<String> {
    // Of old names of which nothing shows.
    let shown = |text: String| if text.is_empty() { name_key(name) } else { text };
    let mut claims = vec![shown(text::look(name)), WRITTEN.to_owned() + &shown(text::written_look(name))];
    let folded = text::fold(name);
    if !folded.is_ascii() {
        claims.push(FOLDED.to_owned() + &folded);
    }
    claims
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clash(one: &str, other: &str) -> bool {
        let claimed = name_claims(one);
        name_claims(other).iter().any(|claim| claimed.contains(claim))
    }

    #[test]
    fn names_that_are_taken_for_each_other_claim_the_same() {
        for (one, other) in [
            ("general", "generaI"),
            ("general", "GENERAL"),
            ("c1", "cI"),
            ("c1", "cl"),
            ("AI", "Al"),
            ("59", "\u{1bc}9"),
            ("NATO", "\u{39d}\u{391}\u{3a4}\u{39f}"),
            ("news", "\u{39d}ews"),
            ("\u{200b}", "\u{200b}"),
        ] {
            assert!(clash(one, other), "{one:?} {other:?}");
        }
        for (one, other) in [
            ("mail", "mall"),
            ("Mail", "MALL"),
            ("#ia", "#la"),
            ("IA", "LA"),
            ("GENERAL", "generaI"),
            ("lion", "ion"),
            ("", "w"),
            ("w general", "general"),
            ("f \u{e9}", "\u{e9}"),
            ("\u{200b}", "\u{200c}"),
        ] {
            assert!(!clash(one, other), "{one:?} {other:?}");
        }
    }

    #[test]
    fn names_that_fold_to_the_same_claim_the_same() {
        for letter in ('\0'..='\u{1ffff}').filter(|c| !c.is_control()) {
            let name = format!("a{letter}");
            let folded = text::fold(&name);
            if folded != name && text::fold(&folded) == folded {
                assert!(clash(&name, &folded), "{name:?} {folded:?}");
            }
        }
    }

    #[test]
    fn names_that_differ_in_case_claim_the_same() {
        let letters = ('\0'..=char::MAX).filter(|c| !c.is_control() && c.to_uppercase().ne(c.to_lowercase()));
        for letter in letters {
            for name in
                [format!("{letter}"), format!("a{letter}"), format!("9-{letter}"), format!("\u{436}{letter}")]
            {
                for other in [name.to_lowercase(), name.to_uppercase()] {
                    let same = text::fold(&name) == text::fold(&other);
                    assert!(!same || clash(&name, &other), "{name:?} {other:?}");
                }
            }
        }
    }
}
