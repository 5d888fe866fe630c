"""What can go wrong with Zoho, and the tests that let it: no fault of the catalogue is without one."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent

CATALOGUE: Mapping[str, tuple[str, ...]] = {
    "a line that is slow, sliced, cut or a black hole": (
        "test_an_answer_that_trickles_in_is_an_answer",
        "test_a_line_that_breaks_off_in_the_middle_of_answers_is_used_again",
        "test_a_black_hole_leaves_the_ledger_alone_and_loses_nothing_that_waits",
        "test_once_campaigns_is_seen_to_be_down_nobody_else_is_tried_in_that_turn",
        "test_a_withdrawal_overtakes_a_burst_of_bounces",
        "test_after_an_outage_of_an_hour_the_backlog_is_worked_off_by_deadline",
    ),
    "a storm of 429, with Retry-After, without, or with an absurd one": (
        "test_a_storm_of_an_hour_costs_few_calls_and_nobody_who_said_stop_meanwhile",
        "test_a_call_that_is_told_to_wait_comes_again_no_sooner_than_it_was_asked",
        "test_a_wait_that_nobody_can_mean_is_kept_to_for_a_day_at_most",
        "test_a_429_of_one_process_rests_the_endpoint_in_another",
    ),
    "some records of a call refused, in three ways": (
        "test_three_kinds_of_refused_records_hold_nobody_else_up_and_are_done_when_they_can_be",
    ),
    "a write that took effect and whose answer got lost": (
        "test_a_step_whose_answers_all_get_lost_is_settled_by_a_rerun",
        "test_writes_that_took_effect_or_are_answered_by_an_error_page_are_settled",
    ),
    "an access token that dies, a grant that is revoked, a token endpoint that throttles": (
        "test_an_access_token_that_dies_in_mid_run_is_renewed_and_nobody_notices",
        "test_a_grant_that_is_revoked_in_mid_run_ends_it_and_a_new_one_converges",
        "test_a_throttled_token_endpoint_ends_the_run_until_it_opens_again",
        "test_twenty_threads_with_a_dead_token_renew_it_once",
        "test_a_revoked_token_is_replaced_once_and_not_by_each",
    ),
    "a notification ten times at once": (
        "test_a_notification_that_comes_ten_times_at_once_is_one_hint_and_one_withdrawal",
    ),
    "words that arrive in another order than they were said": (
        "test_the_order_of_arrival_does_not_matter",
        "test_the_later_occurrence_wins_never_the_later_arrival",
        "test_a_tie_goes_to_the_refusal",
        "test_notifications_in_the_wrong_order_end_where_the_records_are",
    ),
    "a replay just inside and just after its window, and clocks that differ": (
        "test_a_replay_is_never_a_second_event_however_late_it_comes",
        "test_a_clock_that_differs_from_the_products_hides_nothing",
    ),
    "a forged notification, with no token, an old one or a guessed one": (
        "test_a_forged_notification_changes_nothing_whatever_it_says",
        "test_the_token_of_a_former_channel_is_taken_for_an_hour_and_not_a_minute_longer",
        "test_a_forged_notification_is_refused_and_leaves_no_trace",
        "test_a_webhook_without_the_token_is_refused",
    ),
    "notifications that are lost, and a channel that lapsed": (
        "test_what_notifications_lost_the_next_run_finds_to_the_last",
        "test_a_notification_that_was_lost_is_found_by_the_sweep_and_crm_is_asked_often_again",
        "test_a_channel_is_prolonged_every_hour_and_asked_for_again_when_it_died",
    ),
    "a field, a module, a scope or a right that an admin takes away": (
        "test_without_a_mapped_field_or_module_nothing_is_written_and_the_error_names_it",
        "test_a_field_or_module_that_goes_in_mid_run_proves_nothing_until_it_is_back",
        "test_writes_that_crm_refuses_from_one_day_to_the_next_are_told_and_prove_nothing",
    ),
    "a mapping turned round": (
        "test_a_permission_whose_values_changed_places_leaves_campaigns_out",
        "test_an_opt_out_read_from_another_field_leaves_crm_out",
    ),
    "two records of one address, and a merge": (
        "test_every_record_of_the_address_is_opted_out",
        "test_records_that_are_merged_meanwhile_leave_one_that_is_stopped",
    ),
    "somebody who lets a person be mailed again, and again": (
        "test_who_is_let_mail_again_by_hand_is_stopped_again_a_few_times_and_not_for_ever",
        "test_a_stop_that_somebody_undid_twice_is_reported_with_who_and_not_fought_a_third_time",
    ),
    "pages cut short, broken off, repeated, and listings that move": (
        "test_a_first_page_that_is_short_and_calls_itself_whole_hides_nobody",
        "test_pages_that_are_all_short_stop_nobody_by_mistake_and_open_nothing",
        "test_pages_that_break_off_in_the_middle_are_asked_for_again",
        "test_nobody_is_missed_when_others_leave_the_list_meanwhile",
        "test_a_read_that_lost_people_leaves_its_product_out_and_the_other_goes_on",
    ),
    "a day whose credits are used up": (
        "test_credits_that_others_used_up_stop_crm_for_the_day_and_campaigns_not_at_all",
        "test_a_withdrawal_is_carried_out_after_mass_reads_used_up_all_that_is_theirs",
        "test_repairs_stop_at_the_reserve_and_go_on_when_there_is_more",
    ),
    "a consent while an older stop is being written, and two workers at the same instant": (
        "test_a_consent_during_the_very_write_of_an_older_stop_is_neither_lost_nor_taken_for_another_stop",
        "test_a_consent_that_comes_while_a_stop_is_carried_to_crm_is_not_settled_by_it",
        "test_two_runs_at_the_same_instant_stop_everybody_and_undo_nothing",
        "test_several_workers_carry_everybody_out_and_nobody_twice",
    ),
    "a process that is stopped while another one does its work": (
        "test_a_reconciler_that_was_stopped_for_a_minute_writes_nothing_that_is_out_of_date",
        "test_a_refusal_that_comes_late_in_its_batch_is_decided_anew",
        "test_a_worker_that_was_frozen_until_its_lease_had_passed_writes_nothing",
        "test_who_is_silent_for_too_long_in_a_transaction_loses_it_and_what_it_held",
    ),
    "names that do not resolve, certificates that are not valid": (
        "test_a_host_name_that_does_not_exist_is_told_apart_from_a_network_that_is_down",
        "test_who_cannot_show_a_valid_certificate_is_told_nothing_and_the_error_says_so",
        "test_what_is_wrong_with_a_certificate_is_said",
    ),
    "a lock-out in the middle of a list": (
        "test_a_lock_out_in_the_middle_of_a_list_ends_the_run_and_is_kept_to",
        "test_a_lock_out_between_two_pages_believes_nothing_of_the_half_that_was_read",
        "test_a_lock_out_of_one_writing_endpoint_leaves_the_rest_for_later_and_opens_nothing",
    ),
    "a record deleted, moved, locked or changed by a person between read and write": (
        "test_what_a_person_does_to_a_record_between_read_and_write_is_found_by_the_rerun",
        "test_records_that_a_person_touched_meanwhile_are_412_and_stopped_in_the_same_run",
        "test_a_record_that_went_to_somebody_else_is_theirs_and_nobody_withdraws_for_them",
        "test_a_plan_that_waited_while_its_record_went_to_somebody_else_leaves_them_alone",
        "test_a_record_that_changes_while_it_is_written_is_not_overwritten_and_says_when_it_is_tried_again",
    ),
    "a list that is deleted while it is read": (
        "test_a_list_that_somebody_deletes_while_it_is_read_costs_nobody_their_refusal",
    ),
    "a page token that expired": (
        "test_a_page_token_that_expired_between_two_files_leaves_nobody_out",
        "test_a_listing_whose_token_died_goes_on_where_it_stopped",
    ),
    "a bulk job that fails or never ends, a file with a missing column": (
        "test_a_bulk_job_that_fails_or_never_ends_is_made_up_for",
        "test_a_zip_with_a_missing_column_is_not_believed_and_writes_nothing",
        "test_files_that_break_off_and_downloads_that_are_refused_are_made_up_for",
    ),
    "another data centre": (
        "test_an_organisation_that_moves_to_another_data_centre_is_not_written_to_until_it_is_back",
    ),
    "Zoho killed and started again": (
        "test_a_simulator_that_is_killed_and_back_at_once_is_hardly_noticed",
        "test_a_simulator_that_stays_away_until_the_next_run_has_kept_what_it_answered",
    ),
    "everything at once": (
        "test_nights_of_chaos_open_nothing_and_converge_when_it_ends",
        "test_writes_in_the_middle_of_chaos_are_settled_and_each_is_recorded_once",
    ),
}


@pytest.fixture(scope="module")
def tests() -> set[str]:
    """The names of all tests there are."""
    files = (path.read_text() for path in TESTS.rglob("test_*.py"))
    return {name for file in files for name in re.findall(r"^def (test_\w+)", file, re.MULTILINE)}


@pytest.mark.parametrize("fault", CATALOGUE)
def test_each_fault_is_let_happen_by_tests_that_exist(tests, fault):
    assert set(CATALOGUE[fault]) <= tests
