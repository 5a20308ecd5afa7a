//! The operator end to end: see the crate's documentation. Without a cluster this says so and ends.

mod away;
mod deletion;
mod document;
mod drift;
mod everywhere;
mod external;
mod faults;
mod install;
mod leader;
mod node;
mod pods;
mod rights;
mod rollout;
mod rules;
mod scale;
mod successor;
mod timeline;
mod unfinished;
mod upgrade;

use std::process::ExitCode;

use kind_tests::runner::{
    self,
    Place::{Alone, Beside, First, Waiting},
    Test,
};

/// A test by its name, place and function.
macro_rules! test {
    ($name:literal, $place:expr, $run:path) => {
        Test { name: $name, place: $place, run: |scene| Box::pin($run(scene)) }
    };
}

/// Those that take longest come first. Of the last, each finds what those before it left.
const TESTS: &[Test] = &[
    test!("install", First, install::ten_lines_become_a_chat),
    test!("given-up", Waiting, away::engines_that_stay_away_are_given_up),
    test!("deleted-meanwhile", Waiting, away::what_is_retained_holds_nothing_up),
    test!("rollout", Beside, rollout::nobody_notices),
    test!("upgrade", Beside, upgrade::roles_follow_one_another_and_a_bad_image_stops),
    test!("scale", Beside, scale::gateways_follow_their_sockets),
    test!("external", Beside, external::somebody_else_may_decide),
    test!("taken-back", Beside, unfinished::a_plan_may_be_taken_back),
    test!("drift", Beside, drift::what_somebody_changes_comes_back),
    test!("away", Beside, away::engines_may_come_later),
    test!("deletion", Beside, deletion::keyspace_and_topics_go_when_asked_for),
    test!("rules", Beside, rules::each_refuses_its_bad_case),
    test!("node", Alone, node::a_dead_gateway_and_an_empty_node_cost_nothing),
    test!("faults", Alone, faults::every_send_is_acknowledged_whatever_dies),
    test!("unfinished", Alone, unfinished::a_plan_outlives_its_operator),
    test!("leader", Alone, leader::another_takes_over_and_two_never_write),
    test!("successor", Alone, successor::a_new_operator_restarts_nothing),
    test!("rights", Alone, rights::all_are_used_and_none_is_missing),
    test!("everywhere", Alone, everywhere::all_namespaces_by_choice),
    test!("document", Alone, document::a_reader_gets_what_the_page_says),
];

fn main() -> ExitCode {
    runner::main(TESTS)
}
