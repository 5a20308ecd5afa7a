//! Who may know whom: what ARCHITECTURE.md says of the crates, held by what Cargo knows and by what the sources import.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Crates that must stay free of engines and doors.
const PURE: [&str; 3] = ["chat-protocol", "chat-log", "chat-domain"];

/// Databases, bus products, HTTP and sockets. A crate whose name begins so counts too.
const OUTSIDE: [&str; 18] = [
    "rusqlite",
    "libsqlite3-sys",
    "scylla",
    "cassandra-cpp",
    "pulsar",
    "object_store",
    "axum",
    "hyper",
    "http",
    "h2",
    "tower",
    "reqwest",
    "rustls",
    "tungstenite",
    "tokio-tungstenite",
    "tokio-rustls",
    "mio",
    "socket2",
];

/// Engines and doors do not know each other. Each crate, and those of ours that it may use besides the pure ones.
const KNOWS: [(&str, &[&str]); 13] = [
    ("chat-domain", &[]),
    ("chat-guard", &[]),
    ("chat-sqlite", &[]),
    ("chat-cassandra", &[]),
    ("chat-pulsar", &[]),
    ("chat-blobs", &[]),
    ("chat-http", &[]),
    ("chat-cluster", &[]),
    ("chat-follow", &["chat-cluster"]),
    ("chat-auth", &["chat-http"]),
    ("chat-api", &["chat-http", "chat-auth"]),
    ("chat-gateway", &["chat-auth", "chat-cluster", "chat-http"]),
    // The composition knows all of them, and nobody knows it.
    (
        "chat-server",
        &[
            "chat-api",
            "chat-auth",
            "chat-blobs",
            "chat-cassandra",
            "chat-cluster",
            "chat-follow",
            "chat-gateway",
            "chat-guard",
            "chat-http",
            "chat-pulsar",
            "chat-sqlite",
        ],
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("is in the workspace").to_owned()
}

fn metadata() -> Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("is JSON")
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn items<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// What each package needs to be built and run, by id; tests do not count. Features are those of the whole workspace.
fn needs(metadata: &Value) -> BTreeMap<&str, Vec<&str>> {
    let is_normal = |dep: &&Value| items(dep, "dep_kinds").iter().any(|kind| text(kind, "kind") != "dev");
    items(&metadata["resolve"], "nodes")
        .iter()
        .map(|node| {
            let deps = items(node, "deps").iter().filter(is_normal);
            (text(node, "id"), deps.map(|dep| text(dep, "pkg")).collect())
        })
        .collect()
}

#[test]
fn the_domain_needs_no_database_no_bus_product_no_http_and_no_sockets() {
    let metadata = metadata();
    let needs = needs(&metadata);
    let packages = items(&metadata, "packages");
    let name_of: BTreeMap<&str, &str> = packages.iter().map(|p| (text(p, "id"), text(p, "name"))).collect();
    for pure in PURE {
        let package =
            packages.iter().find(|p| text(p, "name") == pure).unwrap_or_else(|| panic!("no {pure}"));
        let mut open = vec![(text(package, "id"), vec![pure])];
        let mut seen = BTreeSet::new();
        while let Some((id, way)) = open.pop() {
            for dep in &needs[id] {
                let name = name_of[dep];
                let outside =
                    OUTSIDE.iter().any(|word| name == *word || name.starts_with(&format!("{word}-")));
                assert!(!outside, "{} needs {name}", way.join(" needs "));
                // Tokio comes with its sockets, since others ask for them; whether this crate does is looked at below.
                if name != "tokio" && seen.insert(*dep) {
                    open.push((dep, [way.as_slice(), &[name]].concat()));
                }
            }
        }
        for dep in items(package, "dependencies").iter().filter(|dep| text(dep, "name") == "tokio") {
            let features: Vec<&str> = items(dep, "features").iter().filter_map(Value::as_str).collect();
            let normal = text(dep, "kind") != "dev";
            assert!(
                !normal || !features.iter().any(|f| matches!(*f, "net" | "full" | "process")),
                "{pure}: {features:?}"
            );
        }
    }
}

#[test]
fn each_crate_knows_only_those_below_it() {
    let metadata = metadata();
    let ours = root().join("chat-server").display().to_string();
    let mut found = BTreeSet::new();
    for package in items(&metadata, "packages").iter().filter(|p| text(p, "manifest_path").starts_with(&ours))
    {
        let name = text(package, "name");
        let (_, known) = KNOWS
            .iter()
            .find(|(crate_, _)| *crate_ == name)
            .unwrap_or_else(|| panic!("{name} is not listed"));
        found.insert(name);
        for dep in items(package, "dependencies").iter().filter(|dep| text(dep, "kind") != "dev") {
            let dep = text(dep, "name");
            let of_ours = KNOWS.iter().any(|(crate_, _)| *crate_ == dep);
            assert!(!of_ours || PURE.contains(&dep) || known.contains(&dep), "{name} may not know {dep}");
        }
    }
    assert_eq!(found.len(), KNOWS.len(), "{found:?}");
}

/// The folder below `src` that a module lies in: `["log"]` for `log/mod.rs` and `log/page.rs`.
fn folder_of(module: &[String], folders: &BTreeSet<Vec<String>>) -> Vec<String> {
    (0..=module.len())
        .rev()
        .map(|n| module[..n].to_vec())
        .find(|path| folders.contains(path))
        .unwrap_or_default()
}

/// All paths of a source that begin with `crate` or `super`, made absolute.
fn imports(source: &str, module: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let code: String =
        source.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    for word in ["crate::", "super::"] {
        for (at, _) in code.match_indices(word) {
            if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':' || c == '$') {
                continue;
            }
            let mut base = if word == "crate::" {
                Vec::new()
            } else {
                module[..module.len().saturating_sub(1)].to_vec()
            };
            let mut rest = &code[at + word.len()..];
            while let Some(next) = rest.strip_prefix("super::") {
                base.pop();
                rest = next;
            }
            walk_tree(rest, &base, &mut found);
        }
    }
    found
}

