//! Who and what the examples of the types are about.

use uuid::Uuid;

use crate::{ChannelId, ClientId, FileId, Generation, Millis, SessionId, UserId};

/// A moment in 2026.
pub(crate) const AT: Millis = 1_780_000_000_000;

const fn id(last: u128) -> Uuid {
    Uuid::from_u128(0x0199_f3a0_5d10_7c4e_8b21_0000_0000_0000 + last)
}

pub(crate) const GENERAL: ChannelId = ChannelId(id(0xC1));
pub(crate) const ADA: UserId = UserId(id(0xA1));
pub(crate) const GRACE: UserId = UserId(id(0xA2));
pub(crate) const SESSION: SessionId = SessionId(id(0x51));
pub(crate) const PLAN: FileId = FileId(id(0xF1));
pub(crate) const COMMAND: ClientId = ClientId(id(0xD1));
pub(crate) const LIFE: Generation = Generation(id(0xE1));

/// What the field `tag` of a type may say, by the type's own description: every variant's name.
#[cfg(test)]
pub(crate) fn tags<T: utoipa::PartialSchema>(tag: &str) -> std::collections::BTreeSet<String> {
    let schema = serde_json::to_value(T::schema()).expect("serialises");
    let variants = schema["oneOf"].as_array().expect("one variant or another");
    let tag_of = |variant: &serde_json::Value| -> Option<String> {
        let parts = variant["allOf"].as_array().map_or(std::slice::from_ref(variant), Vec::as_slice);
        let mut tags = parts.iter().map(|part| &part["properties"][tag]);
        tags.find_map(|tag| tag["const"].as_str().or_else(|| tag["enum"][0].as_str())).map(str::to_owned)
    };
    variants.iter().map(|variant| tag_of(variant).expect("a variant has the tag")).collect()
}
