//! Objects as an API server keeps them: versions, owners of fields, finalizers, and a log of changes for those who watch.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value, json};

/// Where an object is: `apis/GROUP/VERSION/PLURAL`, namespace and name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) collection: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Place {
    pub(crate) fn new(collection: &str, namespace: &str, name: &str) -> Self {
        Self { collection: collection.into(), namespace: namespace.into(), name: name.into() }
    }

    /// The object as `PLURAL/NAME`.
    pub(crate) fn short(&self) -> String {
        format!("{}/{}", self.collection.rsplit('/').next().unwrap(), self.name)
    }
}

/// A change of an object.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) place: Place,
    /// What it was; nothing: it was made.
    pub(crate) before: Option<Arc<Value>>,
    /// What it is; nothing: it was deleted.
    pub(crate) now: Option<Arc<Value>>,
}

/// All objects of the fake API server.
#[derive(Debug, Default)]
pub(crate) struct Store {
    pub(crate) objects: BTreeMap<Place, Arc<Value>>,
    pub(crate) log: Vec<Change>,
    pub(crate) version: u64,
    uids: u64,
    /// Whether Deployments get ready and Jobs succeed as soon as they are there.
    pub(crate) has_controllers: bool,
}

impl Store {
    pub(crate) fn get(&self, place: &Place) -> Option<Arc<Value>> {
        self.objects.get(place).cloned()
    }

    /// Makes an object, or replaces it. What is the same stays as it is.
    pub(crate) fn put(&mut self, place: &Place, mut object: Value) -> Arc<Value> {
        let before = self.get(place);
        object["metadata"]["name"] = json!(place.name);
        if !place.namespace.is_empty() {
            object["metadata"]["namespace"] = json!(place.namespace);
        }
        match &before {
            Some(before) => {
                let kept = ["uid", "creationTimestamp", "generation", "resourceVersion"];
                for field in kept {
                    object["metadata"][field] = before["metadata"][field].clone();
                }
                if object == **before {
                    return Arc::clone(before);
                }
                if object["spec"] != before["spec"] {
                    object["metadata"]["generation"] =
                        json!(before["metadata"]["generation"].as_u64().unwrap() + 1);
                }
            }
            None => {
                self.uids += 1;
                object["metadata"]["uid"] = json!(format!("uid-{}", self.uids));
                object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
                object["metadata"]["generation"] = json!(1);
            }
        }
        let is_ending = object["metadata"]["deletionTimestamp"].is_string();
        if is_ending && object["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty) {
            self.remove(place);
            return Arc::new(object);
        }
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let object = Arc::new(object);
        self.objects.insert(place.clone(), Arc::clone(&object));
        self.log.push(Change {
            version: self.version,
            place: place.clone(),
            before,
            now: Some(Arc::clone(&object)),
        });
        if self.has_controllers {
            self.control(place, &object);
        }
        object
    }

    /// Server-side apply: what is in `desired` is so, and its manager's; what was the manager's and is not in it goes.
    pub(crate) fn apply(&mut self, place: &Place, desired: &Value, manager: &str) -> Arc<Value> {
        let before = self.get(place);
        let mut object = before.as_deref().cloned().unwrap_or_else(|| json!({}));
        let fields = fields(desired);
        let managers = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        let (ours, mut others): (Vec<Value>, Vec<Value>) = managers
            .into_iter()
            .partition(|entry| entry["manager"] == manager && entry["operation"] == "Apply");
        if let Some(last) = ours.first() {
            take_away(&mut object, &last["fieldsV1"], &fields);
        }
        merge(&mut object, desired);
        others.push(json!({
            "manager": manager, "operation": "Apply", "apiVersion": desired["apiVersion"],
            "fieldsType": "FieldsV1", "fieldsV1": fields, "time": "2026-01-01T00:00:00Z",
        }));
        object["metadata"]["managedFields"] = json!(others);
        self.put(place, object)
    }

