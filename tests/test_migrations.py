"""Newer schemas reach databases that are in use: with rows in them, on both stores."""

from contextlib import closing
from datetime import UTC, datetime

import pytest
from alembic import command
from alembic.config import Config

from service.db import MIGRATIONS, Database, metadata, migrate, require_current
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


MIRRORS = ("crm_record", "crm_address", "contact", "member")


def test_mirrors_keep_their_rows_and_indexes_when_they_are_put_in_the_order_of_their_keys(tmp_path):
    url = f"sqlite:///{tmp_path / 'ledger.db'}"
    upgrade(url, "0023")
    moment, index, sealed = 1_795_406_400_000, b"\xab" * 32, b"sealed"
    rows = {
        "crm_record": {"module": "Leads", "record_id": "7", "opted_out": 1, "modified_at": moment}
        | {"jurisdiction": "DE", "views": "", "seen_run": 1, "created_at": moment},
        "crm_address": {"module": "Leads", "record_id": "7", "address_index": index, "address": sealed},
        "contact": {"address_index": index, "address": sealed, "since": moment, "seen_run": 1},
        "member": {
            "list_name": "news",
            "address_index": index,
            "status": "active",
            "since": moment,
            "seen_run": 1,
        },
    }
    with closing(Database(url)) as database, database.begin() as tx:
        for table, row in rows.items():
            marks = ", ".join("?" * len(row))
            tx.exec_driver_sql(
                f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values())
            )
        before = [tx.exec_driver_sql(f"SELECT * FROM {table}").all() for table in MIRRORS]
    migrate(url)
    with closing(Database(url)) as database, database.read() as tx:
        assert [tx.exec_driver_sql(f"SELECT * FROM {table}").all() for table in MIRRORS] == before
        for table in MIRRORS:
            named = "SELECT name, sql FROM sqlite_master WHERE tbl_name = ?"
            stands = dict(tx.exec_driver_sql(named, (table,)).all())
            assert stands[table].endswith("WITHOUT ROWID")
            assert {index.name for index in metadata.tables[table].indexes} <= stands.keys()
