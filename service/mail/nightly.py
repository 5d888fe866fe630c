"""One mail a night, whoever sends it: the primary key of table `mailing` is the lock.

A worker that dies between sending and marking leaves a claim, which another takes over; the mail then
goes out a second time under the same Message-ID, so that clients show it once (reliability.md, M05).
"""

from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import Final

from sqlalchemy import insert, update
from sqlalchemy.exc import IntegrityError

from service.db import Database, mailing
from service.errors import ServiceError
from service.mail.compose import Letter, compose, message_id
from service.mail.outbox import Outbox

LEASE: Final = timedelta(minutes=15)
"""A claim this old that did not end in a mail belongs to a worker that died: another takes over."""
PAUSE: Final = timedelta(minutes=1)
"""How long to wait after the mail server refused, before anybody tries again."""


def send_nightly(
    db: Database,
    outbox: Outbox,
    letter: Callable[[], Letter],
    *,
    night: date,
    origin: str,
    sender: str,
    recipients: str,
    now: Callable[[], datetime],
) -> str | None:
    """Send the mail about one night, once for all workers; return where it went, None if it was not ours.

    `letter` is called only by the worker that won the night. Raises what it or the outbox raises; the
    night then stays claimed, and after a pause the next call tries again under the same Message-ID.
    """
    name = message_id(night, origin)
    if not _claim(db, night, name, now()):
        return None
    try:
        at = now()
        place = outbox.send(compose(letter(), sender=sender, recipients=recipients, message_id=name, at=at))
    except ServiceError:
        _postpone(db, night, now())
        raise
    with db.begin() as tx:
        tx.execute(
            update(mailing)
            .where(mailing.c.night == night.isoformat())
            .values(state="sent", sent_at=now(), place=place)
        )
    return place


def _claim(db: Database, night: date, name: str, at: datetime) -> bool:
    """Take the night: as its first worker, or in place of one that claimed it and went silent."""
    left_behind = (mailing.c.night == night.isoformat()) & (mailing.c.state == "claimed")
    with db.begin() as tx:
        taken = tx.execute(
            update(mailing).where(left_behind, mailing.c.claimed_at <= at - LEASE).values(claimed_at=at)
        )
    if taken.rowcount:
        return True
    first = insert(mailing).values(night=night.isoformat(), message_id=name, state="claimed", claimed_at=at)
    try:
        with db.begin() as tx:
            tx.execute(first)
    except IntegrityError:
        return False
    return True


def _postpone(db: Database, night: date, at: datetime) -> None:
    """Let the next attempt begin after a pause instead of a whole lease."""
    with db.begin() as tx:
        tx.execute(
            update(mailing)
            .where(mailing.c.night == night.isoformat(), mailing.c.state == "claimed")
            .values(claimed_at=at - LEASE + PAUSE)
        )
