//! The top-level modules of the operator lie in layers: none imports, over others, itself. Read from the sources.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// Which top-level modules each one imports.
type Imports = BTreeMap<String, BTreeSet<String>>;

/// Names of the top-level modules that a source names after `crate::`, in code.
fn imported(source: &str) -> BTreeSet<String> {
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    let code: String = source.lines().filter(is_code).flat_map(|line| [line, "\n"]).collect();
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(items(group).iter().filter_map(|item| first_name(item))),
            None => found.extend(first_name(rest)),
        }
    }
    found
}

/// The parts of a group of imports, which begins after its brace, at the commas that are in no inner brace.
fn items(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut items) = (0, 0, Vec::new());
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            '}' => {
                items.push(&group[start..at]);
                return items;
            }
            ',' if depth == 0 => {
                items.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items
}

fn first_name(path: &str) -> Option<String> {
    let name: String =
        path.trim_start().chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
    (!name.is_empty()).then_some(name)
}

/// Reads all sources below a folder.
fn read(folder: &Path, module: Option<&str>, imports: &mut Imports) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let module = module.map_or(stem, str::to_owned);
        if path.is_dir() {
            read(&path, Some(&module), imports);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            let of_file = imported(&fs::read_to_string(&path).unwrap());
            let others = of_file.into_iter().filter(|other| *other != module);
            imports.entry(module.clone()).or_default().extend(others);
        }
    }
}

/// A circle of imports, if there is one.
fn circle(imports: &Imports) -> Option<Vec<String>> {
    fn follow(imports: &Imports, path: &mut Vec<String>, done: &mut BTreeSet<String>) -> bool {
        let last = path.last().unwrap().clone();
        for next in imports.get(&last).into_iter().flatten() {
            if let Some(start) = path.iter().position(|module| module == next) {
                path.drain(..start);
                path.push(next.clone());
                return true;
            }
            if !done.contains(next) {
                path.push(next.clone());
                if follow(imports, path, done) {
                    return true;
                }
                path.pop();
            }
        }
        done.insert(last);
        false
    }
    let mut done = BTreeSet::new();
    imports.keys().find_map(|module| {
        let mut path = vec![module.clone()];
        (!done.contains(module) && follow(imports, &mut path, &mut done)).then_some(path)
    })
}

fn of(imports: &[(&str, &[&str])]) -> Imports {
    let owned = |(module, others): &(&str, &[&str])| {
        ((*module).to_owned(), others.iter().map(|other| (*other).to_owned()).collect())
    };
    imports.iter().map(owned).collect()
}

#[test]
fn imports_are_found_in_code_and_circles_among_them() {
    let source =
        "use crate::{\n    a::{b, c},\n    d,\n};\n// crate::e\nfn f() -> crate::g::H {}\nuse super::i;\n";
    assert_eq!(imported(source), ["a", "d", "g"].map(str::to_owned).into());
    assert_eq!(circle(&of(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])])), None);
    let found = circle(&of(&[("a", &["b"]), ("b", &["c"]), ("c", &["d", "b"]), ("d", &[])]));
    assert_eq!(found, Some(["b", "c", "b"].map(str::to_owned).into()));
}

#[test]
fn no_top_level_module_imports_itself_over_others() {
    let mut imports = Imports::new();
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), None, &mut imports);
    let layers = |module: &str| imports.get(module).unwrap_or_else(|| panic!("{module} is not read"));
    assert!(layers("controller").contains("scaling") && layers("names").contains("role"), "{imports:#?}");
    assert_eq!(circle(&imports), None, "{imports:#?}");
}
