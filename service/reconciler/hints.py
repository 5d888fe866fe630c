"""The rows of `hint`: what somebody says has happened, waiting to be looked into; each delivery once.

A hint names a record or a keyed hash of an address and carries nothing that is believed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, or_, select, update

from service.db import chunks, hint, member
from service.reconciler.port import Member
from service.reconciler.upsert import insert_into

LEASE = timedelta(seconds=60)
"""How long a worker may be silent before another one takes its hints."""
KEPT = timedelta(days=30)
"""How long the end of a hint is remembered, so that its replay adds nothing; a later one is read again."""
FIRST_PAUSE_S = 30.0
MOST_ATTEMPTS = 6
"""Campaigns may show late what its webhook told at once: asked again after 30 s, 1, 2, 4 and 8 minutes."""

NOTIFICATION, WORKFLOW = "notification", "workflow"
UNSUBSCRIBED, BOUNCE, SPAM = "unsubscribed", "bounce", "spam"
OF_CRM = (NOTIFICATION, WORKFLOW)
OF_CAMPAIGNS = (UNSUBSCRIBED, BOUNCE, SPAM)
OF_LISTS = (UNSUBSCRIBED, SPAM)
"""What the newest end of a list's unsubscribed bears out, for a call or two."""
LOOKED_FOR = timedelta(minutes=2)
"""How long after a hint its person is looked for there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One thing that was told; `digest` is the keyed hash that names the delivery."""

    digest: bytes
    kind: str
    module: str | None = None
    record_id: str | None = None
    address_index: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hint:
    """One hint that this worker has taken."""

    id: int
    kind: str
    module: str | None
    record_id: str | None
    address_index: bytes | None
    attempts: int
    received_at: datetime


def keep(tx: Connection, told: Sequence[Told], *, at: datetime) -> None:
    """Keep what was told; what was kept before stays as it is."""
    rows = [
        {
            "digest": one.digest,
            "kind": one.kind,
            "module": one.module,
            "record_id": one.record_id,
            "address_index": one.address_index,
            "received_at": at,
            "state": "open",
            "attempts": 0,
            "not_before": at,
        }
        for one in told
    ]
    if rows:
        tx.execute(insert_into(tx, hint).on_conflict_do_nothing(index_elements=["digest"]), rows)


def waiting(tx: Connection, kinds: Sequence[str], now: datetime) -> bool:
    """Return whether there is anything of these kinds to claim: a look that takes no lock."""
    mine = hint.c.kind.in_(kinds)
    return tx.execute(select(hint.c.id).where(_free(now), mine).limit(1)).first() is not None


def claim(tx: Connection, kinds: Sequence[str], *, worker: str, now: datetime, limit: int) -> list[Hint]:
    """Lease the oldest hints of these kinds that are due."""
    columns = ("id", "kind", "module", "record_id", "address_index", "attempts", "received_at")
    rows = tx.execute(
        select(*(hint.c[name] for name in columns))
        .where(_free(now), hint.c.kind.in_(kinds))
        .order_by(hint.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    taken = update(hint).values(claimed_by=worker, claimed_until=now + LEASE)
    for part in chunks([row.id for row in rows]):
        tx.execute(taken.where(hint.c.id.in_(part)))
    return [Hint(**{name: getattr(row, name) for name in columns}) for row in rows]


def finish(tx: Connection, ids: Sequence[int], *, at: datetime, state: str = "done") -> None:
    """Say that hints were looked into; whom they were about is not kept."""
    ended = {"state": state, "ended_at": at, "address_index": None, "claimed_by": None, "claimed_until": None}
    for part in chunks(ids):
        tx.execute(update(hint).where(hint.c.id.in_(part), hint.c.state == "open").values(**ended))


def postpone(tx: Connection, found: Iterable[Hint], *, now: datetime) -> None:
    """Look again later at what the product does not show yet; after the last attempt it stays unconfirmed."""
    for one in found:
        if one.attempts + 1 >= MOST_ATTEMPTS:
            finish(tx, [one.id], at=now, state="unconfirmed")
            continue
        later = {
            "attempts": one.attempts + 1,
            "not_before": now + timedelta(seconds=FIRST_PAUSE_S * 2.0**one.attempts),
            "claimed_by": None,
            "claimed_until": None,
        }
        tx.execute(update(hint).where(hint.c.id == one.id, hint.c.state == "open").values(**later))


def rest(tx: Connection, ids: Sequence[int], *, until: datetime) -> None:
    """Leave hints alone for now; that is no attempt."""
    later = {"not_before": until, "claimed_by": None, "claimed_until": None}
    for part in chunks(ids):
        tx.execute(update(hint).where(hint.c.id.in_(part), hint.c.state == "open").values(**later))


def left(tx: Connection, names: Sequence[str], *, now: datetime) -> dict[bytes, frozenset[str]]:
    """Return who is said to have left lately: on which lists of these `names` the mirror has them active."""
    active = and_(
        member.c.address_index == hint.c.address_index,
        member.c.list_name.in_(names),
        member.c.status == Member.ACTIVE.value,
    )
    told = (hint.c.state == "open", hint.c.kind.in_(OF_LISTS), hint.c.received_at > now - LOOKED_FOR)
    found: dict[bytes, set[str]] = {}
    for index, name in tx.execute(
        select(member.c.address_index, member.c.list_name).select_from(hint).join(member, active).where(*told)
    ):
        found.setdefault(index, set()).add(name)
    return {index: frozenset(lists) for index, lists in found.items()}


def release(tx: Connection, ids: Sequence[int]) -> None:
    """Give hints back as they were."""
    for part in chunks(ids):
        tx.execute(update(hint).where(hint.c.id.in_(part)).values(claimed_by=None, claimed_until=None))


def told_of(tx: Connection, targets: Sequence[tuple[str, str]], *, since: datetime) -> set[tuple[str, str]]:
    """Return of which of these records (module, id) a hint came since."""
    found: set[tuple[str, str]] = set()
    for part in chunks(targets):
        rows = tx.execute(
            select(hint.c.module, hint.c.record_id).where(
                hint.c.record_id.in_([record_id for _, record_id in part]), hint.c.received_at >= since
            )
        )
        found |= {(row.module, row.record_id) for row in rows}
    return found & set(targets)


def expects(tx: Connection, module: str, record_id: str) -> bool:
    """Return whether a hint of this record waits that nobody has taken yet: another one would add nothing."""
    same = and_(hint.c.module == module, hint.c.record_id == record_id)
    return bool(tx.scalar(select(exists().where(same, hint.c.state == "open", hint.c.claimed_by.is_(None)))))


def forget(tx: Connection, *, now: datetime) -> None:
    """Drop what ended long ago."""
    tx.execute(delete(hint).where(hint.c.state != "open", hint.c.ended_at < now - KEPT))


def _free(now: datetime) -> ColumnElement[bool]:
    unleased = or_(hint.c.claimed_until.is_(None), hint.c.claimed_until <= now)
    return and_(hint.c.state == "open", hint.c.not_before <= now, unleased)
