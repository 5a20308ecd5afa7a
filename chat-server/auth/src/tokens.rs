//! Access tokens: EdDSA JWTs (RFC 7519, RFC 8037 §3.1) of minutes.

use std::time::Duration;

use chat_domain::chat::{Actor, ChatError, now_ms};
use chat_protocol::{ErrorCode, Millis, SessionId, UserId, rest::Role};
use jsonwebtoken::{Algorithm, Header, Validation, errors::ErrorKind};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::keys::Key;

/// No access token lives longer, whatever the configuration says. So a retired key is needed for no longer, and a
/// revoked session must be remembered for no longer.
pub const MAX_TOKEN_LIFE: Duration = Duration::from_secs(24 * 3_600);

/// What clocks of different machines may disagree by.
pub(super) const LEEWAY: Duration = Duration::from_secs(10);

/// Longest token that is looked at, in bytes; ours have about 400.
const MAX_TOKEN_BYTES: usize = 2_048;

const ISSUER: &str = "folkmoot";
const AUDIENCE: &str = "folkmoot";

/// The claims of an access token.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: UserId,
    sid: SessionId,
    role: Role,
    /// Absent in tokens of 0.1.0, whose holders had the role that they had at the beginning.
    #[serde(default)]
    auth_version: u64,
    iat: u64,
    exp: u64,
    jti: Uuid,
}

/// Signs a token for `actor` that lives for `life`, at most [`MAX_TOKEN_LIFE`].
pub(super) fn issue(key: &Key, actor: &Actor, life: Duration) -> Result<String, ChatError> {
    let iat = now_ms() / 1_000;
    let claims = Claims {
        iss: ISSUER.into(),
        aud: AUDIENCE.into(),
        sub: actor.user,
        sid: actor.session,
        role: actor.role,
        auth_version: actor.auth_version,
        iat,
        exp: iat + life.min(MAX_TOKEN_LIFE).as_secs(),
        jti: Uuid::new_v4(),
    };
    let header = Header { kid: Some(key.kid.clone()), ..Header::new(Algorithm::EdDSA) };
    jsonwebtoken::encode(&header, &claims, &key.encoding).map_err(|error| {
        tracing::error!(%error, kid = key.kid, "token could not be signed");
        ChatError::new(ErrorCode::Internal, "the token could not be signed; it was logged")
    })
}

/// What a token must say to be believed.
pub(super) fn validation() -> Validation {
    let mut validation = Validation::new(Algorithm::EdDSA);
    validation.leeway = LEEWAY.as_secs();
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation
}

/// The id of the key that a token says it is signed with.
pub(super) fn key_id(token: &str) -> Result<String, ChatError> {
    if token.len() > MAX_TOKEN_BYTES {
        return Err(unreadable());
    }
    let header = jsonwebtoken::decode_header(token).map_err(|_| unreadable())?;
    header.kid.ok_or_else(unreadable)
}

/// Checks signature and claims. Nothing that was issued before `since` is believed, since a restore has ended those
/// sessions; nothing that was issued later than now, by a clock that went wrong; and nothing for longer than `life`, whatever
/// life it was given.
pub(super) fn check(
    key: &Key,
    validation: &Validation,
    since: Millis,
    life: Duration,
    token: &str,
) -> Result<Actor, ChatError> {
    let claims =
        jsonwebtoken::decode::<Claims>(token, &key.decoding, validation).map_err(|e| match e.kind() {
            ErrorKind::ExpiredSignature => expired(),
            _ => unreadable(),
        })?;
    let Claims { sub: user, sid: session, role, auth_version, iat, exp, .. } = claims.claims;
    let now = now_ms() / 1_000;
    if iat > now.saturating_add(LEEWAY.as_secs()) || exp.saturating_sub(iat) > MAX_TOKEN_LIFE.as_secs() {
        return Err(unreadable());
    }
    if now > iat.saturating_add(life.as_secs()).saturating_add(LEEWAY.as_secs()) {
        return Err(expired());
    }
    if iat.saturating_mul(1_000) < since {
        return Err(ChatError::new(
            ErrorCode::Unauthenticated,
            "the server was restored from a backup; sign in again",
        ));
    }
    Ok(Actor { user, role, auth_version, session })
}

fn expired() -> ChatError {
    ChatError::new(ErrorCode::Unauthenticated, "the access token has expired; refresh it")
}

/// One answer for everything that is wrong with a token, so that nobody can probe what.
pub(super) fn unreadable() -> ChatError {
    ChatError::new(ErrorCode::Unauthenticated, "the access token was not signed by this server")
}

#[cfg(test)]
mod tests {
    use super::{super::keys::Times, *};

    #[test]
    fn a_token_of_a_clock_that_went_wrong_or_of_another_life_is_refused() {
        const LIFE: Duration = Duration::from_secs(600);
        let now = now_ms() / 1_000;
        let times = Times { created_at: 0, sign_from: 0, verify_until: None };
        let key = Key::new("one".into(), &[7; 32], times);
        let sign = |iat: u64, life: u64| {
            let claims = Claims {
                iss: ISSUER.into(),
                aud: AUDIENCE.into(),
                sub: UserId::new(),
                sid: SessionId::new(),
                role: Role::Owner,
                auth_version: 0,
                iat,
                exp: iat + life,
                jti: Uuid::nil(),
            };
            jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &key.encoding).expect("is signed")
        };
        let accepted = |iat, life| check(&key, &validation(), 0, LIFE, &sign(iat, life)).is_ok();
        assert!(accepted(now, 600));
        assert!(accepted(now + 5, 600), "clocks differ a little");
        assert!(!accepted(now + 3_600, 600), "a clock was ahead");
        assert!(accepted(now - 590, 3_600), "it was to live longer, and is young");
        assert!(!accepted(now - 700, 3_600), "it was to live longer");
        assert!(!accepted(now, 25 * 3_600), "nobody gives such a life");
        assert!(!accepted(now, u64::MAX - now), "nobody gives such a life");
    }

    #[test]
    fn a_token_of_an_older_server_has_version_0() {
        let claims = Claims {
            iss: ISSUER.into(),
            aud: AUDIENCE.into(),
            sub: UserId::new(),
            sid: SessionId::new(),
            role: Role::Admin,
            auth_version: 7,
            iat: 1,
            exp: 2,
            jti: Uuid::nil(),
        };
        let mut json = serde_json::to_value(&claims).expect("serialises");
        let read = |json: &serde_json::Value| {
            serde_json::from_value::<Claims>(json.clone()).map(|claims| claims.auth_version).ok()
        };
        assert_eq!(read(&json), Some(7));
        json.as_object_mut().expect("is an object").remove("auth_version");
        assert_eq!(read(&json), Some(0));
    }
}
