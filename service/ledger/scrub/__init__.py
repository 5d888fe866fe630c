"""Look at every stored row again and name what is not as it was written.

Reads only, in parts that each see one consistent state, beside running services. What the log signed is
the measure: hashes are made again from entries, nodes from hashes, and all must lead to the signed head.
A row that leads elsewhere is named by its table and its place, never by what it says about a person.
Memory does not grow with the log.
"""

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final, TypeAlias

from psycopg import errors as postgresql
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from service.db import Database
from service.errors import Tampered

MOST: Final = 100  # findings of one part; more of them say nothing new
UNREADABLE: Final = (
    "cannot be read: the database's own checks refuse the pages it stands on; restore it from a backup "
    "that passes this command"
)

Progress: TypeAlias = Callable[[str, int, int], None]
"""Told the name of a part, rows looked at, and rows in all (0 where that is not known)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """One place that is not as it was written, and how that is known."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


Count: TypeAlias = Callable[[int, int], None]
Look: TypeAlias = Callable[[Connection, Count], Iterable[Damage]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of the inspection: its name, and what looks at it in a reading transaction."""

    name: str
    look: Look


def scrub(db: Database, parts: Iterable[Part], progress: Progress) -> Iterator[Damage]:
    """Yield what is damaged, part after part; nothing where all is as it was written.

    A part that cannot even be read is a finding, and the next one is looked at all the same.
    """
    for part in parts:

        def count(done: int, total: int, name: str = part.name) -> None:
            progress(name, done, total)

        count(0, 0)
        try:
            with db.read() as tx:
                yield from islice(part.look(tx, count), MOST)
        except Tampered as error:  # here a row that contradicts itself is the answer, not the end
            yield Damage(where=part.name, what=str(error))
        except (DBAPIError, sqlite3.DatabaseError, postgresql.DatabaseError) as error:
            if not _unreadable(error):
                raise
            yield Damage(where=part.name, what=UNREADABLE)


def _unreadable(error: DBAPIError | sqlite3.DatabaseError | postgresql.DatabaseError) -> bool:
    """Tell whether the store says that its own pages are damaged."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.DatabaseError):
        return cause.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    return isinstance(cause, (postgresql.DataCorrupted, postgresql.IndexCorrupted))
