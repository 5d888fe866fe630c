import csv
import io
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from service.reports.drift import Found
from service.reports.sheet import COLUMNS, MOST_ROWS, guard, write_csv

AT = datetime(2026, 11, 23, 2, 30, tzinfo=UTC)
ROW = Found(
    kind="opted_out_by_hand",
    person="p-0011223344556677",
    subject=None,
    jurisdiction="DE",
    since=AT,
    due_at=None,
    due_rule=None,
    action="stop",
    state="repaired",
    at=AT,
    cause="a user of CRM",
    actor="=Kim",
)


@pytest.mark.parametrize("value", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "\uff1d1"])
def test_a_value_that_a_spreadsheet_would_compute_is_shown_instead(value):
    assert guard(value) == f"'{value}"
    read = next(
        iter(
            list(
                csv.DictReader(
                    io.StringIO(write_csv([replace(ROW, jurisdiction=value)]).decode(), newline="")
                )
            )
        )
    )
    assert read["jurisdiction"] == f"'{value}"


@pytest.mark.parametrize("value", ["", "DE", "p-00", "a=b", "2026-11-23T02:30:00.000Z"])
def test_an_ordinary_value_stays_as_it_is(value):
    assert guard(value) == value


def test_the_table_follows_rfc_4180():
    data = write_csv([replace(ROW, jurisdiction='say "yes", please')])
    assert data.endswith(b"\r\n")
    assert data.count(b"\n") == data.count(b"\r\n") == 2
    header, row = csv.reader(io.StringIO(data.decode(), newline=""), strict=True)
    assert tuple(header) == COLUMNS
    assert row == [
        "opted_out_by_hand",
        "p-0011223344556677",
        'say "yes", please',
        "2026-11-23T02:30:00.000Z",
        "",
        "",
        "stop",
        "repaired",
        "a user of CRM",
        "'=Kim",
    ]


def test_the_table_has_an_end():
    assert write_csv([ROW] * (MOST_ROWS + 5)).count(b"\r\n") == MOST_ROWS + 1
