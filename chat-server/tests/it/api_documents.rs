//! The descriptions of the API: checked in as the code makes them, whole, and with examples that are true.

use std::{collections::BTreeSet, path::Path};

use chat_api::{asyncapi, openapi};
use chat_protocol::{ClientFrame, CloseCode, Event, ServerFrame};
use serde_json::Value;

fn rest() -> Value {
    serde_json::to_value(openapi::document()).expect("serialises")
}

/// Compares with the checked-in file, or writes it with `UPDATE_DOCS=1`.
fn check_fresh(name: &str, document: &Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name);
    let text = openapi::pretty(document);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, text).expect("is written");
        return;
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        checked_in == text,
        "docs/{name} is out of date; write it with: UPDATE_DOCS=1 cargo test -p chat-server --test it api_documents"
    );
}

/// Calls `visit` for every object in the document.
fn objects<'a>(value: &'a Value, visit: &mut impl FnMut(&'a serde_json::Map<String, Value>)) {
    match value {
        Value::Object(map) => {
            visit(map);
            map.values().for_each(|value| objects(value, visit));
        }
        Value::Array(items) => items.iter().for_each(|value| objects(value, visit)),
        _ => {}
    }
}

fn check_references(document: &Value) {
    let mut seen = 0;
    objects(document, &mut |map| {
        if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
            let pointer = reference.strip_prefix('#').expect("a reference within the document");
            assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
            seen += 1;
        }
    });
    assert!(seen > 0, "expected references");
}

fn operations(document: &Value) -> Vec<(String, &Value)> {
    let paths = document["paths"].as_object().expect("paths");
    paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().expect("a path item").iter();
            methods
                .filter(|(method, _)| ["get", "put", "post", "patch", "delete"].contains(&method.as_str()))
                .map(move |(method, operation)| (format!("{method} {path}"), operation))
        })
        .collect()
}

#[test]
fn openapi_is_checked_in() {
    check_fresh("openapi.json", &rest());
}

#[test]
fn asyncapi_is_checked_in() {
    check_fresh("asyncapi.json", &asyncapi::document());
}

#[test]
fn every_operation_is_named_guarded_and_fails_with_problems() {
    let document = rest();
    check_references(&document);
    let operations = operations(&document);
    assert!(operations.len() >= 30, "expected all routes of api and auth, found {}", operations.len());
    let open = [
        "post /v1/auth/register",
        "post /v1/auth/login",
        "post /v1/auth/refresh",
        "post /v1/auth/redeem",
        "get /.well-known/jwks.json",
        "get /openapi.json",
        "get /asyncapi.json",
    ];
    let mut ids = BTreeSet::new();
    for (name, operation) in &operations {
        let id = operation["operationId"].as_str().expect("an operation id");
        assert!(ids.insert(id), "{id} names two operations");
        let guarded = operation.pointer("/security/0/bearer").is_some();
        assert_eq!(guarded, !open.contains(&name.as_str()), "{name} needs a token");
        let responses = operation["responses"].as_object().expect("responses");
        assert!(!guarded || responses.contains_key("401"), "{name} answers 401 without one");
        for (status, response) in responses.iter().filter(|(status, _)| status.as_str() >= "400") {
            let schema = &response["content"]["application/problem+json"]["schema"]["$ref"];
            assert_eq!(schema, "#/components/schemas/Problem", "{name} {status}");
        }
    }
}

/// The map of routes in docs/protocol.md is by hand.
#[test]
fn every_operation_is_on_the_map_for_people() {
    let page = include_str!("../../../docs/protocol.md");
    let (_, section) = page.split_once("\n## REST\n").expect("the chapter on REST");
    let (map, _) = section.split_once("\n**").expect("more than the map");
    let words = |row: &str| -> BTreeSet<String> {
        row.split(|c: char| !c.is_alphanumeric() && c != '.' && c != '-').map(str::to_owned).collect()
    };
    let rows: Vec<BTreeSet<String>> = map.lines().filter(|line| line.starts_with('|')).map(words).collect();
    let document = rest();
    for (name, operation) in operations(&document) {
        if operation["tags"][0] == "descriptions" {
            continue;
        }
        let (method, path) = name.split_once(' ').expect("a method and a path");
        let last = path.rsplit('/').find(|part| !part.starts_with('{')).expect("a word");
        let found = rows.iter().any(|row| row.contains(&method.to_uppercase()) && row.contains(last));
        assert!(found, "the table under \"REST\" of docs/protocol.md has no row with {name}");
    }
}

#[test]
fn every_frame_has_examples_that_the_real_types_read() {
    let document = asyncapi::document();
    check_references(&document);
    let mut types = [BTreeSet::new(), BTreeSet::new()];
    for (name, message) in document["components"]["messages"].as_object().expect("messages") {
        let from_client = name.starts_with("client-");
        let examples = message["examples"].as_array().expect("examples");
        assert!(!examples.is_empty(), "{name} has no example");
        for payload in examples.iter().map(|example| &example["payload"]) {
            let again = if from_client {
                let frame: ClientFrame = serde_json::from_value(payload.clone()).expect("a client frame");
                serde_json::to_value(frame)
            } else {
                let frame: ServerFrame = serde_json::from_value(payload.clone()).expect("a server frame");
                assert_ne!(frame, ServerFrame::Unknown, "{payload}");
                serde_json::to_value(frame)
            };
            assert_eq!(&again.expect("serialises"), payload);
            assert_eq!(payload["type"], message["name"]);
        }
        types[usize::from(from_client)].insert(message["name"].as_str().expect("a name"));
    }
    let [server, client] = types.map(|names| names.into_iter().collect::<Vec<_>>().join(" "));
    assert_eq!(client, BTreeSet::from(ClientFrame::TYPES).into_iter().collect::<Vec<_>>().join(" "));
    assert_eq!(server, "ack error event pong presence read reconnect synced typing welcome");

    let mut kinds = BTreeSet::new();
    objects(&document["components"]["messages"]["server-event"]["examples"], &mut |map| {
        kinds.extend(map.get("kind").and_then(Value::as_str));
    });
    let events: Vec<Value> = Event::examples().into_iter().flat_map(serde_json::to_value).collect();
    assert_eq!(
        kinds,
        events.iter().filter_map(|event| event["kind"].as_str()).collect(),
        "an event of every kind"
    );
}

#[test]
fn every_close_code_is_described() {
    let document = asyncapi::document();
    let described = document["channels"]["socket"]["x-close-codes"].as_array().expect("close codes");
    let codes: Vec<u64> = described.iter().filter_map(|close| close["code"].as_u64()).collect();
    assert_eq!(codes, CloseCode::ALL.map(|close| u64::from(close.code())));
    assert!(described.iter().all(|close| close["reason"].is_string() && close["resumable"].is_boolean()));
}
