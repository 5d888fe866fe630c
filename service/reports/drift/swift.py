"""Withdrawals that came within seconds of a sending: a mail scanner follows links faster than people read.

Reads only. They are carried out like any other, for nobody can tell them apart for sure; legal is told how
many there were, so that the sender of the mails has its links looked at.
"""

from bisect import bisect_right
from datetime import datetime, timedelta

from sqlalchemy import Connection, select, union

from service.consent import Category, Provenance
from service.db import happening, mailing_scan, outcome
from service.ledger.store import LOG_ID


def swift(tx: Connection, since: datetime, until: datetime, seconds: int) -> int:
    """Return how many people withdrew within so many seconds of a campaign's sending.

    By what was recorded in this time; an import says nothing about when a link was followed.
    """
    sends = _sends(tx, since - timedelta(days=1), until)
    if not sends:
        return 0
    rows = tx.execute(
        select(happening.c.sub, happening.c.occurred_at).where(
            happening.c.log_id == LOG_ID,
            happening.c.category == Category.WITHDRAWN.value,
            happening.c.provenance.in_([Provenance.LIVE.value, Provenance.OBSERVED.value]),
            happening.c.recorded_at > since,
            happening.c.recorded_at <= until,
        )
    )
    return len({sub for sub, at in rows if _is_swift(at, sends, timedelta(seconds=seconds))})


def _sends(tx: Connection, since: datetime, until: datetime) -> list[datetime]:
    """Return when campaigns were sent, as far as their recipients or outcomes were ever read."""
    sources = (
        select(table.c.sent_at).where(table.c.sent_at > since, table.c.sent_at <= until)
        for table in (mailing_scan, outcome)
    )
    return sorted(tx.scalars(union(*sources)))


def _is_swift(at: datetime, sends: list[datetime], within: timedelta) -> bool:
    place = bisect_right(sends, at)
    return place > 0 and at - sends[place - 1] <= within
