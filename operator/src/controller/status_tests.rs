use jiff::SignedDuration;
use serde_json::json;

use super::*;
use crate::{
    controller::world::{World, condition, unready},
    live::JobState,
};

fn check(status: &ChatClusterStatus, expected: &[(&str, &str)]) {
    for (kind, expected) in expected {
        assert_eq!(condition(status, kind), *expected, "{kind} of {:#?}", status.conditions);
    }
}

/// One that runs.
fn settled() -> World {
    let mut world = World::new(&json!({}));
    world.reconcile();
    world.jobs_end(&JobState::Succeeded);
    world.reconcile();
    let status = world.reconcile();
    check(&status, &[("Ready", "True/Ready"), ("Progressing", "False/Settled")]);
    world
}

#[test]
fn a_fresh_chat_gets_ready_step_by_step() {
    let mut world = World::new(&json!({}));
    let status = world.reconcile();
    check(
        &status,
        &[
            ("Ready", "False/MigrationRunning"),
            ("Progressing", "True/AwaitingSchema"),
            ("Degraded", "False/AsExpected"),
            ("CassandraReady", "True/Ready"),
            ("PulsarReady", "True/Ready"),
            ("SchemaCurrent", "False/MigrationRunning"),
            ("GatewayAvailable", "False/Starting"),
        ],
    );
    assert_eq!(world.image_of(Role::Auth), None, "no role before the tables are there");

    world.jobs_end(&JobState::Succeeded);
    world.pods_get_ready = false;
    let status = world.reconcile();
    check(&status, &[("SchemaCurrent", "True/Current"), ("Progressing", "True/RollingAuth")]);
    let status = world.reconcile();
    check(&status, &[("Ready", "False/NotReadyYet"), ("Degraded", "False/AsExpected")]);

    world.pods_get_ready = true;
    world.reconcile();
    let status = world.reconcile();
    check(
        &status,
        &[
            ("Ready", "True/Ready"),
            ("Progressing", "False/Settled"),
            ("Degraded", "False/AsExpected"),
            ("GatewayAvailable", "True/Available"),
        ],
    );
    assert_eq!(status.version.as_deref(), Some("1"));
    assert_eq!(status.url.as_deref(), Some("http://demo.chat.svc"));
    assert_eq!(status.connections, Some(7));
    assert_eq!(status.observed_generation, Some(1));
    let gateway = status.gateway.expect("is reported");
    assert_eq!((gateway.replicas, gateway.ready_replicas), (2, 2));
    assert!(gateway.selector.is_some_and(|selector| selector.contains("component=gateway")));
}

#[test]
fn an_engine_that_is_away_is_named_and_nothing_begins_without_cassandra() {
    let mut world = World::new(&json!({}));
    world.cassandra = unready("Unreachable");
    let status = world.reconcile();
    check(
        &status,
        &[
            ("Ready", "False/Unreachable"),
            ("Degraded", "True/CassandraUnreachable"),
            ("CassandraReady", "False/Unreachable"),
            ("SchemaCurrent", "False/AwaitingCassandra"),
        ],
    );
    assert!(
        !world.children.keys().any(|(kind, _)| *kind == crate::kinds::ChildKind::Job),
        "no migration that must fail"
    );
    world.cassandra = Health::Ready;
    world.pulsar = unready("Unauthorized");
    let status = world.reconcile();
    check(
        &status,
        &[
            ("Degraded", "True/PulsarUnauthorized"),
            ("PulsarReady", "False/Unauthorized"),
            ("SchemaCurrent", "False/MigrationRunning"),
        ],
    );
}

#[test]
fn a_migration_that_fails_says_why_and_when_it_is_tried_again() {
    let mut world = World::new(&json!({}));
    world.reconcile();
    world.jobs_end(&JobState::Failed { message: "no rights".into(), at: world.now });
    let status = world.reconcile();
    check(&status, &[("SchemaCurrent", "False/MigrationFailed"), ("Degraded", "True/MigrationFailed")]);
    let message =
        &status.conditions.iter().find(|found| found.type_ == "SchemaCurrent").expect("is reported").message;
    assert!(message.contains("no rights") && message.contains("2026-01-01T00:00:10Z"), "{message}");
    world.now += SignedDuration::from_secs(11);
    check(&world.reconcile(), &[("SchemaCurrent", "False/MigrationRunning")]);
}

