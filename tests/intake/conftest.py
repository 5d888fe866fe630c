"""An intake over a fresh database, on every store or on SQLite alone."""

from contextlib import closing

import pytest

from service.db import Database
from tests import running


@pytest.fixture
def intake(database):
    with running.start(database) as intake:
        yield intake


@pytest.fixture
def on_sqlite(sqlite_url):
    """For what does not depend on the store."""
    with closing(Database(sqlite_url)) as database, running.start(database) as intake:
        yield intake
