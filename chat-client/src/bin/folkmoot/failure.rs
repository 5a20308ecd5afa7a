//! What went wrong, what to do next, and the exit code.

use std::{fmt, io, process::ExitCode};

use chat_client::{End, RestError, SendError};
use chat_protocol::ErrorCode;
use serde_json::json;

use crate::text;

/// Nobody is signed in, or not any more.
#[derive(Debug)]
pub(crate) struct NotSignedIn {
    /// How to call the program, with the profile when it is not the default one.
    pub(crate) command: String,
}

impl fmt::Display for NotSignedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not signed in: run `{} login --user HANDLE` first", self.command)
    }
}

impl std::error::Error for NotSignedIn {}

/// Prints the error, unless it is only that nobody reads the output any more; returns the exit code.
pub(crate) fn report(error: &anyhow::Error, json: bool, command: &str) -> ExitCode {
    if error.chain().any(is_broken_pipe) {
        return ExitCode::SUCCESS;
    }
    let signed_out = error.chain().any(needs_sign_in);
    let mut message = text::one_line(&chain(error));
    if let Some(hint) = hint(error, signed_out, command) {
        message = format!("{message}\n{hint}");
    }
    if json {
        let rest = error.chain().find_map(|cause| cause.downcast_ref::<RestError>());
        let code = if signed_out { Some(ErrorCode::Unauthenticated) } else { rest.and_then(RestError::code) };
        let retryable = rest.is_some_and(RestError::retryable);
        eprintln!("{}", json!({"error": {"message": message, "code": code, "retryable": retryable}}));
    } else {
        eprintln!("error: {message}");
    }
    ExitCode::from(if signed_out { 3 } else { 1 })
}

/// All causes, each one once: some libraries print their source themselves.
fn chain(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if message.is_empty() {
            message = cause;
        } else if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    message
}

fn needs_sign_in(cause: &(dyn std::error::Error + 'static)) -> bool {
    let ended = |end: &End| matches!(end, End::SignedOut | End::SessionRevoked);
    if let Some(rest) = cause.downcast_ref::<RestError>() {
        return rest.code() == Some(ErrorCode::Unauthenticated);
    }
    if let Some(SendError::Ended(end)) = cause.downcast_ref::<SendError>() {
        return ended(end);
    }
    cause.is::<NotSignedIn>() || cause.downcast_ref::<End>().is_some_and(ended)
}

fn hint(error: &anyhow::Error, signed_out: bool, command: &str) -> Option<String> {
    if signed_out {
        let explained = error.chain().any(|cause| cause.is::<NotSignedIn>());
        return (!explained).then(|| format!("sign in again: `{command} login --user HANDLE`"));
    }
    match error.chain().find_map(|cause| cause.downcast_ref::<RestError>())? {
        RestError::Request { source, .. } if source.is_connect() => Some(
            "is the server running? `chat-server dev` starts one on http://127.0.0.1:8080; --url names another"
                .to_owned(),
        ),
        RestError::Request { source, .. } if source.is_decode() => {
            Some("is this a Folkmoot server? --url names another".to_owned())
        }
        error if error.retryable() => Some("the server is busy or away: try again in a moment".to_owned()),
        _ => None,
    }
}

fn is_broken_pipe(cause: &(dyn std::error::Error + 'static)) -> bool {
    cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
