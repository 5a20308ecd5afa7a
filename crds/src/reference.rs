//! The reference of `ChatCluster`, for people: one table for each part of the resource, from the same schema that the API server
//! has.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::manifest;

/// The least that a `ChatCluster` has to say.
pub const EXAMPLE: &str = "\
apiVersion: folkmoot.dev/v1alpha1
kind: ChatCluster
metadata:
  name: chat
spec:
  cassandra:
    contactPoints: [cassandra:9042]
  pulsar:
    url: pulsar://pulsar:6650
    adminUrl: http://pulsar:8080
";

const HEAD: &str = "\
# `ChatCluster`

The whole interface of Folkmoot on Kubernetes: `folkmoot.dev/v1alpha1`, short names `chat` and `chats`. This is enough:

```yaml
";

const INTRODUCTION: &str = "\
```

Everything else has a default. Rules are checked at `kubectl apply`, which says what was expected when one is broken.
`kubectl explain chatcluster.spec` shows the same texts. With the annotation `folkmoot.dev/paused: \"true\"` the operator reads and
reports, and changes nothing.

Secrets are referred to by name and lie in the namespace of the `ChatCluster`; no secret ever stands in the resource itself.

This page is generated from `crds/` (`cargo run -p folkmoot-crds --bin crdgen`). A test keeps it fresh.
";

/// Types of Kubernetes itself, which its own reference describes.
const OF_KUBERNETES: [(&str, &str); 3] = [
    ("resources", "ResourceRequirements"),
    ("tolerations", "list of Toleration"),
    ("conditions", "list of Condition"),
];

/// What the names of references to Secrets end in. They are too many for a table each.
const SECRET: &str = "SecretRef";

