//! A channel's log, the messages in it, and how far one has read.

#![allow(unused_qualifications, reason = "utoipa::path qualifies the types of parameters")]

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use chat_auth::Authenticated;
use chat_domain::chat::{ChatError, EventsPage, bad_cursor, event_json};
use chat_http::{HttpError, IdempotencyKey, JsonBody, PathParams, QueryParams, connection::Shares, problems};
use chat_protocol::{
    ChannelId, ClientId, Event, Seq, limits,
    rest::{Committed, EditMessage, MarkRead, Message, Page, ReadMarker, SendMessage},
};
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{ApiState, page_limit};

/// About what a message or an event has at most: its text, and what is around it.
const MAX_ITEM_BYTES: usize = limits::MAX_TEXT_BYTES + 1024;

/// The routes of this module.
pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list_events))
        .routes(routes!(list_messages, send_message))
        .routes(routes!(edit_message, delete_message))
        .routes(routes!(add_reaction, remove_reaction))
        .routes(routes!(get_read_marker, set_read_marker))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListEvents {
    /// The last seq that the client has; 0 when absent.
    after: Option<Seq>,
    /// `next` of the page before, instead of `after`.
    cursor: Option<String>,
    /// Items on a page, 1 to 200; 50 when absent.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListMessages {
    /// `next` of the page before.
    cursor: Option<String>,
    /// Items on a page, 1 to 200; 50 when absent.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
}

/// A channel's log after a position, ascending.
#[utoipa::path(
    get, path = "/v1/channels/{channel}/events", tag = "messages", security(("bearer" = [])),
    params(("channel" = ChannelId, Path, description = "Id of the channel"), ListEvents),
    responses(
        (status = 200, description = "A page of events", body = Page<Event>),
        problems::SignedIn, problems::Limits, problems::Denied, problems::Missing,
    ),
)]
async fn list_events(
    State(state): State<ApiState>,
    Authenticated(actor): Authenticated,
    shares: Shares,
    PathParams(channel): PathParams<ChannelId>,
    QueryParams(query): QueryParams<ListEvents>,
) -> Result<Response, HttpError> {
    let after = match query.cursor.as_deref() {
        Some(cursor) => position(cursor)?,
        None => query.after.unwrap_or(0),
    };
    let limit = page_limit(query.limit)?;
    shares.page(limit * MAX_ITEM_BYTES).await?;
    let page = state.chat.events(&actor, channel, after, limit).await?;
    let json = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    Ok((json, events_json(&page)).into_response())
}

/// A channel's messages, newest first, with edits and deletions applied.
#[utoipa::path(
    get, path = "/v1/channels/{channel}/messages", tag = "messages", security(("bearer" = [])),
    params(("channel" = ChannelId, Path, description = "Id of the channel"), ListMessages),
    responses(
        (status = 200, description = "A page of messages", body = Page<Message>),
        problems::SignedIn, problems::Limits, problems::Denied, problems::Missing,
    ),
)]
async fn list_messages(
    State(state): State<ApiState>,
    Authenticated(actor): Authenticated,
    shares: Shares,
    PathParams(channel): PathParams<ChannelId>,
    QueryParams(query): QueryParams<ListMessages>,
) -> Result<Json<Page<Message>>, HttpError> {
    let before = query.cursor.as_deref().map_or(Ok(Seq::MAX), position)?;
    let limit = page_limit(query.limit)?;
    shares.page(limit * MAX_ITEM_BYTES).await?;
    Ok(Json(state.chat.messages(&actor, channel, before, limit).await?))
}

/// Sends a message. The same key again, within 24 hours, answers with the first one's position.
#[utoipa::path(
    post, path = "/v1/channels/{channel}/messages", tag = "messages", security(("bearer" = [])),
    params(
        ("channel" = ChannelId, Path, description = "Id of the channel"),
        ("Idempotency-Key" = ClientId, Header, description = "Makes it idempotent for 24 hours"),
    ),
    request_body = SendMessage,
    responses(
        (status = 201, description = "Committed", body = Committed),
        problems::SignedIn, problems::JsonBody, problems::Denied, problems::Missing, problems::Clash,
    ),
)]
async fn send_message(
    State(state): State<ApiState>,
    Authenticated(actor): Authenticated,
    PathParams(channel): PathParams<ChannelId>,
    IdempotencyKey(id): IdempotencyKey,
    JsonBody(message): JsonBody<SendMessage>,
) -> Result<(StatusCode, Json<Committed>), HttpError> {
    state.chat.rates().command(actor.user)?;
    let committed = state.chat.send(&actor, channel, id, message.text, message.files, message.seen).await?;
    Ok((StatusCode::CREATED, Json(committed)))
}

