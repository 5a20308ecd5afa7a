//! Makes what should be there so, by server-side apply, and deletes what should not be. What is as it should be costs no request.

use std::collections::{BTreeSet, HashMap};

use folkmoot_crds::{ChatCluster, ImageSpec};
use kube::{
    Api, ResourceExt as _,
    api::{DeleteParams, Patch, PatchParams, Preconditions, PropagationPolicy},
    core::DynamicObject,
};
use parking_lot::Mutex;
use tokio::time::timeout;

use super::{
    Controller, Options, ReconcileError,
    build::{self, BuildInput},
    decide::Decided,
    observe::Observed,
};
use crate::{
    kinds::{Child, ChildKind},
    lease::WRITE_WITHIN,
    live::{Children, Detail, Key, LiveChild},
    names::{self, FIELD_MANAGER},
};

/// What was decided, and not yet done.
#[derive(Debug)]
pub struct Prepared;
/// What is there now.
#[derive(Debug)]
pub struct Applied;

/// Everything that should be there for a `ChatCluster`.
#[derive(Debug)]
pub struct Resources<S> {
    children: Vec<Child>,
    state: std::marker::PhantomData<S>,
}

impl Resources<Prepared> {
    /// By what was decided.
    #[must_use]
    pub fn prepared(
        cluster: &ChatCluster,
        image: &ImageSpec,
        decided: &Decided,
        observed: &Observed,
        options: &Options,
    ) -> Self {
        let children = build::build(&BuildInput {
            cluster,
            image,
            rollout: &decided.rollout,
            config: &decided.config,
            keys: &decided.keys,
            certificates: &decided.certificates,
            migration: decided.job(),
            capabilities: &observed.capabilities,
            operator: &options.identity,
        });
        Self { children, state: std::marker::PhantomData }
    }
}

impl<S> Resources<S> {
    /// What should be there.
    #[must_use]
    pub fn children(&self) -> &[Child] {
        &self.children
    }

    fn places(&self) -> BTreeSet<(ChildKind, String)> {
        self.children.iter().map(|child| (child.kind, child.name().to_owned())).collect()
    }
}

/// What this process applied last, by `ChatCluster` and uid: the hash of what it sent, and the set of fields that were its own then.
#[derive(Debug, Default)]
pub struct Memory(Mutex<HashMap<Key, HashMap<String, LastSent>>>);

type LastSent = (String, u64);

impl Memory {
    /// Whether an object still is as this process left it.
    fn is_as_it_was(&self, key: &Key, child: &LiveChild, hash: &str) -> bool {
        let memory = self.0.lock();
        let last = memory.get(key).and_then(|children| children.get(&child.uid));
        child.applied.as_deref() == Some(hash)
            && last.is_some_and(|(sent, owned)| sent == hash && *owned == child.owned)
    }

    fn remember(&self, key: &Key, child: &LiveChild, hash: String) {
        self.0.lock().entry(key.clone()).or_default().insert(child.uid.clone(), (hash, child.owned));
    }

    fn forget_one(&self, key: &Key, uid: &str) {
        if let Some(children) = self.0.lock().get_mut(key) {
            children.remove(uid);
        }
    }

