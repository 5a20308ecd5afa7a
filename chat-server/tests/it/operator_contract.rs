//! What the operator starts, chat-server takes: each container of the operator's golden files, with its arguments and its
//! environment, is one that this chat-server understands whole. The operator's own tests keep the golden files true.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use chat_server::{
    cli::Cli,
    config::{Config, SETTINGS, Setting, load},
};
use clap::Parser as _;
use serde_json::Value;

type Variables = BTreeMap<String, String>;

/// Golden files of one spec.
fn folders() -> Vec<PathBuf> {
    let all = Path::new(env!("CARGO_MANIFEST_DIR")).join("../operator/src/controller/build/snapshots");
    let found = fs::read_dir(all).unwrap().map(|entry| entry.unwrap().path());
    let folders: Vec<PathBuf> = found.filter(|path| path.is_dir()).collect();
    assert!(!folders.is_empty(), "there are golden files");
    folders
}

/// All objects of a folder.
fn objects(folder: &Path) -> Vec<Value> {
    let files = fs::read_dir(folder).unwrap().map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
    let documents = files.flat_map(|text| text.split("---\n").map(str::to_owned).collect::<Vec<_>>());
    documents
        .filter(|text| !text.trim().is_empty())
        .map(|text| serde_saphyr::from_str(&text).unwrap())
        .collect()
}

/// Variables of ConfigMaps, by name.
fn config_maps(objects: &[Value]) -> BTreeMap<&str, Variables> {
    let maps = objects.iter().filter(|object| object["kind"] == "ConfigMap");
    maps.map(|map| {
        (map["metadata"]["name"].as_str().unwrap(), serde_json::from_value(map["data"].clone()).unwrap())
    })
    .collect()
}

/// What a container finds in its environment. The cluster gives it a name, an address and what is in Secrets.
fn environment(container: &Value, maps: &BTreeMap<&str, Variables>) -> Variables {
    let list = |key: &str| container[key].as_array().cloned().unwrap_or_default();
    let mut variables = Variables::new();
    for from in list("envFrom") {
        variables.extend(maps[from["configMapRef"]["name"].as_str().unwrap()].clone());
    }
    for variable in list("env") {
        let from = &variable["valueFrom"];
        let value = match variable["value"].as_str() {
            Some(value) => value.replace("$(POD_NAME)", "chat-0").replace("$(POD_IP)", "10.0.0.1"),
            None if from["fieldRef"]["fieldPath"] == "status.podIP" => "10.0.0.1".into(),
            None => "chat".into(),
        };
        variables.insert(variable["name"].as_str().unwrap().into(), value);
    }
    variables
}

/// That it is taken whole: no setting is unknown, out of its range, or at odds with another one.
fn check(what: &str, variables: Variables) {
    if let Err(problems) = load(Config::default(), None, variables, Vec::new()) {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        panic!("{what}: {problems:#?}");
    }
}

#[test]
fn the_server_takes_every_container_of_the_operator() {
    let (mut containers, mut alone) = (0, 0);
    for folder in folders() {
        let objects = objects(&folder);
        let maps = config_maps(&objects);
        let pods: Vec<&Value> =
            objects.iter().filter_map(|object| object.pointer("/spec/template/spec")).collect();
        for container in pods.iter().flat_map(|pod| pod["containers"].as_array().unwrap()) {
            let args = container["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap());
            let what = format!("{} {:?}", folder.display(), container["args"]);
            let parsed = Cli::try_parse_from(std::iter::once("chat-server").chain(args));
            assert!(parsed.is_ok(), "{what}: {parsed:?}");
            check(&what, environment(container, &maps));
            containers += 1;
        }
        if pods.is_empty() {
            alone += maps.len();
            maps.into_iter().for_each(|(name, variables)| check(name, variables));
        }
    }
    // Each of three roles and the migration of three specs, and a migration of one that goes.
    assert!(containers >= 13 && alone >= 1, "{containers} containers, {alone} ConfigMaps alone");
}

/// A file of the repository.
fn source(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file)).unwrap()
}

/// All `section.key` that stand in these sources between such quotes.
fn keys(files: &[&str], quote: char) -> BTreeSet<String> {
    let text: String = files.iter().map(|file| source(file)).collect();
    let sections: BTreeSet<&str> = SETTINGS.iter().map(Setting::section).collect();
    let is_key = |word: &&str| {
        let parts = word.split_once('.');
        parts.is_some_and(|(section, name)| {
            sections.contains(section) && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        })
    };
    let found: BTreeSet<String> = text.split(quote).filter(is_key).map(str::to_owned).collect();
    assert!(found.len() >= 10, "{files:?}: {found:?}");
    found
}

/// Golden files show only what some spec asks for.
#[test]
fn every_key_that_the_operator_and_its_resource_name_is_a_setting() {
    let build = ["config", "deployment"].map(|name| format!("operator/src/controller/build/{name}.rs"));
    let rendered = keys(&build.each_ref().map(String::as_str), '"');
    let refused = keys(&["crds/src/lib.rs"], '\'');
    for key in rendered.iter().chain(&refused) {
        assert!(Setting::find(key).is_some(), "{key} is no setting of this chat-server");
    }
    // A key that has a field of its own, or is the operator's, would be taken from `spec.settings` and not count. The log's
    // format is a default there.
    let free: Vec<&String> = rendered
        .iter()
        .filter(|key| *key != "log.format" && is_taken(Setting::find(key).unwrap().section()))
        .filter(|key| !refused.contains(*key))
        .collect();
    assert_eq!(free, [""; 0], "rendered, and not refused in spec.settings (crds/src/lib.rs)");
}

/// Whether `spec.settings` takes keys of this section.
fn is_taken(section: &str) -> bool {
    ["auth", "files", "gateway", "log", "server"].contains(&section)
}

/// On Kubernetes a setting of any other section can be set by nobody, unless it has a field of its own.
#[test]
fn every_section_is_taken_by_the_resource_or_is_the_operators() {
    let resource = source("crds/src/lib.rs");
    assert!(
        resource.contains("'^(auth|files|gateway|log|server)[.]"),
        "is_taken is what the rule of the resource says"
    );
    for section in SETTINGS.iter().map(Setting::section).filter(|section| !is_taken(section)) {
        let of_operator = ["bus", "cassandra", "cluster", "data", "pulsar", "s3", "store"];
        assert!(of_operator.contains(&section), "{section}: is it for spec.settings, or for the operator?");
    }
}

#[test]
fn what_the_operator_leaves_unsaid_is_what_the_server_does_by_itself() {
    let age = Config::default().gateway.max_connection_age.expect("sockets have an age").as_secs();
    let resource = source("charts/folkmoot-crds/templates/chatclusters.yaml");
    assert!(resource.contains(&format!("maxConnectionAgeSeconds: {age}\n")), "{age}");
}
