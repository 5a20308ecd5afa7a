//! What is decided about gateways, as a whole: through [`World`], which obeys at once.

use folkmoot_crds::AutoscalingMode;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::world::{World, condition};
use crate::{
    kinds::ChildKind,
    live::{JobState, LivePod, LiveReplicaSet},
    names,
    role::Role,
    scaling::{
        decide::leaving,
        machine::Step,
        memory::DrainOrder,
        policy::{Decision, ScalePlan},
        reason::Why,
        sample::GatewaySample,
    },
};

/// One that runs, with a pod for each letter.
fn settled(gateway: &Value, pods: &str) -> World {
    let mut world = World::new(&json!({ "gateway": gateway }));
    world.reconcile();
    world.jobs_end(&JobState::Succeeded);
    for _ in 0..3 {
        world.reconcile();
    }
    pods.chars().for_each(|name| add(&mut world, &name.to_string(), "h1", 10));
    world.replica_sets.insert("r1".into(), LiveReplicaSet { hash: "h1".into(), revision: 1 });
    world
}

fn add(world: &mut World, name: &str, hash: &str, connections: u64) {
    let pod = LivePod {
        component: "gateway".into(),
        address: "10.0.0.1".parse().ok(),
        ready: true,
        uid: format!("uid-{name}"),
        hash: hash.into(),
        ..LivePod::default()
    };
    world.pods.insert(name.into(), pod);
    says(world, name, connections, false);
}

fn says(world: &mut World, name: &str, connections: u64, draining: bool) {
    let sample = GatewaySample { connections, draining, ..GatewaySample::default() };
    world.gateways.samples.insert(name.into(), (world.now, sample));
    world.gateways.connections.insert(name.into(), connections);
}

fn decides(world: &mut World, plan: ScalePlan) {
    world.decision = Some(Decision { plan, desired: 0, connections: None });
}

fn deployment(world: &World) -> Value {
    child(world, ChildKind::Deployment, "demo-gateway")
}

fn child(world: &World, kind: ChildKind, name: &str) -> Value {
    let prepared = world.prepared();
    let found = prepared.children().iter().find(|child| child.kind == kind && child.name() == name);
    found.map_or(Value::Null, |child| child.object.data["spec"].clone())
}

fn autoscaled(mode: &str) -> Value {
    json!({ "replicas": 7, "autoscaling": { "mode": mode, "minReplicas": 2, "maxReplicas": 5 } })
}

#[test]
fn without_autoscaling_the_spec_decides_and_the_status_shows_nothing_of_it() {
    let mut world = settled(&json!({ "replicas": 3 }), "abc");
    let status = world.reconcile();
    assert_eq!(status.gateway.clone().unwrap().scaling, None);
    assert_eq!(status.gateway.unwrap().replicas, 3);
    let changes = world.changes();
    let deployment = deployment(&world);
    assert_eq!((&deployment["replicas"], &deployment["paused"]), (&json!(3), &json!(false)));
    assert!(!changes.scaling.is_under_way() && changes.notices.is_empty());
}

#[test]
fn of_gateways_equally_full_one_goes_from_the_zone_that_has_the_most() {
    for crowded in ["ab", "ac", "bc"] {
        let mut world = settled(&json!({ "replicas": 3 }), "abc");
        for (name, pod) in &mut world.pods {
            pod.zone = Some(if crowded.contains(name.as_str()) { "crowded" } else { "other" }.into());
        }
        world.cluster.spec.gateway.replicas = 2;
        let status = world.reconcile();
        let leaving = status.gateway.unwrap().scaling.unwrap().leaving.unwrap();
        assert_eq!(leaving.pods, [&crowded[..1]]);
    }
}

