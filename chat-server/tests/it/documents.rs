//! `docs/security.md` and `docs/limits.md` can be looked up: the tests, files, sections, settings and metrics that they name exist, and
//! what they count and quote is right.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

const PAGE: &str = include_str!("../../../docs/security.md");

const LIMITS: &str = include_str!("../../../docs/limits.md");
const CONFIGURATION: &str = include_str!("../../../docs/configuration.md");

/// Requirements of ASVS 5.0.0 at its levels 1 and 2.
const REQUIREMENTS: usize = 253;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Rust files and scripts of the web client's tests: path from the root, and text.
fn sources() -> Vec<(String, String)> {
    let root = root();
    let mut folders = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
            if entry.file_type().unwrap().is_dir() {
                // What cargo and npm make, and what is hidden, is not ours. A target directory may have any name.
                let made = name.starts_with('.') || name == "target" || name == "node_modules";
                if !made && !path.join("CACHEDIR.TAG").exists() {
                    folders.push(path);
                }
            } else if name.ends_with(".rs") || name.ends_with(".mjs") {
                let from_root = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                found.push((from_root, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(found.len() > 300, "{} files", found.len());
    found
}

/// What stands between backticks.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2))
}

/// File and test, of a span such as `roles.rs: the_last_owner_stays`.
fn named_test(span: &str) -> Option<(&str, &str)> {
    span.split_once(": ").filter(|(file, _)| file.ends_with(".rs") || file.ends_with(".mjs"))
}

/// Whether the file at `path` can be called `file`: by its name, or with some of the folders before it.
fn is_called(path: &str, file: &str) -> bool {
    path.strip_suffix(file).is_some_and(|folder| folder.is_empty() || folder.ends_with('/'))
}

fn has_test(path: &str, text: &str, test: &str) -> bool {
    if path.ends_with(".rs") {
        has_rust_test(path, text, test)
    } else {
        text.contains(&format!("\"{test}\""))
    }
}

/// Whether a Rust file has this function, as a test.
fn has_rust_test(path: &str, text: &str, test: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let begins = |line: &str| {
        let line = line.strip_prefix("pub(crate) ").unwrap_or(line);
        let line = line.strip_prefix("async ").unwrap_or(line);
        let rest = line.strip_prefix("fn ").and_then(|line| line.strip_prefix(test));
        rest.is_some_and(|rest| rest.starts_with('('))
    };
    let is_marked = |at: usize| {
        let above = lines[..at].iter().rev();
        let mut above = above.take_while(|line| line.starts_with("#[") || line.starts_with("///"));
        above.any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
    };
    // Those of a suite, or of a runner, are called by name and have no attribute.
    let is_suite = path.contains("/tests/it/conformance/") || path.starts_with("kind-tests/tests/");
    (0..lines.len()).any(|at| begins(lines[at]) && (is_suite || is_marked(at)))
}

/// Requirement, what it asks, state, how and where.
fn rows() -> Vec<[&'static str; 4]> {
    let lines = PAGE.lines().filter(|line| line.starts_with("| V"));
    let row = |line: &'static str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        <[&str; 4]>::try_from(cells).unwrap_or_else(|cells| panic!("not four cells: {cells:?}"))
    };
    lines.map(row).collect()
}

/// The anchor that GitHub gives to a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

#[test]
fn every_test_that_is_named_exists() {
    let sources = sources();
    let named: Vec<(&str, &str)> = spans(PAGE).chain(spans(LIMITS)).filter_map(named_test).collect();
    assert!(named.len() > 150, "{} tests are named", named.len());
    let exists = |file: &str, test: &str| {
        sources.iter().any(|(path, text)| is_called(path, file) && has_test(path, text, test))
    };
    let missing: Vec<_> = named.into_iter().filter(|(file, test)| !exists(file, test)).collect();
    assert!(missing.is_empty(), "these tests are named, and are not there: {missing:#?}");
}

#[test]
fn what_is_no_test_is_not_taken_for_one() {
    let text = "#[test]\nfn one() {}\n\nfn two() {}\n\n/// Why.\n#[tokio::test(flavor = \"x\")]\nasync fn three() {}";
    for (test, expected) in [("one", true), ("two", false), ("three", true), ("on", false), ("four", false)] {
        assert_eq!(has_test("a/src/b.rs", text, test), expected, "{test}");
    }
    let suite = "pub(crate) async fn two(store: Store) {}\n";
    assert!(has_test("chat-server/tests/it/conformance/log.rs", suite, "two"));
    assert!(!has_test("chat-server/tests/it/log.rs", suite, "two"));
    assert!(has_test("a/b.mjs", "test(\"goes without saying\", () => {", "goes without saying"));
    assert!(!has_test("a/b.mjs", "test(\"goes without saying\", () => {", "goes without"));
    assert!(is_called("a/b.rs", "b.rs") && is_called("a/b.rs", "a/b.rs") && !is_called("a/ab.rs", "b.rs"));
}

#[test]
fn requirements_are_counted_and_what_is_met_says_where() {
    let rows = rows();
    assert_eq!(rows.len(), REQUIREMENTS);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut last: Vec<u32> = Vec::new();
    for [id, _, state, how] in rows.iter().copied() {
        let number: Vec<u32> = id.trim_start_matches('V').split('.').map(|n| n.parse().unwrap()).collect();
        assert!(last < number, "{id} is there twice, or out of order");
        last = number;
        *counts.entry(state).or_default() += 1;
        let says_where = how.contains("](") || spans(how).any(|span| named_test(span).is_some());
        assert!(state != "met" || says_where, "{id} is met, and names neither a test nor a document");
    }
    let count = |state: &str| counts.get(state).copied().unwrap_or_default();
    let (met, not_yet, not_applicable) = (count("met"), count("not yet"), count("not applicable"));
    assert_eq!(met + not_yet + not_applicable, REQUIREMENTS, "{counts:?}");
    let untested = rows.iter().filter(|[_, _, state, how]| *state == "not yet" && how.contains("no test"));
    let page = PAGE.split_whitespace().collect::<Vec<_>>().join(" ");
    for sentence in [
        format!(
            "**{REQUIREMENTS} requirements: {met} met, {not_yet} not yet, {not_applicable} not applicable.**"
        ),
        format!("\"no test\" ({} of them)", untested.count()),
    ] {
        assert!(page.contains(&sentence), "the page lacks: {sentence}");
    }
}

#[test]
fn every_file_and_section_that_is_named_exists() {
    let docs = root().join("docs");
    let links = PAGE.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    let own: Vec<&str> = links.filter(|target| !target.contains("://")).collect();
    assert!(own.len() > 20, "{own:?}");
    for target in own {
        let (file, section) = target.split_once('#').unwrap_or((target, ""));
        let path = docs.join(if file.is_empty() { "security.md" } else { file });
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{target}: {error}"));
        let mut headings = text.lines().filter(|line| line.starts_with('#'));
        let is_there =
            section.is_empty() || headings.any(|line| anchor(line.trim_start_matches('#').trim()) == section);
        assert!(is_there, "there is no section {target}");
    }
    for span in spans(PAGE) {
        let is_path = span.rsplit_once('/').is_some_and(|(_, name)| name.contains('.'))
            && !span.starts_with('/')
            && !span.contains([' ', ':']);
        assert!(!is_path || root().join(span).exists(), "there is no file {span}");
    }
}

/// What, for each what, limit, setting, at it, metric, test.
fn limits() -> Vec<[&'static str; 7]> {
    let lines = LIMITS.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| what |"));
    let row = |line: &'static str| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        <[&str; 7]>::try_from(cells).unwrap_or_else(|cells| panic!("not seven cells: {cells:?}"))
    };
    lines.map(row).collect()
}