/// The paths of a use tree such as `a::{b, c::d}`; ends where the tree does.
fn walk_tree<'a>(mut rest: &'a str, base: &[String], found: &mut Vec<Vec<String>>) -> &'a str {
    let mut path = base.to_vec();
    loop {
        rest = rest.trim_start();
        if let Some(inside) = rest.strip_prefix('{') {
            rest = inside;
            loop {
                rest = walk_tree(rest, &path, found).trim_start();
                if let Some(more) = rest.strip_prefix(',') {
                    rest = more.trim_start();
                }
                if let Some(after) = rest.strip_prefix('}') {
                    return after;
                }
                if rest.is_empty() {
                    return rest;
                }
            }
        }
        let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        path.push(rest[..length].to_owned());
        rest = &rest[length..];
        match rest.strip_prefix("::") {
            Some(more) if length > 0 => rest = more,
            _ => {
                found.push(path);
                // Past ` as name` or `*`.
                let end = rest.find([',', '}', ';', '\n']).unwrap_or(rest.len());
                return &rest
                    [end.max(usize::from(length == 0 && end == 0 && !rest.starts_with(['}', ','])))..];
            }
        }
    }
}

fn sources(folder: &Path, module: &[String], all: &mut Vec<(Vec<String>, String)>) {
    let mut entries: Vec<_> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            sources(&path, &[module, &[name]].concat(), all);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let own = if matches!(name.as_str(), "mod" | "lib" | "main") {
                module.to_vec()
            } else {
                [module, &[name]].concat()
            };
            all.push((own, fs::read_to_string(&path).expect("is text")));
        }
    }
}

/// Which folder imports which, without what lies in one of the two.
fn edges(src: &Path) -> BTreeMap<Vec<String>, BTreeSet<Vec<String>>> {
    let mut all = Vec::new();
    sources(src, &[], &mut all);
    let mut folders = BTreeSet::new();
    for (module, _) in &all {
        if src.join(module.iter().collect::<PathBuf>()).is_dir() {
            folders.insert(module.clone());
        }
    }
    let mut edges: BTreeMap<Vec<String>, BTreeSet<Vec<String>>> = BTreeMap::new();
    for (module, source) in &all {
        let from = folder_of(module, &folders);
        for import in imports(source, module) {
            let to = folder_of(&import, &folders);
            if !from.starts_with(&to) && !to.starts_with(&from) {
                edges.entry(from.clone()).or_default().insert(to);
            }
        }
    }
    edges
}

/// A way from a folder back to itself.
fn circle(edges: &BTreeMap<Vec<String>, BTreeSet<Vec<String>>>) -> Option<Vec<String>> {
    fn visit(
        at: &Vec<String>,
        way: &mut Vec<Vec<String>>,
        done: &mut BTreeSet<Vec<String>>,
        edges: &BTreeMap<Vec<String>, BTreeSet<Vec<String>>>,
    ) -> Option<Vec<String>> {
        if let Some(start) = way.iter().position(|folder| folder == at) {
            return Some(way[start..].iter().chain([at]).map(|folder| folder.join("/")).collect());
        }
        if !done.contains(at) {
            way.push(at.clone());
            let found = edges.get(at).into_iter().flatten().find_map(|next| visit(next, way, done, edges));
            way.pop();
            done.insert(at.clone());
            return found;
        }
        None
    }
    let mut done = BTreeSet::new();
    edges.keys().find_map(|folder| visit(folder, &mut Vec::new(), &mut done, edges))
}

#[test]
fn no_folders_import_each_other_in_a_circle() {
    let metadata = metadata();
    let members = items(&metadata, "workspace_members");
    let mut looked_at = 0;
    for package in items(&metadata, "packages").iter().filter(|package| members.contains(&package["id"])) {
        let manifest = Path::new(text(package, "manifest_path"));
        let edges = edges(&manifest.with_file_name("src"));
        looked_at += edges.len();
        assert_eq!(circle(&edges), None, "in {}", text(package, "name"));
    }
    assert!(looked_at > 5, "the imports were not understood");
}

#[test]
fn a_circle_is_seen() {
    let at = |module: &[&str]| module.iter().map(|&part| part.to_owned()).collect::<Vec<_>>();
    let found = imports(
        "use crate::{store::{self, Row as R}, bus::*};\nuse super::{a, b::c};\nlet x = crate::z::Y;",
        &at(&["chat", "log"]),
    );
    let expected = [
        &["store", "self"][..],
        &["store", "Row"],
        &["bus", ""],
        &["z", "Y"],
        &["chat", "a"],
        &["chat", "b", "c"],
    ];
    assert_eq!(found, expected.map(at));
    let edges = BTreeMap::from([
        (at(&["a"]), BTreeSet::from([at(&["b"])])),
        (at(&["b"]), BTreeSet::from([at(&["c"])])),
        (at(&["c"]), BTreeSet::from([at(&["b"])])),
    ]);
    assert_eq!(circle(&edges), Some(vec!["b".to_owned(), "c".to_owned(), "b".to_owned()]));
}
