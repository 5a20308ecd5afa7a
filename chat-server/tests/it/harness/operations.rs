//! The operations of the OpenAPI document, with the least that each takes.

use chat_api::openapi;
use chat_protocol::{ChannelId, FileId, Seq, rest::TokenResponse};
use http::Method;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::TestServer;

/// An operation for somebody who is signed in.
pub struct Operation {
    pub method: Method,
    /// As in the document.
    pub template: String,
    pub path: String,
    /// Empty when it takes no body.
    pub media_type: String,
    pub body: Vec<u8>,
}

/// What operations are about.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    pub user: &'a TokenResponse,
    pub channel: ChannelId,
    pub seq: Seq,
    pub file: FileId,
}

/// All of them that take a body, filled in for this person and channel.
pub fn operations(user: &TokenResponse, channel: ChannelId) -> Vec<Operation> {
    let subject = Subject { user, channel, seq: 1, file: FileId::new() };
    let all: Vec<Operation> = signed_operations(&subject)
        .into_iter()
        .map(|(operation, _)| operation)
        .filter(|operation| !operation.media_type.is_empty())
        .collect();
    assert!(all.len() >= 8, "only {}: does the document still say who is signed in?", all.len());
    all
}

/// All of them that name a channel, or a file, which is in a channel.
pub fn operations_in_channel(subject: &Subject<'_>) -> Vec<Operation> {
    let all = signed_operations(subject).into_iter();
    all.filter_map(|(operation, in_channel)| in_channel.then_some(operation)).collect()
}

/// All of them, filled in, and whether they name a channel or a file.
pub fn signed_operations(subject: &Subject<'_>) -> Vec<(Operation, bool)> {
    let document = serde_json::to_value(openapi::document()).expect("is JSON");
    let values = [
        ("user", subject.user.user.id.to_string()),
        ("channel", subject.channel.to_string()),
        ("file", subject.file.to_string()),
        ("seq", subject.seq.to_string()),
        ("emoji", "%F0%9F%91%8D".to_owned()),
        ("name", "notes.txt".to_owned()),
        // Of a session: one that is not there.
        ("id", uuid::Uuid::new_v4().to_string()),
    ];
    let mut all = Vec::new();
    for (template, operations) in document["paths"].as_object().expect("is an object") {
        for (method, operation) in operations.as_object().expect("is an object") {
            let signed = operation["security"]
                .as_array()
                .is_some_and(|all| all.iter().any(|one| one["bearer"].is_array()));
            if !signed {
                continue;
            }
            let value = |name: &str| {
                let found = values.iter().find(|(known, _)| *known == name);
                found.unwrap_or_else(|| panic!("a value for {name} of {template}")).1.clone()
            };
            let (mut path, mut query, mut in_channel) = (template.clone(), Vec::new(), false);
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let name = parameter["name"].as_str().expect("has a name");
                match parameter["in"].as_str() {
                    Some("path") => path = path.replace(&format!("{{{name}}}"), &value(name)),
                    Some("query") if parameter["required"] == true => {
                        query.push(format!("{name}={}", value(name)));
                    }
                    _ => continue,
                }
                in_channel |= matches!(name, "channel" | "file");
            }
            let content = operation["requestBody"]["content"].as_object();
            let (media_type, body) = match content.and_then(|content| content.iter().next()) {
                None => (String::new(), Vec::new()),
                Some((json, content)) if json == "application/json" => {
                    let body = example(&document, &content["schema"], subject.user).to_string();
                    (json.clone(), body.into_bytes())
                }
                Some((other, _)) => (other.clone(), b"the bytes of a file".to_vec()),
            };
            let method = method.to_uppercase().parse().expect("a method");
            let path = format!("{path}?{}", query.join("&"));
            all.push((Operation { method, template: template.clone(), path, media_type, body }, in_channel));
        }
    }
    all
}

impl Operation {
    /// The request, by whoever has this token, under an idempotency key of its own.
    pub fn request(&self, server: &TestServer, token: Option<&str>) -> RequestBuilder {
        let request = server.http.request(self.method.clone(), server.url(&self.path));
        let request = request.header("Idempotency-Key", uuid::Uuid::new_v4().to_string());
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        if self.media_type.is_empty() {
            return request;
        }
        request.header("Content-Type", &self.media_type).body(self.body.clone())
    }
}

/// The least that a schema takes.
fn example(document: &Value, schema: &Value, user: &TokenResponse) -> Value {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointed = document.pointer(reference.trim_start_matches('#')).expect("is there");
        return example(document, pointed, user);
    }
    if let Some(first) = schema["enum"].as_array().and_then(|values| values.first()) {
        return first.clone();
    }
    match schema["type"].as_str() {
        Some("object") => {
            let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            let fields =
                required.map(|name| (name.to_owned(), example(document, &schema["properties"][name], user)));
            Value::Object(fields.collect())
        }
        Some("array") => json!([]),
        Some("integer") => json!(1),
        Some("boolean") => json!(true),
        Some("string") if schema["format"] == "uuid" => json!(user.user.id),
        Some("string") => json!("text"),
        other => panic!("an example of {other:?}: {schema}"),
    }
}
