"""The fixtures themselves: what every other test stands on."""

import psycopg
import pytest
from sqlalchemy import inspect, text

from service.db import engine_from_url, metadata

SEEN = pytest.StashKey[set[str]]()


def test_a_fresh_database_has_every_table_of_the_service(engine):
    assert set(metadata.tables) <= set(inspect(engine).get_table_names())


def test_two_tests_never_share_a_database(database_url, request):
    seen = request.config.stash.setdefault(SEEN, set())
    assert database_url not in seen
    seen.add(database_url)


def test_the_service_owns_its_tables_without_being_superuser(postgresql_url):
    engine = engine_from_url(postgresql_url)
    with engine.begin() as tx:
        assert tx.scalar(text("SELECT current_setting('is_superuser')")) == "off"
    engine.dispose()


def test_a_killed_server_comes_back_with_what_was_committed(durable_postgres):
    with psycopg.connect(durable_postgres.conninfo("ledger"), autocommit=True) as connection:
        assert connection.execute("SHOW fsync").fetchone() == ("on",)
        connection.execute("CREATE TABLE kept (n int)")
        connection.execute("INSERT INTO kept VALUES (1)")
        durable_postgres.kill()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    durable_postgres.start()
    with psycopg.connect(durable_postgres.conninfo("ledger")) as connection:
        assert connection.execute("SELECT n FROM kept").fetchall() == [(1,)]


def test_a_server_listens_on_no_network_address(postgresql_url):
    engine = engine_from_url(postgresql_url)
    with engine.begin() as tx:
        assert tx.scalar(text("SHOW listen_addresses")) == ""
    engine.dispose()
