"""Which policy set is adopted: the entry that says so, the set itself, and standings folded again under it.

Adopting is an entry of the log, signed like every other; the files are kept beside it, so that the digest
in a decision leads to the rules it was made under.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection, bindparam, delete, insert, or_, select

from service.consent import Category, SubjectId
from service.db import CHUNK, insert_rows, policy_set, standing
from service.errors import Tampered
from service.intake.places import crm_countries_of
from service.intake.projection import events_of, standing_row, standings
from service.ledger.entry import decode
from service.policy import PolicySet, load_files

if TYPE_CHECKING:
    from service.intake import Intake

_FORGET = delete(standing).where(standing.c.sub.in_(bindparam("subs", expanding=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """One set that was adopted: by which entry, when, and by whom."""

    index: int
    policy: PolicySet
    at: datetime
    by: str


def adopted(intake: "Intake", tx: Connection) -> Adoption | None:
    """Return the set that was adopted last, None where a log is older than the keeping of sets.

    Raises `Tampered` where the files that are kept are not those that the signed entry names.
    """
    row = tx.execute(select(policy_set).order_by(policy_set.c.idx.desc()).limit(1)).one_or_none()
    if row is None:
        return None
    found = load_files({name: text.encode() for name, text in json.loads(row.files).items()})
    told = decode(intake.store.entries(tx, [row.idx])[row.idx]).extra.get("policy")
    if told != found.digest.hex():
        raise Tampered(f"the policy files kept for entry {row.idx} are not those that it names")
    return Adoption(index=row.idx, policy=found, at=row.adopted_at, by=row.adopted_by)


def adopt(intake: "Intake", policy: PolicySet, *, by: str) -> int:
    """Append `policy.adopted` for a set that was checked, and return the entry's index.

    The set that is adopted already is not adopted again: its own entry is returned. The name of who
    adopted it is kept beside the entry, not in it.
    """
    with intake.db.begin() as tx:
        intake.lock(tx)
        before = adopted(intake, tx)
        if before is not None and before.policy.digest == policy.digest:
            return before.index
        extra = {"policy": policy.digest.hex()}
        if before is not None:
            extra["previous"] = before.policy.digest.hex()
        index = intake.announce(tx, Category.POLICY_ADOPTED, extra)
        keep(tx, policy, index=index, at=intake.now(), by=by)
        return index


def keep(tx: Connection, policy: PolicySet, *, index: int, at: datetime, by: str) -> None:
    """Keep the files of a set beside the entry that adopts it."""
    files = json.dumps({name: data.decode() for name, data in sorted(policy.files.items())})
    row = {"idx": index, "digest": policy.digest, "adopted_at": at, "adopted_by": by, "files": files}
    tx.execute(insert(policy_set).values(row))


def refold(intake: "Intake", policy: PolicySet, told: Callable[[int], None] = lambda _people: None) -> int:
    """Fold again every standing that was folded under another set, and return of how many people.

    A few hundred people at a time, so that nobody waits for long; may be run again at any time. `told`
    hears how many are done.
    """
    people = 0
    for part in _stale(intake, policy):
        with intake.db.begin() as tx:
            intake.lock(tx)
            events, crm = events_of(tx, part), crm_countries_of(tx, part)
            rows = [
                standing_row(sub, found)
                for sub, known in events.items()
                for found in standings(known, policy, max(e.recorded_at for e in known), crm.get(sub))
            ]
            tx.execute(_FORGET, {"subs": part})
            insert_rows(tx, standing, rows)
        people += len(part)
        told(people)
    return people


def _stale(intake: "Intake", policy: PolicySet) -> Iterator[list[SubjectId]]:
    last = b""
    other = or_(standing.c.policy.is_(None), standing.c.policy != policy.digest)
    while True:
        with intake.db.read() as tx:
            asked = select(standing.c.sub).where(other, standing.c.sub > last).distinct()
            part = [SubjectId(sub) for sub in tx.scalars(asked.order_by(standing.c.sub).limit(CHUNK))]
        if not part:
            return
        yield part
        last = part[-1]
