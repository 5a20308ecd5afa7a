//! What is generated from this crate is in the repository as it is generated now.

use std::{fs, path::Path};

use folkmoot_crds::reference::{EXAMPLE, generated_files};

#[test]
fn generated_files_are_fresh() {
    for (path, text) in generated_files() {
        let found = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path));
        assert!(
            found.is_ok_and(|found| found == text),
            "{path} is not what would be generated now; run cargo run -p folkmoot-crds --bin crdgen"
        );
    }
}

#[test]
fn the_reference_names_every_field_and_every_rule() {
    let [_, (_, reference)] = generated_files();
    for field in ["`contactPoints`", "`drainSeconds`", "`parentRefs`", "`readyReplicas`", "`settings`"] {
        assert!(reference.contains(field), "{field}");
    }
    for line in reference.lines().filter(|line| line.starts_with('|')) {
        assert!(!line.contains("|  |  |"), "neither type nor meaning: {line}");
    }
    assert!(reference.contains("partitions must grow or stay"));
}

#[test]
fn the_example_has_ten_lines() {
    assert_eq!(EXAMPLE.lines().count(), 10);
}
