"""The table behind the mail as CSV: RFC 4180, without an address, safe to open in a spreadsheet.

Pure.
"""

import csv
import io
from collections.abc import Sequence
from datetime import datetime

from service.ledger.entry import format_time
from service.reports.drift import Found

COLUMNS = ("kind", "person", "jurisdiction", "since", "deadline", "rule", "action", "state", "cause", "who")
MOST_ROWS = 50_000
"""Rows of one mail: some 6 MB, which mail servers take. What is open comes first."""

_DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""First characters that spreadsheets take for a formula, full-width forms included."""


def write_csv(rows: Sequence[Found]) -> bytes:
    """Return the rows as CSV in UTF-8 with CRLF line ends, every value quoted, times in UTC."""
    target = io.StringIO(newline="")
    writer = csv.writer(target, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    writer.writerows([guard(value) for value in _values(row)] for row in rows[:MOST_ROWS])
    return target.getvalue().encode()


def guard(value: str) -> str:
    """Return the value so that a spreadsheet shows it instead of computing it: formulas get an apostrophe."""
    return f"'{value}" if value.lstrip(" ").startswith(_DANGEROUS) or value.startswith(_DANGEROUS) else value


def _values(row: Found) -> tuple[str, ...]:
    return (
        row.kind,
        row.person,
        row.jurisdiction,
        format_time(row.since),
        _time(row.due_at),
        row.due_rule or "",
        row.action,
        row.state,
        row.cause,
        row.actor,
    )


def _time(moment: datetime | None) -> str:
    return "" if moment is None else format_time(moment)