/// Gives one's own message a new text.
#[utoipa::path(
    patch, path = "/v1/channels/{channel}/messages/{seq}", tag = "messages", security(("bearer" = [])),
    params(
        ("channel" = ChannelId, Path, description = "The message's channel"),
        ("seq" = Seq, Path, description = "The message's seq"),
        ("Idempotency-Key" = ClientId, Header, description = "Makes it idempotent for 24 hours"),
    ),
    request_body = EditMessage,
    responses(
        (status = 200, description = "Committed", body = Committed),
        problems::SignedIn, problems::JsonBody, problems::Denied, problems::Missing, problems::Clash,
    ),
)]
async fn edit_message(
    State(state): State<ApiState>,
    Authenticated(actor): Authenticated,
    PathParams((channel, seq)): PathParams<(ChannelId, Seq)>,
    IdempotencyKey(id): IdempotencyKey,
    JsonBody(message): JsonBody<EditMessage>,
) -> Result<Json<Committed>, HttpError> {
    state.chat.rates().command(actor.user)?;
    Ok(Json(state.chat.edit(&actor, channel, id, seq, message.text).await?))
}

/// Deletes a message and scrubs its text.
#[utoipa::path(
    delete, path = "/v1/channels/{channel}/messages/{seq}", tag = "messages", security(("bearer" = [])),
    params(
        ("channel" = ChannelId, Path, description = "The message's channel"),
        ("seq" = Seq, Path, description = "The message's seq"),
        ("Idempotency-Key" = ClientId, Header, description = "Makes it idempotent for 24 hours"),
    ),
    responses(
        (status = 200, description = "Committed", body = Committed),
        problems::SignedIn, problems::Limits, problems::Denied, problems::Missing, problems::Clash,
    ),
)]
async fn delete_message(
    State(state): State<ApiState>,
    Authenticated(actor): Authenticated,
    PathParams((channel, seq)): PathParams<(ChannelId, Seq)>,
    IdempotencyKey(id): IdempotencyKey,
) -> Result<Json<Committed>, HttpError> {
    state.chat.rates().command(actor.user)?;
    Ok(Json(state.chat.delete(&actor, channel, id, seq).await?))
}

/// Reacts to a message with an emoji.
#[utoipa::path(
    put, path = "/v1/channels/{channel}/messages/{seq}/reactions/{emoji}", tag = "messages",
    security(("bearer" = [])),
    params(
        ("channel" = ChannelId, Path, description = "The message's channel"),
        ("seq" = Seq, Path, description = "The message's seq"),
        ("emoji" = String, Path, description = "With what: percent-encoded UTF-8", min_length = 1, max_length = 64),
        ("Idempotency-Key" = ClientId, Header, description = "Makes it idempotent for 24 hours"),
    ),
    responses(
        (status = 200, description = "Committed", body = Committed),
        problems::SignedIn, problems::Limits, problems::Denied, problems::Missing, problems::Clash,
    ),
)]
async fn add_reaction(
    State(state): State<ApiState>,
    Authenticated(actor): Authenticated,
    PathParams((channel, seq, emoji)): PathParams<(ChannelId, Seq, String)>,
    IdempotencyKey(id): IdempotencyKey,
) -> Result<Json<Committed>, HttpError> {
    state.chat.rates().command(actor.user)?;
    Ok(Json(state.chat.react(&actor, channel, id, seq, emoji, false).await?))
}

