"""Restoring yesterday's backup must never sign a second history (reliability.md, R09)."""

import shutil
import time
from contextlib import closing, contextmanager

import pytest

from service.db import Database, migrate
from service.errors import Misconfigured, ReadOnly
from service.ledger.fence import Fence
from service.ledger.merkle import consistency_proof, verify_consistency
from service.ledger.proof import open_checkpoint
from tests.running import checked, keys, people, start
from tests.waiting import until


class SqliteBackup:
    """A copy of the file, as `cp` makes it of a stopped service."""

    def __init__(self, url, folder):
        self._file, self._copy = url.removeprefix("sqlite:///"), folder / "yesterday.db"

    def make(self):
        shutil.copyfile(self._file, self._copy)

    def restore(self):
        shutil.copyfile(self._copy, self._file)


class PostgresBackup:
    """A copy of the database, swapped in under its name."""

    def __init__(self, url, server):
        self._name, self._server = url.partition("@/")[2].partition("?")[0], server

    def make(self):
        self._server.create_database(f"{self._name}_copy", self._name)

    def restore(self):
        self._server.drop_database(self._name)
        self._server.create_database(self._name, f"{self._name}_copy")
        self._server.drop_database(f"{self._name}_copy")


@pytest.fixture
def backup(request, database_url, tmp_path):
    if database_url.startswith("sqlite"):
        return SqliteBackup(database_url, tmp_path)
    return PostgresBackup(
        database_url, request.getfixturevalue("postgres")(request.node.callspec.params["database_url"])
    )


@pytest.fixture
def fence(tmp_path):
    return Fence(tmp_path / "elsewhere" / "fence", keys().log.verifier)


@contextmanager
def running(url, fence):
    with closing(Database(url)) as db, start(db, fence=fence) as intake:
        yield intake


def head(intake):
    with intake.db.read() as tx:
        return open_checkpoint(intake.store.head(tx), [keys().log.verifier])


def record(intake, number, prefix):
    for found in intake.record(people(number, prefix)):
        checked(found)


def test_a_restored_backup_is_read_and_never_appended_to(database_url, backup, fence, figures):
    with running(database_url, fence) as intake:
        record(intake, 5, "before")
    backup.make()
    with running(database_url, fence) as intake:
        record(intake, 5, "lost")
        newest = head(intake)
    backup.restore()
    began = time.monotonic()
    with running(database_url, fence) as intake:
        noticed_s = round(time.monotonic() - began, 3)
        assert intake.trouble is not None
        restored = head(intake)
        assert restored.size < newest.size
        assert f"the fence knows {newest.size}" in intake.trouble
        assert not intake.healthy
        (refused,) = intake.record(people(1, "fork"))
        assert isinstance(refused, ReadOnly)
        with pytest.raises(ReadOnly, match="restored the newest database"):
            intake.require_writable()
        assert head(intake) == restored
        with intake.db.read() as tx:
            assert len(intake.store.entries(tx, range(restored.size))) == restored.size
    assert fence.read() == newest
    lost = newest.size - restored.size
    figures(
        f"older backup, at the start ({intake.db.dialect})", lost=lost, noticed_after_s=noticed_s, appended=0
    )


def test_the_newest_database_is_appended_to_again(database_url, fence):
    for _ in range(3):
        with running(database_url, fence) as intake:
            assert intake.trouble is None
            record(intake, 2, "person")
            size = head(intake).size
        assert fence.read().size == size


def test_a_database_that_was_replaced_while_the_service_runs_is_not_appended_to(
    postgresql_url, postgres, fence, request, figures
):
    server = postgres(request.node.callspec.params["postgresql_url"])
    backup = PostgresBackup(postgresql_url, server)
    with running(postgresql_url, fence) as intake:
        record(intake, 3, "before")
    backup.make()
    with running(postgresql_url, fence) as intake:
        record(intake, 3, "lost")
        newest = head(intake)
        until(lambda: fence.read() == newest, within_s=2)
        backup.restore()
        began = time.monotonic()
        (refused,) = intake.record(people(1, "fork"))
        assert isinstance(refused, ReadOnly)
        until(lambda: intake.trouble is not None, within_s=2)
        noticed_s = round(time.monotonic() - began, 3)
        assert head(intake).size < newest.size
    figures("older backup, swapped in while running (postgresql)", noticed_after_s=noticed_s, appended=0)
    with running(postgresql_url, fence) as intake:
        assert intake.trouble is not None


def test_a_lost_database_is_not_begun_anew(database_url, fence, tmp_path):
    with running(database_url, fence) as intake:
        record(intake, 2, "person")
    empty = f"sqlite:///{tmp_path / 'empty.db'}"
    migrate(empty)
    with pytest.raises(Misconfigured, match="holds no log"), running(empty, fence):
        pass


def test_what_the_fence_held_is_part_of_what_the_log_became(database_url, fence):
    with running(database_url, fence) as intake:
        record(intake, 4, "early")
    old = fence.read()
    with running(database_url, fence) as intake:
        record(intake, 9, "late")
        new = head(intake)
        with intake.db.read() as tx:
            proof = consistency_proof(old.size, new.size, intake.store.reader(tx))
    assert verify_consistency(old.size, new.size, old.root, new.root, proof)
