"""When an entry was received, whatever a clock does: never much earlier than what stands before it.

Verifiers refuse a log in which an entry was received more than 30 s before its left neighbour (tlog.md
3.3), so a clock that steps back, or an import that took an hour to arrive, must not write one. What would
be too early is recorded as received when its predecessor was: late by the ledger's own account, in order,
and never lost.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import Connection

from service.db import EPOCH
from service.intake.claim import Claim
from service.ledger.entry import decode
from service.ledger.store import Store

BEHIND: Final = timedelta(seconds=10)
"""How much earlier than the newest entry a claim may have been received and keep its time."""
TOO_LATE: Final = timedelta(seconds=20)
"""How much earlier an entry may be when the head is locked; verifiers allow 30 s."""

log = structlog.get_logger()


def last_moment(tx: Connection, store: Store) -> datetime:
    """Return when the newest entry was received."""
    entry = store.last_entry(tx)
    return EPOCH if entry is None else decode(entry).at


def moment(tx: Connection, store: Store, now: datetime) -> datetime:
    """Return the time of an entry that is about to follow: now, or its predecessor's if that is later."""
    return max(now, last_moment(tx, store))


def in_order(claim: Claim, newest: datetime) -> Claim:
    """Return the claim as it can follow an entry received at `newest`."""
    if claim.received_at >= newest - BEHIND:
        return claim
    behind = newest - claim.received_at
    log.warning("clock.behind", seconds=round(behind.total_seconds()), source=claim.source.partition(":")[0])
    return replace(claim, received_at=newest)
