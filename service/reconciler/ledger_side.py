"""The ledger's side of the comparison: each person's standing, what decided it, and what we did about it.

Pure SQL over the standing projection and the events; nothing is judged here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Subquery,
    and_,
    case,
    func,
    literal,
    select,
    true,
    type_coerce,
)

from service.consent import Category, Provenance, State
from service.db import Moment, happening, standing, subject
from service.ledger.store import LOG_ID
from service.reconciler.enforcement import PERMITS

CLOCKS_DIFFER = timedelta(minutes=10)
"""A sighting so soon after our own write is the trace of that write, whatever the vendor's clock says."""

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
"""How exactly CRM and Campaigns tell times: a later moment of the same second, or minute, is possible."""


LAST = 255
"""The last byte that a keyed hash can begin with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """All addresses whose keyed hash begins with a byte of `first` to `last`, both included."""

    first: int
    last: int
    gathered: bool = False
    """Whether rows are grouped by hashing rather than joined: as the store likes it, to the same end."""


Only: TypeAlias = Sequence[bytes] | Slice | None
"""Which addresses are looked at: these, a slice of them all, or all."""


def known(purpose: str, now: datetime, only: Only) -> Subquery:
    """Return the ledger's side: standing for the purpose, the live grant that decided, our last write."""
    deciding, told = happening.alias("deciding"), _told(only)
    ran_out = and_(
        standing.c.state == State.PERMITTED.value, standing.c.valid_until <= literal(now, Moment())
    )
    state = case((ran_out, State.EXPIRED.value), else_=func.coalesce(standing.c.state, State.UNKNOWN.value))
    live = and_(state == State.PERMITTED.value, deciding.c.provenance == Provenance.LIVE.value)
    granted_at = case((live, standing.c.decided_at))
    return (
        select(
            subject.c.address_index,
            subject.c.sub,
            state.label("state"),
            standing.c.must_stop,
            standing.c.suppressed,
            standing.c.decided_at,
            granted_at.label("granted_at"),
            _shifted(granted_at, -SECOND).label("granted_second"),
            _shifted(granted_at, -MINUTE).label("granted_minute"),
            told.c.withdrawn_at,
            told.c.hard_recorded_at,
            told.c.ours_until,
        )
        .select_from(subject)
        .outerjoin(standing, and_(standing.c.sub == subject.c.sub, standing.c.purpose == purpose))
        .outerjoin(deciding, and_(deciding.c.log_id == LOG_ID, deciding.c.idx == standing.c.decided_by))
        .outerjoin(told, told.c.sub == subject.c.sub)
        .where(among(subject.c.address_index, only))
        .subquery("known")
    )


def _told(only: Only) -> Subquery:
    """Return each person's last withdrawal (its time), and last hard bounce and write of ours (recorded)."""
    kinds = (Category.WITHDRAWN, Category.BOUNCE_HARD, Category.ENFORCEMENT)
    # To look up whose each event is costs more than a slice saves.
    theirs = (
        true()
        if only is None or isinstance(only, Slice)
        else happening.c.sub.in_(select(subject.c.sub).where(among(subject.c.address_index, only)))
    )
    # What lets somebody be mailed again explains no later opt-out.
    counts = happening.c.source != PERMITS

    def last(category: Category, column: ColumnElement[Any]) -> ColumnElement[Any]:
        return func.max(case((happening.c.category == category.value, column)))

    return (
        select(
            happening.c.sub,
            last(Category.WITHDRAWN, happening.c.occurred_at).label("withdrawn_at"),
            last(Category.BOUNCE_HARD, happening.c.recorded_at).label("hard_recorded_at"),
            _shifted(last(Category.ENFORCEMENT, happening.c.recorded_at), CLOCKS_DIFFER).label("ours_until"),
        )
        .where(happening.c.category.in_([kind.value for kind in kinds]), counts, theirs)
        .group_by(happening.c.sub)
        .subquery("told")
    )


def _shifted(moment: ColumnElement[Any], by: timedelta) -> ColumnElement[Any]:
    milliseconds = type_coerce(moment, BigInteger) + by // timedelta(milliseconds=1)
    return type_coerce(milliseconds, Moment())


def among(index: ColumnElement[bytes], only: Only) -> ColumnElement[bool]:
    """Return whether an address is one of these, where not all are meant."""
    if only is None:
        return true()
    if not isinstance(only, Slice):
        return index.in_(only)
    begins = index >= bytes([only.first]) if only.first else true()
    return and_(begins, index < bytes([only.last + 1]) if only.last < LAST else true())
