"""Each person with their rows: directory, wrapped key, and what their events add up to.

Findings name a person by the random number that entries name them by, never by an address.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, RowMapping, exists, func, select

from service.consent import Category, Event, SubjectId
from service.db import directory_next, happening, key_change, leaf, standing, subject, subject_key
from service.errors import Misconfigured, Tampered
from service.intake.journal import CONSENT
from service.intake.making import NOBODY
from service.intake.projection import events_of, standings
from service.ledger.entry import directory_key_value, directory_value
from service.ledger.index import read_line
from service.ledger.scrub import Count, Damage
from service.ledger.scrub.share import WHOLE, Share
from service.ledger.store import LOG_ID
from service.policy import PolicySet
from service.vault import Vault

STEP: Final = 500  # persons looked at together
_REPEATED: Final = ("reason", "suppressed", "decided_by", "decided_at", "suppressed_by", "valid_until")


@dataclass(frozen=True, slots=True, kw_only=True)
class Persons:
    """Looks at each person; `directory` is the directory key in use."""

    vault: Vault
    policy: PolicySet
    directory: bytes
    share: Share = WHOLE

    def look(self, tx: Connection, count: Count) -> Iterator[Damage]:
        """Yield what is damaged, missing or too much in subject, subject_key, standing and their events."""
        total = tx.execute(select(func.count()).select_from(subject)).scalar_one()
        where, done = subject.c.sub >= self.share.low, 0
        while people := self._next(tx, where):
            yield from self._people(tx, people)
            where, done = subject.c.sub > people[-1]["sub"], done + len(people)
            count(done, total)
        if self.share.ends:
            yield from _strangers(tx)

    def _next(self, tx: Connection, where: ColumnElement[bool]) -> Sequence[RowMapping]:
        rows = select(subject).where(where).order_by(subject.c.sub).limit(STEP)
        if self.share.high is not None:
            rows = rows.where(subject.c.sub < self.share.high)
        return tx.execute(rows).mappings().all()

    def _people(self, tx: Connection, people: Sequence[RowMapping]) -> Iterator[Damage]:
        subs = [SubjectId(person["sub"]) for person in people]
        events = events_of(tx, subs)
        rows = tx.execute(select(standing).where(standing.c.sub.in_(subs))).mappings()
        stored = {(row["sub"], row["purpose"]): row for row in rows}
        opened, addresses = _openings(tx, people), self._addresses(tx, subs)
        swapped = _swapped(tx)
        for person in people:
            sub = SubjectId(person["sub"])
            if why := self._directory(person, addresses.get(sub), opened.get(person["opened_idx"])):
                yield Damage(where=f"subject, {sub.hex()}", what=why)
            mine = events.get(sub, [])
            if person["opened_idx"] > swapped and not any(_opens(event, person) for event in mine):
                yield Damage(where=f"event, entry {person['opened_idx']}", what="missing")
            yield from self._standing(sub, mine, stored)

    def _addresses(self, tx: Connection, subs: Sequence[SubjectId]) -> dict[bytes, str]:
        """Return the addresses of these persons, those left out that do not open; finds them by halves."""
        try:
            return self.vault.addresses_of(tx, subs)
        except (Tampered, Misconfigured, UnicodeDecodeError):
            if len(subs) == 1:
                return {}
            half = len(subs) // 2
            return self._addresses(tx, subs[:half]) | self._addresses(tx, subs[half:])

    def _directory(
        self, person: RowMapping, address: str | None, opened: tuple[bytes, bytes] | None
    ) -> str | None:
        """Return what is wrong with a person's row in the directory or their key, None if nothing is."""
        if address is None:
            return "the key is missing, or it does not open the sealed address"
        if self.vault.address_index(address) != person["address_index"]:
            return "address_index is not that of the sealed address"
        if directory_key_value(self.directory, address, person["version"]) != person["dk"]:
            return "dk is not that of the sealed address"
        if opened != (person["dk"], directory_value(person["r"], person["sub"])):
            return f"entry {person['opened_idx']} does not open this person"
        return None

    def _standing(
        self, sub: SubjectId, events: Sequence[Event], stored: Mapping[tuple[bytes, str], RowMapping]
    ) -> Iterator[Damage]:
        """Yield whether what is stored is what the events add up to, under the policies in force."""
        said = [event for event in events if event.category in CONSENT]
        if not said:
            return
        until = [event for event in events if event.index <= said[-1].index]
        moments = {max(event.recorded_at for event in part) for part in (events, until)}
        folded = [standings(events, self.policy, at) for at in sorted(moments)]
        for alternatives in zip(*folded, strict=True):
            where = f"standing, {sub.hex()}, {alternatives[0].purpose}"
            row = stored.get((sub, alternatives[0].purpose))
            if row is None:
                yield Damage(where=where, what="missing")
            elif row["policy"] in (None, self.policy.digest) and not any(
                _same(row, one) for one in alternatives
            ):
                yield Damage(where=where, what="not what the person's events add up to")


def _same(row: RowMapping, found: Any) -> bool:  # noqa: ANN401  # a Standing, read by the names of its row
    states = (row["state"], bool(row["must_stop"])) == (found.state.value, found.must_stop)
    return states and all(row[name] == getattr(found, name) for name in _REPEATED)


def _opens(event: Event, person: RowMapping) -> bool:
    return event.index == person["opened_idx"] and event.category is Category.SUBJECT_OPENED


def _openings(tx: Connection, people: Sequence[RowMapping]) -> dict[int, tuple[bytes, bytes] | None]:
    """Return dk and dv in the entries that opened these persons."""
    found: dict[int, tuple[bytes, bytes] | None] = {}
    indexes = [person["opened_idx"] for person in people]
    rows = tx.execute(
        select(leaf.c.idx, leaf.c.entry).where(leaf.c.log_id == LOG_ID, leaf.c.idx.in_(indexes))
    )
    for index, data in rows:
        try:
            found[index] = read_line(data)[1]
        except Tampered:
            found[index] = None
    return found


def _swapped(tx: Connection) -> int:
    """Return up to where the directory was announced anew: openings there have no event rows any more."""
    last = select(func.max(key_change.c.idx)).where(key_change.c.kind == "directory")
    waiting = tx.scalar(select(func.max(directory_next.c.opened_idx)))
    return max(tx.scalar(last) or -1, waiting or -1)


def _strangers(tx: Connection) -> Iterator[Damage]:
    """Yield rows about persons whom the directory does not know."""
    for table in (subject_key, happening, standing):
        known = exists().where(subject.c.sub == table.c.sub)
        rows = select(table.c.sub).where(~known, table.c.sub != NOBODY).distinct().limit(STEP)
        for sub in tx.scalars(rows):
            yield Damage(where=f"{table.name}, {sub.hex()}", what="the directory does not know this person")
