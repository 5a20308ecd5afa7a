//! Makes what should be there so, by server-side apply, and deletes what should not be. What is as it should be costs no request.

use std::{
    collections::{BTreeMap, BTreeSet},
    marker::PhantomData,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy},
    core::DynamicObject,
};

use super::{
    Controller, Options, ReconcileError,
    build::{self, BuildInput, GatewayNumbers},
    context::ask,
    decide::{Changes, Decided, Hold},
    events::Notice,
    observe::Observed,
};
use crate::{
    identity::Identity,
    kinds::{Child, ChildKind},
    live::{Children, Detail, Key, LiveChild},
    names::{self, FIELD_MANAGER},
    role::Role,
    scaling::decide::Scaling,
    validate::ValidatedCluster,
};

/// State of what was decided and not yet done.
#[derive(Debug)]
pub struct Prepared;
/// State of what was done: all children are there, and what was decided about gateways was carried out.
#[derive(Debug)]
pub struct Applied;

/// Everything that should be there for a `ChatCluster`, and what comes with it. What only counts once it was applied,
/// such as the number of gateways and events about changes, is accessible in [`Applied`] only.
#[derive(Debug)]
pub struct Resources<S> {
    children: Vec<Child>,
    changes: Changes,
    state: PhantomData<S>,
}

impl Resources<Prepared> {
    /// Builds what was decided.
    ///
    /// # Errors
    /// When it was decided that nothing is applied.
    pub fn prepared(
        cluster: &ValidatedCluster,
        decided: &Decided,
        changes: Changes,
        observed: &Observed,
        options: &Options,
    ) -> Result<Self, Hold> {
        if let Some(hold) = decided.hold {
            return Err(hold);
        }
        let children = build::build(&BuildInput {
            cluster,
            rollout: &decided.rollout,
            config: &decided.config,
            keys: &changes.keys,
            certificates: &changes.certificates,
            admin_token: &changes.admin_token,
            gateways: GatewayNumbers {
                replicas: changes.scaling.plan.replicas,
                newest: changes.scaling.newest.as_deref(),
            },
            migration: decided.job(),
            capabilities: &observed.capabilities,
            operator: &options.identity,
        });
        Ok(Self { children, changes, state: PhantomData })
    }

    /// What should be there.
    #[must_use]
    pub fn children(&self) -> &[Child] {
        &self.children
    }

    fn places(&self) -> BTreeSet<Place> {
        self.children.iter().map(|child| (child.kind, child.name().to_owned())).collect()
    }

    /// The same, once all of it was done.
    pub(super) fn done(self) -> Resources<Applied> {
        Resources { children: self.children, changes: self.changes, state: PhantomData }
    }
}

impl Resources<Applied> {
    /// How many gateways there are now, and which go.
    #[must_use]
    pub const fn scaling(&self) -> &Scaling {
        &self.changes.scaling
    }

    /// What is worth an event.
    #[must_use]
    pub fn notices(&self) -> &[Notice] {
        &self.changes.notices
    }
}

/// What came of what was decided.
#[derive(Debug)]
pub enum Outcome {
    /// All of it is there.
    Applied(Box<Resources<Applied>>),
    /// Nothing was done.
    Held(Hold),
    /// Something could not be done, for this reason.
    Refused(String),
}

/// Kind and name.
type Place = (ChildKind, String);

/// What this process applied last for a `ChatCluster`.
#[derive(Debug, Default)]
pub(super) struct Memory(BTreeMap<Place, Sent>);

#[derive(Debug, PartialEq, Eq)]
struct Sent {
    uid: String,
    /// Hash of what was sent.
    hash: String,
    /// The set of fields that were ours then, as [`LiveChild::owned`].
    owned: u64,
}

impl Memory {
    /// Whether an object still is as this process left it.
    fn is_as_it_was(&self, place: &Place, child: &LiveChild, hash: &str) -> bool {
        let same = |sent: &Sent| sent.uid == child.uid && sent.hash == hash && sent.owned == child.owned;
        child.applied.as_deref() == Some(hash) && self.0.get(place).is_some_and(same)
    }

