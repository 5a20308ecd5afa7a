//! What the operator may do, and what it did in all the tests before this one.

use std::{collections::BTreeSet, path::Path};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding};
use kind_tests::{audit, operator::NAME, scene::Scene};
use kube::{Api, ResourceExt as _, api::ListParams};

/// Group, resource with subresource, verb.
type Right = (String, String, String);

/// Asked for by admission, not by a request: whoever makes an object whose end its owner waits for must have it
/// (kubernetes.io, OwnerReferencesPermissionEnforcement), which the clusters of these tests demand.
const BY_ADMISSION: [(&str, &str, &str); 1] = [("folkmoot.dev", "chatclusters/finalizers", "update")];

pub(crate) async fn all_are_used_and_none_is_missing(scene: Scene) -> Result<()> {
    let granted = granted(&scene).await?;
    ensure!(granted.len() > 20, "expected rights of the operator, found {granted:?}");
    ensure!(
        granted
            .iter()
            .all(|(group, resource, verb)| ![group, resource, verb].iter().any(|part| part.contains('*'))),
        "expected no `*`: {granted:?}"
    );
    let Some(log) = &scene.settings.audit_log else {
        println!(
            "rights: this cluster's API server keeps no audit log here, so what is used was not compared"
        );
        return Ok(());
    };
    nothing_was_denied(log, &scene.settings.system)?;
    let used = used(log, &scene.settings.system)?;
    let exempt = |(group, resource, verb): &&Right| !BY_ADMISSION.contains(&(group, resource, verb));
    let unused: Vec<_> = granted.difference(&used).filter(exempt).collect();
    ensure!(unused.is_empty(), "expected every right to be used; nothing needed these: {unused:#?}");
    println!("rights: {} are granted, and used", granted.len());
    Ok(())
}

/// What Roles give to the operator's account, in whatever namespace.
async fn granted(scene: &Scene) -> Result<BTreeSet<Right>> {
    let all = ListParams::default();
    let bindings: Api<RoleBinding> = Api::all(scene.client.clone());
    let mut rights = BTreeSet::new();
    for binding in bindings.list(&all).await?.items {
        let subjects = binding.subjects.as_deref().unwrap_or_default();
        let system = Some(scene.settings.system.as_str());
        if !subjects.iter().any(|subject| subject.name == NAME && subject.namespace.as_deref() == system) {
            continue;
        }
        let namespace = binding.namespace().context("expected a namespace")?;
        let roles: Api<Role> = Api::namespaced(scene.client.clone(), &namespace);
        let role = roles.get(&binding.role_ref.name).await?;
        rights.extend(role.rules.unwrap_or_default().iter().flat_map(rights_of));
    }
    Ok(rights)
}

fn rights_of(rule: &PolicyRule) -> Vec<Right> {
    let (groups, resources) =
        (rule.api_groups.clone().unwrap_or_default(), rule.resources.clone().unwrap_or_default());
    let mut rights = vec![];
    for group in &groups {
        for resource in &resources {
            rights.extend(rule.verbs.iter().map(|verb| (group.clone(), resource.clone(), verb.clone())));
        }
    }
    rights
}

fn used(log: &Path, system: &str) -> Result<BTreeSet<Right>> {
    let mut used = BTreeSet::new();
    for entry in audit::of_accounts_in(log, system)? {
        // That something is not there, or is another's, is an answer too; and on a busy machine some answers come too late.
        let answered = entry.code() < 400 || matches!(entry.code(), 404 | 409 | 500..);
        let Some(object) = entry.object_ref.clone().filter(|_| answered) else {
            continue;
        };
        let right = |verb: &str| (object.api_group.clone(), object.rule_resource(), verb.to_owned());
        used.insert(right(&entry.verb));
        // A server-side apply of what is not there makes it, for which both rights are asked.
        if entry.verb == "patch" && entry.code() == 201 {
            used.insert(right("create"));
        }
    }
    Ok(used)
}

/// Nobody asked for what it may not have.
pub(crate) fn nothing_was_denied(log: &Path, system: &str) -> Result<()> {
    let denied: BTreeSet<_> = audit::of_accounts_in(log, system)?
        .iter()
        .filter(|entry| entry.code() == 403)
        .map(audit::Entry::title)
        .collect();
    ensure!(denied.is_empty(), "expected nothing to be denied: {denied:#?}");
    Ok(())
}
