"""The walls around the ledger's tables: that what refuses changes still stands, and the file is whole."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, text

from service.db import LEDGER_TABLES
from service.ledger.scrub import Count, Damage
from service.ledger.scrub.share import WHOLE, Share

_CHECKS: Final = {"leaf": "ck_leaf_hash", "dedupe": "ck_dedupe_digest"}
_DOWN: Final = "the wall is down: rows could be changed meanwhile; migrate a fresh database and compare"
_TRIGGERS = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
_ALWAYS = text(
    "SELECT tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid "
    "WHERE relnamespace = current_schema()::regnamespace AND tgenabled = 'A'"
)
_VALID = text(
    "SELECT conname FROM pg_constraint WHERE connamespace = current_schema()::regnamespace AND convalidated"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Walls:
    """Looks at triggers and constraints; with the end of the `share` also at SQLite's file as a whole."""

    share: Share = WHOLE

    def look(self, tx: Connection, count: Count) -> Iterator[Damage]:
        """Yield which walls are down; on SQLite also what the file's own check says."""
        count(0, 0)
        if tx.dialect.name != "sqlite":
            yield from _postgresql(tx)
            return
        if self.share.ends:
            yield from _file(tx)
        yield from _sqlite(tx)


def _file(tx: Connection) -> Iterator[Damage]:
    for said in tx.exec_driver_sql("PRAGMA integrity_check(20)").scalars():
        if said != "ok":
            yield Damage(where="the database file", what=said)


def _sqlite(tx: Connection) -> Iterator[Damage]:
    names = set(tx.exec_driver_sql(_TRIGGERS).scalars())
    expected = {f"{table}_no_{verb}" for table in (*LEDGER_TABLES, "event") for verb in ("update", "delete")}
    for name in sorted((expected | {"log_state_no_rewind", "checkpoint_continues"}) - names):
        yield Damage(where=f"trigger {name}", what=_DOWN)


def _postgresql(tx: Connection) -> Iterator[Damage]:
    names = set(tx.scalars(_ALWAYS))
    expected = {
        f"{table}_no_{verb}" for table in (*LEDGER_TABLES, "event") for verb in ("change", "truncate")
    }
    for name in sorted((expected | {"log_state_no_rewind", "checkpoint_continues"}) - names):
        yield Damage(where=f"trigger {name}", what=_DOWN)
    for name in sorted(set(_CHECKS.values()) - set(tx.scalars(_VALID))):
        yield Damage(where=f"constraint {name}", what=_DOWN)
