//! An operator of all namespaces.

use std::collections::BTreeSet;

use crate::successor::install;
use anyhow::{Result, ensure};
use kind_tests::{audit, operator::Operator, scene::Scene};

pub(crate) async fn all_namespaces_by_choice(scene: Scene) -> Result<()> {
    install(&scene, &["--set", "watch.clusterWide=true", "--set-json", "watch.namespaces=[]"]).await?;
    let operator = Operator::of(&scene);
    operator.until_whole().await?;
    scene.small_chat().await?;
    let Some(log) = &scene.settings.audit_log else { return Ok(()) };
    // Those before them lost their rights while they ended.
    let ours: BTreeSet<_> = operator.pods().await?.iter().map(kube::ResourceExt::name_any).collect();
    let denied: BTreeSet<_> = audit::of_accounts_in(log, &scene.settings.system)?
        .iter()
        .filter(|entry| entry.code() == 403 && ours.contains(entry.pod()))
        .map(audit::Entry::title)
        .collect();
    ensure!(denied.is_empty(), "expected nothing to be denied: {denied:#?}");
    let lists = audit::of_accounts_in(log, &scene.settings.system)?;
    let everywhere = lists.iter().any(|entry| {
        entry.verb == "watch"
            && entry
                .object_ref
                .as_ref()
                .is_some_and(|object| object.resource == "chatclusters" && object.namespace.is_empty())
    });
    ensure!(everywhere, "expected one watch of all namespaces");
    Ok(())
}
