//! Times as chat-server writes them: milliseconds since the epoch. For `#[serde(with)]`.

use jiff::Timestamp;
use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

pub(super) fn serialize<S: Serializer>(time: &Timestamp, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_i64(time.as_millisecond())
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Timestamp, D::Error> {
    Timestamp::from_millisecond(i64::deserialize(from)?).map_err(D::Error::custom)
}

/// The same, of a time that may be absent.
pub(super) mod optional {
    use jiff::Timestamp;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    #[expect(clippy::ref_option, reason = "serde calls it so")]
    pub(in crate::keys) fn serialize<S: Serializer>(
        time: &Option<Timestamp>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => to.serialize_some(&time.as_millisecond()),
            None => to.serialize_none(),
        }
    }

    pub(in crate::keys) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        Option::<i64>::deserialize(from)?
            .map(|time| Timestamp::from_millisecond(time).map_err(D::Error::custom))
            .transpose()
    }
}