#[test]
fn fewer_are_written_down_emptied_and_only_then_taken_away() {
    let mut world = settled(&json!({ "replicas": 3 }), "abc");
    says(&mut world, "b", 1, false);
    world.cluster.spec.gateway.replicas = 2;
    let changes = world.changes();
    assert!(changes.scaling.plan.order_to_drain.is_empty(), "not before it is written down");
    let status = world.reconcile();
    let scaling = status.gateway.as_ref().unwrap().scaling.as_ref().unwrap();
    let leaving = scaling.leaving.as_ref().unwrap();
    assert_eq!((leaving.pods.as_slice(), leaving.to), (&["b".to_owned()][..], 2), "the emptiest");
    assert_eq!(condition(&status, "Progressing"), "True/ScalingDown");
    assert_eq!(condition(&status, "Ready"), "True/Ready");

    let changes = world.changes();
    assert_eq!(
        (&changes.scaling.plan.mark, &changes.scaling.plan.order_to_drain),
        (&vec!["b".into()], &vec!["b".into()])
    );
    let now_so = deployment(&world);
    assert_eq!((&now_so["replicas"], &now_so["paused"]), (&json!(3), &json!(true)), "one after the other");

    // It has none any more, but may still get some.
    world.gateways.drain_orders.insert("b".into(), DrainOrder::Accepted(world.now));
    world.now += SignedDuration::from_secs(5);
    says(&mut world, "b", 0, true);
    assert_eq!(world.changes().scaling.plan.step, Step::Empty { waiting: 1 });
    world.now += SignedDuration::from_secs(5);
    says(&mut world, "b", 0, true);
    let changes = world.changes();
    assert_eq!(changes.scaling.plan.step, Step::Lower { from: 3, occupied: 0 });
    assert_eq!(changes.notices[0].reason, "ScaledDown");
    world.reconcile();
    assert!(world.changes().scaling.is_under_way(), "it is not gone yet");
    world.pods.remove("b");
    let status = world.reconcile();
    assert_eq!(status.gateway.unwrap().scaling, None);
    assert_eq!(world.observed().deployment("demo", Role::Gateway).unwrap().desired, 2);
    assert!(!world.changes().scaling.is_under_way());
}

#[test]
fn a_gateway_that_takes_no_order_or_never_ran_is_not_waited_for() {
    let mut world = settled(&json!({ "replicas": 3 }), "abc");
    world.cluster.spec.gateway.replicas = 1;
    world.reconcile();
    world.gateways.drain_orders.insert("a".into(), DrainOrder::Unsupported);
    let pod = world.pods.get_mut("b").unwrap();
    (pod.ready, pod.trouble) = (false, Some("CrashLoopBackOff".into()));
    world.gateways.samples.remove("b");
    assert_eq!(world.changes().scaling.plan.step, Step::Lower { from: 3, occupied: 0 });
}

#[test]
fn the_policy_decides_where_the_operator_does() {
    let mut world = settled(&autoscaled("Operator"), "ab");
    let gateways = |world: &World| world.observed().deployment("demo", Role::Gateway).unwrap().desired;
    assert_eq!(gateways(&world), 2, "the fewest, whatever spec.gateway.replicas says");
    decides(&mut world, ScalePlan::Up { to: 4, why: Why::Connections { connections: 40_000, needed: 4 } });
    let changes = world.changes();
    assert_eq!(changes.notices[0].reason, "ScaledUp");
    assert!(changes.notices[0].note.starts_with("gateways: 2 -> 4: 40000 connections"));
    let status = world.reconcile();
    assert_eq!(gateways(&world), 4);
    let scaling = status.gateway.unwrap().scaling.unwrap();
    assert_eq!((scaling.mode, scaling.desired_replicas), (Some(AutoscalingMode::Operator), Some(4)));
    assert!(scaling.last_scale_up.is_some() && scaling.leaving.is_none());

    for name in ["c", "d"] {
        add(&mut world, name, "h1", 10);
    }
    decides(&mut world, ScalePlan::Hold { why: Why::Enough });
    assert!(!world.changes().scaling.is_under_way());
    decides(&mut world, ScalePlan::Down { to: 3, why: Why::FewerConnections { highest: 1, needed: 3 } });
    let status = world.reconcile();
    assert_eq!(status.gateway.unwrap().scaling.unwrap().leaving.unwrap().to, 3);
    // Somebody deletes the Deployment: there are as many as there should be, and not the fewest.
    world.children.remove(&(ChildKind::Deployment, names::role("demo", Role::Gateway)));
    world.decision = None;
    world.reconcile();
    assert_eq!(gateways(&world), 3);
}

#[test]
fn when_others_begin_to_decide_they_begin_with_what_runs() {
    let mut world = settled(&autoscaled("Operator"), "ab");
    world.reconcile();
    world.cluster.spec.gateway.autoscaling.as_mut().unwrap().mode = AutoscalingMode::External;
    let changes = world.changes();
    assert_eq!(
        (changes.scaling.hand_over, changes.scaling.plan.replicas),
        (Some(2), 2),
        "nothing jumps to 7"
    );
    let status = world.reconcile();
    assert_eq!(
        status.gateway.unwrap().scaling.unwrap().mode,
        Some(AutoscalingMode::Operator),
        "not yet written"
    );
    world.cluster.spec.gateway.replicas = 2;
    assert_eq!(world.changes().scaling.hand_over, None);
    let status = world.reconcile();
    assert_eq!(status.gateway.unwrap().scaling.unwrap().mode, Some(AutoscalingMode::External));
    world.cluster.spec.gateway.replicas = 7;
    assert_eq!(world.changes().scaling.hand_over, None, "from now on it is theirs");
    world.reconcile();
    assert_eq!(world.observed().deployment("demo", Role::Gateway).unwrap().desired, 7);
}

