"""Bring a database to the newest schema, or refuse one that is not there."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from service.db.engine import Database, parse_url
from service.db.ledger import leaf
from service.errors import Misconfigured

MIGRATIONS = Path(__file__).resolve().parent.parent.parent / "migrations"


def migrate(url: str) -> None:
    """Bring the database to the newest schema; safe to run twice."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = url
    with _alone(url):
        command.upgrade(config, "head")


@contextmanager
def _alone(url: str) -> Iterator[None]:
    """Keep other processes of this machine from migrating the same SQLite file at the same time.

    Two services that start together on a new folder would else meet in the middle of it.
    """
    path = parse_url(url).database
    if not url.startswith("sqlite") or not path or path == ":memory:":
        yield
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder = os.open(Path(path).parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def exists(url: str) -> bool:
    """Return whether this is a SQLite file that holds something already."""
    path = Path(parse_url(url).database or "")
    return url.startswith("sqlite") and path.is_file() and path.stat().st_size > 0


def begun(url: str) -> bool:
    """Return whether entries stand in this database; an unreadable SQLite file is taken to hold some."""
    if url.startswith("sqlite") and not exists(url):
        return False  # looking would make the file
    with closing(Database(url)) as database:
        try:
            with database.read() as tx:
                return tx.scalar(select(leaf.c.idx).limit(1)) is not None
        except DBAPIError:
            return exists(url)


def require_current(database: Database) -> None:
    """Raise `Misconfigured` unless the database has the newest schema."""
    newest = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    with database.read() as tx:
        found = MigrationContext.configure(tx).get_current_revision()
    if found != newest:
        raise Misconfigured(
            f"the database has schema {found}, this version needs {newest}; "
            "run `consent-ledger migrate` as its owner"
        )
