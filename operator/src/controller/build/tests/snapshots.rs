//! Golden files in `snapshots/`: a folder for each spec, with a file for each kind. `UPDATE_SNAPSHOTS=1` writes them anew; read
//! what changed then, above all in `pod-templates.txt`: a change there restarts every pod of everybody who upgrades the operator.

use std::{fs, path::PathBuf};

use super::{
    super::drop_job,
    specs::{self, built, image},
};
use crate::{
    kinds::{Child, ChildKind},
    names,
};

/// Compares `text` with a golden file.
fn check(file: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/controller/build/snapshots").join(file);
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        golden == text,
        "{file} is not what is built now; UPDATE_SNAPSHOTS=1 writes it anew.\n--- built\n{text}"
    );
}

fn yaml(children: &[&Child]) -> String {
    children.iter().map(|child| format!("---\n{}", serde_saphyr::to_string(&child.object).unwrap())).collect()
}

/// Compares all children of these kinds; all kinds for none.
fn check_kinds(variant: &str, kinds: &[ChildKind]) {
    let children = built(&specs::named(variant));
    let kinds = if kinds.is_empty() { &ChildKind::ALL } else { kinds };
    for kind in kinds {
        let of_kind: Vec<&Child> = children.iter().filter(|child| child.kind == *kind).collect();
        if !of_kind.is_empty() {
            check(&format!("{variant}/{}.yaml", kind.resource().kind), &yaml(&of_kind));
        }
    }
}

#[test]
fn minimal() {
    check_kinds("minimal", &[]);
}

#[test]
fn everything() {
    check_kinds("everything", &[]);
}

#[test]
fn ingress() {
    check_kinds("ingress", &[ChildKind::Ingress, ChildKind::NetworkPolicy]);
}

#[test]
fn http_route() {
    check_kinds("http-route", &[ChildKind::HttpRoute]);
}

#[test]
fn s3() {
    check_kinds("s3", &[ChildKind::ConfigMap, ChildKind::NetworkPolicy]);
}

#[test]
fn tls() {
    check_kinds("tls", &[ChildKind::ConfigMap, ChildKind::Job, ChildKind::Deployment]);
}

#[test]
fn dropping_the_keyspace() {
    let cluster = specs::named("tls");
    check("tls/Drop.yaml", &yaml(&[&drop_job(&cluster, &image(&cluster))]));
}

/// An upgrade of the operator alone changes no pod template, and so restarts nothing.
#[test]
fn pod_templates_stay_what_they_are() {
    let mut text = String::new();
    for (variant, cluster) in specs::all() {
        for child in built(&cluster).iter().filter(|child| child.kind == ChildKind::Deployment) {
            let template = child.object.data["spec"]["template"].to_string();
            text.push_str(&format!("{variant} {} {}\n", child.name(), names::hash(&[&template])));
        }
    }
    check("pod-templates.txt", &text);
}
