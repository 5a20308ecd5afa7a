//! Files: upload, description, download.

#![allow(unused_qualifications, reason = "utoipa::path qualifies the types of parameters")]

use axum::{
    Extension, Json,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use chat_auth::Authenticated;
use chat_domain::{
    chat::{ChatError, Upload},
    store::FileRow,
};
use chat_http::{HttpError, PathParams, QueryParams, StillAllowed, connection::Shares, problems};
use chat_protocol::{ChannelId, ErrorCode, FileId, FileRef};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde::Deserialize;
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, schema::Type},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    ApiState,
    conditional::{none_match, range_applies},
    names::content_disposition,
    range::{Wanted, wanted},
    receive::{Received, Uploads, receive, too_large},
    sniff::is_plain_image,
};

/// The routes of this module.
pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(upload_file))
        .routes(routes!(get_file))
        .routes(routes!(get_file_content))
}

/// Should a browser render a file after all, then with nothing allowed and in an origin of its own.
const SANDBOX: HeaderValue = HeaderValue::from_static("default-src 'none'; sandbox");

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct UploadFile {
    /// The channel whose readers may read it.
    #[param(value_type = String, format = "uuid")]
    channel: ChannelId,
    /// Its name; a path before it and control characters are dropped, and the middle of a very long one.
    name: String,
}

/// Uploads a file to a channel: the raw bytes are the body. Attach it to a message of that channel by its id.
#[utoipa::path(
    post, path = "/v1/files", tag = "files", params(UploadFile), security(("bearer" = [])),
    request_body(content_type = "application/octet-stream", description = "At most 25 MiB, not empty", content = RawBytes),
    responses(
        (status = 201, description = "Kept", body = FileRef),
        problems::SignedIn, problems::Upload, problems::Denied, problems::Missing, problems::Clash,
    ),
)]
async fn upload_file(
    State(state): State<ApiState>,
    Extension(uploads): Extension<Uploads>,
    Authenticated(actor): Authenticated,
    Extension(allowed): Extension<StillAllowed>,
    QueryParams(query): QueryParams<UploadFile>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<FileRef>), HttpError> {
    state.files.may_upload(&actor, query.channel).await?;
    if announced(&headers).is_some_and(|length| length > state.max_file_bytes) {
        return Err(too_large(state.max_file_bytes).into());
    }
    let place = uploads.enter(actor.user)?;
    state.chat.rates().upload(actor.user)?;
    let room = state.files.room(&actor, announced(&headers), state.max_file_bytes).await?;
    let id = FileId::new();
    let staged = state.files.stage(id).await?;
    let beyond = || {
        if room.bytes < state.max_file_bytes {
            state.files.beyond_room()
        } else {
            too_large(state.max_file_bytes)
        }
    };
    let received = receive(body, staged, room.bytes, beyond).await?;
    let Received { staged, size, sha256, media_type } = received;
    // It took its time: whoever was signed out meanwhile has uploaded nothing.
    allowed.check()?;
    let UploadFile { channel, name } = query;
    // From here on it is whole. A client that goes away now must not leave bytes without a description.
    let keeping = tokio::spawn(async move {
        let upload = Upload { id, channel, name, media_type, size, sha256, staged };
        let kept = state.files.keep(&actor, upload).await;
        drop((place, room));
        kept
    });
    let row = keeping
        .await
        .map_err(|_| ChatError::new(ErrorCode::Internal, "a bug in the server; it was logged"))??;
    Ok((StatusCode::CREATED, Json(describe(&row))))
}

/// Bytes of a file, as they are described.
pub(super) struct RawBytes;

impl ToSchema for RawBytes {}

impl PartialSchema for RawBytes {
    fn schema() -> RefOr<Schema> {
        let format = SchemaFormat::KnownFormat(KnownFormat::Binary);
        ObjectBuilder::new().schema_type(Type::String).format(Some(format)).into()
    }
}

/// What a file is.
#[utoipa::path(
    get, path = "/v1/files/{file}", tag = "files", security(("bearer" = [])),
    params(("file" = FileId, Path, description = "Id of the file")),
    responses(
        (status = 200, description = "The file", body = FileRef),
        problems::SignedIn, problems::Parameters, problems::Missing,
    ),
)]
async fn get_file(
    State(state): State<ApiState>,
    Authenticated(actor): Authenticated,
    PathParams(file): PathParams<FileId>,
) -> Result<Json<FileRef>, HttpError> {
    let row = state.files.find(&actor, file).await?;
    Ok(Json(describe(&row)))
}

