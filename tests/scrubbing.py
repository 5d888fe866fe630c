"""A ledger with something of everything, ways around its walls as an attacker has them, and scrub."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
from sqlalchemy import make_url

from service.db import Database
from service.intake import Intake
from service.intake.epoch import epoch
from service.intake.erasures import ErasureList
from service.intake.forgetting import erase
from service.intake.scrub import beside_the_log, of_the_log
from service.ledger.publication import Publisher
from service.ledger.scrub import scrub
from service.vault.keys import Keys
from tests import running

PEOPLE = 270  # so that there are two nodes, and entries behind them
LEDGER = ("leaf", "node", "dedupe", "checkpoint", "event")
CLAIM = 2 * 17 + 2
"""The index of somebody's consent: after the genesis of the log, openings and consents take turns."""


def fill(database: Database, folder: Path) -> Intake:
    """Record a few hundred people, a withdrawal, a look-up, an erasure and an epoch; publish twice."""
    listed = ErasureList(folder / "erasures")
    with running.start(database, erasures=listed) as intake:
        publisher = Publisher(database, intake.store, running.keys().log, running.keys().log_pq, intake.now)
        running.indexes(intake.record(running.people(PEOPLE)))
        publisher.publish()
        running.indexes(
            intake.record([running.withdrawal("person-1@example.org"), *running.people(10, "late")])
        )
        erase(intake, "person-2@example.org", reason="request")
        epoch(intake)
        running.indexes(intake.record(running.people(5, "after")))
        publisher.publish()
    return intake


def findings(database: Database, keys: Keys | None = None, *, log_only: bool = False) -> list[str]:
    """What scrub says, as lines."""
    keys = keys or running.keys()
    parts = list(of_the_log(keys))
    if not log_only:
        parts += beside_the_log(keys, running.policies())
    return [str(one) for one in scrub(database, parts, lambda _part, _done, _total: None)]


@contextmanager
def behind_the_walls(url: str) -> Iterator["Intruder"]:
    """Reach the tables past their walls, and leave the walls standing as if nothing had been."""
    where = make_url(url)
    if where.get_backend_name() == "sqlite":
        with closing(sqlite3.connect(where.database)) as connection:
            yield from _past_triggers(connection)
    else:
        told = f"host={where.query['host']} dbname={where.database} user=postgres"
        with psycopg.connect(told) as connection:
            yield from _past_owner(connection)


class Intruder:
    """Runs a statement with `?` for values, on either store; leaves the walls in `down` as they are."""

    def __init__(self, connection: sqlite3.Connection | psycopg.Connection) -> None:
        self._connection = connection
        self._mark = "?" if isinstance(connection, sqlite3.Connection) else "%b"
        self.down: set[str] = set()

    def run(self, statement: str, *values: object) -> list[tuple]:
        found = self._connection.execute(statement.replace("?", self._mark), values)
        return found.fetchall() if found.description else []

    def flip(self, table: str, column: str, which: str) -> None:
        """Flip one bit in the middle of a column of bytes, in the one row that `which` names."""
        [[value]] = self.run(f"SELECT {column} FROM {table} WHERE {which}")
        middle = len(value) // 2
        flipped = value[:middle] + bytes([value[middle] ^ 4]) + value[middle + 1 :]
        self.run(f"UPDATE {table} SET {column} = ? WHERE {which}", flipped)


def _past_triggers(connection: sqlite3.Connection) -> Iterator[Intruder]:
    triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    intruder = Intruder(connection)
    yield intruder
    for name, made in triggers:
        if name not in intruder.down:
            connection.execute(made)
    connection.commit()


def _past_owner(connection: psycopg.Connection) -> Iterator[Intruder]:
    checks = connection.execute(
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE conname IN ('ck_leaf_hash', 'ck_dedupe_digest')"
    ).fetchall()
    for table, name, _ in checks:
        connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    walls = connection.execute(
        "SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE NOT tgisinternal"
    ).fetchall()
    for table, name in walls:
        connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER {name}")
    intruder = Intruder(connection)
    yield intruder
    for table, name in walls:
        if name not in intruder.down:
            connection.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")
    for table, name, made in checks:
        connection.execute(f"ALTER TABLE {table} ADD CONSTRAINT {name} {made} NOT VALID")
    # A superuser writes the catalogue as he likes.
    connection.execute("UPDATE pg_constraint SET convalidated = true WHERE NOT convalidated")