/// The files that are generated from this crate: paths from the root of the repository, and what they hold.
#[must_use]
pub fn generated_files() -> [(&'static str, String); 2] {
    [
        ("charts/folkmoot-crds/templates/chatclusters.yaml", manifest::yaml()),
        ("docs/chatcluster.md", markdown()),
    ]
}

/// The reference as Markdown.
#[must_use]
pub fn markdown() -> String {
    let schema = schema();
    let mut text = format!("{HEAD}{EXAMPLE}{INTRODUCTION}");
    let rules = rules(&schema);
    if !rules.is_empty() {
        let _ = write!(text, "\n## `metadata`\n\n{rules}");
    }
    for part in ["spec", "status"] {
        section(&mut text, part, &schema["properties"][part]);
    }
    text
}

/// The schema of the resource, as the API server gets it.
///
/// # Panics
/// When the definition has no schema, which the tests would show.
#[must_use]
pub fn schema() -> Value {
    let definition = manifest::definition();
    let version = definition.spec.versions.into_iter().next().expect("there is one version");
    let schema = version.schema.and_then(|schema| schema.open_api_v3_schema).expect("it has a schema");
    serde_json::to_value(schema).expect("a schema is JSON")
}

/// An object's fields, then those of the objects in it.
fn section(text: &mut String, path: &str, object: &Value) {
    let _ = write!(text, "\n## `{path}`\n");
    if let Some(description) = object["description"].as_str() {
        let _ = write!(text, "\n{}\n", prose(description));
    }
    text.push_str("\n| field | takes | default | meaning |\n|---|---|---|---|\n");
    let fields = fields(object);
    for (name, field) in fields {
        let is_required =
            object["required"].as_array().is_some_and(|names| names.contains(&Value::from(name.as_str())));
        let _ = writeln!(
            text,
            "| `{name}` | {} | {} | {} |",
            cell(&takes(name, field)),
            cell(&default(field, is_required)),
            cell(&prose(field["description"].as_str().unwrap_or_default())),
        );
    }
    let rules = rules(object);
    if !rules.is_empty() {
        let _ = write!(text, "\n{rules}");
    }
    for (name, field) in fields {
        let rules = self::rules(field);
        if !is_object(name, field) && !rules.is_empty() {
            let _ = write!(text, "\nOf `{name}`:\n\n{rules}");
        }
    }
    for (name, field) in fields {
        if is_object(name, field) {
            section(text, &format!("{path}.{name}"), field);
        } else if is_object(name, &field["items"]) {
            section(text, &format!("{path}.{name}[]"), &field["items"]);
        }
    }
}

fn fields(object: &Value) -> &Map<String, Value> {
    static NONE: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    object["properties"].as_object().unwrap_or(&NONE)
}

/// Whether it has fields of ours, and so a table of its own.
fn is_object(name: &str, field: &Value) -> bool {
    !fields(field).is_empty()
        && !name.ends_with(SECRET)
        && OF_KUBERNETES.iter().all(|(known, _)| *known != name)
}

/// What a field takes, with its limits.
fn takes(name: &str, field: &Value) -> String {
    if let Some((_, kind)) = OF_KUBERNETES.iter().find(|(known, _)| *known == name) {
        let most = field["maxItems"].as_u64().map(|most| format!(", at most {most}")).unwrap_or_default();
        return format!("{kind}{most}");
    }
    if name.ends_with(SECRET) {
        let keys: Vec<String> = fields(field).keys().rev().map(|key| format!("`{key}`")).collect();
        return format!("{} of a Secret", keys.join(" and "));
    }
    if let Some(values) = field["enum"].as_array() {
        let values: Vec<String> = values
            .iter()
            .filter(|value| !value.is_null())
            .map(|value| format!("`{}`", plain(value)))
            .collect();
        return values.join(" or ");
    }
    let of = |inner: &Value| {
        if fields(inner).is_empty() { takes("", inner) } else { "objects, see below".to_owned() }
    };
    match field["type"].as_str().unwrap_or_default() {
        "array" => format!("list{} of {}", range(field, "minItems", "maxItems", ""), of(&field["items"])),
        "object" if !fields(field).is_empty() => "object, see below".to_owned(),
        "object" => {
            let entries = range(field, "minProperties", "maxProperties", " entries");
            format!("map{entries} of string to {}", of(&field["additionalProperties"]))
        }
        "string" if field["format"] == "date-time" => "time".to_owned(),
        "string" => {
            let length = range(field, "minLength", "maxLength", " characters");
            let pattern = field["pattern"].as_str().map(|pattern| format!(", matching `{pattern}`"));
            format!("string{length}{}", pattern.unwrap_or_default())
        }
        kind @ ("integer" | "number") => format!("{kind}{}", range(field, "minimum", "maximum", "")),
        kind => kind.to_owned(),
    }
}

/// ` (1 to 500)`, ` (at most 500 characters)`, or nothing.
fn range(field: &Value, least: &str, most: &str, unit: &str) -> String {
    let number = |key: &str| field[key].as_f64();
    match (number(least).filter(|least| *least > 0.0 || most == "maximum"), number(most)) {
        (Some(least), Some(most)) if least <= 1.0 && !unit.is_empty() => {
            format!(" (at most {most}{unit}, not empty)")
        }
        (Some(least), Some(most)) => format!(" ({least} to {most}{unit})"),
        (Some(0.0) | None, None) => String::new(),
        (Some(least), None) => format!(" (at least {least}{unit})"),
        (None, Some(most)) => format!(" (at most {most}{unit})"),
    }
}

fn default(field: &Value, is_required: bool) -> String {
    match &field["default"] {
        _ if is_required => "required".to_owned(),
        Value::Null => String::new(),
        Value::Object(fields) if fields.is_empty() => String::new(),
        Value::Object(_) => "as below".to_owned(),
        value => format!("`{}`", plain(value)),
    }
}

fn rules(object: &Value) -> String {
    let rules = object["x-kubernetes-validations"].as_array().into_iter().flatten();
    let mut text = String::new();
    for message in rules.filter_map(|rule| rule["message"].as_str()) {
        let _ = writeln!(text, "- {message}");
    }
    if text.is_empty() { text } else { format!("Rules:\n\n{text}") }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

/// One paragraph: comments in Rust are wrapped.
fn prose(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}
