//! The operations of the OpenAPI document that take a body, with the least that each takes.
#![allow(dead_code, unreachable_pub, reason = "every test file uses a part of it")]

use chat_api::openapi;
use chat_protocol::{ChannelId, rest::TokenResponse};
use http::Method;
use serde_json::{Value, json};

/// An operation that takes a body from somebody who is signed in.
pub struct Operation {
    pub method: Method,
    pub path: String,
    pub media_type: String,
    pub body: Vec<u8>,
}

/// All of them, filled in for this person and channel.
pub fn operations(user: &TokenResponse, channel: ChannelId) -> Vec<Operation> {
    let document = serde_json::to_value(openapi::document()).expect("is JSON");
    let mut all = Vec::new();
    for (path, operations) in document["paths"].as_object().expect("is an object") {
        for (method, operation) in operations.as_object().expect("is an object") {
            let signed = operation["security"]
                .as_array()
                .is_some_and(|all| all.iter().any(|one| one["bearer"].is_array()));
            let Some(content) = operation["requestBody"]["content"].as_object().filter(|_| signed) else {
                continue;
            };
            let (media_type, content) = content.iter().next().expect("one type of content");
            let values = [
                ("user", user.user.id.to_string()),
                ("channel", channel.to_string()),
                ("seq", "1".to_owned()),
                ("name", "notes.txt".to_owned()),
            ];
            let value = |name: &str| {
                let found = values.iter().find(|(known, _)| *known == name);
                found.unwrap_or_else(|| panic!("a value for {name} of {path}")).1.clone()
            };
            let (mut path, mut query) = (path.clone(), Vec::new());
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                let name = parameter["name"].as_str().expect("has a name");
                match parameter["in"].as_str() {
                    Some("path") => path = path.replace(&format!("{{{name}}}"), &value(name)),
                    Some("query") => query.push(format!("{name}={}", value(name))),
                    _ => {}
                }
            }
            let body = match media_type.as_str() {
                "application/json" => example(&document, &content["schema"], user).to_string().into_bytes(),
                _ => b"the bytes of a file".to_vec(),
            };
            all.push(Operation {
                method: method.to_uppercase().parse().expect("a method"),
                path: format!("{path}?{}", query.join("&")),
                media_type: media_type.clone(),
                body,
            });
        }
    }
    assert!(all.len() >= 8, "only {}: does the document still say who is signed in?", all.len());
    all
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
