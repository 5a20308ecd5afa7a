//! The REST API, the files and the web client: the role `api`.
//!
//! In reading order: `users`, `channels`, `messages` and `files` are the routes (`receive`, `sniff`, `names`, `range` and
//! `conditional` are what files are made of), `openapi` and `asyncapi` describe all doors, `web` serves the browser.

pub mod asyncapi;
mod channels;
mod conditional;
mod files;
mod generation;
mod invitations;
mod messages;
mod names;
pub mod openapi;
mod range;
mod receive;
mod sniff;
mod users;
mod web;

use std::sync::Arc;

use axum::{Extension, Router, extract::FromRef};
use chat_auth::{Auth, TokenVerifier};
use chat_domain::chat::{Chat, ChatError, Files};
use chat_protocol::limits;
use utoipa_axum::{router::OpenApiRouter, routes};

pub use generation::stamped;

use openapi::{Description, RestDescription};
use receive::Uploads;

/// Uploads in progress at one time; each holds a file open and about 128 KiB. More are answered `overloaded`.
const MAX_UPLOADS: usize = 32;

/// What the routes need.
#[derive(Clone)]
pub struct ApiState {
    /// The domain's operations.
    pub chat: Arc<Chat>,
    /// Says whose a request is.
    pub verifier: TokenVerifier,
    /// What people upload.
    pub files: Arc<Files>,
    /// Changes the accounts of people.
    pub auth: Arc<Auth>,
    /// Largest file, in bytes; at most [`limits::MAX_FILE_BYTES`] is promised to clients.
    pub max_file_bytes: u64,
    /// Uploads of one person that may go on at one time.
    pub uploads_at_once: usize,
}

impl FromRef<ApiState> for TokenVerifier {
    fn from_ref(state: &ApiState) -> Self {
        state.verifier.clone()
    }
}

/// The routes of the role `api`, with the web client and the two descriptions. Pass it, merged with the other roles',
/// through [`chat_http::harden`].
pub fn router(state: ApiState) -> Router {
    let description = RestDescription(Description::new(&openapi::document()));
    let (rest, _) = routes().split_for_parts();
    rest.layer(Extension(Uploads::new(MAX_UPLOADS, state.uploads_at_once)))
        .layer(Extension(description))
        .with_state(state)
        .merge(web::router())
}

/// The described routes.
fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .merge(invitations::routes())
        .merge(users::routes())
        .merge(channels::routes())
        .merge(messages::routes())
        .merge(files::routes())
        .routes(routes!(openapi::get_openapi))
        .routes(routes!(asyncapi::get_asyncapi))
}

/// How many items a page has.
fn page_limit(asked: Option<usize>) -> Result<usize, ChatError> {
    match asked {
        None => Ok(limits::DEFAULT_PAGE),
        Some(limit) if (1..=limits::MAX_PAGE).contains(&limit) => Ok(limit),
        Some(_) => Err(ChatError::invalid(format!("limit must be from 1 to {}", limits::MAX_PAGE))),
    }
}