    fn remember(&mut self, place: Place, child: &LiveChild, hash: String) {
        let sent = Sent { uid: child.uid.clone(), hash, owned: child.owned };
        self.0.insert(place, sent);
    }

    /// What should not be there is not remembered.
    fn keep_only(&mut self, wanted: &BTreeSet<Place>) {
        self.0.retain(|place, _| wanted.contains(place));
    }
}

/// Whether an object is somebody else's: another one's, or nobody's and without our labels.
fn is_foreign(cluster: &Identity, metadata: &ObjectMeta) -> bool {
    let owner = metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    let label = |key: &str| metadata.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
    match owner {
        Some(owner) => owner.uid != cluster.uid,
        None => {
            label(names::MANAGED_BY_LABEL) != Some(FIELD_MANAGER)
                || label(names::INSTANCE_LABEL) != Some(&cluster.name)
        }
    }
}

/// Whether something is to be sent.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// It is as it should be.
    Keep,
    /// It is not there, or not as it should be.
    Send,
}

fn step(memory: &Memory, place: &Place, live: Option<&LiveChild>, hash: &str) -> Step {
    match live {
        // What is being deleted is made again when it is gone: a watch shows it.
        Some(child) if child.deleting => Step::Keep,
        // The template of a Job never changes: another one has another name.
        Some(_) if place.0 == ChildKind::Job => Step::Keep,
        Some(child) if memory.is_as_it_was(place, child, hash) => Step::Keep,
        _ => Step::Send,
    }
}

/// Whether a Deployment is made with the configuration of this hash, or is not through with its change to another.
fn is_in_use(children: &Children, hash: &str) -> bool {
    children.values().any(|child| match &child.detail {
        Detail::Deployment(state) => state.config == hash || !state.is_settled(),
        _ => false,
    })
}

/// What is there and should not be.
fn orphans<'a>(
    cluster: &Identity,
    children: &'a Children,
    decided: &Decided,
    wanted: &BTreeSet<Place>,
) -> Vec<(&'a Place, &'a LiveChild)> {
    let is_needed = |(kind, child_name): &Place| match kind {
        ChildKind::ConfigMap => {
            let hash = child_name.strip_prefix(&names::config(&cluster.name, ""));
            // Pods of a template that is being replaced may be started once more, so what is in use counts too.
            hash.is_some_and(|hash| decided.rollout.needs_config(hash) || is_in_use(children, hash))
        }
        // Those that ended go by themselves, after an hour in which one can look at them.
        ChildKind::Job => true,
        _ => false,
    };
    children
        .iter()
        .filter(|(place, child)| {
            !wanted.contains(place)
                && !child.deleting
                && child.owner.as_ref() == Some(&cluster.uid)
                && !is_needed(place)
        })
        .collect()
}

impl Controller {
    /// Does all of what was decided, and answers it as done.
    pub(super) async fn apply(
        &self,
        key: &Key,
        cluster: &ValidatedCluster,
        observed: &Observed,
        decided: &Decided,
        prepared: Resources<Prepared>,
    ) -> Result<Resources<Applied>, ReconcileError> {
        let (identity, children) = (cluster.identity(), &observed.children);
        for child in &prepared.children {
            let live = children.get(&(child.kind, child.name().to_owned()));
            let is_gateway =
                child.kind == ChildKind::Deployment && child.name() == names::role(&key.name, Role::Gateway);
            let is_locked =
                child.kind == ChildKind::Secret || (is_gateway && self.gateways_of(key).requested.is_none());
            if is_gateway {
                // Should the answer not come, what was asked for is not known.
                self.remember_requested(key, None);
            }
            self.apply_one(key, identity, child, live, is_locked).await?;
            if is_gateway {
                self.remember_requested(key, Some(prepared.changes.scaling.plan.replicas));
            }
        }
        let wanted = prepared.places();
        for ((kind, name), child) in orphans(identity, children, decided, &wanted) {
            self.delete(key, *kind, name, &child.uid).await?;
        }
        self.memories.with(key, |memory| memory.applied.keep_only(&wanted));
        self.act_on_gateways(key, observed, &prepared.changes).await?;
        self.hand_over(key, cluster, &prepared.changes.scaling).await?;
        Ok(prepared.done())
    }

