//! Answers say of which generation of the store they are.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use chat_domain::chat::Chat;
use chat_protocol::GENERATION_HEADER;
use http::{HeaderName, HeaderValue};

/// The header's name.
const GENERATION: HeaderName = HeaderName::from_static(GENERATION_HEADER);

/// These routes, whose answers under `/v1` carry the generation of `chat`'s store.
pub fn stamped(routes: Router, chat: Arc<Chat>) -> Router {
    routes.layer(from_fn_with_state(chat, stamp))
}

async fn stamp(State(chat): State<Arc<Chat>>, request: Request, next: Next) -> Response {
    // Before the request is served: what is read of a newer one than it says is asked for again, and does no harm. The
    // other way round a client would take the answer for the newer one's.
    let generation = chat.generation().filter(|_| request.uri().path().starts_with("/v1/"));
    let mut response = next.run(request).await;
    if let Some(value) = generation.and_then(|id| HeaderValue::from_str(&id.to_string()).ok()) {
        response.headers_mut().insert(GENERATION, value);
    }
    response
}
