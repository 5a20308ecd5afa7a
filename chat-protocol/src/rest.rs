//! Bodies of the REST interface. Errors are [`crate::Problem`].
//!
//! What a request brings has no fields but these: one that is misspelt would do nothing, and be answered as if it had. An answer may
//! have fields that are not here yet, which a client ignores.

use serde::{Deserialize, Serialize};

pub use crate::event::Message;
use crate::{ChannelId, ChannelKind, FileId, InvitationId, Millis, Seq, SessionId, UserId};

/// One page of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Page<T> {
    /// The items, in the order that the listing documents.
    pub items: Vec<T>,
    /// Pass it as `cursor` to get the next page; absent on the last one. Opaque.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What a user may do in the organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub enum Role {
    /// Everything; the first account.
    Owner,
    /// Manages people and channels.
    Admin,
    /// Creates and joins channels.
    Member,
    /// Only the channels they were added to.
    Guest,
    /// A program: like a member, but signs in with a token only.
    Bot,
}

/// A person or bot, as everybody in the organisation may see them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct User {
    /// Id of the user.
    pub id: UserId,
    /// Unique name for signing in and mentions: lower-case letters, digits, `.`, `_`, `-`.
    pub handle: String,
    /// Name to show.
    pub display_name: String,
    /// What they may do.
    pub role: Role,
    /// When the account was made.
    pub created_at: Millis,
    /// The account was closed; it cannot sign in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deactivated: bool,
}

/// `PATCH /v1/users/{id}`: absent fields stay as they are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct UpdateUser {
    /// New name to show; one's own, or by an admin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// New role; by an admin, below their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Close or reopen the account; by an admin. Closing revokes all sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deactivated: Option<bool>,
}

/// Body of `POST /v1/auth/register`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RegisterRequest {
    /// 2 to 32 of `a-z 0-9 . _ -`, starting with a letter or digit. Upper case is folded.
    #[cfg_attr(feature = "schema", schema(min_length = 2, max_length = 32))]
    pub handle: String,
    /// 8 characters to 256 bytes that can be typed (RFC 8265); anything else goes.
    #[cfg_attr(feature = "schema", schema(min_length = 8, max_length = 256))]
    pub password: String,
    /// Name to show; the handle when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Name of the device, for the list of sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Code of an invitation, which also says the role. Needed where registration is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invitation: Option<String>,
}

/// Body of `POST /v1/invitations`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CreateInvitation {
    /// Role of the accounts that are made with it; `member` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// How many accounts may be made, 1 to 1000; 1 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 1000))]
    pub uses: Option<u32>,
    /// How long it is good, in seconds: 60 to 2592000 (30 days); 604800 (7 days) when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(minimum = 60, maximum = 2_592_000))]
    pub expires_in: Option<u64>,
    /// For whoever reads the list, such as whom it is for; at most 100 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(max_length = 100))]
    pub note: Option<String>,
}

/// An invitation that is still good, without its code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Invitation {
    /// Id of the invitation.
    pub id: InvitationId,
    /// Whose password it sets; absent when accounts are made with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<UserId>,
    /// Role of the accounts that are made with it; of `account`, when it was made.
    pub role: Role,
    /// How often it can still be used.
    pub uses_left: u32,
    /// Who made it; absent when it was the server's command line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<UserId>,
    /// When it was made.
    pub created_at: Millis,
    /// When it ends.
    pub expires_at: Millis,
    /// What its maker wrote about it; may be empty.
    pub note: String,
}

/// A new invitation. Its code is shown this once.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NewInvitation {
    /// What it is.
    pub invitation: Invitation,
    /// Whoever has it may use it: for `invitation` of `POST /v1/auth/register`, or for `POST /v1/auth/redeem` when it sets a
    /// password. In the web client: `/#invitation=CODE` or `/#password=CODE`.
    pub code: String,
}

/// Body of `POST /v1/users`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CreateUser {
    /// 2 to 32 of `a-z 0-9 . _ -`, starting with a letter or digit. Upper case is folded.
    #[cfg_attr(feature = "schema", schema(min_length = 2, max_length = 32))]
    pub handle: String,
    /// Name to show; the handle when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// What they may do; `member` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
}

/// An account that somebody else made, and what its person sets the first password with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CreatedUser {
    /// The account that was made.
    pub user: User,
    /// Good for 7 days and one password.
    pub password: NewInvitation,
}

/// Body of `POST /v1/auth/redeem`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RedeemRequest {
    /// Code of an invitation that sets a password.
    pub code: String,
    /// The new password: 8 characters to 256 bytes.
    #[cfg_attr(feature = "schema", schema(min_length = 8, max_length = 256))]
    pub password: String,
    /// Name of the device, for the list of sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

/// Body of `POST /v1/auth/login`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LoginRequest {
    /// The account's handle.
    pub handle: String,
    /// The account's password.
    pub password: String,
    /// Name of the device, for the list of sessions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
}

/// Body of `POST /v1/auth/refresh`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct RefreshRequest {
    /// The newest refresh token of the session. Using an older one revokes the session.
    pub refresh_token: String,
}

/// `POST /v1/auth/password`. Revokes every other session of the user.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct PasswordRequest {
    /// The password so far.
    pub current: String,
    /// The new one: 8 characters to 256 bytes.
    #[cfg_attr(feature = "schema", schema(min_length = 8, max_length = 256))]
    pub new: String,
}