#[test]
fn an_upgrade_migrates_first_then_replaces_role_after_role_and_serves_meanwhile() {
    let mut world = settled();
    world.cluster.spec.image.as_mut().expect("has one").reference = "folkmoot/chat-server:2".into();
    world.cluster.metadata.generation = Some(2);
    let status = world.reconcile();
    check(&status, &[("Ready", "True/Ready"), ("Progressing", "True/AwaitingSchema")]);
    assert_eq!(status.version.as_deref(), Some("1"), "that is what runs");
    assert_eq!(world.image_of(Role::Auth).as_deref(), Some("folkmoot/chat-server:1"));
    world.jobs_end(&JobState::Succeeded);
    for (role, reason) in
        [(Role::Auth, "RollingAuth"), (Role::Api, "RollingApi"), (Role::Gateway, "RollingGateway")]
    {
        let status = world.reconcile();
        check(&status, &[("Progressing", &format!("True/{reason}")), ("Ready", "True/Ready")]);
        assert_eq!(world.image_of(role).as_deref(), Some("folkmoot/chat-server:2"), "{role:?}");
    }
    let status = world.reconcile();
    check(&status, &[("Progressing", "False/Settled")]);
    assert_eq!(status.version.as_deref(), Some("2"));
}

#[test]
fn a_step_that_fails_stops_the_rest_and_says_what_its_pod_says() {
    let mut world = settled();
    world.cluster.spec.image.as_mut().expect("has one").reference = "folkmoot/chat-server:2".into();
    world.reconcile();
    world.jobs_end(&JobState::Succeeded);
    world.reconcile();
    let place = (crate::kinds::ChildKind::Deployment, names::role("demo", Role::Auth));
    if let crate::live::Detail::Deployment(state) =
        &mut world.children.get_mut(&place).expect("is there").detail
    {
        state.available = 1;
        state.stalled = Some("exceeded its progress deadline".into());
    }
    world.pods_get_ready = false;
    world.pod_in_trouble(Component::Role(Role::Auth), "ImagePullBackOff: no such image");
    let status = world.reconcile();
    check(
        &status,
        &[
            ("Progressing", "False/RolloutStalled"),
            ("Degraded", "True/RolloutStalled"),
            ("Ready", "True/Ready"),
        ],
    );
    let message =
        &status.conditions.iter().find(|found| found.type_ == "Degraded").expect("is reported").message;
    assert!(message.contains("ImagePullBackOff: no such image"), "{message}");
    assert_eq!(world.image_of(Role::Gateway).as_deref(), Some("folkmoot/chat-server:1"));
}

#[test]
fn a_migration_whose_pod_does_not_begin_says_why() {
    let mut world = settled();
    world.cluster.spec.image.as_mut().expect("has one").reference = "folkmoot/chat-server:2".into();
    world.reconcile();
    world.pod_in_trouble(Component::Migrate, "ImagePullBackOff: no such image");
    let status = world.reconcile();
    check(&status, &[("Degraded", "True/MigrationPodNotReady"), ("Ready", "True/Ready")]);
    assert_eq!(world.image_of(Role::Auth).as_deref(), Some("folkmoot/chat-server:1"));
}

#[test]
fn while_paused_nothing_changes_and_that_is_reported() {
    let mut world = settled();
    world.pause();
    world.cluster.spec.image.as_mut().expect("has one").reference = "folkmoot/chat-server:2".into();
    let before = world.children.clone();
    let status = world.reconcile();
    check(&status, &[("Progressing", "False/Paused")]);
    assert_eq!(world.children, before);
}

#[test]
fn what_the_api_server_refuses_is_reported_while_the_rest_goes_on() {
    let mut world = settled();
    world.refused = Some("failed to apply the Service demo: quota".into());
    let status = world.reconcile();
    check(
        &status,
        &[("Ready", "True/Ready"), ("Progressing", "False/ApplyFailed"), ("Degraded", "True/ApplyFailed")],
    );
    world.refused = None;
    check(&world.reconcile(), &[("Progressing", "False/Settled"), ("Degraded", "False/AsExpected")]);
}

#[test]
fn a_route_that_this_kubernetes_does_not_know_is_reported() {
    let parent = json!([{ "name": "gateway" }]);
    let mut world = World::new(
        &json!({ "exposure": { "host": "chat.example.org", "httpRoute": { "parentRefs": parent } } }),
    );
    check(&world.reconcile(), &[("Degraded", "True/GatewayApiMissing")]);
}

