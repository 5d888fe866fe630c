"""kill -9 in the middle of a migration: the next one finishes it, and the log is what it was."""

import os
import signal
from contextlib import closing

import pytest
from sqlalchemy import Engine, event

from service.db import Database, migrate, require_current
from service.ledger.merkle import Edge
from service.ledger.scrub import Part, scrub
from service.ledger.scrub.tree import Tree
from service.ledger.store import Store
from tests.ledger.exporting import VERIFIERS, sequential
from tests.running import ORIGIN, keys
from tests.test_migrations import upgrade

POINTS = 8
"""How many moments are tried, spread over the statements of all migrations after the first."""


@pytest.fixture(params=["sqlite", "postgresql"])
def old_url(request, tmp_path):
    """The URL of a database of the first schema, with a log in it."""
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    if request.param == "postgresql":
        url = request.getfixturevalue("empty_postgresql_url")
    upgrade(url, "0001")
    store = Store(ORIGIN, keys().log)
    with closing(Database(url)) as database, database.begin() as tx:
        store.begin(tx)
        store.append(tx, Edge(), sequential(300))
    return url


def migrate_until(url: str, statements: int) -> int:
    """Migrate in a process of its own, which is killed before its so manieth statement; return its status."""
    if (child := os.fork()) == 0:
        seen = [0]

        def count(*_: object) -> None:
            seen[0] += 1
            if seen[0] == statements:
                os.kill(os.getpid(), signal.SIGKILL)

        event.listen(Engine, "before_cursor_execute", count)
        try:
            migrate(url)
        finally:
            os._exit(0 if seen[0] < statements else 1)
    return os.waitpid(child, 0)[1]


def test_a_migration_that_is_killed_anywhere_is_finished_by_the_next(old_url, figures):
    killed, statements = 0, 3
    while os.WIFSIGNALED(migrate_until(old_url, statements)):
        killed += 1
        statements += max(1, 120 // POINTS)
    migrate(old_url)
    with closing(Database(old_url)) as database:
        require_current(database)
        tree = Tree(store=Store(ORIGIN), heads=VERIFIERS, ingest=[keys().ingest.verifier])
        assert list(scrub(database, [Part(name="log", look=tree.look)], lambda *_: None)) == []
        with database.read() as tx:
            assert Store(ORIGIN).size(tx) == 300
    assert killed >= 3
    figures(f"kill -9 inside the migrations ({database.dialect})", kill_points=killed, entries=300, changed=0)