/// A file's bytes. Single ranges and conditional requests are honoured; only images are shown in place.
#[utoipa::path(
    get, path = "/v1/files/{file}/content", tag = "files", security(("bearer" = [])),
    params(
        ("file" = FileId, Path, description = "Id of the file"),
        ("Range" = Option<String>, Header, description = "One range of bytes (RFC 9110 §14.2)"),
        ("If-Range" = Option<String>, Header, description = "The range only if the entity tag is still this"),
        ("If-None-Match" = Option<String>, Header, description = "Nothing if the entity tag still is one of these"),
    ),
    responses(
        (status = 200, description = "All of it", content_type = "*/*", body = RawBytes, headers(
            ("ETag" = String, description = "Its SHA-256"),
            ("Accept-Ranges" = String, description = "`bytes`"),
            ("Content-Disposition" = String, description = "`attachment`, or `inline` for images; with the name"),
        )),
        (status = 206, description = "The range", content_type = "*/*", body = RawBytes, headers(
            ("ETag" = String, description = "Its SHA-256"),
            ("Content-Range" = String, description = "Which bytes of how many"),
        )),
        (status = 304, description = "Not changed"),
        problems::SignedIn, problems::Parameters, problems::Missing, problems::Unsatisfiable,
    ),
)]
async fn get_file_content(
    State(state): State<ApiState>,
    Authenticated(actor): Authenticated,
    Extension(allowed): Extension<StillAllowed>,
    shares: Shares,
    PathParams(file): PathParams<FileId>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, HttpError> {
    let row = state.files.find(&actor, file).await?;
    let etag = format!(r#""{}""#, hex(&row.sha256));
    if none_match(&headers, &etag) {
        return Ok((StatusCode::NOT_MODIFIED, representation(&row, &etag)?).into_response());
    }
    // RFC 9110 §14.2: a range means something for GET only.
    let range = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let range = range.filter(|_| method == Method::GET && range_applies(&headers, &etag));
    let (status, part) = match wanted(range, row.size) {
        Wanted::Whole => (StatusCode::OK, 0..row.size),
        Wanted::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
        Wanted::Unsatisfiable => {
            let refused = ChatError::new(
                ErrorCode::RangeNotSatisfiable,
                format!("the range is not within the {} bytes of the file", row.size),
            );
            return Ok(([(header::CONTENT_RANGE, format!("bytes */{}", row.size))], HttpError(refused))
                .into_response());
        }
    };
    let mut answer = (status, representation(&row, &etag)?).into_response();
    let answer_headers = answer.headers_mut();
    answer_headers.insert(header::CONTENT_LENGTH, HeaderValue::from(part.end - part.start));
    if status == StatusCode::PARTIAL_CONTENT {
        let sent = format!("bytes {}-{}/{}", part.start, part.end - 1, row.size);
        answer_headers.insert(header::CONTENT_RANGE, header_value(&sent)?);
    }
    if method != Method::HEAD {
        if shares.download().await? {
            allowed.check()?;
            state.files.find(&actor, file).await?;
        }
        *answer.body_mut() =
            Body::from_stream(state.files.read(actor, file, part, move || allowed.check()).await?);
    }
    Ok(answer)
}

/// The headers of every answer about a file's content (ASVS 5.0 §5.4).
fn representation(row: &FileRow, etag: &str) -> Result<[(HeaderName, HeaderValue); 8], ChatError> {
    let media_type = match row.media_type.as_str() {
        "text/plain" => "text/plain; charset=utf-8",
        other => other,
    };
    Ok([
        (header::CONTENT_TYPE, header_value(media_type)?),
        (
            header::CONTENT_DISPOSITION,
            header_value(&content_disposition(is_plain_image(&row.media_type), &row.name))?,
        ),
        (header::ETAG, header_value(etag)?),
        (header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        // The right to read may be gone by the next time: ask, and get 304.
        (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache")),
        (header::CONTENT_SECURITY_POLICY, SANDBOX),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    ])
}

fn describe(row: &FileRow) -> FileRef {
    FileRef { id: row.id, name: row.name.clone(), media_type: row.media_type.clone(), size: row.size }
}

/// The length that a request announces, if it does.
fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn hex(bytes: &[u8; 32]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn header_value(text: &str) -> Result<HeaderValue, ChatError> {
    HeaderValue::from_str(text)
        .map_err(|_| ChatError::new(ErrorCode::Internal, "a header value is not printable"))
}
