//! The definition is what `kubectl` and the API server make something of.

use folkmoot_crds::{manifest, reference};
use serde_json::Value;

#[test]
fn names_and_subresources() {
    let definition = manifest::definition();
    let names = &definition.spec.names;
    assert_eq!(names.plural, "chatclusters");
    assert_eq!(names.short_names.as_deref(), Some(&["chat".to_owned(), "chats".to_owned()][..]));
    assert_eq!(names.categories.as_deref(), Some(&["folkmoot".to_owned()][..]));
    assert_eq!(definition.spec.scope, "Namespaced");
    assert_eq!(definition.spec.group, folkmoot_crds::GROUP);
    assert_eq!(definition.spec.versions.len(), 1);

    let version = &definition.spec.versions[0];
    assert_eq!((version.name.as_str(), version.served, version.storage), ("v1alpha1", true, true));
    let subresources = version.subresources.as_ref().unwrap();
    assert!(subresources.status.is_some());
    let scale = subresources.scale.as_ref().unwrap();
    assert_eq!(scale.spec_replicas_path, ".spec.gateway.replicas");
    assert_eq!(scale.status_replicas_path, ".status.gateway.replicas");
    assert_eq!(scale.label_selector_path.as_deref(), Some(".status.gateway.selector"));

    let columns: Vec<&str> = version
        .additional_printer_columns
        .iter()
        .flatten()
        .filter(|column| column.priority.unwrap_or_default() == 0)
        .map(|column| column.name.as_str())
        .collect();
    assert_eq!(columns, ["Ready", "Version", "Replicas", "Connections", "URL", "Age"]);
    let kept = &definition.metadata.annotations.unwrap()["helm.sh/resource-policy"];
    assert_eq!(kept, "keep");
}

/// What a path such as `.status.gateway.replicas` leads to.
fn at<'a>(schema: &'a Value, path: &str) -> &'a Value {
    path.split('.').filter(|name| !name.is_empty()).fold(schema, |schema, name| &schema["properties"][name])
}

#[test]
fn paths_of_columns_and_scale_are_fields() {
    let schema = reference::schema();
    for path in [
        ".spec.gateway.replicas",
        ".status.gateway.replicas",
        ".status.gateway.readyReplicas",
        ".status.gateway.selector",
        ".status.connections",
        ".status.version",
        ".status.url",
        ".status.conditions",
    ] {
        assert!(at(&schema, path)["type"].is_string(), "{path}");
    }
    assert_eq!(at(&schema, ".status.conditions")["x-kubernetes-list-type"], "map");
}

/// Calls `check` with every field, its path first.
fn every_field(path: &str, schema: &Value, check: &mut impl FnMut(&str, &Value)) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        check(&path, field);
        every_field(&path, field, check);
    }
    for inner in ["items", "additionalProperties"] {
        if schema[inner].is_object() {
            every_field(&format!("{path}[]"), &schema[inner], check);
        }
    }
}

#[test]
fn every_field_is_described_and_typed() {
    let mut fields = 0;
    let schema = reference::schema();
    every_field("", &schema, &mut |path, field| {
        fields += 1;
        let is_typed = field["type"].is_string()
            || field["x-kubernetes-int-or-string"] == true
            || field["enum"].is_array();
        assert!(is_typed, "{path} has no type");
        assert!(
            field["description"].as_str().is_some_and(|text| text.len() > 3),
            "{path} has no description"
        );
    });
    assert!(fields > 80, "{fields}");
}

#[test]
fn lists_and_maps_of_the_spec_are_bounded() {
    let schema = reference::schema();
    every_field(".spec", &schema["properties"]["spec"], &mut |path, field| {
        // Those of Kubernetes are as Kubernetes has them.
        if path.contains(".resources") || path.contains(".tolerations[]") {
            return;
        }
        match field["type"].as_str() {
            Some("array") => assert!(field["maxItems"].is_u64(), "{path}"),
            Some("object") if field["additionalProperties"].is_object() => {
                assert!(field["maxProperties"].is_u64(), "{path}");
            }
            _ => {}
        }
    });
}
