//! `POST /drain`: the operator wants the sockets of this process elsewhere before it ends the process.

use std::{io, path::Path, sync::atomic::Ordering, time::Duration};

use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use chat_http::{BearerToken, HttpError};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncReadExt as _;

use super::AdminState;

/// Longest time until sockets are asked to leave, in seconds.
const MAX_AFTER: u64 = 300;
/// Larger files hold no token, in bytes.
const MAX_TOKEN_FILE: u64 = 4_096;

/// How it is asked for.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    /// Seconds until upgrades are refused and sockets are asked to leave: until load balancers have heard that this process
    /// is not ready any more.
    #[serde(default = "five")]
    after: u64,
}

const fn five() -> u64 {
    5
}

/// The answer to `POST /drain`.
#[derive(Debug, Serialize)]
struct Draining {
    draining: bool,
    /// Sockets that are open now.
    connections: usize,
}

pub(super) async fn drain(
    State(state): State<AdminState>,
    given: Result<BearerToken, HttpError>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Response {
    let token = match token(&state.token_file).await {
        Ok(token) => token,
        Err(error) => {
            tracing::error!(%error, file = %state.token_file.display(), "the token for /drain cannot be read");
            return (StatusCode::SERVICE_UNAVAILABLE, "the token cannot be read here\n").into_response();
        }
    };
    if !given.is_ok_and(|BearerToken(given)| same(&given, &token)) {
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
        return (StatusCode::UNAUTHORIZED, challenge, "not the token of this chat\n").into_response();
    }
    let after = match asked {
        Ok(Query(Asked { after })) if after <= MAX_AFTER => Duration::from_secs(after),
        _ => {
            return (StatusCode::BAD_REQUEST, "after must be a number of seconds from 0 to 300\n")
                .into_response();
        }
    };
    let Some(gateway) = &state.gateway else {
        return (StatusCode::CONFLICT, "this process has not the role gateway\n").into_response();
    };
    state.ready.store(false, Ordering::Release);
    gateway.begin_drain(after);
    let draining = Draining { draining: true, connections: gateway.connections() };
    (StatusCode::ACCEPTED, Json(draining)).into_response()
}

/// The first line of a file that somebody may replace while the process runs.
async fn token(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    tokio::fs::File::open(file).await?.take(MAX_TOKEN_FILE).read_to_string(&mut text).await?;
    match text.lines().next().map(str::trim) {
        Some(token) if !token.is_empty() => Ok(token.to_owned()),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "no token on the first line")),
    }
}

/// Whether two secrets are the same, in a time that reveals nothing of where they differ: what is compared are hashes, which
/// nobody who guesses can steer, and all of their bytes.
fn same(given: &str, expected: &str) -> bool {
    let (given, expected) = (Sha256::digest(given), Sha256::digest(expected));
    given.iter().zip(&expected).fold(0, |differ, (a, b)| std::hint::black_box(differ | (a ^ b))) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_the_token() {
        for (given, expected) in [("abc", true), ("ab", false), ("abcd", false), ("", false), ("ABC", false)]
        {
            assert_eq!(same(given, "abc"), expected, "{given:?}");
        }
    }

    #[tokio::test]
    async fn the_first_line_of_the_file_counts() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("token");
        assert!(token(&file).await.is_err(), "it is not there");
        for (text, expected) in
            [("abc", Some("abc")), (" abc \nmore\n", Some("abc")), ("", None), ("\nabc", None)]
        {
            std::fs::write(&file, text).expect("is written");
            assert_eq!(token(&file).await.ok().as_deref(), expected, "{text:?}");
        }
    }
}
