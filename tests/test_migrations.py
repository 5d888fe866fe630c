"""Newer schemas reach databases that are in use: with rows in them, on both stores."""

from contextlib import closing
from datetime import UTC, datetime

import pytest
from alembic import command
from alembic.config import Config

from service.db import MIGRATIONS, Database, migrate, require_current
from service.errors import Misconfigured
from service.ledger.merkle import Edge
from service.ledger.publication import Publisher, latest
from service.ledger.store import Store
from tests.running import ORIGIN, keys


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request, tmp_path):
    """The URL of a database without any table."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'ledger.db'}"
    return request.getfixturevalue("empty_postgresql_url")


def upgrade(url, revision):
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["url"] = url
    command.upgrade(config, revision)


def test_a_log_that_is_older_than_published_checkpoints_is_migrated_and_published(empty_url):
    upgrade(empty_url, "0001")
    store = Store(ORIGIN, keys().log)
    with closing(Database(empty_url)) as database:
        with pytest.raises(Misconfigured, match="consent-ledger migrate"):
            require_current(database)
        with database.begin() as tx:
            store.begin(tx)
            store.append(tx, Edge(), [b"entry %d" % n for n in range(300)])
    migrate(empty_url)
    with closing(Database(empty_url)) as database:
        require_current(database)
        made = Publisher(database, store, keys().log, keys().log_pq, lambda: datetime.now(UTC)).publish()
        with database.read() as tx:
            assert latest(tx).size == made.size == store.size(tx) == 300