    /// Sends an object, when that is needed; `is_locked`: only if it has not changed since it was seen.
    pub(super) async fn apply_one(
        &self,
        key: &Key,
        cluster: &Identity,
        child: &Child,
        live: Option<&LiveChild>,
        is_locked: bool,
    ) -> Result<(), ReconcileError> {
        let hash = hash(child);
        let (kind, name) = (child.kind, child.name());
        let place = (kind, name.to_owned());
        let step = self.memories.with(key, |memory| step(&memory.applied, &place, live, &hash));
        if step == Some(Step::Keep) {
            return Ok(());
        }
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &key.namespace, &kind.resource());
        let mut object = child.object.clone();
        object.annotations_mut().insert(names::APPLIED.to_owned(), hash.clone());
        match live {
            // What is not ours is not watched, and an apply would take it.
            None => {
                let found = ask(format!("look up the {kind:?} {name}"), api.get_metadata_opt(name));
                if found.await?.is_some_and(|found| is_foreign(cluster, &found.metadata)) {
                    return Err(ReconcileError::NameTaken { kind, name: name.to_owned() });
                }
            }
            // New keys follow from the last ones, and how many gateways there are from how many there were when another operator
            // wrote that: refused, should these have changed since they were seen.
            Some(live) if is_locked => {
                object.metadata.resource_version = Some(live.resource_version.clone());
            }
            Some(_) => {}
        }
        self.leadership.check()?;
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let patch = Patch::Apply(&object);
        let applied = ask(format!("apply the {kind:?} {name}"), api.patch(name, &params, &patch)).await?;
        let now = LiveChild::of(kind, &applied);
        if live.is_none_or(|before| before.resource_version != now.resource_version) {
            self.metrics.wrote(kind, "apply");
            tracing::info!(chatcluster = %key, ?kind, name, "applied");
        }
        self.memories.with(key, |memory| memory.applied.remember(place, &now, hash));
        Ok(())
    }

    /// Deletes an object, if it is still that one.
    pub(super) async fn delete(
        &self,
        key: &Key,
        kind: ChildKind,
        name: &str,
        uid: &str,
    ) -> Result<(), ReconcileError> {
        self.leadership.check()?;
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &key.namespace, &kind.resource());
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
            ..DeleteParams::default()
        };
        match ask(format!("delete the {kind:?} {name}"), api.delete(name, &params)).await {
            Ok(_) => {
                self.metrics.wrote(kind, "delete");
                tracing::info!(chatcluster = %key, ?kind, name, "deleted");
            }
            // It is gone, or another one has its name by now.
            Err(error) if matches!(error.code(), Some(404 | 409)) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

fn hash(child: &Child) -> String {
    // An object that was made from types can always be written.
    names::hash_bytes(&[&serde_json::to_vec(&child.object).unwrap_or_default()])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{controller::world::World, live::JobState};

    fn live(hash: &str, owned: u64) -> LiveChild {
        LiveChild {
            uid: "u".into(),
            resource_version: "1".into(),
            owner: Some("u-1".into()),
            applied: Some(hash.into()),
            owned,
            deleting: false,
            detail: Detail::None,
        }
    }

    #[test]
    fn what_is_as_it_was_left_costs_no_request() {
        let mut memory = Memory::default();
        let place = (ChildKind::Service, "demo".to_owned());
        let service =
            |memory: &Memory, live: Option<&LiveChild>, hash: &str| step(memory, &place, live, hash);
        assert_eq!(service(&memory, None, "h"), Step::Send, "it is not there");
        assert_eq!(
            service(&memory, Some(&live("h", 1)), "h"),
            Step::Send,
            "this process has not applied it yet"
        );
        memory.remember(place.clone(), &live("h", 1), "h".into());
        assert_eq!(service(&memory, Some(&live("h", 1)), "h"), Step::Keep);
        assert_eq!(service(&memory, Some(&live("h", 2)), "h"), Step::Send, "somebody took a field");
        assert_eq!(service(&memory, Some(&live("h", 1)), "other"), Step::Send, "it should be another");
        assert_eq!(
            service(&memory, Some(&live("other", 1)), "h"),
            Step::Send,
            "somebody else applied another"
        );
        let deleting = LiveChild { deleting: true, ..live("x", 2) };
        assert_eq!(service(&memory, Some(&deleting), "h"), Step::Keep, "it is made again when it is gone");
        let another = LiveChild { uid: "v".into(), ..live("h", 1) };
        assert_eq!(
            service(&memory, Some(&another), "h"),
            Step::Send,
            "it was deleted, and somebody made it again"
        );
        let job = (ChildKind::Job, "demo-migrate".to_owned());
        assert_eq!(step(&memory, &job, Some(&live("x", 2)), "h"), Step::Keep, "Jobs do not change");
        memory.keep_only(&BTreeSet::from([place.clone()]));
        assert_eq!(service(&memory, Some(&live("h", 1)), "h"), Step::Keep);
        memory.keep_only(&BTreeSet::new());
        assert_eq!(service(&memory, Some(&live("h", 1)), "h"), Step::Send);
    }

    #[test]
    fn what_is_somebody_elses_is_not_taken() {
        let cluster = Identity::of(&crate::controller::world::cluster(&json!({})));
        let is_foreign = |metadata: serde_json::Value| {
            is_foreign(&cluster, &serde_json::from_value(metadata).expect("is metadata"))
        };
        let owner = |uid: &str| json!([{ "apiVersion": "folkmoot.dev/v1alpha1", "kind": "ChatCluster", "name": "demo", "uid": uid, "controller": true }]);
        let labels = |instance: &str| json!({ names::MANAGED_BY_LABEL: FIELD_MANAGER, names::INSTANCE_LABEL: instance });
        assert!(is_foreign(json!({ "name": "demo" })), "nothing says that it is ours");
        assert!(!is_foreign(json!({ "ownerReferences": owner("u-1") })));
        assert!(
            is_foreign(json!({ "ownerReferences": owner("u-0"), "labels": labels("demo") })),
            "of one before"
        );
        assert!(!is_foreign(json!({ "labels": labels("demo") })), "somebody took the owner away");
        assert!(is_foreign(json!({ "labels": labels("other") })));
    }

    fn orphans_of(world: &World) -> Vec<String> {
        let decided = world.decide();
        let wanted = world.prepared().places();
        orphans(&Identity::of(&world.cluster), &world.children, &decided, &wanted)
            .into_iter()
            .map(|((kind, name), _)| format!("{kind:?} {name}"))
            .collect()
    }

    #[test]
    fn what_the_spec_does_not_ask_for_any_more_is_an_orphan() {
        let mut world = World::new(&json!({
            "exposure": { "host": "chat.example.org", "ingress": {} },
        }));
        world.reconcile();
        world.jobs_end(&JobState::Succeeded);
        world.reconcile();
        world.reconcile();
        assert_eq!(orphans_of(&world), Vec::<String>::new());
        world.cluster.spec.exposure = None;
        assert!(orphans_of(&world).contains(&"Ingress demo".to_owned()));
        world.cluster.spec.network_policy.enabled = false;
        assert_eq!(orphans_of(&world).iter().filter(|orphan| orphan.starts_with("NetworkPolicy")).count(), 4);

        let place = (ChildKind::Ingress, "demo".to_owned());
        let mut ingress = world.children.remove(&place).expect("is there");
        ingress.owner = Some("somebody else's".into());
        world.children.insert(place, ingress);
        assert!(!orphans_of(&world).contains(&"Ingress demo".to_owned()), "it is another's");
    }

    #[test]
    fn a_configuration_stays_until_no_role_needs_it() {
        let mut world = World::new(&json!({}));
        world.reconcile();
        world.jobs_end(&JobState::Succeeded);
        world.reconcile();
        world.reconcile();
        let first = world.decide().config.hash;
        world.cluster.spec.gateway.max_connections = 5;
        let is_orphan = |world: &World| orphans_of(world).contains(&format!("ConfigMap demo-config-{first}"));
        for _ in Role::ALL {
            assert!(!is_orphan(&world), "a role runs it still");
            world.reconcile();
        }
        assert!(is_orphan(&world));
    }
}
