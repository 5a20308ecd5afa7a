use std::collections::{HashSet, VecDeque};

use super::*;

fn revision(number: u8) -> Revision {
    Revision { image: format!("chat-server:{number}"), config: format!("hash{number}") }
}

fn running(number: u8, settled: bool) -> RoleState {
    RoleState::Running { revision: revision(number), has_pods: true, settled, stalled: None }
}

fn stalled(number: u8) -> RoleState {
    RoleState::Running {
        revision: revision(number),
        has_pods: true,
        settled: false,
        stalled: Some("image cannot be pulled".into()),
    }
}

/// What each role is to run, `-` for nothing and `!` behind what is held, and how far that is. The target is 2.
fn check(schema_current: bool, states: &[RoleState; 3], expected: &str, step: &RolloutStep) {
    let plan = plan(&revision(2), schema_current, states);
    let text = Role::ALL.map(|role| match plan.of(role) {
        None => "-".to_owned(),
        Some(RolePlan { revision, held }) => {
            format!("{}{}", revision.config.trim_start_matches("hash"), if *held { "!" } else { "" })
        }
    });
    assert_eq!(text.join(" "), expected, "{schema_current} {states:?}");
    assert_eq!(plan.step, *step, "{schema_current} {states:?}");
}

#[test]
fn plans() {
    use RoleState::Missing;
    use RolloutStep::{AwaitingSchema, Replacing, Settled};
    let stuck = |role| RolloutStep::Stalled { role, why: "image cannot be pulled".into() };

    // The first time.
    check(false, &[Missing, Missing, Missing], "- - -", &AwaitingSchema);
    check(true, &[Missing, Missing, Missing], "2 2 2", &Replacing(Role::Auth));
    check(true, &[running(2, false), running(2, false), running(2, true)], "2 2 2", &Replacing(Role::Auth));
    check(true, &[running(2, true), running(2, false), running(2, false)], "2 2 2", &Replacing(Role::Api));
    check(true, &[running(2, true), running(2, true), running(2, true)], "2 2 2", &Settled);

    // From one revision to another.
    check(false, &[running(1, true), running(1, true), running(1, true)], "1! 1! 1!", &AwaitingSchema);
    check(true, &[running(1, true), running(1, true), running(1, true)], "2 1! 1!", &Replacing(Role::Auth));
    check(true, &[running(2, false), running(1, true), running(1, true)], "2 1! 1!", &Replacing(Role::Auth));
    check(true, &[running(2, true), running(1, true), running(1, true)], "2 2 1!", &Replacing(Role::Api));
    check(true, &[running(2, true), running(2, false), running(1, true)], "2 2 1!", &Replacing(Role::Api));
    check(true, &[running(2, true), running(2, true), running(1, true)], "2 2 2", &Replacing(Role::Gateway));

    // A role that does not get ready, and the way out: another target.
    check(true, &[stalled(2), running(1, true), running(1, true)], "2 1! 1!", &stuck(Role::Auth));
    check(true, &[running(2, true), stalled(2), running(1, true)], "2 2 1!", &stuck(Role::Api));
    check(true, &[stalled(3), running(2, true), running(2, true)], "2 2 2", &Replacing(Role::Auth));
    check(true, &[stalled(3), running(1, true), running(1, true)], "2 1! 1!", &Replacing(Role::Auth));

    // Deleted by hand.
    check(true, &[running(2, true), running(2, true), Missing], "2 2 2", &Replacing(Role::Gateway));
    check(true, &[running(1, true), running(1, true), Missing], "2 1! 2", &Replacing(Role::Auth));
    check(false, &[running(1, true), Missing, running(1, true)], "1! 1 1!", &AwaitingSchema);
    check(false, &[running(2, true), Missing, running(1, true)], "2 1 1!", &AwaitingSchema);
    check(false, &[Missing, running(2, true), Missing], "2 2 2", &AwaitingSchema);

    // Not held before it has pods: a paused Deployment would never get any.
    let without_pods =
        RoleState::Running { revision: revision(1), has_pods: false, settled: false, stalled: None };
    check(false, &[running(1, true), without_pods, running(1, true)], "1! 1 1!", &AwaitingSchema);
}

/// Everything that a role can be found as.
fn all_states() -> Vec<RoleState> {
    let mut states = vec![RoleState::Missing];
    for number in 1..=3 {
        for has_pods in [false, true] {
            states.extend([
                RoleState::Running { revision: revision(number), has_pods, settled: false, stalled: None },
                RoleState::Running {
                    revision: revision(number),
                    has_pods,
                    settled: false,
                    stalled: Some("why".into()),
                },
            ]);
        }
        states.push(running(number, true));
    }
    states
}

fn is_at(state: &RoleState, target: &Revision) -> bool {
    matches!(state, RoleState::Running { revision, .. } if revision == target)
}

fn is_settled_at(state: &RoleState, target: &Revision) -> bool {
    matches!(state, RoleState::Running { revision, settled: true, .. } if revision == target)
}