/// Settings with their defaults, as the reference has them.
fn settings() -> BTreeMap<String, &'static str> {
    let (mut section, mut found) = ("", BTreeMap::new());
    for line in CONFIGURATION.lines() {
        if let Some(name) = line.strip_prefix("## `[").and_then(|line| line.strip_suffix("]`")) {
            section = name;
        } else if let Some(row) = line.strip_prefix("| `") {
            let cells: Vec<&str> = row.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
            found.insert(format!("{section}.{}", cells[0]), cells[2]);
        }
    }
    assert!(found.len() > 50, "{found:?}");
    found
}

/// The numbers in a text, without what parts their thousands.
fn numbers(text: &str) -> Vec<String> {
    let text = text.replace(',', "");
    text.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

#[test]
fn settings_and_metrics_of_limits_exist_and_defaults_are_those() {
    let (limits, settings, sources) = (limits(), settings(), sources());
    assert!(limits.len() > 50, "{} limits", limits.len());
    for [what, _, limit, setting, _, metric, _] in limits {
        if let Some(key) = spans(setting).next() {
            let default = settings.get(key).unwrap_or_else(|| panic!("{what}: there is no setting {key}"));
            let said = numbers(limit);
            assert!(
                said.is_empty() || said.iter().any(|number| number == default),
                "{what}: {limit}, but {default}"
            );
        }
        if let Some(name) = spans(metric).next() {
            let bare = name.trim_start_matches("folkmoot_").trim_end_matches("_total");
            let is_there = sources.iter().any(|(_, text)| text.contains(&format!("\"{bare}\"")));
            assert!(is_there, "{what}: there is no metric {name}");
        }
    }
}
