//! The words of the whole repository: errors say what failed, documentation says something, the glossary is in order.
#![allow(clippy::unwrap_used, reason = "a test says by panicking that it failed")]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Errors may begin with "expected" where two values are compared and nothing else is clearer.
const MOST_EXPECTED: usize = 30;
/// Documentation has more words than this.
const TOO_FEW_WORDS: usize = 2;

/// Every Rust file of the repository, with its path from the root.
fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if entry.file_type().unwrap().is_dir() {
                // What cargo and npm make, and what is hidden, is not ours. A target directory may have any name.
                let made = name.starts_with('.') || name == "target" || name == "node_modules";
                if !made && !entry.path().join("CACHEDIR.TAG").exists() {
                    folders.push(entry.path());
                }
            } else if entry.path().extension().is_some_and(|extension| extension == "rs") {
                let path = entry.path().strip_prefix(&root).unwrap().to_owned();
                found.push((path, fs::read_to_string(entry.path()).unwrap()));
            }
        }
    }
    // A walk that finds little would find nothing wrong.
    assert!(found.len() > 300, "{} files", found.len());
    found
}

/// Whether a file is a test as a whole: what it expects is said by its assertions.
fn is_test(path: &Path) -> bool {
    let name = path.file_stem().unwrap().to_str().unwrap();
    path.starts_with("kind-tests")
        || path.components().any(|part| part.as_os_str() == "tests")
        || name == "tests"
        || name.ends_with("_tests")
}

/// Lines with a text that begins with "expected", outside of tests and panics; counted from 1.
fn expected(text: &str) -> Vec<usize> {
    let mut found = Vec::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((index, line)) = lines.next() {
        let is_module = |next: &&str| next.starts_with("mod ") && next.ends_with('{');
        if line == "#[cfg(test)]" && lines.peek().map(|(_, next)| *next).as_ref().is_some_and(is_module) {
            break;
        }
        if line.contains("\"expected ") && !line.contains("panic!(") && !line.trim_start().starts_with("//") {
            found.push(index + 1);
        }
    }
    found
}

/// Doc comments with too few words, as a whole; lines counted from 1.
fn empty_words(text: &str) -> Vec<usize> {
    let mut found = Vec::new();
    // The mark and first line of the comment that is being read, and its words so far.
    let mut comment: Option<(&str, usize, usize)> = None;
    for (index, line) in text.lines().chain([""]).enumerate() {
        let line = line.trim_start();
        let mark = ["///", "//!"].into_iter().find(|mark| {
            line.strip_prefix(mark).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        });
        if comment.is_some_and(|(begun, ..)| Some(begun) != mark) {
            let (_, first, words) = comment.take().unwrap();
            if words <= TOO_FEW_WORDS {
                found.push(first);
            }
        }
        if let Some(mark) = mark {
            let words = line[mark.len()..].split_whitespace().count();
            let (_, first, before) = comment.unwrap_or((mark, index + 1, 0));
            comment = Some((mark, first, before + words));
        }
    }
    found
}

#[test]
fn few_errors_begin_with_expected() {
    let found: Vec<String> = sources()
        .iter()
        .filter(|(path, _)| !is_test(path))
        .flat_map(|(path, text)| {
            expected(text).into_iter().map(move |line| format!("{}:{line}", path.display()))
        })
        .collect();
    assert!(
        found.len() <= MOST_EXPECTED,
        "{} errors begin with \"expected\"; say first what failed or what is wrong: {found:#?}",
        found.len()
    );
}

#[test]
fn no_documentation_has_one_or_two_words() {
    let found: Vec<String> = sources()
        .iter()
        .flat_map(|(path, text)| {
            empty_words(text).into_iter().map(move |line| format!("{}:{line}", path.display()))
        })
        .collect();
    assert!(found.is_empty(), "say what it is, its unit or range: {found:#?}");
}

#[test]
fn both_are_found_where_they_are() {
    let errors = "bail!(\"expected a\");\n// \"expected b\"\nbail!(\n    \"expected c, got d\"\n);\npanic!(\"expected e\");\n\
                  \"unexpected f\"\n#[cfg(test)]\nmod tests {\n    \"expected g\"\n}\n";
    assert_eq!(expected(errors), [1, 4]);
    let docs = "//! Two words.\n\n/// Which.\na: u8,\n    /// Says what\n    /// it is.\nb: u8,\n// Why.\n///\n/// Not this.\n//// No doc.\n";
    assert_eq!(empty_words(docs), [1, 3, 9]);
    assert!(is_test(Path::new("a/tests/b/c.rs")) && is_test(Path::new("a/src/b_tests.rs")));
    assert!(!is_test(Path::new("a/src/attests.rs")));
}

#[test]
fn the_glossary_is_in_alphabetical_order() {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../ARCHITECTURE.md")).unwrap();
    let (_, glossary) = text.split_once("\n## Glossary\n").unwrap();
    let (glossary, _) = glossary.split_once("\n## ").unwrap();
    let terms: Vec<&str> = glossary
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| term "))
        .map(|line| line.split('|').nth(1).unwrap().trim())
        .collect();
    assert!(terms.len() > 20 && terms.is_sorted(), "{terms:#?}");
}
