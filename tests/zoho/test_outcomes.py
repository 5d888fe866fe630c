from datetime import UTC, datetime, timedelta

import pytest

from service.reconciler.port import OutcomeKind
from service.zoho.outcomes import Campaign, campaign, child_keys, display, epoch, lacks_times, outcome

SENT = datetime(2026, 8, 13, 5, 46, 40, tzinfo=UTC)
SENT_MS = "1786600000000"
PLAIN = Campaign(key="k", sent_at=None, kind="normal")


def row(**more):
    return {"contactemailaddress": "ada@example.com", "contactln": "null", **more}


def bounced(sent=PLAIN, **more):
    return outcome(row(**more), sent=sent, kind=OutcomeKind.BOUNCED_HARD)


def test_epoch_milliseconds_are_utc():
    assert epoch(SENT_MS) == SENT
    assert epoch("null") is None
    assert epoch("9" * 23) is None


@pytest.mark.parametrize("shown", ["12 Feb 2026, 12:01 PM", "Feb 12, 2026 12:01 PM"])
def test_both_display_formats_are_read(shown):
    assert display(shown) == datetime(2026, 2, 12, 12, 1, tzinfo=UTC)


def test_a_display_time_is_placed_by_its_own_row():
    found = bounced(sent_time=SENT_MS, sentdate="13 Aug 2026, 11:16 AM", bouncedDate="13 Aug 2026, 11:20 AM")
    assert found.sent_at == SENT
    assert found.happened_at == datetime(2026, 8, 13, 5, 50, tzinfo=UTC)


def test_a_display_time_is_placed_by_its_campaign_where_the_row_has_no_pair():
    sent = campaign(
        {
            "campaign_key": "k",
            "campaigntype": "normal",
            "sent_time_gmt": SENT_MS,
            "sent_date_string": "12 Aug 2026, 10:46 PM",
        }
    )
    assert sent.offset == timedelta(hours=-7)
    found = bounced(sent, bouncedDate="12 Aug 2026, 10:50 PM")
    assert found.happened_at == datetime(2026, 8, 13, 5, 50, tzinfo=UTC)
    assert found.sent_at == SENT


def test_an_account_in_utc_has_an_offset_too():
    found = bounced(sent_time=SENT_MS, sentdate="13 Aug 2026, 05:46 AM", bouncedDate="13 Aug 2026, 05:50 AM")
    assert found.happened_at == datetime(2026, 8, 13, 5, 50, tzinfo=UTC)


def test_a_display_time_that_cannot_be_placed_is_left_out_rather_than_guessed():
    assert bounced(bouncedDate="13 Aug 2026, 05:50 AM").happened_at is None
    assert bounced(sent_time=SENT_MS, bouncedDate="soon").happened_at is None
    years_apart = {"sent_time": SENT_MS, "sentdate": "13 Aug 2024, 05:46 AM"}
    assert bounced(**years_apart, bouncedDate="13 Aug 2026, 05:50 AM").happened_at is None


def test_an_exact_time_needs_no_zone():
    assert bounced(bouncedDate=SENT_MS).happened_at == SENT


def test_a_row_without_an_address_is_no_outcome():
    assert outcome({"contactemailaddress": "null"}, sent=PLAIN, kind=OutcomeKind.OPTED_OUT) is None


def test_the_address_is_found_under_its_xml_name():
    assert (
        outcome({"contact_email": "a@example.com"}, sent=PLAIN, kind=OutcomeKind.COMPLAINED).address
        == "a@example.com"
    )


def test_children_are_named_by_letter_and_may_be_missing():
    split = {"a_child_campaignkey": "ka", "b_child_campaignkey": "kb", "a_open_count": "3"}
    assert child_keys([split]) == ("ka", "kb")
    assert child_keys([{"a_child_campaignkey": "null"}]) == ()


@pytest.mark.parametrize(
    ("kind", "plain", "split"),
    [
        ("Normal", True, False),
        ("abtesting", False, True),
        ("A/B testing", False, True),
        ("rss", False, False),
    ],
)
def test_the_kind_of_a_campaign_is_read_from_words_that_nobody_lists(kind, plain, split):
    found = campaign({"campaign_key": "k", "campaigntype": kind})
    assert (found.is_plain, found.is_split) == (plain, split)


def test_a_campaign_without_a_key_is_none():
    assert campaign({"campaign_key": "null"}) is None


def test_only_outcomes_that_have_a_time_somewhere_can_lack_it():
    assert lacks_times([row()], OutcomeKind.OPTED_OUT)
    assert not lacks_times([row(), row(optOutTime="13 Aug 2026, 05:50 AM")], OutcomeKind.OPTED_OUT)
    assert not lacks_times([row()], OutcomeKind.COMPLAINED)
    assert not lacks_times([], OutcomeKind.OPTED_OUT)
