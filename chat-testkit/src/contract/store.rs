//! The store contract: every promise of [`Store`] declared once, run by name for each implementation.
//!
//! An author writes a [`StoreFixture`] and one line; each promise becomes a test of its own name. Writers of a promise
//! run at the same time, so the tests want a runtime of several threads:
//!
//! ```text
//! chat_testkit::store_contract!(
//!     #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
//!     MyFixture::fresh().await
//! );
//! ```
//!
//! A bug that is found in one store becomes a promise here.
// A promise fails by panicking: what it unwraps is there, or the store under test is wrong.
#![allow(clippy::unwrap_used)]

use chat_core::Store;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

mod scene;

/// A fresh, empty store and what a test needs beside it; it is kept until the test is over.
pub trait StoreFixture: Send + Sync + 'static {
    /// A handle on the store.
    fn store(&self) -> Arc<dyn Store>;

    /// Another handle on the same truth, as another node has one: with a pool of its own, where there are pools.
    fn another(&self) -> Arc<dyn Store>;

    /// Lets the store's clock go on: by telling it, or by waiting.
    fn advance(&self, by: Duration) -> impl Future<Output = ()> + Send;
}

/// Declares the modules of promises, and the macro that makes a test of each.
macro_rules! store_promises {
    ($d:tt $($(#[$about:meta])* $module:ident { $($name:ident)+ })+) => {
        $($(#[$about])* pub mod $module;)+

        #[cfg(test)]
        const NAMES: &[(&str, &[&str])] = &[$((stringify!($module), &[$(stringify!($name)),+])),+];

        /// Makes a test of every promise of a store: attributes for the tests, then an expression, which may await,
        /// that makes a [`StoreFixture`](crate::contract::store::StoreFixture).
        #[macro_export]
        macro_rules! store_contract {
            ($d(#[$d attribute:meta])+ $d made:expr) => {
                $($(
                    $d(#[$d attribute])+
                    async fn $name() {
                        $crate::contract::store::$module::$name($d made).await;
                    }
                )+)+
            };
        }
    };
}

store_promises! { $
    /// One order: batches, refusals, writers at the same time.
    order {
        every_handle_sees_one_identity
        every_append_and_read_says_its_epoch
        what_one_handle_wrote_another_reads_at_once
        a_batch_is_stored_in_its_order_with_an_outcome_for_each_item
        items_of_a_batch_see_what_came_before_them
        a_refusal_takes_no_seq_and_writes_nothing
        tags_are_chained_and_anybody_can_check_them
        a_bound_on_members_holds_against_many_who_join_at_once
        times_are_the_stores
    }
    /// Repetition: the same id again, in every state.
    repetition {
        message_send_retried_after_the_effect
        message_edit_retried_after_the_effect
        message_delete_retried_after_the_effect
        reaction_add_retried_after_the_effect
        reaction_remove_retried_after_the_effect
        conversation_create_retried_after_the_effect
        conversation_update_retried_after_the_effect
        conversation_delete_retried_after_the_effect
        conversation_join_retried_after_the_effect
        conversation_leave_retried_after_the_effect
        member_add_retried_after_the_effect
        member_remove_retried_after_the_effect
        member_role_retried_after_the_effect
        a_repeated_id_answers_after_its_sender_was_removed
        a_repeated_id_answers_after_its_message_or_conversation_was_deleted
        an_id_with_other_content_or_of_another_member_is_a_conflict
        a_taken_id_is_not_told_to_strangers
        the_same_id_in_another_conversation_is_independent
        a_repeated_id_inside_one_batch_is_a_duplicate
        lookup_tells_what_stands_under_an_id
        two_attempts_at_the_same_time_are_stored_once
    }
    /// Two handles in turn: what one has changed, the other knows.
    handles {
        who_was_removed_elsewhere_sends_nothing_until_they_are_back
        what_was_deleted_elsewhere_takes_no_message
        an_id_that_came_elsewhere_answers_again
        a_removed_members_id_answers_again_beside_others_messages
        handles_that_write_in_turn_make_one_log
        what_is_heard_of_another_handle_is_a_hint_and_no_more
    }
    /// Visibility: from which join, up to which removal.
    visibility {
        a_newcomer_skips_what_was_before_their_join
        where_history_is_all_a_newcomer_reads_everything
        a_former_member_reads_up_to_their_removal_and_no_further
        a_former_member_never_reads_what_was_written_after_their_end
        what_happens_to_a_message_from_before_a_join_is_a_skip
        who_comes_back_starts_at_their_new_join
        a_deleted_conversation_ends_its_log_for_everybody
        a_stranger_a_former_member_and_nobodys_conversation_look_the_same
        what_was_before_a_join_cannot_be_touched
        a_page_of_the_log_ends_at_its_limit_or_bytes_and_holds_at_least_one_item
        a_position_ahead_of_the_log_is_told
    }
    /// At the same time: memberships that end while others write and read.
    races {
        nothing_of_a_member_is_stored_after_their_removal
        what_is_read_at_the_same_time_as_a_removal_ends_there
    }
    /// A crowd that writes, tries again, is removed and comes back.
    crowd {
        eight_writers_make_gapless_logs_with_every_id_once
    }
    /// Content: it lives once, and what was deleted is nowhere.
    content {
        a_replayed_event_carries_the_message_as_it_is_now
        a_deleted_body_is_nowhere
        a_body_deleted_by_its_own_batch_is_not_shown
        versions_grow_with_edits_and_deletes_and_changed_with_every_event
        a_stale_edit_is_told_the_version
        a_reaction_counts_everybody_and_names_the_first_five
        who_reacted_is_listed_in_pages
        a_reply_names_a_message_of_the_same_conversation
        display_data_is_shown_as_it_is_now
        meta_and_attachments_come_back_as_they_were_sent
    }
    /// Exactly: what is kept comes back as it was.
    exact {
        texts_of_any_characters_come_back_as_they_were_sent
        titles_meta_and_display_data_come_back_as_they_were_given
        what_is_empty_is_told_from_what_is_absent
        numbers_in_meta_come_back_as_they_were_sent
    }
    /// Names and numbers, however odd or large.
    bounds {
        users_are_told_apart_and_ordered_byte_by_byte
        tags_of_every_value_come_back_as_they_are
        numbers_at_their_bounds_are_answered
    }
    /// History: messages before, after and around.
    history {
        windows_hold_the_nearest_messages_in_order
        history_begins_where_the_viewer_may_see
        a_page_of_history_ends_at_its_limit_or_bytes_and_holds_at_least_one_message
        history_is_for_members_and_the_host
    }
    /// Unread is a function of the log.
    unread {
        only_messages_by_others_that_are_there_and_visible_are_unread
        unread_is_exact_to_999_and_then_1000
        sending_moves_ones_own_mark_and_no_revision
        a_new_membership_has_read_everything_before_it
    }
    /// Marks and revisions.
    marks {
        marks_only_grow
        marks_set_at_the_same_time_end_at_the_highest
        entries_are_true_while_marks_and_messages_are_set_at_once
        a_mark_ahead_of_the_head_is_refused
        marks_are_for_members
        a_revision_rises_with_marks_mute_archive_and_membership_and_nothing_else
        memberships_are_told_by_the_revision_at_which_they_changed
        the_marks_of_members_are_listed_with_their_revision
    }
    /// The inbox.
    inbox {
        an_entry_is_true_at_its_head
        an_entry_says_what_is_ones_own
        who_comes_back_finds_it_neither_muted_nor_archived
        entries_are_for_members
        inbox_pages_hold_every_conversation_once
        a_page_of_the_inbox_ends_at_its_bytes_and_holds_at_least_one_entry
        memberships_are_in_order_with_their_heads
    }
    /// Kinds and members.
    members {
        a_direct_conversation_is_found_whichever_side_creates_it
        a_direct_conversation_created_by_both_at_once_is_one
        notes_to_self_are_a_direct_conversation_of_one
        a_direct_conversation_that_was_deleted_makes_place_for_a_new_one
        an_existing_conversation_is_a_conflict_for_members_and_not_there_for_others
        ownership_is_handed_over_whole
        what_the_host_makes_has_no_owner_and_no_actor
        a_public_channel_shows_itself_to_strangers_and_nothing_more
        members_are_listed_in_pages_in_order
        a_conversation_comes_with_at_most_fifty_members
        member_counts_follow_the_log
        titles_and_meta_change_and_what_is_absent_stays
        sharing_is_told_of_current_members_only
    }
    /// What changed since a horizon.
    changes {
        a_horizon_begins_now_and_tells_what_changes
        a_horizon_is_read_in_pages
        a_horizon_misses_nothing_however_many_write
    }
    /// Random operations, beside a reference and by laws.
    model {
        random_operations_are_answered_as_by_the_reference_model
        random_operations_keep_the_laws_that_follow_from_the_log
    }
    /// Leases by the store's clock.
    leases {
        a_lease_runs_out_by_the_stores_clock
        a_lease_is_renewed_and_given_back
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A promise that is written and not listed would never be run.
    #[test]
    fn every_promise_that_is_written_is_listed() {
        for (module, names) in NAMES {
            let path = format!("{}/src/contract/store/{module}.rs", env!("CARGO_MANIFEST_DIR"));
            let source = std::fs::read_to_string(path).unwrap();
            let written: Vec<&str> = source
                .lines()
                .filter_map(|line| line.strip_prefix("pub async fn "))
                .filter_map(|line| line.split('(').next())
                .collect();
            assert_eq!(written, *names, "in {module}");
        }
    }
}