#[test]
fn an_invalid_spec_leaves_what_runs_and_names_the_field() {
    let world = settled();
    let problem = Problem { field: "spec.x".into(), message: "must be y".into() };
    let status = View::invalid(&world.cluster, &world.children, &[problem]).at(&world.cluster, world.now);
    check(
        &status,
        &[
            ("Ready", "False/InvalidSpec"),
            ("Degraded", "True/InvalidSpec"),
            ("CassandraReady", "True/Ready"),
            ("GatewayAvailable", "True/Available"),
        ],
    );
    assert!(status.conditions[0].message.contains("spec.x: must be y"));
}

#[test]
fn a_condition_keeps_its_time_until_its_status_changes_and_an_unchanged_status_is_no_news() {
    let mut world = settled();
    let first = world.cluster.status.clone().expect("was reported");
    world.now += SignedDuration::from_mins(5);
    let second = world.reconcile();
    assert_eq!(first, second);
    assert!(!is_news(Some(&first), &second, None));
    world.cassandra = unready("Unreachable");
    let third = world.reconcile();
    assert!(is_news(Some(&second), &third, Some(Instant::now())));
    let time = |status: &ChatClusterStatus, kind: &str| {
        status
            .conditions
            .iter()
            .find(|found| found.type_ == kind)
            .expect("is reported")
            .last_transition_time
            .clone()
    };
    assert_ne!(time(&second, "Ready"), time(&third, "Ready"));
    assert_eq!(time(&second, "PulsarReady"), time(&third, "PulsarReady"));
}

#[tokio::test(start_paused = true)]
async fn connections_alone_are_written_now_and_then() {
    let world = settled();
    let before = world.cluster.status.clone().expect("was reported");
    let now = ChatClusterStatus { connections: Some(8), ..before.clone() };
    let written_at = Instant::now();
    assert!(!is_news(Some(&before), &now, Some(written_at)));
    tokio::time::advance(CONNECTIONS_EVERY).await;
    assert!(is_news(Some(&before), &now, Some(written_at)));
}

#[test]
fn connections_that_move_are_written_soon() {
    let check = |before: Option<i64>, now: Option<i64>, after: u64, expected: bool| {
        let age = Some(Duration::from_secs(after));
        assert_eq!(is_worth_writing(before, now, age), expected, "{before:?} {now:?} {after}");
    };
    for (before, now, soon) in [
        (Some(7), Some(7), false),
        (Some(0), Some(10), false),
        (Some(0), Some(11), true),
        (Some(3_000), Some(3_030), false),
        (Some(3_000), Some(2_900), true),
        (None, Some(5), true),
        (Some(5), None, false),
    ] {
        check(before, now, 4, false);
        check(before, now, 5, soon);
        check(before, now, 30, before != now);
    }
    assert!(is_worth_writing(Some(1), Some(2), None), "nothing was written yet");
}

#[test]
fn why_there_are_as_many_gateways_is_written_now_and_then() {
    let mut world = settled();
    world.cluster.spec.gateway.autoscaling =
        Some(serde_json::from_value(json!({ "maxReplicas": 3 })).expect("is one"));
    let before = world.reconcile();
    let mut now = before.clone();
    let scaling =
        now.gateway.as_mut().and_then(|gateway| gateway.scaling.as_mut()).expect("the operator decides");
    scaling.reason = Some("another".into());
    assert!(!is_news(Some(&before), &now, Some(Instant::now())));
    assert!(is_news(Some(&before), &now, None));
    now.gateway.as_mut().and_then(|gateway| gateway.scaling.as_mut()).expect("as before").desired_replicas =
        Some(3);
    assert!(is_news(Some(&before), &now, Some(Instant::now())));
}

#[test]
fn events_are_about_transitions_only() {
    let mut world = settled();
    let before = world.cluster.status.clone().expect("was reported").conditions;
    assert_eq!(events::transitions(&before, &before), []);
    world.pulsar = unready("Unreachable");
    let now = world.reconcile().conditions;
    let published: Vec<(bool, String)> = events::transitions(&before, &now)
        .into_iter()
        .map(|(warning, reason, _)| (warning, reason))
        .collect();
    assert_eq!(
        published,
        [
            (true, "Unreachable".to_owned()),
            (true, "PulsarUnreachable".to_owned()),
            (true, "Unreachable".to_owned()),
        ]
    );
    let fresh = events::transitions(&[], &before);
    assert!(
        fresh.iter().all(|(_, _, note)| note.contains(" is True")),
        "what is not so yet is no event: {fresh:?}"
    );
}
