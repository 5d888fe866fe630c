from datetime import datetime, timedelta, timezone

import pytest

from service.errors import Malformed
from service.zoho import coql


def test_a_value_cannot_break_out_of_its_quotes():
    assert coql.literal("o'brien@example.com") == r"'o\'brien@example.com'"
    assert coql.literal("a\\' or id > '0") == r"'a\\\' or id > \'0'"


@pytest.mark.parametrize("value", ["a\nb", "a\x00b", "a\u202eb"])
def test_control_characters_are_refused(value):
    with pytest.raises(Malformed):
        coql.literal(value)


def test_more_than_two_conditions_are_bracketed_in_pairs():
    assert coql.any_equal(["A", "B", "C"], ["x"]) == "((A = 'x' or B = 'x') or C = 'x')"
    assert coql.any_equal(["A"], ["x"]) == "A = 'x'"
    assert coql.after("7", "(A = 'x' or B = 'x')") == "((A = 'x' or B = 'x') and id > 7)"


def test_a_time_is_written_with_its_offset_and_whole_seconds():
    at = datetime(2026, 5, 10, 1, 10, 47, 999_999, tzinfo=timezone(timedelta(hours=-7)))
    assert coql.modified_since(at) == "Modified_Time >= '2026-05-10T08:10:47+00:00'"


def test_ids_are_numbers_or_nothing():
    assert coql.one_of(["1", "22"]) == "id in (1, 22)"
    with pytest.raises(ValueError, match="invalid literal"):
        coql.one_of(["1) or (id > 0"])


def test_a_query_names_its_columns_order_and_limit():
    assert coql.select(["id", "Email"], "Leads", "id > 0", 200) == (
        "select id, Email from Leads where id > 0 order by id asc limit 200"
    )
