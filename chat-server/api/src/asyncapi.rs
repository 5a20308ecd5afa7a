//! `/asyncapi.json`: the WebSocket's frames and close codes, from the types that read and write them.

use std::sync::LazyLock;

use axum::response::Response;
use chat_protocol::{ClientFrame, CloseCode, SUBPROTOCOL, ServerFrame, limits};
use http::HeaderMap;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use super::openapi::Description;

static DESCRIPTION: LazyLock<Description> = LazyLock::new(|| Description::new(&document()));

/// The description of the WebSocket (AsyncAPI 3.0).
#[utoipa::path(
    get, path = "/asyncapi.json", tag = "descriptions", security(()),
    responses(
        (status = 200, description = "AsyncAPI 3.0", body = serde_json::Value),
        (status = 304, description = "Not changed"),
    ),
)]
pub(super) async fn get_asyncapi(headers: HeaderMap) -> Response {
    DESCRIPTION.answer(&headers)
}

/// The description of `GET /v1/ws`.
#[must_use]
pub fn document() -> Value {
    let client = Side::new("client", &ClientFrame::examples());
    let server = Side::new("server", &ServerFrame::examples());
    let mut schemas = client.schemas;
    schemas.extend(server.schemas);
    let mut messages = client.messages;
    messages.extend(server.messages);
    let of_channel: Map<String, Value> =
        messages.keys().map(|name| (name.clone(), reference(&["components", "messages", name]))).collect();
    let in_channel = |names: &[String]| -> Vec<Value> {
        names.iter().map(|name| reference(&["channels", "socket", "messages", name])).collect()
    };
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Folkmoot socket",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "JSON text frames, distinguished by `type`. The client sends `hello` first. Unknown fields are \
                            ignored; a client ignores unknown types, the server answers them with `error`.",
            "license": { "name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0" },
        },
        "defaultContentType": "application/json",
        "servers": {
            "local": {
                "host": "127.0.0.1:8080",
                "protocol": "ws",
                "description": "What `chat-server dev` serves; behind a proxy with TLS it is wss.",
            },
        },
        "channels": {
            "socket": {
                "address": "/v1/ws",
                "description": "One socket of one session of a user. The access token is in `hello`, never in the URL.",
                "messages": of_channel,
                "bindings": {
                    "ws": {
                        "method": "GET",
                        "headers": {
                            "type": "object",
                            "required": ["Sec-WebSocket-Protocol"],
                            "properties": { "Sec-WebSocket-Protocol": { "type": "string", "const": SUBPROTOCOL } },
                        },
                        "bindingVersion": "0.1.0",
                    },
                },
                "x-max-frame-bytes": limits::MAX_FRAME_BYTES,
                "x-close-codes": close_codes(),
            },
        },
        "operations": {
            "receive": {
                "action": "receive",
                "channel": reference(&["channels", "socket"]),
                "summary": "What a client sends.",
                "messages": in_channel(&client.names),
            },
            "send": {
                "action": "send",
                "channel": reference(&["channels", "socket"]),
                "summary": "What the server sends.",
                "messages": in_channel(&server.names),
            },
        },
        "components": { "messages": messages, "schemas": schemas },
    })
}

/// The frames that one end sends.
struct Side {
    /// Names of its messages, in the order of the type.
    names: Vec<String>,
    messages: Map<String, Value>,
    schemas: Map<String, Value>,
}

impl Side {
    /// One message for each variant of `T`, whose schema is a `oneOf` of objects with a `type`.
    fn new<T: ToSchema + PartialSchema + Serialize>(side: &str, examples: &[T]) -> Self {
        let examples: Vec<Value> =
            examples.iter().filter_map(|frame| serde_json::to_value(frame).ok()).collect();
        let mut referenced: Vec<(String, RefOr<Schema>)> = Vec::new();
        T::schemas(&mut referenced);
        let schemas = referenced.into_iter().map(|(name, schema)| (name, plain(&schema))).collect();
        let whole = plain(&T::schema());
        let (mut names, mut messages) = (Vec::new(), Map::new());
        for variant in whole["oneOf"].as_array().into_iter().flatten() {
            // `unknown` stands for what a newer version sends.
            let Some(kind) = type_of(variant).filter(|kind| *kind != "unknown") else { continue };
            let payloads = examples.iter().filter(|example| example["type"] == kind);
            let examples: Vec<Value> = payloads.map(|payload| json!({ "payload": payload })).collect();
            let name = format!("{side}-{kind}");
            let message = json!({
                "name": kind,
                "summary": variant["description"],
                "payload": variant,
                "examples": examples,
            });
            messages.insert(name.clone(), message);
            names.push(name);
        }
        Self { names, messages, schemas }
    }
}

/// The value of the `type` that a variant's schema demands, in whichever form it is written.
fn type_of(variant: &Value) -> Option<&str> {
    let tag = &variant["properties"]["type"];
    tag["const"].as_str().or_else(|| tag["enum"][0].as_str()).or_else(|| {
        let parts = variant["allOf"].as_array()?;
        parts.iter().find_map(type_of)
    })
}

fn plain(schema: &RefOr<Schema>) -> Value {
    // A schema is a tree with string keys, which always can be written.
    serde_json::to_value(schema).unwrap_or_default()
}

fn reference(path: &[&str]) -> Value {
    json!({ "$ref": format!("#/{}", path.join("/")) })
}

fn close_codes() -> Vec<Value> {
    CloseCode::ALL
        .into_iter()
        .map(|close| {
            json!({
                "code": close.code(),
                "name": format!("{close:?}"),
                "reason": close.reason(),
                "resumable": close.resumable(),
            })
        })
        .collect()
}
