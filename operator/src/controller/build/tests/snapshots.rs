//! Golden files in `snapshots/`: a folder for each spec, with a file for each kind. `UPDATE_SNAPSHOTS=1` writes them anew; read
//! what changed then, above all in `pod-templates.txt`: a change there restarts every pod of everybody who upgrades the operator.

use std::{collections::BTreeSet, fs, path::PathBuf};

use serde_json::json;

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
    if is_update() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        golden == text,
        "{file} is not what is built now; UPDATE_SNAPSHOTS=1 writes it anew.\n--- built\n{text}"
    );
}

fn is_update() -> bool {
    std::env::var_os("UPDATE_SNAPSHOTS").is_some()
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
fn autoscaler() {
    let autoscaling = json!({"mode": "External", "maxReplicas": 9, "horizontalPodAutoscaler": {}});
    let children = built(&specs::cluster(specs::with("gateway", json!({"autoscaling": autoscaling}))));
    let autoscaler = children.iter().find(|child| child.kind == ChildKind::HorizontalPodAutoscaler).unwrap();
    check("autoscaler/HorizontalPodAutoscaler.yaml", &yaml(&[autoscaler]));
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

/// A kind that is forgotten in one of these places is not watched, is refused by the API server, or is tested by nobody.
#[test]
fn every_kind_is_listed_has_a_golden_file_a_right_and_a_test_on_a_cluster() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |file: &str| fs::read_to_string(root.join(file)).unwrap();
    let rights = read("charts/folkmoot/templates/_helpers.tpl");
    let on_a_cluster = read("kind-tests/src/children.rs");
    let has_right = |plural: &str| {
        let lists = rights.lines().filter_map(|line| line.trim().strip_prefix("resources: ["));
        lists.flat_map(|list| list.trim_end_matches(']').split(", ")).any(|listed| listed == plural)
    };
    let mut golden = BTreeSet::new();
    for folder in fs::read_dir(root.join("operator/src/controller/build/snapshots")).unwrap() {
        let files = fs::read_dir(folder.unwrap().path()).into_iter().flatten();
        golden.extend(files.map(|file| file.unwrap().file_name().into_string().unwrap()));
    }
    for kind in ChildKind::ALL {
        let resource = kind.resource();
        // The other tests may be about to write it.
        let has_golden = golden.contains(&format!("{}.yaml", resource.kind)) || is_update();
        assert!(has_golden, "{kind:?} has no golden file");
        assert!(has_right(&resource.plural), "the chart gives no right to {kind:?}");
        let named = format!("\"{}\"", resource.plural);
        assert!(on_a_cluster.contains(&named), "{kind:?} is not in kind-tests/src/children.rs");
    }
    for (variant, cluster) in specs::all() {
        for child in built(&cluster) {
            assert!(ChildKind::ALL.contains(&child.kind), "{variant}: {:?} is not in ALL", child.kind);
        }
    }
}