/// What a role is after its plan was applied and, with luck, its pods became ready.
fn applied(state: &RoleState, plan: Option<&RolePlan>, gets_ready: bool) -> RoleState {
    let Some(plan) = plan else { return state.clone() };
    let is_same = is_at(state, &plan.revision);
    match state {
        RoleState::Running { settled, stalled, has_pods, .. } if is_same && !gets_ready => {
            RoleState::Running {
                revision: plan.revision.clone(),
                has_pods: *has_pods,
                settled: *settled,
                stalled: stalled.clone(),
            }
        }
        _ if gets_ready && !plan.held => RoleState::Running {
            revision: plan.revision.clone(),
            has_pods: true,
            settled: true,
            stalled: None,
        },
        _ => RoleState::Running {
            revision: plan.revision.clone(),
            has_pods: plan.held || matches!(state, RoleState::Running { has_pods: true, .. }),
            settled: plan.held && matches!(state, RoleState::Running { settled: true, .. }),
            stalled: None,
        },
    }
}

/// What must hold of one step from `states`.
fn assert_step_is_sound(
    target: &Revision,
    schema_current: bool,
    states: &[RoleState; 3],
    plan: &RolloutPlan,
) {
    let context = || format!("schema {schema_current}, {states:?} -> {plan:?}");
    let nothing_runs = states.iter().all(|state| *state == RoleState::Missing);
    for (index, role) in Role::ALL.into_iter().enumerate() {
        let Some(to_run) = plan.of(role) else {
            // Only the very first time, before there are tables; a running role is never taken away.
            assert!(nothing_runs && !schema_current, "{}", context());
            continue;
        };
        let begins = to_run.revision == *target && !is_at(&states[index], target);
        if begins && !schema_current {
            assert!(
                states[index] == RoleState::Missing && states.iter().any(|state| is_at(state, target)),
                "began before the schema: {}",
                context()
            );
        }
        if begins && states[index] != RoleState::Missing {
            let earlier_are_done = states[..index].iter().all(|state| is_settled_at(state, target));
            assert!(earlier_are_done, "out of order: {}", context());
        }
        if to_run.revision != *target && states[index] != RoleState::Missing {
            assert!(is_at(&states[index], &to_run.revision), "a third revision: {}", context());
        }
        // What is held has pods, and is not at the target.
        if to_run.held {
            assert!(to_run.revision != *target, "{}", context());
            assert!(matches!(states[index], RoleState::Running { has_pods: true, .. }), "{}", context());
        }
    }
    let all_done = states.iter().all(|state| is_settled_at(state, target));
    assert_eq!(plan.step == RolloutStep::Settled, schema_current && all_done, "{}", context());
}

/// Walks everything that can be reached from every mix of states, whatever gets ready when, and with the schema late or not.
#[test]
fn every_step_from_every_mix_is_sound() {
    let target = revision(2);
    let states = all_states();
    let mut seen: HashSet<String> = HashSet::new();
    let mut queue: VecDeque<[RoleState; 3]> = VecDeque::new();
    for auth in &states {
        for api in &states {
            for gateway in &states {
                queue.push_back([auth.clone(), api.clone(), gateway.clone()]);
            }
        }
    }
    while let Some(mix) = queue.pop_front() {
        if !seen.insert(format!("{mix:?}")) {
            continue;
        }
        for schema_current in [false, true] {
            let plan = plan(&target, schema_current, &mix);
            assert_step_is_sound(&target, schema_current, &mix, &plan);
            for ready in 0..8_u8 {
                queue.push_back(
                    [0, 1, 2].map(|index| {
                        applied(&mix[index], plan.of(Role::ALL[index]), ready & (1 << index) != 0)
                    }),
                );
            }
        }
    }
    assert!(seen.len() >= states.len().pow(3));
}

#[test]
fn every_mix_ends_at_the_target_once_pods_get_ready() {
    let target = revision(2);
    for auth in all_states() {
        for api in all_states() {
            for gateway in all_states() {
                let start = [auth.clone(), api.clone(), gateway];
                let mut mix = start.clone();
                // Each pass settles at least one more role.
                for _ in 0..4 {
                    let plan = plan(&target, true, &mix);
                    mix = [0, 1, 2].map(|index| applied(&mix[index], plan.of(Role::ALL[index]), true));
                }
                assert_eq!(
                    plan(&target, true, &mix).step,
                    RolloutStep::Settled,
                    "{start:?} ended as {mix:?}"
                );
            }
        }
    }
}

#[test]
fn a_stall_holds_those_after_it_for_ever() {
    let target = revision(2);
    for (index, role) in Role::ALL.into_iter().enumerate() {
        let mut mix = [0, 1, 2].map(|i| running(if i < index { 2 } else { 1 }, true));
        mix[index] = stalled(2);
        for _ in 0..10 {
            let plan = plan(&target, true, &mix);
            assert!(matches!(plan.step, RolloutStep::Stalled { role: at, .. } if at == role), "{plan:?}");
            for later in &Role::ALL[index + 1..] {
                assert_eq!(plan.of(*later).map(|plan| &plan.revision), Some(&revision(1)), "{plan:?}");
            }
            mix = [0, 1, 2].map(|i| applied(&mix[i], plan.of(Role::ALL[i]), i != index));
        }
    }
}

#[test]
fn configurations_that_are_run_are_needed() {
    let plan = plan(&revision(2), true, &[running(2, false), running(1, true), running(1, true)]);
    assert!(plan.needs_config("hash1") && plan.needs_config("hash2") && !plan.needs_config("hash3"));
}
