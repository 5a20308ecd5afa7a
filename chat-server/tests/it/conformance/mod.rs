//! What every engine behind [`chat_domain::store::Store`] must do. Each function is one test; it gets a store that
//! may hold anything from before and be used by others at the same time, so it uses ids and names of its own.

pub(crate) mod auth;
pub(crate) mod directory;
pub(crate) mod files;
pub(crate) mod fixtures;
pub(crate) mod log;
pub(crate) mod reactions;
pub(crate) mod semantics;
pub(crate) mod standing;

/// Makes a test of each function of the suite. `$open` is an async function that gives `(impl Store, guard)`.
#[macro_export]
macro_rules! conformance_suite {
    ($open:path) => {
        $crate::conformance_suite! { $open;
            log::positions_are_dense_and_ascending,
            log::a_client_id_is_committed_once,
            log::a_client_id_counts_within_its_channel_and_sender,
            log::concurrent_senders_share_one_order,
            log::a_log_begins_with_its_channel,
            log::a_refused_event_takes_no_position,
            log::what_changes_nothing_is_refused,
            log::names_of_public_channels_are_unique_without_regard_to_case,
            log::names_of_public_channels_are_unique_in_any_form,
            log::public_channels_do_not_look_alike,
            log::a_name_that_was_refused_takes_nothing_and_one_that_is_given_up_leaves_nothing,
            log::a_private_channel_shares_its_name_with_anything,
            log::events_follow_into_the_channel,
            log::reading_in_pages_gives_every_event_once,
            log::heads_leave_out_what_does_not_exist,
            log::messages_read_as_they_are_now,
            log::messages_come_in_pages_newest_first,
            log::deletion_scrubs_the_log,
            log::only_messages_are_edited_and_deleted,
            reactions::pages_show_reactions_after_any_history,
            reactions::a_reaction_is_an_event_that_counts_nowhere,
            reactions::only_messages_that_stand_take_reactions,
            reactions::reactions_go_with_their_message,
            reactions::reactions_are_decided_within_one_batch,
            reactions::a_reaction_with_an_id_is_committed_once,
            reactions::reactions_to_one_message_are_limited,
            semantics::stores_decide_as_the_vectors_say,
            semantics::logs_show_as_the_vectors_say,
            semantics::what_is_not_there_is_refused_before_names_are_looked_at,
            semantics::decisions_hold_within_one_batch,
            semantics::who_counts_on_nobody_having_joined_is_refused_when_somebody_has,
            semantics::what_belongs_together_is_committed_together_or_not_at_all,
            directory::membership_is_known_from_both_sides,
            directory::members_come_in_pages,
            directory::a_read_marker_only_moves_forward_and_never_beyond_the_head,
            directory::who_writes_on_top_of_what_they_had_read_has_read_it,
            directory::markers_and_ends_carry_what_was_counted,
            directory::public_channels_come_in_pages_by_name,
            directory::all_channels_come_in_pages,
            directory::handles_are_unique,
            directory::handles_that_look_alike_are_one_too_many,
            directory::a_user_is_renamed,
            directory::users_are_listed_by_prefix_in_pages,
            directory::users_are_found_by_each_word_of_their_names,
            files::a_file_is_described,
            files::a_file_lives_as_long_as_a_message_has_it,
            files::a_deletion_that_overtakes_its_message_counts,
            files::an_upload_in_no_message_is_retired,
            files::what_a_person_has_stored_is_known,
            files::a_file_that_is_held_does_not_go,
            files::what_is_gone_is_not_held,
            files::work_comes_when_it_is_due_until_it_is_done,
            standing::a_standing_changes_once_on_what_was_read,
            standing::versions_are_listed_since,
            standing::a_rename_undoes_no_change_of_standing,
            standing::the_last_owner_stays,
            auth::a_password_is_replaced,
            auth::a_refresh_token_is_exchanged_once,
            auth::a_session_ends_by_revocation_or_time,
            auth::revoked_sessions_are_listed_since,
            auth::an_invitation_is_used_as_often_as_it_says,
            auth::a_new_signing_key_retires_those_before,
        }
    };
    ($open:path; $($module:ident :: $test:ident),+ $(,)?) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                let (store, _guard) = $open().await;
                $crate::conformance::$module::$test(std::sync::Arc::new(store)).await;
            }
        )+
    };
}