#[test]
fn no_autoscaling_any_more_is_others_who_decide() {
    let mut world = settled(&autoscaled("Operator"), "ab");
    world.reconcile();
    world.cluster.spec.gateway.autoscaling = None;
    assert_eq!(world.changes().scaling.hand_over, Some(2));
    world.cluster.spec.gateway.replicas = 2;
    let status = world.reconcile();
    assert_eq!(status.gateway.unwrap().scaling, None);
}

#[test]
fn new_sockets_are_led_to_the_newest_that_are_ready() {
    let mut world = settled(&json!({ "replicas": 2 }), "ab");
    let selector = |world: &World| {
        let chat = child(world, ChildKind::Service, "demo");
        let role = child(world, ChildKind::Service, "demo-gateway");
        assert_eq!(role["selector"].get(names::TEMPLATE_LABEL), None, "metrics are read of all");
        chat["selector"].get(names::TEMPLATE_LABEL).and_then(Value::as_str).map(str::to_owned)
    };
    assert_eq!(selector(&world), None);
    world.replica_sets.insert("r2".into(), LiveReplicaSet { hash: "h2".into(), revision: 2 });
    assert_eq!(selector(&world), None);
    add(&mut world, "c", "h2", 0);
    world.pods.get_mut("c").unwrap().ready = false;
    assert_eq!(selector(&world), None, "nobody would take sockets");
    world.pods.get_mut("c").unwrap().ready = true;
    assert_eq!(selector(&world).as_deref(), Some("h2"));
    // A step back: the old template is the newest again.
    world.replica_sets.get_mut("r1").unwrap().revision = 3;
    assert_eq!(selector(&world).as_deref(), Some("h1"));
    world.replica_sets.get_mut("r1").unwrap().revision = 1;
    for name in ["a", "b"] {
        let pod = world.pods.get_mut(name).unwrap();
        (pod.ready, pod.deleting) = (false, true);
    }
    assert_eq!(selector(&world), None, "those that stay are all of one template");
}

#[test]
fn a_roll_out_waits_while_gateways_are_pressed_but_not_for_ever() {
    let mut world = settled(&json!({ "replicas": 2 }), "ab");
    world.replica_sets.insert("r2".into(), LiveReplicaSet { hash: "h2".into(), revision: 2 });
    let paused = |world: &World| deployment(world)["paused"] == true;
    world.gateways.is_pressed = true;
    assert!(!paused(&world), "clients come back for another reason");
    add(&mut world, "c", "h2", 0);
    assert!(paused(&world));
    let status = world.reconcile();
    assert!(status.gateway.unwrap().scaling.unwrap().held_since.is_some());
    world.now += SignedDuration::from_secs(299);
    assert!(paused(&world));
    world.now += SignedDuration::from_secs(2);
    assert!(!paused(&world), "five minutes are enough");
    world.reconcile();
    world.gateways.is_pressed = false;
    let status = world.reconcile();
    assert_eq!(status.gateway.unwrap().scaling, None);
}

#[test]
fn no_scale_down_begins_during_a_roll_out_and_no_roll_out_during_a_scale_down() {
    let mut world = settled(&json!({ "replicas": 3 }), "abc");
    world.cluster.spec.gateway.replicas = 2;
    let mut mixed = World { pods: world.pods.clone(), ..world_like(&world) };
    add(&mut mixed, "d", "h2", 0);
    assert_eq!(mixed.changes().scaling.plan.step, Step::AwaitRollout);

    world.reconcile();
    world.cluster.spec.gateway.drain_seconds = 31;
    let running = world.observed().deployment("demo", Role::Gateway).unwrap().config.clone();
    for _ in 0..4 {
        let decided = world.decide();
        assert_eq!(
            decided.rollout.gateway.as_ref().map(|plan| (plan.held, plan.revision.config.clone())),
            Some((true, running.clone()))
        );
        world.reconcile();
    }
    let leaving = leaving(world.cluster.status.as_ref()).unwrap();
    world.pods.remove(&leaving.pods[0]);
    world.reconcile();
    let decided = world.decide();
    assert_eq!(decided.rollout.gateway.as_ref().map(|plan| plan.held), Some(false));
}

fn world_like(world: &World) -> World {
    World {
        cluster: world.cluster.clone(),
        children: world.children.clone(),
        pods: world.pods.clone(),
        replica_sets: world.replica_sets.clone(),
        gateways: world.gateways.clone(),
        decision: world.decision.clone(),
        cassandra: world.cassandra.clone(),
        pulsar: world.pulsar.clone(),
        now: world.now,
        refused: None,
        pods_get_ready: true,
    }
}
