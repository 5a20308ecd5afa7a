//! Typed identifiers. All are UUIDs in hyphenated form: written in lower case, read in any (RFC 9562 §4).

use std::{fmt, str::FromStr};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, Unexpected, Visitor},
};
use uuid::Uuid;

/// A string that was expected to be a UUID and is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseIdError {
    what: &'static str,
}

impl fmt::Display for ParseIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not {}: a UUID such as 0190b6a4-7c1e-7d52-9f3a-2b6c1d8e4f50 is expected", self.what)
    }
}

impl std::error::Error for ParseIdError {}

/// One form of several that UUIDs are written in, so that what is the same looks the same in logs and links.
fn hyphenated(text: &str) -> Option<Uuid> {
    let is_hyphenated = text.len() == uuid::fmt::Hyphenated::LENGTH;
    Uuid::try_parse(text).ok().filter(|_| is_hyphenated)
}

/// Reads an id, where this is expected.
struct Written(&'static str);

impl Visitor<'_> for Written {
    type Value = Uuid;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: a UUID such as 0190b6a4-7c1e-7d52-9f3a-2b6c1d8e4f50", self.0)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Uuid, E> {
        hyphenated(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
        #[serde(transparent)]
        #[cfg_attr(feature = "schema", derive(utoipa::ToSchema), schema(value_type = String, format = "uuid"))]
        pub struct $name(pub Uuid);

        impl $name {
            /// A fresh identifier (UUIDv7: unique without coordination, roughly ordered by time).
            #[must_use]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(s: &str) -> Result<Self, ParseIdError> {
                hyphenated(s).map(Self).ok_or(ParseIdError { what: $what })
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Written($what)).map(Self)
            }
        }
    };
}

id!(
    /// A person or bot.
    UserId,
    "a user id"
);
id!(
    /// A channel, and with it one log.
    ChannelId,
    "a channel id"
);
id!(
    /// A login on one device; the family of its rotating refresh tokens.
    SessionId,
    "a session id"
);
id!(
    /// What lets somebody make an account, or set the password of one.
    InvitationId,
    "an invitation id"
);
id!(
    /// An uploaded file.
    FileId,
    "a file id"
);
id!(
    /// A life of the server's store. A restore from a backup begins another one: positions that clients and other
    /// processes remember are of the life before.
    Generation,
    "a generation"
);
id!(
    /// A client's own name for one command. Sending it again within 24 hours, by the same user to the same
    /// channel, returns the first outcome instead of a second event.
    ClientId,
    "a client id"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_form_in_any_case() {
        let id = "0190b6a4-7c1e-7d52-9f3a-2b6c1d8e4f50";
        for (text, is_read) in [
            (id.to_owned(), true),
            (id.to_uppercase(), true),
            (id.replace('-', ""), false),
            (format!("{{{id}}}"), false),
            (format!("urn:uuid:{id}"), false),
            (format!(" {id}"), false),
            (format!("{}-{}", &id[..4], &id[4..35]), false),
            (String::new(), false),
        ] {
            let parsed = text.parse::<ChannelId>().ok().map(|id| id.to_string());
            let read = serde_json::from_value::<ChannelId>(text.clone().into()).ok().map(|id| id.to_string());
            assert_eq!(parsed.as_deref(), is_read.then_some(id), "{text:?}");
            assert_eq!(read, parsed, "{text:?}");
        }
        let error = serde_json::from_str::<UserId>("\"me\"").unwrap_err().to_string();
        assert!(error.contains("expected a user id: a UUID such as"), "{error}");
    }
}