/// Tokens of a session, after register, login and refresh.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TokenResponse {
    /// EdDSA JWT for `Authorization: Bearer` and `hello`.
    pub access_token: String,
    /// Always `Bearer` (RFC 6749 §7.1).
    pub token_type: String,
    /// Life of the access token, in seconds.
    pub expires_in: u64,
    /// For `/v1/auth/refresh`, once.
    pub refresh_token: String,
    /// Id of the session.
    pub session: SessionId,
    /// Who signed in.
    pub user: User,
}

/// A login on one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SessionInfo {
    /// Id of the session.
    pub id: SessionId,
    /// When it began.
    pub created_at: Millis,
    /// When its tokens were last refreshed.
    pub used_at: Millis,
    /// Name of the device, as the client gave it.
    pub device: String,
    /// The session that asks.
    pub current: bool,
}

/// A channel, as the asking user may see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Channel {
    /// Id of the channel.
    pub id: ChannelId,
    /// Who may see and join it.
    pub kind: ChannelKind,
    /// Its name; direct and group channels have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it is about.
    pub topic: String,
    /// Whether it is archived, that is, read-only.
    pub archived: bool,
    /// Who made it.
    pub created_by: UserId,
    /// When the channel was made.
    pub created_at: Millis,
    /// The last event's seq.
    pub head: Seq,
    /// The last seq the asking user has seen; absent when they are not a member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read: Option<Seq>,
    /// Messages of others after `read` that still stand, counted as in `welcome`; absent when the asking user is not a member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<u64>,
    /// The members of a direct or group channel; empty for the other kinds (they have a listing).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<UserId>,
}

/// `POST /v1/channels`: a public or private channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CreateChannel {
    /// `public` or `private`; direct and group channels are made at `/v1/dms`.
    pub kind: ChannelKind,
    /// 1 to 80 characters, no control characters; that of a public channel is unique among public ones, without regard
    /// to case.
    pub name: String,
    /// At most 250 characters.
    #[serde(default)]
    pub topic: String,
    /// Members to begin with, besides the creator; at most 100.
    #[serde(default)]
    pub members: Vec<UserId>,
}

/// `PATCH /v1/channels/{id}`: absent fields stay as they are; each change is an event.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct UpdateChannel {
    /// The new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The new topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// Archive it, or bring it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archived: Option<bool>,
}

/// `POST /v1/dms`: finds or makes the direct or group channel of these users and oneself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct OpenDirect {
    /// The others: one for a direct channel, 2 to 15 for a group, none for a channel with oneself.
    pub users: Vec<UserId>,
}

/// Body of `POST /v1/channels/{id}/members`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AddMembers {
    /// Whom to add; those who are members already stay so. At most 100.
    pub users: Vec<UserId>,
}

/// A member of a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Member {
    /// Id of the member.
    pub user: UserId,
    /// The seq of the event with which they joined.
    pub since: Seq,
}

/// `POST /v1/channels/{id}/messages`, with an `Idempotency-Key` header that holds a UUID.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SendMessage {
    /// Text of the message, as Markdown source.
    pub text: String,
    /// Files uploaded to the same channel before; at most 10.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileId>,
    /// The last seq of the channel that the sender had seen. If nobody else has written since, their read marker moves
    /// to the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Seq>,
}

/// `PATCH /v1/channels/{id}/messages/{seq}`, with an `Idempotency-Key` header that holds a UUID.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct EditMessage {
    /// The new Markdown source.
    pub text: String,
}

/// A committed command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Committed {
    /// The channel whose log has the event.
    pub channel: ChannelId,
    /// The event's position; for a repeated `Idempotency-Key`, the first one's.
    pub seq: Seq,
    /// When it was committed.
    pub at: Millis,
    /// An earlier request with the same key did it.
    pub duplicate: bool,
}

/// Up to where the asking user has read: `PUT /v1/channels/{id}/read`. It answers a [`ReadMarker`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct MarkRead {
    /// The last event that was read.
    pub seq: Seq,
}

/// The asking user's read marker: `GET` and `PUT /v1/channels/{id}/read`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct ReadMarker {
    /// The last seq that was seen. A `PUT` never moves it back.
    pub seq: Seq,
}
/// Shows these fields, and none that lets anybody sign in.
macro_rules! hide_secrets {
    ($($type:ident { $($shown:ident),* })*) => {$(
        impl std::fmt::Debug for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($type))$(.field(stringify!($shown), &self.$shown))*.finish_non_exhaustive()
            }
        }
    )*};
}

hide_secrets! {
    RegisterRequest { handle, display_name, device }
    LoginRequest { handle, device }
    RefreshRequest {}
    PasswordRequest {}
    NewInvitation { invitation }
    RedeemRequest { device }
    TokenResponse { expires_in, session, user }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lets_somebody_sign_in_is_not_printed() {
        let login = LoginRequest {
            handle: "ada".into(),
            password: "correct horse".into(),
            device: Some("phone".into()),
        };
        assert_eq!(format!("{login:?}"), r#"LoginRequest { handle: "ada", device: Some("phone"), .. }"#);
        let refresh = RefreshRequest { refresh_token: "secret".into() };
        assert_eq!(format!("{refresh:?}"), "RefreshRequest { .. }");
    }
}