/// Takes one's reaction to a message back.
#[utoipa::path(
    delete, path = "/v1/channels/{channel}/messages/{seq}/reactions/{emoji}", tag = "messages",
    security(("bearer" = [])),
    params(
        ("channel" = ChannelId, Path, description = "The message's channel"),
        ("seq" = Seq, Path, description = "The message's seq"),
        ("emoji" = String, Path, description = "With what: percent-encoded UTF-8", min_length = 1, max_length = 64),
        ("Idempotency-Key" = ClientId, Header, description = "Makes it idempotent for 24 hours"),
    ),
    responses(
        (status = 200, description = "Committed", body = Committed),
        problems::SignedIn, problems::Limits, problems::Denied, problems::Missing, problems::Clash,
    ),
)]
async fn remove_reaction(
    State(state): State<ApiState>,
    Authenticated(actor): Authenticated,
    PathParams((channel, seq, emoji)): PathParams<(ChannelId, Seq, String)>,
    IdempotencyKey(id): IdempotencyKey,
) -> Result<Json<Committed>, HttpError> {
    state.chat.rates().command(actor.user)?;
    Ok(Json(state.chat.react(&actor, channel, id, seq, emoji, true).await?))
}

/// How far the asking user has read.
#[utoipa::path(
    get, path = "/v1/channels/{channel}/read", tag = "messages", security(("bearer" = [])),
    params(("channel" = ChannelId, Path, description = "Id of the channel")),
    responses(
        (status = 200, description = "The marker", body = ReadMarker),
        problems::SignedIn, problems::Parameters, problems::Denied, problems::Missing,
    ),
)]
async fn get_read_marker(
    State(state): State<ApiState>,
    Authenticated(actor): Authenticated,
    PathParams(channel): PathParams<ChannelId>,
) -> Result<Json<ReadMarker>, HttpError> {
    let seq = state.chat.read_marker(&actor, channel).await?;
    Ok(Json(ReadMarker { seq }))
}

/// Moves the read marker forward; it never goes back. All devices of the user are notified.
#[utoipa::path(
    put, path = "/v1/channels/{channel}/read", tag = "messages", security(("bearer" = [])),
    params(("channel" = ChannelId, Path, description = "Id of the channel")), request_body = MarkRead,
    responses(
        (status = 200, description = "The marker as it is now", body = ReadMarker),
        problems::SignedIn, problems::JsonBody, problems::Denied, problems::Missing,
    ),
)]
async fn set_read_marker(
    State(state): State<ApiState>,
    Authenticated(actor): Authenticated,
    PathParams(channel): PathParams<ChannelId>,
    JsonBody(marker): JsonBody<MarkRead>,
) -> Result<Json<ReadMarker>, HttpError> {
    let seq = state.chat.mark_read(&actor, channel, marker.seq).await?;
    Ok(Json(ReadMarker { seq }))
}

fn position(cursor: &str) -> Result<Seq, ChatError> {
    cursor.parse().map_err(|_| bad_cursor())
}

/// [`Page`] of [`Event`] with each event as it was stored, so that kinds of a newer version pass through.
fn events_json(page: &EventsPage) -> String {
    let events: Vec<String> = page.items.iter().map(|event| event_json(event, false)).collect();
    let next = page.next.map(|seq| format!(r#","next":"{seq}""#)).unwrap_or_default();
    format!(r#"{{"items":[{}]{next}}}"#, events.join(","))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chat_protocol::UserId;

    use super::*;
    use chat_domain::store::StoredEvent;

    #[test]
    fn a_page_of_raw_events_is_a_page_of_events() {
        let event = |seq, body: &str| StoredEvent {
            channel: ChannelId::new(),
            seq,
            at: 7,
            by: UserId::new(),
            id: Some(ClientId::new()),
            body: Arc::from(body),
            counts: None,
        };
        let future = r#"{"kind":"pin","target":1,"mark":"👍"}"#;
        let items = vec![event(1, r#"{"kind":"message","text":"hi"}"#), event(2, future)];
        let text = events_json(&EventsPage { items, next: Some(2) });
        assert!(text.contains("👍"), "{text}");
        let page: Page<Event> = serde_json::from_str(&text).expect("a page");
        assert_eq!((page.items.len(), page.next.as_deref()), (2, Some("2")));
        let empty: Page<Event> =
            serde_json::from_str(&events_json(&EventsPage { items: vec![], next: None })).expect("a page");
        assert_eq!(empty, Page { items: vec![], next: None });
    }
}
