"""What users of comparable systems complained about, each as behaviour with the tests that hold it.

The numbers are those of the list of lessons (15-34 syncs, imports and staff; 35-40 bounces; 41-48 one click;
49-58 erasure, access, receipts). A lesson whose test is renamed or goes away fails here.
"""

import re
from pathlib import Path
from typing import Final, NamedTuple

import pytest

HERE = Path(__file__).parent
NUMBERS: Final = range(15, 59)


class Lesson(NamedTuple):
    """One lesson: what the service does about it, and the tests that would fail if it did not."""

    behaviour: str
    tests: tuple[str, ...]


LESSONS: Final = {
    15: Lesson(
        "too many re-permissions trip a breaker, and no resync lets anybody go without an approval",
        (
            "reconciler/test_breakers.py::test_too_many_re_permissions_trip_by_number_or_by_share",
            "reconciler/test_plan.py::test_nobody_is_let_go_without_an_approval",
        ),
    ),
    16: Lesson(
        "imported people start without evidence, and are not mailable by it",
        (
            "web/test_events.py::test_an_imported_grant_may_lack_evidence_and_permits_nothing",
            (
                "reconciler/test_run.py::"
                "test_a_first_reading_of_people_whom_both_products_permit_records_a_consent_of_nobody"
            ),
        ),
    ),
    17: Lesson(
        "no upsert goes without the permission field, and each is read back",
        (
            "reconciler/test_push.py::test_an_upsert_never_goes_without_the_permission_field",
            "reconciler/test_push.py::test_who_is_pushed_is_seen_on_the_list_and_has_the_permission",
            "reconciler/test_breakers.py::test_every_run_writes_the_canaries_and_reads_them_back",
        ),
    ),
    18: Lesson(
        "a notification of an edit is a hint to look, and never a consent",
        (
            "reconciler/test_heeding.py::test_a_forged_hint_costs_a_read_and_changes_nothing",
            "reconciler/test_heeding.py::test_a_late_hint_tells_what_is_so_now_not_what_was",
            (
                "reconciler/test_heeding.py::"
                "test_who_is_let_mail_again_by_hand_is_stopped_again_a_few_times_and_not_for_ever"
            ),
        ),
    ),
    19: Lesson(
        "drift names who flipped it, and who flips again and again leads the report",
        (
            "reconciler/test_attribution.py::test_every_drift_has_a_cause",
            "reconciler/test_attribution.py::test_who_opens_again_what_was_stopped_leads_the_list_of_re_subscribers",
        ),
    ),
    20: Lesson(
        "dry runs and plans say which writes cannot be undone",
        (
            "reconciler/test_lasting.py::test_a_dry_run_and_the_plan_say_which_writes_cannot_be_undone",
            "cli/test_commands.py::test_reconcile_writes_nothing_anywhere_until_it_is_told_to_apply",
        ),
    ),
    21: Lesson(
        "whoever consents again by a form is permitted again",
        (
            "test_consent.py::test_a_later_grant_beats_a_refusal",
            "reconciler/test_plan.py::test_what_one_person_approved_is_written_read_back_and_recorded_with_their_name",
        ),
    ),
    22: Lesson(
        "a stop belongs to the person, not to the record: created anew, it is stopped again",
        (
            (
                "reconciler/test_lasting.py::"
                "test_a_contact_that_was_deleted_and_created_anew_does_not_get_its_old_permission_back"
            ),
        ),
    ),
    23: Lesson(
        "a history is append-only and kept by person",
        (
            "test_walls.py::test_the_database_itself_refuses_to_delete_an_event_of_somebody_in_the_directory",
            "intake/test_intake.py::test_the_same_new_person_twice_in_one_array_is_opened_once",
        ),
    ),
    24: Lesson(
        "an operator's mistake is undone by a correction with reason and actor, never by deleting",
        (
            (
                "intake/test_correcting.py::"
                "test_a_withdrawal_recorded_about_the_wrong_person_is_undone_once_two_people_agree"
            ),
            "intake/test_correcting.py::test_nothing_is_deleted_and_the_history_shows_both",
            "intake/test_correcting.py::test_a_persons_own_word_is_never_corrected_away",
        ),
    ),
    25: Lesson(
        "the most restrictive wins until there is evidence, wherever it stands",
        (
            "test_consent.py::test_a_tie_goes_to_the_refusal",
            "test_consent.py::test_stop_everything_beats_every_topic",
            "reconciler/test_run.py::test_all_records_of_an_address_are_written_not_one_of_them",
        ),
    ),
    26: Lesson(
        "double opt-in works between the two products, and the readme says how",
        (
            "web/test_forms.py::test_a_form_whose_purpose_needs_confirmation_asks_and_does_not_permit",
            "web/test_forms.py::test_the_click_in_the_confirmation_mail_is_an_event_of_its_own_and_permits",
            "web/test_confirming.py::test_the_link_of_an_old_mail_does_not_lift_a_withdrawal_made_since",
            "test_lessons.py::test_the_readme_says_how_double_opt_in_works_between_the_products",
        ),
    ),
    27: Lesson(
        "an import may add a withdrawal and never removes one",
        (
            "cli/test_importing.py::test_an_import_cannot_bring_back_who_unsubscribed",
            "test_consent.py::test_what_was_not_recorded_live_never_lifts_a_refusal",
        ),
    ),
    28: Lesson(
        "an import replaces nothing, not even its own lines",
        (
            "cli/test_importing.py::test_the_same_file_again_records_nothing",
            "cli/test_importing.py::test_an_older_refusal_does_not_undo_what_the_person_said_since",
        ),
    ),
    29: Lesson(
        "the suppression list goes out, and restores every stop after a fresh installation",
        (
            "intake/test_stops.py::test_after_a_fresh_installation_every_stop_is_there_again",
            (
                "cli/test_suppressing.py::"
                "test_the_drill_restores_every_stop_without_any_address_leaving_the_house"
            ),
        ),
    ),
    30: Lesson(
        "classes of reasons stay apart, and one answer covers them all",
        (
            "test_consent.py::test_suppression_is_kept_apart_from_consent",
            "intake/test_stops.py::test_the_list_has_every_stop_in_force_with_its_class_and_nobody_else",
        ),
    ),
    31: Lesson(
        "staff override a stop with evidence and two people, or not at all",
        (
            "reconciler/test_plan.py::test_above_the_set_number_two_different_people_approve",
            "intake/test_correcting.py::test_one_person_never_agrees_for_two",
        ),
    ),
    32: Lesson(
        "the same event told again is the same entry",
        (
            "web/test_events.py::test_the_same_key_and_event_give_the_same_receipt_byte_for_byte",
            "reconciler/test_run.py::test_a_second_run_finds_and_writes_nothing_new",
        ),
    ),
    33: Lesson(
        "imports grant, withdraw or suppress; the effect is shown first; hashes can be taken in",
        (
            "cli/test_importing.py::test_each_kind_of_line_is_recorded_as_imported",
            (
                "cli/test_importing.py::"
                "test_the_effect_on_who_may_be_mailed_is_shown_before_anything_is_recorded"
            ),
            "cli/test_importing.py::test_nothing_is_recorded_before_somebody_says_yes",
        ),
    ),
    34: Lesson(
        "a merge of records keeps every restriction, and merges are watched",
        (
            "reconciler/test_lasting.py::test_a_merge_keeps_the_opt_out_that_only_one_of_two_records_had",
            "reconciler/test_crm_reading.py::test_a_merge_that_crm_does_not_list_has_the_module_read_whole",
        ),
    ),
    35: Lesson(
        "bounces are judged by their RFC 3463 code; vacation replies are none; unknown is unknown",
        (
            "consent/test_bounces.py::test_the_enhanced_code_decides_whatever_the_source_calls_it",
            "consent/test_bounces.py::test_an_answering_machine_is_no_bounce",
            "web/test_events.py::test_a_bounce_that_says_nothing_about_the_mailbox_suppresses_nobody",
            "web/test_hooks.py::test_a_bounce_of_campaigns_is_judged_by_its_extended_code",
        ),
    ),
    36: Lesson(
        "thresholds are policy data, and the report shows them",
        (
            "reports/test_swift.py::test_every_threshold_that_is_shown_is_the_policys_own",
            "reports/test_swift.py::test_the_mail_shows_every_threshold_in_both_its_parts",
            "test_consent.py::test_soft_bounces_below_the_limit_do_not_suppress",
        ),
    ),
    37: Lesson(
        "an event concerns one recipient; another's bad address costs nobody anything",
        (
            "web/test_events.py::test_a_dead_mailbox_suppresses_nobody_else_of_the_same_mailing",
            "web/test_hooks.py::test_an_event_of_campaigns_is_kept_as_a_hash_and_once",
            "web/test_events.py::test_a_bad_event_in_an_array_costs_only_itself",
        ),
    ),
    38: Lesson(
        "every write is read back; a complaint is a class of its own and stops at once",
        (
            "reconciler/test_enforce.py::test_a_record_that_permits_again_when_read_back_is_not_proved",
            "reconciler/test_enforce.py::test_a_person_who_complained_is_stopped_too",
        ),
    ),
    39: Lesson(
        "keys of idempotency are made of content, not of the sender's numbers",
        ("web/test_hooks.py::test_an_event_is_known_by_its_content_whatever_numbers_its_sender_gives_it",),
    ),
    40: Lesson(
        "events are counted once, however often they are delivered",
        (
            "web/test_hooks.py::test_a_replayed_notification_adds_nothing",
            "reports/test_drift.py::test_a_person_who_stands_under_two_kinds_counts_once",
        ),
    ),
    41: Lesson(
        "a GET changes nothing",
        (
            "web/test_unsubscribe.py::test_a_scanner_that_follows_the_link_changes_nothing",
            "web/test_confirming.py::test_a_scanner_that_follows_the_link_confirms_nothing",
        ),
    ),
    42: Lesson(
        "a token stays usable, and ends its purpose alone",
        (
            "web/test_unsubscribe.py::test_the_link_of_an_old_mail_withdraws_a_consent_given_since",
            "web/test_unsubscribe.py::test_a_withdrawal_is_for_the_purpose_of_the_link_alone",
        ),
    ),
    43: Lesson(
        "one click withdraws by POST alone",
        ("web/test_unsubscribe.py::test_one_click_withdraws_without_cookie_log_in_or_redirect",),
    ),
    44: Lesson(
        "withdrawals within seconds of a sending are flagged, and carried out",
        (
            "reports/test_swift.py::test_whoever_withdrew_within_seconds_of_the_sending_is_counted_once",
            "reports/test_swift.py::test_the_nightly_report_flags_them_and_they_are_stopped_all_the_same",
        ),
    ),
    45: Lesson(
        "a provider's POST needs no session, token of a page, or redirect",
        ("web/test_unsubscribe.py::test_a_mail_client_on_another_site_may_post",),
    ),
    46: Lesson(
        "valid and invalid tokens get one answer, and our own failure asks to come again",
        (
            "web/test_unsubscribe.py::test_valid_and_invalid_tokens_get_the_same_answer",
            "web/test_unsubscribe.py::test_when_we_cannot_record_it_the_sender_is_told_to_try_again",
        ),
    ),
    47: Lesson(
        "a missing body is tolerated, and noted",
        ("web/test_unsubscribe.py::test_a_post_withdraws_whatever_its_body",),
    ),
    48: Lesson(
        "programs get one-click links for their mails",
        ("web/test_links.py::test_the_link_of_a_person_ends_the_purpose_with_one_click",),
    ),
    49: Lesson(
        "who was erased stays out by a keyed token",
        ("intake/test_forgetting.py::test_no_import_and_no_sighting_brings_an_erased_person_back",),
    ),
    50: Lesson(
        "to withdraw, to erase and to correct are three verbs, and the entry says which it was",
        (
            (
                "intake/test_correcting.py::"
                "test_to_withdraw_to_correct_and_to_erase_are_three_verbs_and_each_says_which_it_was"
            ),
        ),
    ),
    51: Lesson(
        "an erasure destroys the person's key, and proofs go on verifying",
        ("intake/test_forgetting.py::test_after_an_erasure_nothing_opens_and_everything_verifies",),
    ),
    52: Lesson(
        "a restored backup erases again",
        ("intake/test_forgetting.py::test_a_restored_older_backup_ends_with_the_person_still_erased",),
    ),
    53: Lesson(
        "nothing cascades into the ledger, and exports are events",
        (
            "test_walls.py::test_the_log_is_never_deleted",
            "test_db.py::test_no_table_takes_rows_of_another_with_it",
            "cli/test_suppressing.py::test_that_a_list_was_taken_out_stands_in_the_ledger_with_the_reason",
            (
                "cli/test_commands.py::"
                "test_history_bundle_and_verify_answer_an_auditor_and_record_that_they_were_asked"
            ),
        ),
    ),
    54: Lesson(
        "a look-up is an entry before it is answered",
        ("web/test_api.py::test_the_question_is_an_entry_before_it_is_answered",),
    ),
    55: Lesson(
        "roles and scopes count by their exact names; what is not granted is denied",
        (
            "web/test_pages.py::test_a_role_counts_by_its_exact_name_and_everything_else_is_denied",
            "web/test_auth.py::test_a_key_opens_what_it_was_made_for_and_nothing_else",
        ),
    ),
    56: Lesson(
        "what leaves the house names neither staff nor third parties, and verifies",
        (
            "reports/test_evidence.py::test_a_bundle_names_no_staff_and_nobody_else_and_still_verifies",
            "reports/test_evidence.py::test_the_signed_line_of_a_look_up_names_nobody",
        ),
    ),
    57: Lesson(
        "without a reason there is no answer, and the reason is kept",
        (
            "web/test_api.py::test_a_question_without_a_purpose_is_refused_and_not_recorded",
            "cli/test_commands.py::test_whoever_does_not_say_why_they_ask_is_told_nothing_and_takes_nothing_out",
        ),
    ),
    58: Lesson(
        "receipts say what they supersede, exist for refusals and terminations, and never change",
        (
            "web/test_receipts.py::test_a_receipt_of_a_withdrawal_names_the_consent_that_it_ended",
            "web/test_receipts.py::test_a_refusal_has_a_receipt_too",
            "web/test_receipts.py::test_a_receipt_never_changes_and_says_where_the_status_is",
            "consent/test_links.py::test_what_comes_later_never_changes_a_link_that_was_given",
        ),
    ),
}


def test_every_lesson_has_its_behaviour():
    assert set(LESSONS) == set(NUMBERS)


@pytest.mark.parametrize("number", sorted(LESSONS))
def test_the_tests_of_a_lesson_exist(number: int):
    for name in LESSONS[number].tests:
        path, _, function = name.partition("::")
        text = (HERE / path).read_text()
        assert re.search(rf"^\s*(?:async )?def {function}\(", text, re.MULTILINE), name


def test_the_readme_says_how_double_opt_in_works_between_the_products():
    readme = (HERE.parent / "README.md").read_text()
    section = readme.partition("### Double opt-in between CRM and Campaigns")[2].partition("\n### ")[0]
    for word in ("double_opt_in = true", "consent.requested", "consent.confirmed", "pending", "push --apply"):
        assert word in section