    /// Somebody else changes a field, as `kubectl edit` does, and owns it from then on.
    pub(crate) fn edit(&mut self, place: &Place, path: &[&str], value: Value) {
        let mut object = self.get(place).as_deref().cloned().unwrap();
        let mut at = &mut object;
        for part in path {
            at = &mut at[*part];
        }
        *at = value;
        for entry in object["metadata"]["managedFields"].as_array_mut().unwrap() {
            let (last, parents) = path.split_last().unwrap();
            let mut at = &mut entry["fieldsV1"];
            for part in parents {
                at = &mut at[format!("f:{part}")];
            }
            at.as_object_mut().unwrap().remove(&format!("f:{last}"));
        }
        self.put(place, object);
    }

    /// Deletes an object, or begins to, when it has finalizers.
    pub(crate) fn delete(&mut self, place: &Place) -> Option<Arc<Value>> {
        let object = self.get(place)?;
        if object["metadata"]["finalizers"].as_array().is_none_or(Vec::is_empty) {
            self.remove(place);
        } else if object["metadata"]["deletionTimestamp"].is_null() {
            let mut ending = (*object).clone();
            ending["metadata"]["deletionTimestamp"] = json!(jiff::Timestamp::now().to_string());
            self.put(place, ending);
        }
        Some(object)
    }

    fn remove(&mut self, place: &Place) {
        let Some(before) = self.objects.remove(place) else { return };
        self.version += 1;
        let uid = before["metadata"]["uid"].clone();
        self.log.push(Change {
            version: self.version,
            place: place.clone(),
            before: Some(before),
            now: None,
        });
        let is_owned = |object: &Value| {
            object["metadata"]["ownerReferences"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|owner| owner["uid"] == uid)
        };
        let owned: Vec<Place> = self
            .objects
            .iter()
            .filter(|(_, object)| is_owned(object))
            .map(|(place, _)| place.clone())
            .collect();
        for place in owned {
            self.remove(&place);
        }
    }

    fn control(&mut self, place: &Place, object: &Value) {
        let generation = &object["metadata"]["generation"];
        let status = match place.collection.rsplit('/').next() {
            Some("deployments") => {
                let pods = &object["spec"]["replicas"];
                json!({
                    "observedGeneration": generation, "replicas": pods, "updatedReplicas": pods, "readyReplicas": pods,
                    "availableReplicas": pods,
                })
            }
            Some("jobs") => json!({ "conditions": [{ "type": "Complete", "status": "True" }] }),
            _ => return,
        };
        if object["status"] != status {
            let mut object = object.clone();
            object["status"] = status;
            self.put(place, object);
        }
    }
}

/// Sets of fields, as `fieldsV1` has them. Lists count as one.
fn fields(object: &Value) -> Value {
    let mut fields = shape(object);
    let all = fields.as_object_mut().unwrap();
    all.retain(|field, _| !["f:apiVersion", "f:kind"].contains(&field.as_str()));
    if let Some(metadata) = all.get_mut("f:metadata").and_then(Value::as_object_mut) {
        let not_ours = ["f:name", "f:namespace", "f:uid", "f:resourceVersion"];
        metadata.retain(|field, _| !not_ours.contains(&field.as_str()));
    }
    fields
}

fn shape(value: &Value) -> Value {
    let fields = value.as_object().into_iter().flatten();
    Value::Object(fields.map(|(key, value)| (format!("f:{key}"), shape(value))).collect())
}

fn take_away(object: &mut Value, last: &Value, now: &Value) {
    let (Some(object), Some(last)) = (object.as_object_mut(), last.as_object()) else { return };
    for (field, below) in last {
        let key = field.trim_start_matches("f:");
        match now.get(field) {
            None => drop(object.remove(key)),
            Some(now) => {
                if let Some(object) = object.get_mut(key) {
                    take_away(object, below, now);
                }
            }
        }
    }
}

fn merge(into: &mut Value, changes: &Value) {
    match (into, changes) {
        (Value::Object(into), Value::Object(changes)) => {
            for (key, change) in changes {
                merge(into.entry(key.clone()).or_insert(Value::Null), change);
            }
        }
        (into, change @ Value::Object(_)) => {
            *into = Value::Object(Map::new());
            merge(into, change);
        }
        (into, change) => *into = change.clone(),
    }
}

/// Merges a patch as RFC 7396 says.
pub(crate) fn merge_patch(into: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (key, change) in patch {
        if change.is_null() {
            into.as_object_mut().unwrap().remove(key);
        } else {
            merge_patch(&mut into[key.as_str()], change);
        }
    }
}
