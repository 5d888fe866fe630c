"""Withdrawals that a run found in a product: their clocks began where the person said it. Pure."""

from collections.abc import Collection, Iterable
from datetime import datetime

from service.reconciler.diff import DATED
from service.reports.drift.reading import Found, Withdrawal


def said_elsewhere(rows: Iterable[Found], known: Collection[bytes], now: datetime) -> dict[str, Withdrawal]:
    """Return the stops that runs found in a product, by pseudonym; `known` came here themselves.

    Of several kinds of one person the one that is so longest. What ended by itself has no clock of ours.
    """
    told: dict[str, Withdrawal] = {}
    for row in sorted(rows, key=lambda row: row.since, reverse=True):
        if row.kind in DATED and row.state != "settled" and row.subject not in known:
            told[row.person] = _told(row, now)
    return told


def _told(row: Found, now: datetime) -> Withdrawal:
    """Return it as a withdrawal; it was proved when the run that read it back ended, at the latest."""
    stopped_at = None if row.is_open else row.at
    return Withdrawal(
        sub=row.subject or b"",
        received_at=row.since,
        due_at=row.due_at or now,
        due_rule=row.due_rule or "",
        state="open" if row.is_open else "done",
        stopped_at=stopped_at,
        proved_at=stopped_at and max(stopped_at, row.ended_at or stopped_at),
    )
