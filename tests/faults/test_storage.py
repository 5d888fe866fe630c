"""What somebody or something changes underneath: the database refuses it, or the running service notices."""

import time
from datetime import UTC, datetime

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from service.db import Database
from service.errors import ReadOnly
from service.ledger import attestors
from service.ledger.attestors import Kind
from service.ledger.fence import Fence
from service.ledger.publication import Publisher
from tests import running
from tests.waiting import until

STORED = {
    "leaf": ("hash", "entry"),
    "node": ("hash",),
    "checkpoint": ("root", "note"),
    "dedupe": ("key", "request", "digest"),
}


def test_no_bit_of_what_was_signed_can_be_flipped_in_place(database: Database, figures):
    with running.start(database) as intake:
        running.indexes(intake.record(running.people(130)))
        Publisher(database, intake.store, running.keys().log, running.keys().log_pq, intake.now).publish()
    tried = 0
    for table, columns in STORED.items():
        for column in columns:
            with pytest.raises(DBAPIError, match=r"append-only|not authorized|prohibited"):
                flip(database, table, column)
            tried += 1
    figures(f"flipped bit, written in place ({database.dialect})", tried=tried, refused=tried)


def flip(database: Database, table: str, column: str) -> None:
    with database.begin() as tx:
        value = tx.execute(text(f"SELECT {column} FROM {table} LIMIT 1")).scalar_one()
        flipped = bytes([value[0] ^ 4]) + value[1:]
        changed = text(f"UPDATE {table} SET {column} = :new WHERE {column} = :old")
        tx.execute(changed, {"new": flipped, "old": value})


def test_a_witness_that_saw_another_history_stops_a_running_service(database: Database, tmp_path, figures):
    fence = Fence(tmp_path / "fence", running.keys().log.verifier)
    with running.start(database, fence=fence) as intake:
        running.indexes(intake.record(running.people(3)))
        began = time.monotonic()
        with database.begin() as tx:
            attestors.enroll(tx, Kind.WITNESS, ["w1.example"], datetime.now(UTC))
            attestors.saw(tx, "w1.example", 3, bytes(32))
        running.indexes(intake.record(running.people(1, "next")))
        until(lambda: intake.trouble is not None, within_s=10)
        noticed_s = time.monotonic() - began
        assert "another history" in intake.trouble
        [refused] = intake.record(running.people(1, "fork"))
        assert isinstance(refused, ReadOnly)
    figures(f"split view ({database.dialect})", noticed_after_s=round(noticed_s, 2), appended_after_that=0)