    pub(super) fn forget(&self, key: &Key) {
        self.0.lock().remove(key);
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

fn step(memory: &Memory, key: &Key, kind: ChildKind, live: Option<&LiveChild>, hash: &str) -> Step {
    match live {
        // What is being deleted is made again when it is gone: a watch tells.
        Some(child) if child.deleting => Step::Keep,
        // The template of a Job never changes: another one has another name.
        Some(_) if kind == ChildKind::Job => Step::Keep,
        Some(child) if memory.is_as_it_was(key, child, hash) => Step::Keep,
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
    cluster: &ChatCluster,
    children: &'a Children,
    decided: &Decided,
    wanted: &BTreeSet<(ChildKind, String)>,
) -> Vec<(&'a (ChildKind, String), &'a LiveChild)> {
    let uid = cluster.metadata.uid.as_deref();
    let name = cluster.name_any();
    let is_needed = |(kind, child_name): &(ChildKind, String)| match kind {
        ChildKind::ConfigMap => {
            let hash = child_name.strip_prefix(&names::config(&name, ""));
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
            !wanted.contains(place) && !child.deleting && child.owner.as_deref() == uid && !is_needed(place)
        })
        .collect()
}

impl Controller {
    pub(super) async fn apply(
        &self,
        key: &Key,
        cluster: &ChatCluster,
        children: &Children,
        decided: &Decided,
        prepared: Resources<Prepared>,
    ) -> Result<Resources<Applied>, ReconcileError> {
        for child in &prepared.children {
            let live = children.get(&(child.kind, child.name().to_owned()));
            self.apply_one(key, child, live).await?;
        }
        for ((kind, name), child) in orphans(cluster, children, decided, &prepared.places()) {
            self.delete(key, *kind, name, &child.uid).await?;
        }
        Ok(Resources { children: prepared.children, state: std::marker::PhantomData })
    }

    /// Sends an object, when that is needed.
    pub(super) async fn apply_one(
        &self,
        key: &Key,
        child: &Child,
        live: Option<&LiveChild>,
    ) -> Result<(), ReconcileError> {
        let hash = hash(child);
        if step(&self.applied, key, child.kind, live, &hash) == Step::Keep {
            return Ok(());
        }
        let mut object = child.object.clone();
        object.annotations_mut().insert(names::APPLIED.to_owned(), hash.clone());
        self.leadership.check()?;
        let action = format!("apply the {:?} {}", child.kind, child.name());
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &key.namespace, &child.kind.resource());
        let params = PatchParams::apply(FIELD_MANAGER).force();
        let patch = Patch::Apply(&object);
        let applied = match timeout(WRITE_WITHIN, api.patch(child.name(), &params, &patch)).await {
            Ok(applied) => applied.map_err(ReconcileError::api(action))?,
            Err(_) => return Err(ReconcileError::Late { action }),
        };
        let now = LiveChild::of(child.kind, &applied);
        if live.is_none_or(|before| before.resource_version != now.resource_version) {
            self.metrics.wrote(child.kind, "apply");
            tracing::info!(chatcluster = %key, kind = ?child.kind, name = child.name(), "applied");
        }
        self.applied.remember(key, &now, hash);
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
        let action = format!("delete the {kind:?} {name}");
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), &key.namespace, &kind.resource());
        let params = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            preconditions: Some(Preconditions { uid: Some(uid.to_owned()), resource_version: None }),
            ..DeleteParams::default()
        };
        let deleted = match timeout(WRITE_WITHIN, api.delete(name, &params)).await {
            Ok(deleted) => deleted,
            Err(_) => return Err(ReconcileError::Late { action }),
        };
        match deleted {
            // Gone, or another one by now.
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {}
            Err(error) => return Err(ReconcileError::api(action)(error)),
            Ok(_) => {
                self.metrics.wrote(kind, "delete");
                tracing::info!(chatcluster = %key, ?kind, name, "deleted");
            }
        }
        self.applied.forget_one(key, uid);
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
        let memory = Memory::default();
        let key = Key::new("chat", "demo");
        let service =
            |live: Option<&LiveChild>, hash: &str| step(&memory, &key, ChildKind::Service, live, hash);
        assert_eq!(service(None, "h"), Step::Send, "it is not there");
        assert_eq!(service(Some(&live("h", 1)), "h"), Step::Send, "this process has not applied it yet");
        memory.remember(&key, &live("h", 1), "h".into());
        assert_eq!(service(Some(&live("h", 1)), "h"), Step::Keep);
        assert_eq!(service(Some(&live("h", 2)), "h"), Step::Send, "somebody took a field");
        assert_eq!(service(Some(&live("h", 1)), "other"), Step::Send, "it should be another");
        assert_eq!(service(Some(&live("other", 1)), "h"), Step::Send, "somebody else applied another");
        let deleting = LiveChild { deleting: true, ..live("x", 2) };
        assert_eq!(service(Some(&deleting), "h"), Step::Keep, "it is made again when it is gone");
        assert_eq!(
            step(&memory, &key, ChildKind::Job, Some(&live("x", 2)), "h"),
            Step::Keep,
            "Jobs do not change"
        );
        memory.forget(&key);
        assert_eq!(service(Some(&live("h", 1)), "h"), Step::Send);
    }

    fn orphans_of(world: &World) -> Vec<String> {
        let decided = world.decide();
        let wanted = world.prepared(&decided).places();
        orphans(&world.cluster, &world.children, &decided, &wanted)
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
        for _ in crate::controller::rollout::Role::ALL {
            assert!(!is_orphan(&world), "a role runs it still");
            world.reconcile();
        }
        assert!(is_orphan(&world));
    }
}
