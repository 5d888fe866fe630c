"""Every way in which mail can reach somebody, by the products' own tables: runs close, never open them."""

import sqlite3
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock

from sqlalchemy import select

from service.consent import Category
from service.db import standing, subject
from service.zoho.simulator.crm.fields import MODULES
from tests.reconciler.conftest import World

IN_CRM = {
    module: f"SELECT id FROM crm_{module} WHERE NOT coalesce(Email_Opt_Out, 0)"  # module is a constant
    for module in MODULES
}
IN_CAMPAIGNS = {
    "on a list": "SELECT l.name || ' ' || c.email FROM members m JOIN lists l ON l.id = m.list_id"
    " JOIN contacts c ON c.id = m.contact_id WHERE m.status IN ('active', 'awaiting')",
    "off Do-Not-Mail": "SELECT email FROM contacts WHERE dnm IS NULL",
    "not bounced": "SELECT email FROM contacts WHERE NOT hard_bounced",
    "granted": "SELECT email FROM contacts WHERE permission = 'Granted'",
}

Door = tuple[str, object]


def opened(db: sqlite3.Connection) -> frozenset[Door]:
    """What of both products lets mail through now: records, memberships, contacts."""
    found = [
        (name, row[0]) for name, query in {**IN_CRM, **IN_CAMPAIGNS}.items() for row in db.execute(query)
    ]
    return frozenset(found)


@dataclass(slots=True)
class Doors:
    """Called at each step of a run; fails at the first one that opened what was closed before."""

    db: sqlite3.Connection
    last: frozenset[Door] = field(init=False)
    mutex: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        self.last = opened(self.db)

    def __call__(self, *_step: object) -> None:
        with self.mutex:
            now = opened(self.db)
            widened = now - self.last
            assert not widened, f"opened by a run: {sorted(map(str, widened))}"
            self.last = now

    def somebody_else(self) -> None:
        """Take things as they are now: a person changed them, not we."""
        self.last = opened(self.db)


@dataclass(slots=True)
class Shown:
    """What both products say about one address together."""

    opens: list[str] = field(default_factory=list)
    stops: list[str] = field(default_factory=list)

    def add(self, where: str, *, stop: bool) -> None:
        (self.stops if stop else self.opens).append(where)


def disagreements(made: World, db: sqlite3.Connection) -> Mapping[str, str]:
    """Who is let mail although the ledger says stop, or stopped although it does not; empty is agreement."""
    must_stop, vault = _must_stop(made), made.intake.vault
    wrong = {}
    for email, shown in _shown(db).items():
        if vault.address_index(email) in must_stop:
            if shown.opens:
                wrong[email] = f"to be stopped, but open: {shown.opens}"
        elif shown.stops:
            wrong[email] = f"not to be stopped, but: {shown.stops}"
    return wrong


def twice_enforced(made) -> list[str]:
    """What the ledger says was enforced more than once for the same person by the same run."""
    told = Counter(
        (who, fields.get("target"))
        for category, who, fields in made.ledger()
        if category == Category.ENFORCEMENT and fields.get("read_back") == "confirmed"
    )
    return [str(key) for key, count in told.items() if count > 1]


def _must_stop(made: World) -> set[bytes]:
    with made.db.read() as tx:
        return set(
            tx.scalars(
                select(subject.c.address_index)
                .join(standing, standing.c.sub == subject.c.sub)
                .where(standing.c.must_stop == 1)
            )
        )


def _shown(db: sqlite3.Connection) -> Mapping[str, Shown]:
    found: dict[str, Shown] = {}
    for module in MODULES:
        rows = db.execute(f"SELECT Email, Secondary_Email, Email_Opt_Out FROM crm_{module}")
        for first, second, out in rows:
            for email in filter(None, (first, second)):
                found.setdefault(email.lower(), Shown()).add(module, stop=bool(out))
    for email, dnm, bounced, permission, status in db.execute(
        "SELECT c.email, c.dnm, c.hard_bounced, c.permission, m.status"
        " FROM contacts c LEFT JOIN members m ON m.contact_id = c.id"
    ):
        shown = found.setdefault(email.lower(), Shown())
        if dnm or bounced or status in ("unsub", "bounce") or permission == "Refused":
            shown.add("Campaigns", stop=True)
        if status == "active" and not dnm and not bounced:
            shown.add("the list", stop=False)
    return found
