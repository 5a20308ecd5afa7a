//! Typed identifiers. All are UUIDs, written in lower-case hyphenated form.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
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

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
                Uuid::parse_str(s).map(Self).map_err(|_| ParseIdError { what: $what })
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
